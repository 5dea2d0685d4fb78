// Shows the view that the address names: all models, one, two side by side, or what changed.
import { changesView } from "./changes.js";
import { comparison } from "./compare.js";
import { changes, compared, modelOf, models } from "./data.js";
import { html } from "./dom.js";
import { modelView } from "./model.js";
import { overview } from "./overview.js";

const THEMES = ["auto", "light", "dark"];
const main = document.getElementById("main"), trail = document.getElementById("trail"), theme = document.getElementById("theme");

const open = (label) => { location.hash = encodeURIComponent(label); };
const compare = (a, b) => { location.hash = `?compare=${encodeURIComponent(a)}&with=${encodeURIComponent(b)}`; };

let all = null, scrolled = 0;

/** [view, its name in the trail] of the address. */
function viewOf(address) {
  const query = address.startsWith("?") ? new URLSearchParams(address) : null;
  if (query?.has("changes")) return [changesView(), `Since ${changes?.former ?? "main"}`];
  const pair = [query?.get("compare"), query?.get("with")].map((label) => modelOf(label ?? ""));
  if (pair[0] && pair[1]) return [comparison(pair[0], pair[1], { compare }), `${pair[0].label} and ${pair[1].label}`];
  const model = modelOf(address.startsWith("?") ? "" : decoded(address));
  return model ? [modelView(model, { compare }), model.label] : [null, ""];
}

function decoded(address) {
  try {
    return decodeURIComponent(address);
  } catch {
    return address;
  }
}

function show() {
  const address = location.hash.slice(1);
  const [view, name] = viewOf(address);
  if (main.firstElementChild === all) scrolled = window.scrollY;
  all ??= overview({ open, compare });
  main.replaceChildren(view ?? all);
  trail.replaceChildren(...(view ? [html("a", { href: "#" }, "All models"), html("span", { "aria-current": "page" }, name)] : []));
  window.scrollTo(0, view ? 0 : scrolled);
  document.title = name ? `${name} · qatbuild` : `qatbuild: ${models.length} model${models.length === 1 ? "" : "s"}`;
}

function stored(value) {
  try {
    if (value) localStorage.setItem("qatbuild-theme", value);
    return localStorage.getItem("qatbuild-theme");
  } catch {
    return value ?? null; // A browser may forbid a file to store anything.
  }
}

function paint(name) {
  document.documentElement.dataset.theme = name;
  theme.textContent = { auto: "Theme: auto", light: "Theme: light", dark: "Theme: dark" }[name];
}

theme.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  stored(next);
  paint(next);
});
paint(THEMES.find((name) => name === stored()) ?? "auto");

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // An address names a model.
  main.focus();
});
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, select, textarea");
  if (event.key === "/" && !isTyping && main.firstElementChild === all) {
    event.preventDefault();
    document.getElementById("filter").focus();
  }
});
const closed = [];
window.addEventListener("beforeprint", () => document.querySelectorAll("details:not([open])").forEach((each) => { each.open = true; closed.push(each); }));
window.addEventListener("afterprint", () => closed.splice(0).forEach((each) => { each.open = false; }));
window.addEventListener("hashchange", show);
if (compared && !location.hash) compare(compared[0], compared[1]);
else show();
document.documentElement.dataset.ready = "yes";
