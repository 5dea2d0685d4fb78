// Reads the page's block of JSON. A model's parts are indices into one list: equal parts are written once.

const block = JSON.parse(document.getElementById("data").textContent);
const numbers = new Map(block.models.map((model, at) => [model.label, at]));
const opened = new Map();

/** The rows of the table; see data.py. */
export const models = block.models;
/** Names of the parts for which the page would be too large. */
export const leftOut = block.left_out;
/** [label, label] of the comparison that the page was made for, or null. */
export const compared = block.compare;
/** What changed since another time, or null. */
export const changes = block.changes;

/** The model of a label, or undefined. */
export function modelOf(label) {
  return models[numbers.get(label)];
}

/** The parts of a model by name, without those that are left out. */
function partsByName(model) {
  if (!opened.has(model)) {
    const pairs = block.indices[numbers.get(model.label)].map((at) => [block.names[block.parts[at]], block.shared[at]]);
    opened.set(model, new Map(pairs.filter(([name]) => !leftOut.includes(name))));
  }
  return opened.get(model);
}

/** A part of a model, or null. */
export function part(model, name) {
  return partsByName(model).get(name) ?? null;
}

/** [name without the prefix, part] of all parts of a model whose names begin with a prefix. */
export function partsOf(model, prefix) {
  return [...partsByName(model)].filter(([name]) => name.startsWith(prefix)).map(([name, value]) => [name.slice(prefix.length), value]);
}

/** The names of all metrics, that of the most models first. */
export function metricNames() {
  const counts = new Map();
  for (const model of models) {
    Object.keys(model.metrics ?? {}).forEach((name, at) => counts.set(name, (counts.get(name) ?? 0) + (at ? 1e-6 : 1)));
  }
  return [...counts].sort((a, b) => b[1] - a[1]).map(([name]) => name);
}

/** A metric of a model: its figures, and `drop`, by how much the .tflite is worse than the float network. */
export function metricOf(model, name) {
  const row = model.metrics?.[name];
  if (!row) return null;
  const [float, fakeQuant, tflite, lower, percent] = row;
  return { float, fakeQuant, tflite, lower: Boolean(lower), percent: Boolean(percent), drop: lower ? tflite - float : float - tflite };
}

/** The gates of a model: [{where, name, wanted, got, passed}]. */
export function gatesOf(model) {
  const results = part(model, "gate_results") ?? [];
  return (part(model, "gate_names") ?? []).map(([where, name, wanted], at) => {
    const [got, passed] = results[at];
    return { where, name, wanted, got: got === 0 ? wanted : got, passed: Boolean(passed) };
  });
}

/** The layers of a model in the order of execution: [{name, operator, inputs, figures..., weights, activations}]. */
export function layersOf(model) {
  const figures = { ...part(model, "measures"), ...part(model, "more measures") };
  const histograms = part(model, "histograms") ?? [];
  const columns = ["float", "fake_quant", "alone", "max_lsb", "same_inputs", "codes_used", "saturated", "clipped"];
  return (part(model, "network") ?? []).map(([name, operator, inputs], at) => {
    const values = Object.fromEntries(columns.map((column) => [column, figures[column]?.[at] ?? null]));
    const [weights, activations] = histograms[at] ?? [null, null];
    const rank = figures.worst?.indexOf(at) ?? -1;
    return { at, name, operator, inputs, weights, activations, rank: rank < 0 ? Infinity : rank, ...values };
  });
}

/** The settings of a model as {"/train/steps": 100, ...}. */
export function settingsOf(model) {
  const flat = {};
  const walk = (value, pointer) => {
    const isObject = value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length;
    if (isObject) Object.entries(value).forEach(([name, each]) => walk(each, `${pointer}/${name}`));
    else flat[pointer] = value;
  };
  partsOf(model, "setting ").forEach(([name, value]) => walk(value, `/${name}`));
  return flat;
}

/** The part of each class's examples that the model gets right, in percent: [[class, percent, examples]]. */
export function classesOf(model) {
  const confusion = part(model, "confusion");
  if (!confusion) return [];
  return confusion.labels.map((label, at) => {
    const row = confusion.counts[at];
    const total = row.reduce((sum, count) => sum + count, 0);
    return [label, total ? (100 * row[at]) / total : null, total];
  });
}
