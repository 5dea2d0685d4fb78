// Makes elements. Every text becomes a text node: nothing of the data is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") Object.entries(value).forEach(([key, each]) => node.style.setProperty(key, each));
    else if (name in node && typeof value === "boolean") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

/** An HTML element; `style` is an object, `onclick` and the like are listeners, false and null attributes are left out. */
export function html(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** A link to a model's section. */
export function modelLink(label, ...children) {
  return html("a", { href: `#${encodeURIComponent(label)}` }, children.length ? children : label);
}

/** A section with a heading of level 2. */
export function section(title, ...children) {
  const id = `section-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return html("section", { class: "panel", "aria-labelledby": id }, html("h2", { id }, title), ...children);
}

/** A table of cells: rows of texts or nodes; `numbers` are the columns that are aligned right. */
export function table(heads, rows, numbers = []) {
  const kind = (column) => (numbers.includes(column) ? "number" : null);
  const line = (tag, cells) =>
    html("tr", {}, cells.map((cell, at) => html(tag, { class: kind(at), scope: tag === "th" ? "col" : null }, cell)));
  return scrolling(html("table", {}, html("thead", {}, line("th", heads)), html("tbody", {}, rows.map((row) => line("td", row)))), heads[0]);
}

/** A box that scrolls sideways, also by keyboard, around something wide. */
export function scrolling(child, about) {
  return html("div", { class: "wide", tabindex: "0", role: "region", "aria-label": `${about || "Table"}, scrolls sideways` }, child);
}

/** Pairs of a name and a value. */
export function pairs(rows) {
  return html("dl", { class: "pairs" }, rows.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value))));
}
