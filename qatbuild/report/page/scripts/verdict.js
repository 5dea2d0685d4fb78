// The state of a model in words: the same in the table, beside its name, and where two are compared.
import { html } from "./dom.js";

/** State -> the words of a count of models. */
export const STATES = { passed: "passed", refused: "refused by a gate", failed: "failed", stale: "stale" };

/** The verdict of a model: an icon and words, never a colour alone. */
export function verdict(model) {
  const words = { passed: `${model.gates} of ${model.gates} passed`, refused: "refused", failed: "failed", stale: "stale" }[model.state];
  const why = model.state === "passed" ? "" : `: ${model.why.join(", ")}`;
  return html("span", { class: `verdict ${model.state}` }, words + why);
}
