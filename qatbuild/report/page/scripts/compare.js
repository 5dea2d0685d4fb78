// Two models side by side: what differs in the spec, in accuracy by class, by layer.
import { classesOf, layersOf, metricOf, models, settingsOf } from "./data.js";
import { html, modelLink, section, table } from "./dom.js";
import { figure, milliseconds, plain, short, signed, size } from "./format.js";
import { verdict } from "./verdict.js";

/** The view. `compare` is called with the labels of another pair. */
export function comparison(a, b, { compare }) {
  return html(
    "div", { class: "view" },
    html("div", { class: "head" }, html("h1", {}, "Two models"), html("div", { class: "fields" }, pick("First", a, (label) => compare(label, b.label)), pick("Second", b, (label) => compare(a.label, label)), html("button", { type: "button", class: "quiet-button", onclick: () => compare(b.label, a.label) }, "Swap"))),
    figures(a, b), fields(a, b), classes(a, b), layers(a, b),
  );
}

function pick(title, model, onchange) {
  return html("label", { class: "field" }, title, html("select", { onchange: (event) => onchange(event.target.value) }, models.map((each) => html("option", { value: each.label, selected: each === model }, each.label))));
}

/** A difference with a colour and a sign; `sign` is 1 where more is better. */
function change(value, text, sign) {
  const kind = !value || !Number.isFinite(value) ? "" : value * sign > 0 ? "gain" : "loss";
  return html("span", { class: kind }, text);
}

function row(title, of, a, b, text, sign) {
  const [first, second] = [of(a), of(b)];
  const both = Number.isFinite(first) && Number.isFinite(second);
  const relative = both && first ? ` (${signed((100 * (second - first)) / first, false)} %)` : "";
  return [title, text(first), text(second), both ? change(second - first, text === size ? `${signed(second - first)} B${relative}` : signed(second - first), sign) : "–"];
}

function figures(a, b) {
  const names = [...new Set([...Object.keys(a.metrics ?? {}), ...Object.keys(b.metrics ?? {})])];
  const metricRows = names.map((name) => {
    const [first, second] = [metricOf(a, name), metricOf(b, name)];
    const { percent, lower } = first ?? second;
    const by = first && second ? second.tflite - first.tflite : NaN;
    return [`${name} of the .tflite`, figure(first?.tflite, percent), figure(second?.tflite, percent), change(by, signed(by, percent), lower ? -1 : 1)];
  });
  return section("Figures", table(["Result", modelLink(a.label), modelLink(b.label), "Second against first"], [
    ...metricRows,
    row("Size", (model) => model.bytes, a, b, size, -1),
    row("Latency", (model) => model.latency_ms, a, b, milliseconds, -1),
    row("Agreement %", (model) => model.agreement, a, b, (value) => figure(value, true), 1),
    row("Most LSB", (model) => model.max_lsb, a, b, short, -1),
    ["Gates", verdict(a), verdict(b), ""],
  ], [1, 2, 3]));
}

function fields(a, b) {
  const [first, second] = [settingsOf(a), settingsOf(b)];
  const pointers = [...new Set([...Object.keys(first), ...Object.keys(second)])].filter((each) => JSON.stringify(first[each] ?? null) !== JSON.stringify(second[each] ?? null)).sort();
  const rows = pointers.map((pointer) => [html("code", {}, pointer), html("code", {}, plain(first[pointer])), html("code", {}, plain(second[pointer]))]);
  const hasBoth = Object.keys(first).length && Object.keys(second).length;
  return section("Spec", rows.length && hasBoth ? table(["Field", a.label, b.label], rows) : html("p", { class: "hint" }, hasBoth ? "The specs are equal." : "The spec of one of them is not on the page."));
}

function classes(a, b) {
  const [first, second] = [new Map(classesOf(a)), new Map(classesOf(b))];
  const labels = [...new Set([...first.keys(), ...second.keys()])];
  if (!labels.length) return "";
  const rows = labels.map((label) => ({ label, by: (second.get(label) ?? NaN) - (first.get(label) ?? NaN) })).sort((x, y) => (x.by || 0) - (y.by || 0));
  return section("Accuracy by class", table(["Class", a.label, b.label, "Second against first"], rows.map(({ label, by }) => [label, figure(first.get(label), true), figure(second.get(label), true), change(by, signed(by, true), 1)]), [1, 2, 3]));
}

function layers(a, b) {
  const [first, second] = [a, b].map((model) => new Map(layersOf(model).map((layer) => [layer.name, layer])));
  const names = [...new Set([...first.keys(), ...second.keys()])];
  if (!names.length) return "";
  const number = (value) => (typeof value === "number" ? value : NaN);
  const rows = names.map((name) => ({ name, x: first.get(name), y: second.get(name) })).map((each) => ({ ...each, by: number(each.y?.alone) - number(each.x?.alone) }));
  rows.sort((x, y) => (x.by || 0) - (y.by || 0));
  const text = (layer, key) => (layer ? short(layer[key]) : "absent");
  return section("Layers", html("p", { class: "hint" }, "SQNR in dB; the layers that lose most in the second model first."), table(
    ["Layer", "First, alone", "Second, alone", "Change", "First, from float", "Second, from float", "First, saturated %", "Second, saturated %"],
    rows.map(({ name, x, y, by }) => [name, text(x, "alone"), text(y, "alone"), change(by, signed(by), 1), text(x, "float"), text(y, "float"), text(x, "saturated"), text(y, "saturated")]), [1, 2, 3, 4, 5, 6, 7],
  ));
}
