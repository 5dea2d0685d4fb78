// The distribution of a layer's real values, and the quantization grid over it.
import { html, svg } from "./dom.js";
import { short } from "./format.js";

const LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
const WIDTH = 320, HEIGHT = 104, BOTTOM = 84, TOP = 6;
const FEWEST_PX = 3, ROOM_PX = 45;

/** The real values of the smallest and the largest quantized value. */
function ends(scale, zeroPoint, bits, unsigned) {
  const [low, high] = unsigned ? [0, 2 ** bits - 1] : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
  return [(low - zeroPoint) * scale, (high - zeroPoint) * scale];
}

/** A picture of [minimum, maximum, letters, scale or [least, largest] by channel, zero point, bits]. */
export function histogram(title, packed, unsigned) {
  if (!packed) return null;
  const [minimum, maximum, letters, scales, zeroPoint, bits] = packed;
  const byChannel = Array.isArray(scales), largest = byChannel ? scales[1] : scales;
  const grid = ends(largest, zeroPoint, bits, unsigned);
  const [left, right] = [Math.min(minimum, grid[0]), Math.max(maximum, grid[1])];
  const at = (value) => ((value - left) / (right - left || 1)) * WIDTH;
  const width = (maximum - minimum) / letters.length || 1e-9;
  const bars = [...letters].map((letter, bin) => {
    const height = (LETTERS.indexOf(letter) / (LETTERS.length - 1)) * (BOTTOM - TOP);
    const [low, high] = [minimum + bin * width, minimum + (bin + 1) * width];
    const kind = high < grid[0] || low > grid[1] ? "bar outside" : "bar";
    return height ? svg("rect", { class: kind, x: at(minimum + bin * width), width: Math.max(0.8, at(minimum + width) - at(minimum) - 0.4), y: BOTTOM - height, height }) : null;
  });
  const used = Math.min(100, (100 * (Math.min(maximum, grid[1]) - Math.max(minimum, grid[0]))) / (grid[1] - grid[0]));
  const steps = byChannel ? `steps of ${short(scales[0], 3)} to ${short(scales[1], 3)}, by channel` : `steps of ${short(scales, 3)}`;
  const says = `${2 ** bits} values in ${steps}; ${short(used, 3)} % of the grid's range used`;
  return html(
    "figure", { class: "histogram" },
    html("figcaption", {}, html("strong", {}, title), ` ${short(minimum, 3)} to ${short(maximum, 3)}`),
    svg(
      "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${says}` },
      svg("rect", { class: "range", x: at(grid[0]), width: at(grid[1]) - at(grid[0]), y: TOP, height: BOTTOM - TOP }),
      marks(grid, largest, at),
      bars,
      svg("line", { class: "axis", x1: 0, x2: WIDTH, y1: BOTTOM, y2: BOTTOM }),
      svg("line", { class: "zero", x1: at(0), x2: at(0), y1: TOP, y2: BOTTOM + 4 }),
      at(0) > ROOM_PX && at(0) < WIDTH - ROOM_PX ? svg("text", { class: "tick", x: at(0), y: HEIGHT - 2, "text-anchor": "middle" }, "0") : "",
      svg("text", { class: "tick", x: 0, y: HEIGHT - 2 }, short(left, 3)),
      svg("text", { class: "tick", x: WIDTH, y: HEIGHT - 2, "text-anchor": "end" }, short(right, 3)),
    ),
    html("p", { class: "hint" }, says),
  );
}

/** The grid's values: each one, or every 2nd, 4th, ... where they would run into each other. */
function marks(grid, step, at) {
  let every = 1;
  while ((at(step * every) - at(0)) < FEWEST_PX && every < 1 << 16) every *= 2;
  const ticks = [];
  for (let value = grid[0]; value <= grid[1] + step / 2; value += step * every) {
    ticks.push(svg("line", { class: "code", x1: at(value), x2: at(value), y1: BOTTOM, y2: BOTTOM + 4 }));
  }
  return ticks;
}
