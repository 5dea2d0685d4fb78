// The network as a graph whose nodes show what each layer loses. Beside it the chosen layer's figures and histograms.
import { html, pairs, svg } from "./dom.js";
import { short } from "./format.js";
import { histogram } from "./histogram.js";
import { ranked } from "./ranks.js";

const WIDTH = 210, HEIGHT = 44, GAP_X = 18, GAP_Y = 22, PAD = 8;

/** What the nodes' colour may show, by field of a layer; `bounds` are those of worst, bad and fair. */
const MEASURES = {
  alone: { title: "SQNR of the layer alone", unit: "dB", bounds: [15, 25, 35], less: true },
  float: { title: "SQNR against float", unit: "dB", bounds: [10, 20, 30], less: true },
  saturated: { title: "Saturated values", unit: "%", bounds: [5, 1, 0.1], less: false },
};

function grade(value, { bounds, less }) {
  if (value === null || value === undefined) return "unknown";
  if (value === "=") return "best";
  const at = bounds.findIndex((bound) => (less ? value < bound : value > bound));
  return at < 0 ? "best" : ["worst", "bad", "fair"][at];
}

function valueText(value, measure) {
  return value === null || value === undefined ? "not measured" : value === "=" ? "no loss" : `${short(value)} ${measure.unit}`;
}

/** The end of a layer's name, short enough for a node. */
function nodeName(name) {
  return name.length <= 27 ? name : `…${name.slice(-26)}`;
}

/** The picture and its panel, which shows the layer that loses most first; `unsigned` are uint8 values. */
export function network(layers, unsigned) {
  const places = ranked(layers);
  const columns = Math.max(...places.map(({ column }) => column)) + 1;
  const rows = Math.max(...places.map(({ row }) => row)) + 1;
  const size = [columns * (WIDTH + GAP_X) - GAP_X + 2 * PAD, rows * (HEIGHT + GAP_Y) - GAP_Y + 2 * PAD];
  const nodes = layers.map((layer, at) => node(layer, places[at]));
  const picture = svg("svg", { width: size[0], height: size[1], viewBox: `0 0 ${size[0]} ${size[1]}`, "aria-hidden": "true" }, edges(layers, places), nodes);
  const panel = html("div", { class: "layer", "aria-live": "polite" });
  const start = layers.reduce((worst, layer) => (layer.rank < worst.rank ? layer : worst), layers[0]);
  const order = [...layers].sort((a, b) => places[a.at].row - places[b.at].row || places[a.at].column - places[b.at].column);
  let chosen = start;
  const choose = (layer, scroll) => {
    chosen = layer;
    nodes.forEach((each, at) => each.classList.toggle("chosen", layers[at] === layer));
    panel.replaceChildren(...about(layer, unsigned));
    if (scroll) nodes[layer.at].scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  const move = (by) => choose(order[Math.max(0, Math.min(order.length - 1, order.indexOf(chosen) + by))], true);
  const keys = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
  const view = html("div", {
    class: "graph", tabindex: "0", role: "group", "aria-label": `The network: ${layers.length} layers. Arrow keys walk through them.`,
    onclick: (event) => {
      const hit = event.target.closest?.("g.node");
      if (hit) choose(layers[nodes.indexOf(hit)]);
    },
    onkeydown: (event) => {
      if (!keys[event.key]) return;
      event.preventDefault();
      move(keys[event.key]);
    },
  }, picture);
  const paint = (name) => layers.forEach((layer, at) => {
    nodes[at].setAttribute("data-grade", grade(layer[name], MEASURES[name]));
    nodes[at].querySelector(".value").textContent = valueText(layer[name], MEASURES[name]);
  });
  paint("alone");
  choose(start);
  return html("div", { class: "network" }, html("div", {}, choice(paint), legend(), view), panel);
}

function node(layer, { column, row }) {
  const place = `translate(${PAD + column * (WIDTH + GAP_X)},${PAD + row * (HEIGHT + GAP_Y)})`;
  return svg(
    "g", { class: "node", transform: place, "data-layer": layer.name },
    svg("title", {}, `${layer.name} (${layer.operator})`),
    svg("rect", { class: "card", width: WIDTH, height: HEIGHT, rx: 7 }),
    svg("rect", { class: "grade", width: 6, height: HEIGHT, rx: 3 }),
    svg("text", { class: "node-name", x: 16, y: 18 }, nodeName(layer.name)),
    svg("text", { class: "operator", x: 16, y: 35 }, layer.operator.toLowerCase().replaceAll("_", " ")),
    svg("text", { class: "value", x: WIDTH - 10, y: 35, "text-anchor": "end" }),
  );
}

function edges(layers, places) {
  const named = new Map(layers.map((layer) => [layer.name, layer.at]));
  const centre = (at) => PAD + places[at].column * (WIDTH + GAP_X) + WIDTH / 2;
  const top = (at) => PAD + places[at].row * (HEIGHT + GAP_Y);
  return layers.flatMap((layer) => (layer.inputs ?? (layer.at ? [layers[layer.at - 1].name] : [])).map((name) => {
    const from = named.get(name);
    if (from === undefined || from === layer.at) return null;
    const [x1, y1, x2, y2] = [centre(from), top(from) + HEIGHT, centre(layer.at), top(layer.at)];
    const bend = (y2 - y1) / 2;
    return svg("path", { class: "edge", d: `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y2 - bend} ${x2} ${y2}` });
  }));
}

function choice(paint) {
  return html("label", { class: "field inline" }, "Colour ", html("select", { onchange: (event) => paint(event.target.value) }, Object.entries(MEASURES).map(([name, each]) => html("option", { value: name }, each.title))));
}

function legend() {
  const words = [["worst", "loses most"], ["bad", "much"], ["fair", "some"], ["best", "little"], ["unknown", "not measured"]];
  return html("p", { class: "legend" }, words.map(([name, text]) => html("span", { "data-grade": name }, text)));
}

function about(layer, unsigned) {
  const db = (value) => valueText(value, MEASURES.alone);
  return [
    html("h3", {}, layer.name),
    html("p", { class: "hint" }, layer.operator, layer.rank === 0 ? " · the layer that loses most" : ""),
    pairs([
      ["Alone", db(layer.alone)],
      ["Against float", db(layer.float)],
      ["Against fake-quantized", db(layer.fake_quant)],
      ["Largest difference", layer.max_lsb === null ? null : `${short(layer.max_lsb)} LSB`],
      ["On the same inputs", layer.same_inputs === null ? null : `${short(layer.same_inputs)} LSB`],
      ["Values used", layer.codes_used === null ? null : `${short(layer.codes_used)} % of 256`],
      ["Saturated", layer.saturated === null ? null : `${short(layer.saturated)} %`],
      ["Beyond the grid", layer.clipped === null ? null : `${short(layer.clipped)} %`],
    ]),
    histogram("Weights", layer.weights, unsigned),
    histogram("Activations", layer.activations, unsigned),
  ].filter(Boolean);
}
