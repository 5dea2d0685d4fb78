// Why the worst layers lose accuracy, and which fields of the spec to change.
import { part } from "./data.js";
import { html, table } from "./dom.js";
import { short, whole } from "./format.js";

/** The worst layers of a model with their causes, what is known of them, and the commands that say more. */
export function causesOf(model) {
  const causes = part(model, "causes"), more = (text) => html("p", { class: "hint" }, command("diagnose", model), text);
  if (!causes) return more(" names the causes, and what to change.");
  if (!causes.count) return html("p", { class: "hint" }, "No layer loses more than rounding to 8 bits does.");
  const rows = causes.worst.map(([layer, db, text, fields]) => [
    html("strong", {}, layer), db > 0 ? short(db) : "–", text, fields.map((field, at) => [at ? ", " : "", html("code", {}, field)]),
  ]);
  const rest = causes.count - rows.length;
  return html(
    "div", { class: "causes" }, table(["Worst layers", "dB left", "Likely cause", "Change in the spec"], rows, [1]),
    rest ? more(` --format json names ${whole(rest)} more.`) : "",
    html("p", { class: "hint" }, command("cure", model), " tries such changes, the cheapest first."),
  );
}

function command(name, model) {
  return html("code", {}, `doit ${name} ${model.label}`);
}
