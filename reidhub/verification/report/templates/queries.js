(() => {
  const queries = [...document.querySelectorAll("details")];
  const openAll = document.getElementById("open-all");
  openAll.addEventListener("click", () => {
    const open = openAll.getAttribute("aria-pressed") !== "true";
    openAll.setAttribute("aria-pressed", String(open));
    queries.forEach((query) => { query.open = open; });
  });
  openAll.hidden = queries.length === 0;
})();
