"use strict";
(() => {
  const table = document.getElementById("figures");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const filter = document.getElementById("filter");
  const verdict = document.getElementById("verdict");
  const shown = document.getElementById("shown");

  const valueOf = (row, column) => {
    const words = row.cells[column].textContent.trim();
    const number = parseFloat(words.replace("\u2212", "-").replaceAll(",", ""));
    return heads[column].classList.contains("number") ? number : words;
  };

  const compare = (a, b) => {
    if (typeof a === "string") return a.localeCompare(b, "en", { numeric: true });
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
    return a - b;
  };

  const sort = (column) => {
    const down = heads[column].getAttribute("aria-sort") === "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = [...body.rows].map((row) => [valueOf(row, column), row]);
    const missing = ([value]) => typeof value === "number" && Number.isNaN(value);
    const known = keyed.filter((pair) => !missing(pair));
    known.sort(([a], [b]) => (down ? compare(b, a) : compare(a, b)));
    body.append(...[...known, ...keyed.filter(missing)].map(([, row]) => row));
  };

  const update = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      const fits = words.every((word) => text.includes(word));
      row.hidden = !fits || (verdict.value !== "" && row.dataset.verdict !== verdict.value);
      count += !row.hidden;
    }
    shown.textContent = `${count} of ${body.rows.length} rows are shown`;
  };

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(column));
    head.append(button);
  });
  for (const name of new Set([...body.rows].map((row) => row.dataset.verdict))) {
    verdict.append(new Option(name, name));
  }
  filter.addEventListener("input", update);
  verdict.addEventListener("change", update);
  update();
  document.getElementById("controls").hidden = false;

  const queries = [...document.querySelectorAll("details")];
  const openAll = document.getElementById("open-all");
  openAll.addEventListener("click", () => {
    const open = openAll.getAttribute("aria-pressed") !== "true";
    openAll.setAttribute("aria-pressed", String(open));
    queries.forEach((query) => { query.open = open; });
  });
  openAll.hidden = queries.length === 0;
})();
