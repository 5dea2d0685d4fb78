// Numbers in words. A missing one is a stroke.

const NONE = "–";
const separated = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const MINUTE = 60, HOUR = 3600, DAY = 86400;
const absent = (value) => value === null || value === undefined || Number.isNaN(value);

/** A whole number with separators. */
export function whole(value) {
  return absent(value) ? NONE : separated.format(value);
}

/** At most `digits` significant digits. */
export function short(value, digits = 4) {
  if (absent(value)) return NONE;
  if (typeof value === "string") return value === "=" ? "no loss" : value;
  return String(Number(value.toPrecision(digits)));
}

/** A figure of a metric, with two decimals if it is in percent. */
export function figure(value, percent) {
  return absent(value) ? NONE : percent ? value.toFixed(2) : short(value);
}

/** A difference with its sign. */
export function signed(value, percent) {
  if (absent(value)) return NONE;
  const text = percent ? Math.abs(value).toFixed(2) : short(Math.abs(value), 3);
  return Number(text) === 0 ? "0" : `${value < 0 ? "−" : "+"}${text}`;
}

/** Bytes in kB and MB, as file managers count them. */
export function size(bytes) {
  if (absent(bytes)) return NONE;
  if (bytes < 1000) return `${bytes} B`;
  const [unit, name] = bytes < 1e6 ? [1e3, "kB"] : bytes < 1e9 ? [1e6, "MB"] : [1e9, "GB"];
  return `${Number((bytes / unit).toPrecision(3))} ${name}`;
}

/** Milliseconds. */
export function milliseconds(value) {
  return absent(value) ? NONE : `${short(value, 3)} ms`;
}

/** Seconds as s, min or h. */
export function duration(seconds) {
  if (absent(seconds)) return NONE;
  if (seconds < MINUTE) return `${Number(seconds.toPrecision(2))} s`;
  if (seconds < HOUR) return `${Math.round(seconds / MINUTE)} min`;
  return `${Number((seconds / HOUR).toPrecision(2))} h`;
}

/** How long ago a time in seconds since 1970 is. */
export function age(at, now = Date.now() / 1000) {
  if (absent(at)) return NONE;
  const seconds = Math.max(0, now - at);
  if (seconds < MINUTE) return "now";
  if (seconds < HOUR) return `${Math.round(seconds / MINUTE)} min`;
  if (seconds < 2 * DAY) return `${Math.round(seconds / HOUR)} h`;
  return `${Math.round(seconds / DAY)} days`;
}

/** A time in words. */
export function date(at) {
  return absent(at) ? NONE : new Date(at * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC";
}

/** A value of a spec on one line. */
export function plain(value) {
  return value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);
}
