// What changed since another time, such as main: label by label.
import { changes, modelOf } from "./data.js";
import { html, modelLink, table } from "./dom.js";
import { figure, milliseconds, plain, short, signed, whole } from "./format.js";

/** The view; on a page that was made without another time, how to make one with it. */
export function changesView() {
  if (!changes) return unknown();
  const { former, now, differences } = changes;
  const title = differences.length ? `${whole(differences.length)} changed` : "Nothing changed";
  return html("div", { class: "view" }, html("div", { class: "head" }, html("div", {}, html("h1", {}, title), html("p", { class: "hint" }, `from ${former} to ${now}`))), differences.map(difference));
}

function unknown() {
  return html(
    "div", { class: "view" }, html("h1", {}, "What changed since main?"),
    html("section", { class: "panel" },
      html("p", {}, "Type, in the project: ", html("code", {}, "doit report --since main")),
      html("p", {}, "It writes this page once more, as ", html("code", {}, "build/changes.html"), ", with what changed since that branch, or any tag or commit: fields of specs, metrics, sizes, layers."),
      html("p", { class: "hint" }, "A build does not do so by itself: it would have to read every spec and its code at both times, which takes seconds in a large project.")),
  );
}

function difference({ label, fate, fields, inputs, former, now, layers }) {
  const rows = [...metrics(former, now), ...numbers(former, now)];
  return html(
    "section", { class: "panel" },
    html("h2", {}, modelOf(label) ? modelLink(label) : label, html("span", { class: "tag" }, fate)),
    inputs.length ? html("p", {}, `Other inputs: ${inputs.join(", ")}`) : "",
    fields.length ? table(["Field", "Before", "Now"], fields.map((each) => [html("code", {}, each.pointer), html("code", {}, plain(each.former ?? undefined)), html("code", {}, plain(each.now ?? undefined))])) : "",
    rows.length ? table(["Result", "Before", "Now", "Change"], rows, [1, 2, 3]) : "",
    layers.length ? html("details", {}, html("summary", {}, `${layers.length} layers changed`), table(["Layer", "Operator", "Changed"], layers.map((each) => [each.name, each.operator, each.measures.map((measure) => `${measure.measure} ${short(measure.former)} → ${short(measure.now)}`).join(", ")]))) : "",
  );
}

function metrics(former, now) {
  const names = [...new Set([...Object.keys(former?.metrics ?? {}), ...Object.keys(now?.metrics ?? {})])];
  return names.map((name) => {
    const [before, after] = [former?.metrics[name], now?.metrics[name]];
    const percent = Boolean((before ?? after).percent);
    return [name, figure(before?.tflite, percent), figure(after?.tflite, percent), before && after ? signed(after.tflite - before.tflite, percent) : "–"];
  });
}

function numbers(former, now) {
  const row = (title, name, text) => {
    const [before, after] = [former?.[name], now?.[name]];
    return before === after ? null : [title, text(before), text(after), Number.isFinite(before) && Number.isFinite(after) ? signed(after - before) : "–"];
  };
  return [row("bytes", "bytes", whole), row("latency", "latency_ms", milliseconds)].filter(Boolean);
}
