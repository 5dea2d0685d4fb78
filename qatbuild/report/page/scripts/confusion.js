// Which classes are taken for which: the matrix, the worst pairs with their pictures, and the accuracy of each class.
import { html, scrolling, svg } from "./dom.js";
import { short, whole } from "./format.js";

const MOST_IN_NUMBERS = 25;
const CELL_PX = 4;

/** The matrix of {labels, counts}: a table of numbers, or a picture if there are many classes. */
export function matrix({ labels, counts }) {
  const most = Math.max(1, ...counts.flatMap((row, at) => row.filter((_, column) => column !== at)));
  return labels.length <= MOST_IN_NUMBERS ? numbers(labels, counts, most) : picture(labels, counts, most);
}

function numbers(labels, counts, most) {
  const heads = html("tr", {}, html("th", { scope: "col" }, "actual \\ predicted"), labels.map((label) => html("th", { scope: "col" }, label)));
  const rows = counts.map((row, actual) => html("tr", {}, html("th", { scope: "row" }, labels[actual]), row.map((count, predicted) => cell(count, count / most, actual === predicted))));
  return scrolling(html("table", { class: "confusion" }, html("thead", {}, heads), html("tbody", {}, rows)), "Confusion matrix");
}

function cell(count, share, right) {
  const strength = right ? null : { "--share": `${Math.round(12 + 38 * Math.min(1, share))}%` };
  return html("td", { class: right ? "right" : count ? "wrong" : "empty", style: strength ?? {} }, count ? whole(count) : "·");
}

function picture(labels, counts, most) {
  const side = labels.length * CELL_PX;
  const cells = counts.flatMap((row, actual) => row.map((count, predicted) => count ? svg("rect", {
    class: actual === predicted ? "right" : "wrong", x: predicted * CELL_PX, y: actual * CELL_PX, width: CELL_PX, height: CELL_PX,
    opacity: actual === predicted ? 0.35 : 0.25 + (0.75 * count) / most,
  }, svg("title", {}, `${labels[actual]} taken for ${labels[predicted]}: ${count}`)) : null));
  return svg("svg", { class: "confusion-picture", viewBox: `0 0 ${side} ${side}`, role: "img", "aria-label": `Confusion matrix of ${labels.length} classes: rows actual, columns predicted` }, cells);
}

/** The worst pairs [[actual, predicted, count]], each with its pictures in base64. */
export function worstPairs(confusion, worst, pictures) {
  const name = (label) => confusion?.labels[label] ?? String(label);
  return html("ol", { class: "worst" }, worst.map(([actual, predicted, count], at) => html(
    "li", {},
    html("span", {}, html("strong", {}, name(actual)), " taken for ", html("strong", {}, name(predicted)), html("span", { class: "hint" }, count === 1 ? " once" : ` ${whole(count)} times`)),
    html("span", { class: "pictures" }, (pictures?.[at] ?? []).map((data) => html("img", { src: `data:image/png;base64,${data}`, alt: `An example of ${name(actual)} that was taken for ${name(predicted)}` }))),
  )));
}

/** Bars of the accuracy of each class, the worst first. */
export function byClass(classes) {
  const rows = classes.filter(([, percent]) => percent !== null).sort((a, b) => a[1] - b[1]);
  return html("div", { class: "bars" }, rows.map(([label, percent, total]) => [
    html("span", {}, label), html("span", { class: "number" }, `${short(percent, 3)} % of ${whole(total)}`),
    html("span", { class: "track" }, html("span", { class: "fill", style: { width: `${percent}%` } })),
  ]));
}
