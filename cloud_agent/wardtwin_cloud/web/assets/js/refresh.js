// Keeps a server-rendered page live: when something it may show has changed, its parts marked data-live are fetched anew.
import { Line, showFreshness } from "./line.js";
import { searchElsewhere } from "./search.js";

const EVERY_MS = 2_000;
let last = 0;
let planned = null;

async function fetchParts() {
  planned = null;
  last = performance.now();
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!answer?.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live], [data-count]")) {
    const name = part.dataset.live ? `[data-live="${part.dataset.live}"]` : `[data-count="${part.dataset.count}"]`;
    const other = fresh.querySelector(name);
    if (!other && part.hasAttribute("data-reload")) location.reload();
    if (!other || other.isEqualNode(part)) continue;
    if (part.contains(document.activeElement) && document.activeElement !== part) {
      // keep the focus on the same link or region
      const focusable = "a, button, [tabindex]";
      const at = [...part.querySelectorAll(focusable)].indexOf(document.activeElement);
      part.replaceChildren(...other.childNodes);
      part.querySelectorAll(focusable)[at]?.focus({ preventScroll: true });
    } else {
      const scrolled = part.querySelector(".scroll")?.scrollLeft ?? 0;
      part.replaceChildren(...other.childNodes);
      if (scrolled) part.querySelector(".scroll").scrollLeft = scrolled;
    }
    part.className = other.className;
    part.hidden = other.hidden;
  }
}

function plan() {
  if (planned !== null || !document.querySelector("[data-live]")) return;
  planned = setTimeout(fetchParts, Math.max(0, last + EVERY_MS - performance.now()));
}

const line = new Line({ snapshot: plan, delta: plan }, () => showFreshness(line));
searchElsewhere();
setInterval(() => showFreshness(line), 1000);
showFreshness(line);
