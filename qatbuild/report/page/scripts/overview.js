// The first view: answers, charts, and the table with its filters.
import { answers } from "./answers.js";
import { changes, metricNames, metricOf, models } from "./data.js";
import { html } from "./dom.js";
import { age, date, duration, figure, milliseconds, short, signed, size, whole } from "./format.js";
import { scatter } from "./scatter.js";
import { nameCell, sortable } from "./table.js";
import { STATES, verdict } from "./verdict.js";

const DAY = 86400;
const AGES = [["", "any age"], [3600, "last hour"], [DAY, "last day"], [7 * DAY, "last week"], [30 * DAY, "last 30 days"]];
const KILO = 1000;

function columnsFor(metric) {
  const of = (model) => metricOf(model, metric());
  const form = (name) => ({ value: (model) => of(model)?.[name], cell: (model) => figure(of(model)?.[name], of(model)?.percent), number: true, first: -1 });
  return [
    { name: "label", title: "Model", value: (model) => model.label, cell: nameCell },
    { name: "scheme", title: "Scheme", value: (model) => model.scheme, cell: (model) => [model.scheme || "–", " ", model.method ? html("span", { class: "tag" }, model.method) : ""] },
    { name: "float", title: "Float", hint: "the chosen metric of the float network", ...form("float") },
    { name: "tflite", title: ".tflite", hint: "the chosen metric of the .tflite", ...form("tflite") },
    { name: "drop", title: "Change", hint: ".tflite against float", value: (model) => of(model) && -of(model).drop, cell: (model) => (of(model) ? signed(of(model).tflite - of(model).float, of(model).percent) : "–"), number: true, first: 1 },
    { name: "agreement", title: "Agrees", hint: "answers of the .tflite that equal those of the fake-quantized network, %", value: (model) => model.agreement, cell: (model) => figure(model.agreement, true), number: true, first: 1 },
    { name: "max_lsb", title: "LSB", hint: "largest difference from the fake-quantized network, in steps of the output", value: (model) => model.max_lsb, cell: (model) => short(model.max_lsb), number: true, first: -1 },
    { name: "bytes", title: "Bytes", value: (model) => model.bytes, cell: (model) => whole(model.bytes), number: true },
    { name: "latency_ms", title: "Latency", hint: "median of one example on the machine that built it, ms", value: (model) => model.latency_ms, cell: (model) => milliseconds(model.latency_ms), number: true },
    { name: "seconds", title: "Built in", hint: "all stages that ran here", value: (model) => model.seconds, cell: (model) => duration(model.seconds), number: true, first: -1 },
    { name: "built", title: "Age", value: (model) => (model.built ? -model.built : null), cell: (model) => html("time", { title: date(model.built) }, age(model.built)), number: true },
    { name: "state", title: "Gates", value: (model) => `${Object.keys(STATES).indexOf(model.state)}${model.why.join()}`, cell: verdict, first: -1 },
  ];
}

/** The view. `compare` is called with two labels, `open` with one. */
export function overview({ compare, open }) {
  const names = metricNames();
  const state = { metric: names[0] ?? "", points: 0.5, text: "", states: new Set(), scheme: "", age: "", worst: null, bytes: null, latency: null };
  const picked = new Set();
  const table = sortable({ columns: columnsFor(() => state.metric), picked, onpick: (label, on) => { picked[on ? "add" : "delete"](label); drawPicked(); } });
  const cards = html("div", { class: "answers" }), charts = html("div", { class: "charts" });
  const count = html("output", { class: "count", "aria-live": "polite" }), tray = html("div", { class: "tray", hidden: true });
  const drawPicked = () => {
    const labels = [...picked];
    tray.hidden = !labels.length;
    tray.replaceChildren(
      html("span", {}, labels.length === 1 ? `${labels[0]} — pick one more to compare` : `${labels.length} picked`),
      html("button", { type: "button", class: "main-button", disabled: labels.length !== 2, onclick: () => compare(labels[0], labels[1]) }, "Compare"),
      html("button", { type: "button", class: "quiet-button", onclick: () => { picked.clear(); table.unpick(); drawPicked(); } }, "Clear"),
    );
  };
  const draw = () => {
    const rows = models.filter((model) => matches(model, state));
    table.show(rows);
    count.textContent = rows.length === models.length ? `${whole(rows.length)} models` : `${whole(rows.length)} of ${whole(models.length)} models`;
    charts.replaceChildren(...chartsOf(rows, state.metric, open));
  };
  const drawAnswers = () => cards.replaceChildren(...answers(state.metric, state.points));
  const change = (name, value) => { state[name] = value; draw(); if (name === "metric") drawAnswers(); };
  drawAnswers();
  draw();
  return html(
    "div", { class: "view" },
    head(names, state, (name, value) => { if (name === "points") { state.points = value; drawAnswers(); } else change(name, value); }),
    cards, charts, filters(state, change), html("div", { class: "panel flush" }, html("div", { class: "above" }, html("h2", {}, "Models"), count), table.node), tray,
  );
}

function head(names, state, change) {
  const total = models.length;
  const counts = Object.keys(STATES).map((name) => [name, models.filter((model) => model.state === name).length]).filter(([, number]) => number);
  return html(
    "div", { class: "head" },
    html("div", {}, html("h1", {}, `${whole(total)} model${total === 1 ? "" : "s"}`), html("p", { class: "hint" }, counts.map(([name, number], at) => [at ? " · " : "", html("span", { class: `verdict ${name}` }, `${whole(number)} ${STATES[name]}`)]))),
    html(
      "div", { class: "fields" },
      html("a", { class: "button", href: "#?changes" }, `What changed since ${changes?.former ?? "main"}${changes ? "" : "?"}`),
      names.length > 1 ? select("Metric", names.map((name) => [name, name]), (value) => change("metric", value)) : "",
      html("label", { class: "field" }, "Near enough", html("input", { type: "number", value: state.points, min: 0, step: 0.1, oninput: (event) => change("points", Number(event.target.value) || 0) })),
    ),
  );
}

function select(title, options, onchange) {
  return html("label", { class: "field" }, title, html("select", { onchange: (event) => onchange(event.target.value) }, options.map(([value, text]) => html("option", { value }, text))));
}

function limit(title, name, change, factor = 1) {
  const read = (text) => (text === "" ? null : Number(text) * factor);
  return html("label", { class: "field" }, title, html("input", { type: "number", min: 0, step: "any", placeholder: "any", name, oninput: (event) => change(name, read(event.target.value)) }));
}

function filters(state, change) {
  const schemes = [...new Set(models.map((model) => model.scheme).filter(Boolean))].sort();
  const toggle = (name) => (event) => {
    state.states[state.states.has(name) ? "delete" : "add"](name);
    event.currentTarget.setAttribute("aria-pressed", state.states.has(name));
    change("states", state.states);
  };
  const present = Object.keys(STATES).filter((name) => models.some((model) => model.state === name));
  return html(
    "search", { class: "filters", "aria-label": "Filters" },
    html("label", { class: "field grow" }, "Name", html("input", { type: "search", id: "filter", placeholder: "part of a name, press /", oninput: (event) => change("text", event.target.value.toLowerCase()) })),
    schemes.length > 1 ? select("Scheme", [["", "all"], ...schemes.map((name) => [name, name])], (value) => change("scheme", value)) : "",
    limit("Metric no worse than", "worst", change),
    limit("kB at most", "bytes", change, KILO),
    limit("ms at most", "latency", change),
    select("Age", AGES, (value) => change("age", value)),
    html("div", { class: "field", role: "group", "aria-label": "Gates" }, html("span", {}, "Gates"), html("span", { class: "chips" }, present.map((name) => html("button", { type: "button", class: `chip ${name}`, "aria-pressed": "false", onclick: toggle(name) }, name)))),
  );
}

function matches(model, { text, states, scheme, age: seconds, worst, bytes, latency, metric }) {
  const figures = metricOf(model, metric);
  return text.split(/\s+/).every((word) => model.label.toLowerCase().includes(word)) &&
    (!states.size || states.has(model.state)) &&
    (!scheme || model.scheme === scheme) &&
    (!seconds || (model.built && Date.now() / 1000 - model.built <= Number(seconds))) &&
    (worst === null || (figures && (figures.lower ? figures.tflite <= worst : figures.tflite >= worst))) &&
    (bytes === null || model.bytes <= bytes) &&
    (latency === null || model.latency_ms <= latency);
}

function chartsOf(rows, metric, open) {
  const measured = rows.map((model) => [model, metricOf(model, metric)]).filter(([, figures]) => figures);
  const [sign, percent] = [measured[0]?.[1].lower ? -1 : 1, measured[0]?.[1].percent];
  const quality = percent === false ? metric : "Accuracy";
  const chart = (title, field, xTitle, text) => {
    const points = measured.filter(([model]) => model[field] > 0).map(([model, figures]) => ({ name: model.label, x: model[field], y: figures.tflite, state: model.state }));
    const texts = { x: text, y: (value) => short(value, 4) };
    const titles = { x: xTitle, y: `${metric} of the .tflite${percent ? ", %" : ""}` };
    return html("section", { class: "panel" }, html("h2", {}, title), points.length ? scatter({ about: title, points, sign, titles, texts, open }) : html("p", { class: "hint" }, "no model with these figures"));
  };
  return [
    chart(`${quality} against size`, "bytes", "bytes", size),
    chart(`${quality} against latency`, "latency_ms", "ms an example", (value) => `${short(value, 3)} ms`),
  ];
}
