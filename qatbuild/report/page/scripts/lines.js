// A small chart of curves over steps.
import { html, svg } from "./dom.js";
import { short, whole } from "./format.js";
import { scale } from "./scale.js";

const WIDTH = 420, HEIGHT = 190;
const BOX = { left: 50, right: 14, top: 14, bottom: 30 };

/** A chart of series [{name, points: [[x, y]], kind}]; `kind` 0, 1, ... is its colour. */
export function lines({ title, series, log = false }) {
  const drawn = series.filter((each) => each.points.length);
  if (!drawn.length) return null;
  const all = drawn.flatMap((each) => each.points);
  const x = scale(all.map(([step]) => step), BOX.left, WIDTH - BOX.right, { ticks: 4 });
  const y = scale(all.map(([, value]) => value), HEIGHT - BOX.bottom, BOX.top, { ticks: 4, log });
  const says = html("figcaption", {}, html("strong", {}, title), drawn.map(({ name, kind }) => html("span", { class: `key kind-${kind}` }, name)), html("output", {}));
  const guide = svg("line", { class: "guide", y1: BOX.top, y2: HEIGHT - BOX.bottom, visibility: "hidden" });
  const picture = svg(
    "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${drawn.map(summary).join("; ")}` },
    y.ticks.map((tick) => [
      svg("line", { class: "grid", x1: BOX.left, x2: WIDTH - BOX.right, y1: y.at(tick), y2: y.at(tick) }),
      svg("text", { class: "tick", x: BOX.left - 7, y: y.at(tick) + 4, "text-anchor": "end" }, short(tick, 3)),
    ]),
    x.ticks.filter(Number.isInteger).map((tick) => svg("text", { class: "tick", x: x.at(tick), y: HEIGHT - 10, "text-anchor": "middle" }, whole(tick))),
    drawn.map(({ points, kind }) => svg("path", { class: `line kind-${kind}`, d: points.map(([step, value], at) => `${at ? "L" : "M"}${x.at(step).toFixed(1)} ${y.at(value).toFixed(1)}`).join("") })),
    drawn.filter(({ points }) => points.length <= 20).flatMap(({ points, kind }) => points.map(([step, value]) => svg("circle", { class: `dot kind-${kind}`, cx: x.at(step), cy: y.at(value), r: 3 }))),
    guide,
  );
  const figure = html("figure", { class: "lines", onpointerleave: () => guide.setAttribute("visibility", "hidden") }, says, picture);
  figure.addEventListener("pointermove", (event) => {
    const place = picture.getBoundingClientRect();
    const px = ((event.clientX - place.left) * WIDTH) / place.width;
    const nearest = (points) => points.reduce((best, each) => (Math.abs(x.at(each[0]) - px) < Math.abs(x.at(best[0]) - px) ? each : best));
    const hits = drawn.map((each) => [each.name, ...nearest(each.points)]);
    guide.setAttribute("visibility", "visible");
    guide.setAttribute("x1", x.at(hits[0][1]));
    guide.setAttribute("x2", x.at(hits[0][1]));
    says.querySelector("output").textContent = hits.map(([name, step, value]) => `${name} ${short(value)} at ${whole(step)}`).join(" · ");
  });
  return figure;
}

function summary({ name, points }) {
  return `${name} from ${short(points[0][1])} to ${short(points.at(-1)[1])} in ${whole(points.at(-1)[0])} steps`;
}
