// One model: everything that its build left.
import { causesOf } from "./causes.js";
import { byClass, matrix, worstPairs } from "./confusion.js";
import { classesOf, gatesOf, layersOf, leftOut, metricOf, models, part, partsOf, settingsOf } from "./data.js";
import { html, pairs, scrolling, section, table } from "./dom.js";
import { age, date, duration, figure, milliseconds, plain, short, signed, size, whole } from "./format.js";
import { lines } from "./lines.js";
import { network } from "./network.js";
import { verdict } from "./verdict.js";

/** The view of a model. `compare` is called with its label and another one. */
export function modelView(model, { compare }) {
  const sections = [
    failures(model), warnings(model), figures(model), gates(model), layers(model), training(model), confusion(model), built(model),
    routes(model), runtimes(model), latencies(model), ends(model), spec(model), provenance(model),
  ].filter(Boolean);
  return html("div", { class: "view" }, head(model, compare), contents(sections), sections);
}

function head(model, compare) {
  const others = models.filter((each) => each !== model);
  const options = [html("option", { value: "" }, "another model"), others.map((each) => html("option", { value: each.label }, each.label))];
  return html(
    "div", { class: "head" },
    html("div", {}, html("h1", {}, model.label), html("p", {}, verdict(model))),
    others.length ? html("div", { class: "fields" }, html("label", { class: "field" }, "Compare with", html("select", { onchange: (event) => event.target.value && compare(model.label, event.target.value) }, options))) : "",
  );
}

function contents(sections) {
  const go = (target) => () => { target.scrollIntoView({ behavior: "smooth" }); target.querySelector("h2").setAttribute("tabindex", "-1"); target.querySelector("h2").focus({ preventScroll: true }); };
  return html("nav", { class: "contents", "aria-label": "Sections" }, sections.map((each) => html("button", { type: "button", onclick: go(each) }, each.querySelector("h2").textContent)));
}

function failures(model) {
  const rows = part(model, "failures");
  if (!rows) return null;
  const earlier = rows.some((each) => each.block && !each.stage.startsWith("deploy.")) && model.metrics;
  return section("Failures", earlier ? html("p", { class: "hint" }, "The results below are of an earlier build.") : "", rows.map((each) => [html("p", { class: "verdict failed" }, each.says), each.block ? html("pre", { tabindex: "0" }, each.block) : ""]));
}

function warnings(model) {
  const rows = part(model, "warnings");
  return rows && section("Warnings", html("ul", {}, rows.map((text) => html("li", {}, text))));
}

function figures(model) {
  if (!model.metrics) return null;
  const examples = part(model, "examples");
  const rows = Object.keys(model.metrics).map((name) => {
    const each = metricOf(model, name);
    return [name, ...[each.float, each.fakeQuant, each.tflite].map((value) => figure(value, each.percent)), signed(each.tflite - each.float, each.percent)];
  });
  const sizes = part(model, "sizes");
  const outputs = Object.entries(part(model, "agreements") ?? {}).map(([name, each]) => [name, figure(each.top1_percent, true), short(each.max_lsb), short(each.rmse_lsb)]);
  return section(
    "Figures",
    html("div", { class: "tiles" }, [
      tile(size(model.bytes), ".tflite", model.ratio ? `${model.ratio.toFixed(2)} times smaller` : ""),
      tile(milliseconds(model.latency_ms), "an example", "median"),
      tile(model.agreement === null ? short(model.max_lsb) : `${model.agreement.toFixed(2)} %`, model.agreement === null ? "LSB at most" : "agreement", model.agreement === null ? "" : `at most ${short(model.max_lsb)} LSB apart`),
      tile(whole(examples?.count), `test ${examples?.of ?? "examples"}`, ""),
    ]),
    rows.length ? table(["Metric", "Float", "Fake-quantized", ".tflite", "Change"], rows, [1, 2, 3, 4]) : "",
    outputs.length ? table(["Output", "Agreement %", "Most LSB", "RMSE LSB"], outputs, [1, 2, 3]) : "",
    sizes ? sizeBars(sizes) : "",
  );
}

function tile(value, title, remark) {
  return html("div", { class: "tile" }, html("p", { class: "figure" }, value), html("p", {}, title), html("p", { class: "hint" }, remark));
}

function sizeBars(sizes) {
  const most = Math.max(...Object.values(sizes), 1);
  return html("div", { class: "bars" }, Object.entries(sizes).map(([name, bytes]) => [
    html("span", {}, name.replaceAll("_", " ")), html("span", { class: "number" }, `${whole(bytes)} bytes`),
    html("span", { class: "track" }, html("span", { class: "fill", style: { width: `${(100 * bytes) / most}%` } })),
  ]));
}

function gates(model) {
  const all = gatesOf(model), refused = all.filter((gate) => !gate.passed), passed = all.filter((gate) => gate.passed);
  const shown = (rows) => table(["Gate", "Wanted", "Got", "Verdict"], rows.map((gate) => [
    gate.where ? `${gate.where}: ${gate.name}` : gate.name, String(gate.wanted), String(gate.got),
    html("span", { class: `verdict ${gate.passed ? "passed" : "refused"}` }, gate.passed ? "passed" : "REFUSED"),
  ]));
  const rest = passed.length ? html("details", { open: !refused.length && passed.length < 8 }, html("summary", {}, `${passed.length} passed`), shown(passed)) : "";
  return all.length ? section("Gates", refused.length ? shown(refused) : "", rest) : null;
}

function layers(model) {
  const all = layersOf(model);
  if (!all.length) return null;
  const worst = all.reduce((a, b) => (b.rank < a.rank ? b : a));
  const losing = worst.rank === Infinity ? "" : html("p", {}, "Loses most: ", html("strong", { id: "worst-layer" }, worst.name), worst.alone === null ? "" : ` (${typeof worst.alone === "number" ? `${short(worst.alone)} dB alone` : "no loss"})`);
  const rows = [...all].sort((a, b) => a.rank - b.rank || a.at - b.at).map((each) => [each.name, each.operator, short(each.alone), short(each.float), short(each.fake_quant), short(each.same_inputs), short(each.max_lsb), short(each.codes_used), short(each.saturated)]);
  return section(
    "Layers", losing, causesOf(model), network(all, model.scheme === "uint8"),
    html("details", {}, html("summary", {}, "All layers as a table, worst first"), table(["Layer", "Operator", "dB alone", "dB from float", "dB from fake-quant", "LSB, same inputs", "LSB, whole net", "Codes used %", "Saturated %"], rows, [2, 3, 4, 5, 6, 7, 8])),
    note("histograms"),
  );
}

function note(name) {
  return leftOut.includes(name) ? html("p", { class: "hint" }, `A page of ${whole(models.length)} models has no ${name}: doit report LABEL makes one of a few models.`) : "";
}

const STAGES = { float: "float training", quantize: "quantization" };

function training(model) {
  const curves = partsOf(model, "curve of ");
  const of = (name) => curves.filter(([, each]) => each.curve?.[name]).map(([stage, each]) => ({ name: STAGES[stage], kind: stage === "float" ? 0 : 1, points: each.curve.step.map((step, at) => [step, each.curve[name][at]]) }));
  const validation = curves.filter(([, each]) => each.validation).map(([stage, each]) => ({ name: STAGES[stage], kind: stage === "float" ? 0 : 1, points: Object.entries(each.validation).map(([step, value]) => [Number(step), value]).sort((a, b) => a[0] - b[0]) }));
  const metric = curves.find(([, each]) => each.metric)?.[1].metric ?? "metric";
  const charts = [
    lines({ title: "Loss", series: of("loss"), log: true }),
    lines({ title: `Validation ${metric}`, series: validation }),
    lines({ title: "Learning rate", series: of("learning_rate") }),
  ].filter(Boolean);
  const remark = note("curve of float");
  return charts.length || remark ? section("Training", html("div", { class: "figures" }, charts), remark) : null;
}

function confusion(model) {
  const counts = part(model, "confusion"), worst = part(model, "confusions");
  if (!counts && !worst) return null;
  return section(
    "Confusions",
    worst?.length ? [html("h3", {}, "Worst pairs"), worstPairs(counts, worst, part(model, "pictures"))] : "",
    counts ? [html("h3", {}, "Accuracy by class"), byClass(classesOf(model)), html("h3", {}, "Matrix"), matrix(counts)] : note("confusion"),
  );
}

function built(model) {
  const stages = partsOf(model, "stage ");
  if (!stages.length) return null;
  const most = Math.max(...stages.map(([, [seconds]]) => seconds ?? 0), 1e-9);
  const rows = stages.map(([stage, [seconds, memory, restored, processor]]) => [
    stage, duration(seconds),
    html("span", { class: "track" }, html("span", { class: "fill", style: { width: `${(100 * (seconds ?? 0)) / most}%` } })),
    size(memory), restored ? "restored from a cache" : "built here", processor || "–",
  ]);
  return section("Stages", html("p", { class: "hint" }, `${duration(model.seconds)} in all · evaluated ${age(model.built)} ago, ${date(model.built)}`), table(["Stage", "Time", "Share", "Peak memory", "Cache", "Processor"], rows, [1, 3]));
}

function routes(model) {
  const rows = (part(model, "routes") ?? []).map((each) => [
    html("strong", {}, each.route), html("code", {}, each.artifact), whole(each.bytes), each.agreement === null ? "–" : figure(each.agreement, true), short(each.max_lsb), whole(each.examples),
    html("span", { class: `verdict ${each.verdict === "passed" ? "passed" : "refused"}` }, each.verdict),
    [html("ul", {}, [...each.remarks, ...each.warnings].map((text) => html("li", {}, text))), html("span", { class: "hint" }, Object.entries(each.versions).map((pair) => pair.join(" ")).join(", "))],
  ]);
  return rows.length ? section("Routes", table(["Route", "Artifact", "Bytes", "Agreement %", "Most LSB", "Examples", "Verdict", "Remarks"], rows, [2, 3, 4, 5])) : null;
}

function runtimes(model) {
  const rows = Object.entries(part(model, "runtimes") ?? {}).map(([name, why]) => [name, html("span", { class: `verdict ${why ? "refused" : "passed"}` }, why ? `cannot compute: ${why}` : "computes all of it")]);
  return rows.length ? section("Runtimes", table(["Runtime", "Says"], rows)) : null;
}

function latencies(model) {
  const rows = (part(model, "latencies") ?? []).map((each) => [each.numbers ?? "", each.kernels ?? "", String(each.threads ?? ""), milliseconds(each.median), milliseconds(each.p95)]);
  return rows.length ? section("Latency", html("p", { class: "hint" }, "One example, on the machine that built it."), table(["Numbers", "Kernels", "Threads", "Median", "95th percentile"], rows, [2, 3, 4])) : null;
}

function ends(model) {
  const rows = part(model, "ends");
  return rows && section("Inputs and outputs", html("ul", {}, rows.map((text) => html("li", {}, text))));
}

function spec(model) {
  const rows = Object.entries(settingsOf(model)).filter(([, value]) => value !== null).map(([pointer, value]) => [html("code", {}, pointer), html("code", {}, plain(value))]);
  return rows.length ? section("Spec", html("p", { class: "hint" }, "With every default filled in."), html("details", {}, html("summary", {}, `${rows.length} fields`), table(["Field", "Value"], rows))) : null;
}

function provenance(model) {
  const about = part(model, "provenance"), identity = part(model, "identity");
  if (!about) return null;
  return section("Provenance", scrolling(pairs([
    ["model.tflite", html("code", {}, `sha256:${identity["model.tflite"]}`)],
    ["Key of the evaluation", html("code", {}, identity.key)],
    ...Object.entries(about.sources).map(([role, sha256]) => [`Source ${role}`, html("code", {}, sha256 ? `sha256:${sha256}` : "absent")]),
    ["Packages", Object.entries(about.packages).map((pair) => pair.join(" ")).join(", ")],
    ["Threads", String(about.threads)],
  ]), "Provenance"));
}
