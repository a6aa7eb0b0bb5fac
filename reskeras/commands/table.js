// Tables that sort by a click on a heading and keep the rows that a text and some choices ask for.
"use strict";
function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";     // numbers: the largest first
      heads.forEach(h => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      sortRows(table, column, up);
    });
  });
}
function sortRows(table, column, up) {
  const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const rows = [...table.tBodies[0].rows].map(row => [key(row), row]);
  const numbers = rows.every(([k]) => k === "" || !isNaN(k));
  rows.sort(([a], [b]) => {
    if (a === "" || b === "") return (a === "") - (b === "");          // what is not known stays below
    const order = numbers ? a - b : a.localeCompare(b, "en", {numeric: true});
    return up ? order : -order;
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}
// Each choice is [number of the column, text]; gives the number of rows left.
function filterRows(table, text, choices) {
  const wanted = text.trim().toLowerCase();
  let left = 0;
  for (const row of table.tBodies[0].rows) {
    const fits = row.textContent.toLowerCase().includes(wanted)
      && choices.every(([column, value]) => !value || row.cells[column].textContent === value);
    row.hidden = !fits;
    left += fits;
  }
  return left;
}
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("table.sortable").forEach(sortable);
  document.querySelectorAll("input[data-filters]").forEach(input => {
    const table = document.getElementById(input.dataset.filters);
    input.addEventListener("input", () => filterRows(table, input.value, []));
  });
});
