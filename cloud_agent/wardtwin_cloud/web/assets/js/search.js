// One search for everything: press /, type a name, arrow, Enter. On the twin it selects, elsewhere it goes to the twin.
import { h, icon, t, word } from "./page.js";

const MOST = 12;

function fold(text) {
  return text.toLocaleLowerCase().normalize("NFD").replace(/\p{M}/gu, "");
}

export class Search {
  /** `entries()` gives [{name, sub, noun, target}], maybe as a promise; `go(target)` follows one. */
  constructor(entries, go) {
    this.input = document.getElementById("search");
    this.list = document.getElementById("search-results");
    this.entries = entries;
    this.go = go;
    this.at = -1;
    this.found = [];
    document.addEventListener("keydown", (event) => {
      const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        this.input.focus();
        this.input.select();
      }
    });
    this.input.addEventListener("input", () => this.look());
    this.input.addEventListener("focus", () => this.look());
    this.input.addEventListener("blur", () => setTimeout(() => this.close(), 120));
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("pointerdown", (event) => {
      const item = event.target.closest("[role=option]");
      if (!item || item.hasAttribute("aria-disabled")) return;
      event.preventDefault();
      this.follow(Number(item.dataset.n));
    });
  }

  async look() {
    const query = this.input.value.trim();
    if (!query) return this.close();
    const words = fold(query).split(/\s+/);
    const entries = await this.entries();
    if (this.input.value.trim() !== query) return;
    const rank = (entry) => (fold(entry.name).startsWith(words[0]) ? 0 : 1);
    this.found = entries.filter((entry) => words.every((part) => fold(`${entry.name} ${entry.sub} ${entry.id}`).includes(part)))
      .sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name, undefined, { numeric: true })).slice(0, MOST);
    this.at = this.found.length ? 0 : -1;
    this.list.replaceChildren(...(this.found.length ? this.found.map((entry, n) => this.option(entry, n))
      : [h("li", { role: "option", "aria-disabled": "true", class: "quiet" }, t("search.none", { query }))]));
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.mark();
  }

  option(entry, n) {
    return h("li", { role: "option", id: `search-${n}`, "data-n": n, "aria-selected": "false" },
      icon(entry.noun === "device" ? "i-devices" : "i-twin"), h("span", { class: "found-name" }, entry.name), h("span", { class: "sub" }, entry.sub));
  }

  mark() {
    for (const item of this.list.children) item.setAttribute("aria-selected", String(Number(item.dataset.n) === this.at));
    const own = this.at >= 0 ? this.list.children[this.at] : null;
    own?.scrollIntoView({ block: "nearest" });
    if (own) this.input.setAttribute("aria-activedescendant", own.id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  key(event) {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (this.found.length) this.at = (this.at + (event.key === "ArrowDown" ? 1 : -1) + this.found.length) % this.found.length;
      this.mark();
    } else if (event.key === "Enter" && this.at >= 0) {
      event.preventDefault();
      this.follow(this.at);
    } else if (event.key === "Escape") {
      this.input.value = "";
      this.close();
      this.input.blur();
    }
  }

  follow(n) {
    const entry = this.found[n];
    this.input.value = "";
    this.close();
    this.input.blur();
    this.go(entry);
  }

  close() {
    this.list.hidden = true;
    this.found = [];
    this.at = -1;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }
}

/** Everything with a name in a snapshot of the twin. */
export function entriesOf(hospital, devices) {
  const entries = [];
  const rooms = new Map();
  for (const building of hospital?.buildings ?? []) {
    for (const floor of building.floors) {
      entries.push({ noun: "floor", id: floor.floor_id, name: floor.name, sub: building.name });
      for (const room of floor.rooms) {
        rooms.set(room.room_id, room.name);
        entries.push({ noun: "room", id: room.room_id, name: room.name, sub: floor.name });
      }
    }
  }
  for (const device of devices) {
    const sub = [word("type", device.device_type), rooms.get(device.room_id)].filter(Boolean).join(" · ");
    entries.push({ noun: "device", id: device.device_id, name: device.name, sub });
  }
  return entries;
}

/** The search of pages that hold no twin: fetches it on first use and goes there. */
export function searchElsewhere() {
  let known = null;
  const entries = () => (known ??= fetch("/api/v1/twin").then((answer) => answer.json()).then((twin) => entriesOf(twin.hospital, twin.devices)));
  return new Search(entries, (entry) => {
    if (entry.noun === "device") location.href = `/devices/${encodeURIComponent(entry.id)}`;
    else location.href = `/?place=${entry.noun}:${encodeURIComponent(entry.id)}`;
  });
}
