// Accuracy against a cost, with the Pareto front: the models that no other one beats in both.
import { html, svg } from "./dom.js";
import { scale } from "./scale.js";

const WIDTH = Math.min(560, Math.max(320, window.innerWidth - 56)), HEIGHT = 330; // Letters keep their size on a telephone.
const BOX = { left: 56, right: 20, top: 30, bottom: 46 };
const NEAR_PX = 28;
const LETTER_PX = 6.4, LINE_PX = 14;
const LONGEST_NAME = 26;

/** The points that no other point beats: less x, and better y. `sign` is 1 where more y is better, else -1. */
export function front(points, sign) {
  const ordered = [...points].sort((a, b) => a.x - b.x || sign * (b.y - a.y));
  let best = -Infinity;
  return ordered.filter((point) => {
    const better = sign * point.y > best;
    if (better) best = sign * point.y;
    return better;
  });
}

function shortened(name) {
  return name.length <= LONGEST_NAME ? name : `${name.slice(0, 10)}…${name.slice(-14)}`;
}

/** Places for the names of points, beside them and not over each other; a point without room stays without its name. */
function placed(points, obstacles) {
  const taken = obstacles.map(({ px, py }) => [px - 5, py - 5, px + 5, py + 5]);
  const free = (box) => box[0] >= BOX.left && box[2] <= WIDTH && box[1] >= 14 && box[3] <= HEIGHT - BOX.bottom && !taken.some((each) => box[0] < each[2] && box[2] > each[0] && box[1] < each[3] && box[3] > each[1]);
  const names = [];
  for (const point of points) {
    const text = shortened(point.name), wide = text.length * LETTER_PX;
    const places = [-7, 9, -22, 24].flatMap((by) => [[point.px + 9, point.py + by, "start"], [point.px - 9, point.py + by, "end"]]);
    for (const [x, y, anchor] of places) {
      const left = anchor === "start" ? x : x - wide;
      const box = [left, y - LINE_PX / 2, left + wide, y + LINE_PX / 2];
      if (!free(box)) continue;
      taken.push(box);
      names.push(svg("text", { x, y: y + 4, "text-anchor": anchor, class: "name" }, text));
      break;
    }
  }
  return names;
}

function axes(x, y, titles, texts) {
  const bottom = HEIGHT - BOX.bottom, right = WIDTH - BOX.right;
  return [
    y.ticks.map((tick) => [
      svg("line", { class: "grid", x1: BOX.left, x2: right, y1: y.at(tick), y2: y.at(tick) }),
      svg("text", { class: "tick", x: BOX.left - 8, y: y.at(tick) + 4, "text-anchor": "end" }, texts.y(tick)),
    ]),
    x.ticks.map((tick) => [
      svg("line", { class: "grid", x1: x.at(tick), x2: x.at(tick), y1: bottom, y2: bottom + 4 }),
      svg("text", { class: "tick", x: x.at(tick), y: bottom + 18, "text-anchor": "middle" }, texts.x(tick)),
    ]),
    svg("line", { class: "axis", x1: BOX.left, x2: right, y1: bottom, y2: bottom }),
    svg("text", { class: "title", x: right, y: HEIGHT - 6, "text-anchor": "end" }, titles.x),
    svg("text", { class: "title", x: 2, y: 10 }, titles.y),
  ];
}

/**
 * A chart of points [{name, x, y, state}]. `sign` is 1 where more y is better; `open` is called with the chosen name.
 * The pointer names the nearest point; the arrow keys walk through them from left to right, Enter opens one.
 */
export function scatter({ about, points, sign, titles, texts, open }) {
  const x = scale(points.map((point) => point.x), BOX.left, WIDTH - BOX.right, { log: true });
  const y = scale(points.map((point) => point.y), ...(sign > 0 ? [HEIGHT - BOX.bottom, BOX.top] : [BOX.top, HEIGHT - BOX.bottom]));
  const shown = points.map((point) => ({ ...point, px: x.at(point.x), py: y.at(point.y) })).sort((a, b) => a.px - b.px);
  const best = front(shown.filter((point) => point.state === "passed"), sign);
  const steps = best.map(({ px, py }, at) => (at ? `H${px}V${py}` : `M${px} ${py}`)).join("");
  const mark = svg("circle", { class: "mark", r: 9, visibility: "hidden" });
  const picture = svg(
    "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "scatter", "aria-hidden": "true" },
    axes(x, y, titles, texts),
    svg("path", { class: "front", d: steps }),
    shown.map(({ px, py, state }) => svg("circle", { class: `point ${state}`, cx: px, cy: py, r: shown.length > 200 ? 3 : 5 })),
    best.map(({ px, py }) => svg("circle", { class: "point best", cx: px, cy: py, r: 5 })),
    placed(best, shown.length > 200 ? best : shown),
    mark,
  );
  return interactive({ about, picture, shown, best, mark, texts, open });
}

function interactive({ about, picture, shown, best, mark, texts, open }) {
  let chosen = -1;
  const says = html("output", { class: "says", "aria-live": "polite" });
  const choose = (at) => {
    chosen = at;
    const point = shown[at];
    mark.setAttribute("visibility", point ? "visible" : "hidden");
    box.classList.toggle("chosen", Boolean(point));
    if (!point) return says.replaceChildren();
    mark.setAttribute("cx", point.px);
    mark.setAttribute("cy", point.py);
    const more = best.includes(point) ? " · on the front" : point.state === "passed" ? "" : ` · ${point.state}`;
    says.replaceChildren(html("strong", {}, point.name), ` ${texts.y(point.y)} · ${texts.x(point.x)}${more}`);
  };
  const nearest = (event) => {
    const place = picture.getBoundingClientRect(), zoom = WIDTH / place.width;
    const [px, py] = [(event.clientX - place.left) * zoom, (event.clientY - place.top) * zoom];
    let least = NEAR_PX, at = -1;
    shown.forEach((point, index) => {
      const distance = Math.hypot(point.px - px, point.py - py);
      if (distance < least) [least, at] = [distance, index];
    });
    return at;
  };
  const keys = { ArrowRight: () => Math.min(shown.length - 1, chosen + 1), ArrowLeft: () => Math.max(0, chosen - 1), Home: () => 0, End: () => shown.length - 1, Escape: () => -1 };
  const box = html("div", {
    class: "chart", tabindex: "0", role: "group",
    "aria-label": `${about}: ${shown.length} points. Arrow keys walk through them, Enter opens one.`,
    onpointermove: (event) => choose(nearest(event)),
    onpointerleave: () => choose(-1),
    onclick: (event) => nearest(event) >= 0 && open(shown[nearest(event)].name),
    onkeydown: (event) => {
      if (event.key === "Enter" && chosen >= 0) open(shown[chosen].name);
      if (!keys[event.key]) return;
      event.preventDefault();
      choose(keys[event.key]());
    },
  }, picture, says);
  return box;
}
