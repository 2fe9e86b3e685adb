// The table of devices beside the plan: the same devices, the same selection, usable without the plan.
import { h, setText, stateMark, t } from "./page.js";
import { age, power } from "./format.js";
import { now } from "./line.js";
import { STATES } from "./model.js";

const PAGE = 150;
const COLUMNS = [
  { name: "state", numeric: false, key: (row) => STATES.indexOf(row.state) },
  { name: "device", numeric: false, key: (row) => row.device.name.toLocaleLowerCase() },
  { name: "power_w", numeric: true, key: (row) => -(row.power ?? -Infinity) },
  { name: "age", numeric: true, key: (row) => -(row.device.heard_at ?? -Infinity) },
];

export class DeviceTable {
  constructor(root, model, choose) {
    this.root = root;
    this.model = model;
    this.choose = choose;
    this.sort = "device";
    this.down = false;
    this.limit = PAGE;
    this.rows = new Map();
    this.body = h("tbody");
    this.title = h("h2", { id: "devices-title" });
    this.count = h("span", { class: "quiet num" });
    this.note = h("p", { class: "empty-line", hidden: true });
    this.more = h("button", { type: "button", class: "more", hidden: true, onclick: () => { this.limit += PAGE; this.show(this.devices); } });
    this.heads = COLUMNS.map((column) => h("th", { scope: "col", class: column.numeric ? "num" : null },
      h("button", { type: "button", onclick: () => this.sortBy(column.name) }, t(`col.${column.name}`), h("span", { class: "sort", "aria-hidden": "true" }))));
    const table = h("table", { "aria-labelledby": "devices-title" }, h("thead", {}, h("tr", {}, this.heads)), this.body);
    root.replaceChildren(h("div", { class: "card-head" }, this.title, this.count), h("div", { class: "scroll" }, table, this.note, this.more));
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (row && !event.target.closest("a")) this.choose(row.dataset.device);
    });
    this.body.addEventListener("keydown", (event) => this.key(event));
  }

  sortBy(name) {
    this.down = this.sort === name ? !this.down : false;
    this.sort = name;
    this.show(this.devices);
  }

  /** `devices` in the chosen place and states; `emptyText` when there are none. */
  show(devices, emptyText = this.emptyText) {
    this.devices = devices;
    this.emptyText = emptyText;
    const column = COLUMNS.find((one) => one.name === this.sort);
    const rows = devices.map((device) => this.values(device));
    const key = new Map(rows.map((row) => [row, column.key(row)]));
    const turn = this.down ? -1 : 1;
    rows.sort((a, b) => {
      const [x, y] = [key.get(a), key.get(b)];
      return (x < y ? -1 : x > y ? 1 : a.device.name.localeCompare(b.device.name, undefined, { numeric: true })) * turn;
    });
    if (this.sort === "device") rows.sort((a, b) => a.device.name.localeCompare(b.device.name, undefined, { numeric: true }) * turn);
    this.heads.forEach((head, n) => {
      const own = COLUMNS[n].name === this.sort;
      if (own) head.setAttribute("aria-sort", this.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const shown = rows.slice(0, this.limit);
    const wanted = shown.map((row) => this.row(row));
    if (wanted.length !== this.body.children.length || wanted.some((row, n) => row !== this.body.children[n])) {
      const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
      this.body.replaceChildren(...wanted);
      focused?.focus({ preventScroll: true });
    }
    if (!this.body.querySelector("[tabindex='0']")) this.body.querySelector(".pick")?.setAttribute("tabindex", "0");
    setText(this.count, String(devices.length));
    this.note.hidden = devices.length > 0;
    setText(this.note, this.emptyText ?? "");
    this.body.parentElement.hidden = devices.length === 0;
    this.more.hidden = rows.length <= this.limit;
    setText(this.more, t("twin.more", { n: Math.min(PAGE, rows.length - this.limit) }));
  }

  values(device) {
    const state = this.model.state(device);
    const lost = this.model.lost(device);
    return { device, state, lost, power: lost ? null : device.active_power_w };
  }

  row({ device, state, lost, power: watts }) {
    let row = this.rows.get(device.device_id);
    if (!row) {
      const pick = h("button", { type: "button", class: "pick", tabindex: -1, "aria-pressed": "false" }, device.name);
      row = h("tr", { "data-device": device.device_id }, h("td"), h("td", { class: "name" }, pick, h("span", { class: "sub" }), h("span", { class: "sub", hidden: true })),
        h("td", { class: "num" }), h("td", { class: "num age" }));
      this.rows.set(device.device_id, row);
    }
    const [stateCell, nameCell, powerCell, ageCell] = row.children;
    if (row.dataset.state !== state) {
      row.dataset.state = state;
      stateCell.replaceChildren(stateMark(state));
    }
    row.classList.toggle("stale", lost);
    const [pick, place, word] = nameCell.children;
    setText(pick, device.name);
    if (pick.title !== device.name) pick.title = device.name;
    const at = now();
    const room = this.model.rooms.get(device.room_id)?.name ?? t("twin.elsewhere");
    const lack = this.model.lack(device);
    setText(place, room);
    setText(word, lack ?? "");
    word.hidden = lack === null;
    setText(powerCell, watts === null ? "–" : power(watts));
    setText(ageCell, device.heard_at === null ? "–" : age(at - device.heard_at));
    return row;
  }

  select(deviceId) {
    for (const row of this.rows.values()) {
      const own = row.dataset.device === deviceId;
      row.classList.toggle("selected", own);
      row.querySelector(".pick").setAttribute("aria-pressed", String(own));
      if (own) {
        this.focusable(row);
        // only within the table's own window: a phone's page must not jump
        const pane = this.body.closest(".scroll");
        if (pane.scrollHeight > pane.clientHeight && getComputedStyle(pane).overflowY !== "visible") row.scrollIntoView({ block: "nearest" });
      }
    }
  }

  focusable(row) {
    for (const other of this.body.querySelectorAll(".pick[tabindex='0']")) other.tabIndex = -1;
    row.querySelector(".pick").tabIndex = 0;
  }

  key(event) {
    const row = event.target.closest("tr");
    if (!row) return;
    const next = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling, Home: this.body.firstElementChild, End: this.body.lastElementChild }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    if (next) {
      this.focusable(next);
      next.querySelector(".pick").focus();
    }
  }
}
