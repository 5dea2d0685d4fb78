// The questions that are asked most, answered above the table.
import { metricOf, models } from "./data.js";
import { html, modelLink } from "./dom.js";
import { duration, figure, milliseconds, signed, size } from "./format.js";

function least(candidates, value) {
  const measured = candidates.filter((model) => Number.isFinite(value(model)));
  return measured.reduce((best, model) => (!best || value(model) < value(best) ? model : best), null);
}

/** Cards about a metric; a model is near enough if its .tflite loses at most `points` of it against float. */
export function answers(metric, points) {
  const measured = models.filter((model) => metricOf(model, metric));
  const of = (model) => metricOf(model, metric);
  const passed = measured.filter((model) => model.state === "passed");
  const near = passed.filter((model) => of(model).drop <= points + 1e-9);
  const value = (model) => figure(of(model).tflite, of(model).percent);
  const good = (model) => (of(model).lower ? of(model).tflite : -of(model).tflite);
  const within = `within ${points} ${measured.some((model) => of(model).percent) ? "points" : "of float"}`;
  const smallest = least(near, (model) => model.bytes), fastest = least(near, (model) => model.latency_ms);
  const best = least(passed, good), worst = least(measured, (model) => -of(model).drop);
  const slowest = least(models, (model) => (Number.isFinite(model.seconds) ? -model.seconds : NaN));
  return [
    card("smallest", `Smallest ${within}`, smallest, smallest && size(smallest.bytes), smallest && `${metric} ${value(smallest)}`),
    card("fastest", `Fastest ${within}`, fastest, fastest && milliseconds(fastest.latency_ms), fastest && `${metric} ${value(fastest)}`),
    card("best", "Best .tflite", best, best && value(best), best && `${metric}, ${size(best.bytes)}`),
    card("loses", "Loses most against float", worst, worst && signed(of(worst).lower ? of(worst).drop : -of(worst).drop, of(worst).percent), worst && `${metric} ${value(worst)}`),
    card("slowest", "Longest to build", slowest, slowest && duration(slowest.seconds), slowest && "all its stages"),
  ];
}

function card(kind, title, model, figure_, remark) {
  const answer = model
    ? [html("p", { class: "figure" }, figure_), html("p", { class: "which" }, modelLink(model.label)), html("p", { class: "hint" }, remark)]
    : [html("p", { class: "figure none" }, "–"), html("p", { class: "hint" }, "no such model")];
  return html("article", { class: "answer", "data-answer": kind }, html("h2", {}, title), answer);
}
