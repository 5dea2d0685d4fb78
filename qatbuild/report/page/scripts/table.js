// The table of models: sorted by any column, filled as it is scrolled, because thousands of rows take a browser long.
import { html, modelLink } from "./dom.js";
import { whole } from "./format.js";

const CHUNK = 60;
const collator = new Intl.Collator("en", { numeric: true });

/**
 * A table of `columns` [{name, title, hint, value: model -> number or text, cell: model -> node, number, first}].
 * `show(rows)` fills it. `first` is the direction of a column's first sorting: 1 ascending, -1 descending.
 */
export function sortable({ columns, picked, onpick }) {
  let rows = [], ordered = [], sorted = { name: "", direction: 1 };
  const body = html("tbody", {});
  const more = html("button", { type: "button", class: "more", onclick: () => fill(ordered.length) });
  const heads = columns.map((column) => html(
    "th", { scope: "col", class: column.number ? "number" : null, title: column.hint },
    html("button", { type: "button", onclick: () => sort(column) }, column.title, html("span", { class: "arrow", "aria-hidden": "true" })),
  ));
  const line = (model) => html(
    "tr", { "data-label": model.label, class: model.state },
    html("td", {}, html("input", { type: "checkbox", checked: picked.has(model.label), "aria-label": `Compare ${model.label}`, onchange: (event) => onpick(model.label, event.target.checked) })),
    columns.map((column) => html("td", { class: column.number ? "number" : null }, column.cell(model))),
  );
  const fill = (count) => {
    body.append(...ordered.slice(body.childElementCount, count).map(line));
    const rest = ordered.length - body.childElementCount;
    more.hidden = rest <= 0;
    more.textContent = `Show all ${whole(ordered.length)} models`;
  };
  const draw = () => {
    const column = columns.find(({ name }) => name === sorted.name);
    ordered = column ? arranged(rows, column, sorted.direction) : rows;
    body.replaceChildren();
    fill(CHUNK);
    heads.forEach((head, at) => {
      const isSorted = columns[at] === column;
      if (isSorted) head.setAttribute("aria-sort", sorted.direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
  };
  const sort = (column) => {
    const again = sorted.name === column.name;
    sorted = { name: column.name, direction: again ? -sorted.direction : column.first ?? 1 };
    draw();
  };
  new IntersectionObserver((seen) => seen[0].isIntersecting && fill(body.childElementCount + CHUNK), { rootMargin: "600px" }).observe(more);
  window.addEventListener("beforeprint", () => fill(ordered.length));
  const table = html("table", { class: "models" }, html("thead", {}, html("tr", {}, html("th", { scope: "col" }, html("span", { class: "hidden" }, "Compare")), heads)), body);
  return {
    node: html("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Table of models, scrolls sideways" }, table, more),
    show: (models) => { rows = models; draw(); },
    unpick: () => body.querySelectorAll("input:checked").forEach((box) => { box.checked = false; }),
  };
}

/** Models in the order of a column; those without a value come last in both directions. */
export function arranged(models, column, direction) {
  const keyed = models.map((model, at) => ({ model, at, key: column.value(model) }));
  const missing = ({ key }) => key === null || key === undefined || key === "";
  const compare = column.number ? (a, b) => a - b : collator.compare;
  keyed.sort((a, b) => missing(a) - missing(b) || (missing(a) ? 0 : direction * compare(a.key, b.key)) || a.at - b.at);
  return keyed.map(({ model }) => model);
}

/** The cell of a model's name. */
export function nameCell(model) {
  return modelLink(model.label);
}
