// Axes: from values to pixels, with round ticks.

const STEPS = [1, 2, 2.5, 5, 10];

function roundStep(span, most) {
  const power = 10 ** Math.floor(Math.log10(span / most));
  return power * STEPS.find((step) => step * power >= span / most);
}

/** A scale of values onto [from, to] pixels: {at(value), ticks}. Logarithmic from one power of ten on, if `log`. */
export function scale(values, from, to, { log = false, ticks = 5 } = {}) {
  const finite = values.filter((value) => Number.isFinite(value));
  let least = Math.min(...finite), most = Math.max(...finite);
  if (log && least > 0 && most / least >= 10) return logarithmic(least, most, from, to);
  const pad = (most - least || Math.abs(most) * 0.1 || 1) * 0.06;
  [least, most] = [least - pad, most + pad];
  const step = roundStep(most - least, ticks);
  const marks = [];
  for (let tick = Math.ceil(least / step) * step; tick <= most; tick += step) marks.push(Number(tick.toPrecision(6)));
  return { at: (value) => from + ((value - least) / (most - least)) * (to - from), ticks: marks };
}

function logarithmic(least, most, from, to) {
  const [low, high] = [Math.log10(least) - 0.05, Math.log10(most) + 0.05];
  const factors = high - low > 2 ? [1] : [1, 2, 5];
  const marks = [];
  for (let power = Math.floor(low); power <= Math.ceil(high); power++) {
    for (const factor of factors) marks.push(factor * 10 ** power);
  }
  const at = (value) => from + ((Math.log10(value) - low) / (high - low)) * (to - from);
  return { at, ticks: marks.filter((tick) => Math.log10(tick) >= low && Math.log10(tick) <= high) };
}
