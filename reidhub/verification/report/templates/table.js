"use strict";
(() => {
  const table = document.getElementById("figures");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const filter = document.getElementById("filter");
  const choices = [...document.querySelectorAll("#controls select")];
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
    const before = heads[column].getAttribute("aria-sort");
    const down = before ? before === "ascending" : heads[column].dataset.first === "descending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = [...body.rows].map((row) => [valueOf(row, column), row]);
    const missing = ([value]) => typeof value === "number" && Number.isNaN(value);
    const known = keyed.filter((pair) => !missing(pair));
    known.sort(([a], [b]) => (down ? compare(b, a) : compare(a, b)));
    body.append(...[...known, ...keyed.filter(missing)].map(([, row]) => row));
  };

  // Several rows can belong to one thing, such as a checkpoint; they have the same data-thing. Other rows count alone.
  const countThings = (rows) => new Set(rows.map((row) => row.dataset.thing ?? row)).size;

  const update = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      const has = ({ id, value }) => row.getAttribute(`data-${id}`).split("\n").includes(value);
      const fits = choices.every((choice) => choice.value === "" || has(choice));
      row.hidden = !fits || !words.every((word) => text.includes(word));
    }
    const rows = [...body.rows];
    const left = countThings(rows.filter((row) => !row.hidden));
    shown.textContent = `${left} of ${countThings(rows)} ${shown.dataset.of} are shown`;
  };

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(column));
    head.append(button);
  });
  filter.addEventListener("input", update);
  choices.forEach((choice) => choice.addEventListener("change", update));
  update();
  document.getElementById("controls").hidden = false;
})();
