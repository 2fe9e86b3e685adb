// The rooms of a floor that have a climate sensor, as a table: the same figures as on the plan, and all of them.
import { h, setText, t } from "./page.js";
import { age, clock, measured } from "./format.js";
import { now } from "./line.js";

const MEASURES = ["temperature_c", "relative_humidity_pct", "co2_ppm", "voc_index", "formaldehyde_ppb", "pm2_5_ug_m3"];

export class ClimateTable {
  constructor(model, choose) {
    this.model = model;
    this.head = h("tr");
    this.body = h("tbody");
    this.root = h("div", { class: "climate scroll", hidden: true }, h("table", { "aria-label": t("twin.climate") }, h("thead", {}, this.head), this.body));
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (row) choose(row.dataset.room);
    });
  }

  show(floor, selected) {
    const rooms = floor.rooms.filter((room) => this.model.climates.has(room.room_id));
    const climates = rooms.map((room) => this.model.climates.get(room.room_id));
    const names = MEASURES.filter((name) => climates.some((climate) => climate.climate[name] !== undefined));
    const shape = JSON.stringify([floor.floor_id, rooms.map((room) => room.room_id), names]);
    this.root.hidden = rooms.length === 0;
    if (shape !== this.shape) {
      this.shape = shape;
      const unit = (name) => (t(`unit.${name}`) ? `, ${t(`unit.${name}`)}` : "");
      this.head.replaceChildren(h("th", { scope: "col" }, t("col.room")), ...names.map((name) => h("th", { scope: "col", class: "num" }, `${t(`short.${name}`)}${unit(name)}`)),
        h("th", { scope: "col", class: "num" }, t("col.age")));
      this.body.replaceChildren(...rooms.map((room) => h("tr", { "data-room": room.room_id },
        h("td", {}, h("button", { type: "button", class: "pick" }, room.name)), names.map(() => h("td", { class: "num" })), h("td", { class: "num" }))));
    }
    const at = now();
    rooms.forEach((room, n) => {
      const row = this.body.children[n];
      const climate = climates[n];
      const stale = this.model.stale(climate);
      row.classList.toggle("stale", stale);
      row.classList.toggle("selected", room.room_id === selected);
      names.forEach((name, column) => {
        const value = climate.climate[name];
        setText(row.children[column + 1], stale || value === undefined ? "–" : measured(name, value)[0]);
      });
      const ago = climate.heard_at === null ? t("state.no_data_yet") : stale ? t("state.no_data_since", { time: clock(climate.heard_at, at) }) : age(at - climate.heard_at);
      setText(row.lastElementChild, ago);
    });
  }
}
