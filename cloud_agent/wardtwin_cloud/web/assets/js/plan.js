// The floor plan: rooms as quiet outlines, their climate, devices as state shapes. Drawn in CSS pixels, so that text keeps
// its size whatever the floor's. What does not fit is shown shorter: name and power, shape alone, count by state.
import { h, svg, t } from "./page.js";
import { clock, measure, power } from "./format.js";
import { extent, labelBox } from "./geometry.js";
import { ClimateTable } from "./climate.js";
import { now } from "./line.js";
import { STATES } from "./model.js";

const PAD = 7;
const EDGE = 2;
const LINE = 16;
const ROW = 22;
const CELL = 24;
const CLIMATE = ["temperature_c", "relative_humidity_pct", "co2_ppm", "formaldehyde_ppb", "pm2_5_ug_m3", "voc_index"];

const ruler = document.createElement("canvas").getContext("2d");

export class Plan {
  constructor(root, model, choose) {
    this.root = root;
    this.model = model;
    this.choose = choose;
    this.filter = new Set();
    this.selection = {};
    this.drawn = new Map();
    this.switch = h("div", { class: "floors", role: "group", "aria-label": t("search.floor") });
    this.note = h("p", { class: "empty-line", hidden: true }, t("twin.no_plan"));
    this.picture = svg("svg", { class: "floorplan", role: "img" });
    this.stage = h("div", { class: "stage" }, this.picture, this.note);
    this.climates = new ClimateTable(model, (id) => choose({ place: { noun: "room", id } }));
    root.replaceChildren(this.switch, this.stage, this.climates.root);
    this.family = getComputedStyle(document.body).fontFamily;
    new ResizeObserver(() => this.layout()).observe(this.stage);
    this.picture.addEventListener("click", (event) => {
      const device = event.target.closest("[data-device]");
      const room = event.target.closest("[data-room]");
      if (device) this.choose({ device: device.dataset.device });
      else if (room) this.choose({ place: { noun: "room", id: room.dataset.room } });
    });
  }

  show(floorId) {
    if (this.floorId === floorId && this.hospital === this.model.hospital) return;
    this.floorId = floorId;
    this.hospital = this.model.hospital;
    this.floor = this.model.floors.get(floorId);
    const floors = this.floor ? this.floor.building.floors : [];
    this.switch.hidden = floors.length < 2;
    this.switch.replaceChildren(...floors.map((floor) => h("button", {
      type: "button", "aria-pressed": String(floor.floor_id === floorId),
      onclick: () => this.choose({ place: { noun: "floor", id: floor.floor_id } }),
    }, floor.name)));
    this.layout();
  }

  layout() {
    const rooms = (this.floor?.rooms ?? []).filter((room) => room.polygon_m.length >= 3);
    this.drawn.clear();
    this.picture.replaceChildren();
    this.note.hidden = rooms.length > 0;
    this.picture.toggleAttribute("hidden", rooms.length === 0);
    const width = this.stage.clientWidth;
    if (!rooms.length || width < 50) return;
    const box = extent(rooms.map((room) => room.polygon_m));
    const fitted = getComputedStyle(this.stage).getPropertyValue("--fit").trim() === "both";
    const across = (width - 2 * EDGE) / (box.right - box.left);
    if (fitted) this.stage.style.flexBasis = `${Math.ceil(Math.min(across, 60) * (box.bottom - box.top) + 2 * EDGE)}px`; // shrinks if it must
    const down = (this.stage.clientHeight - 2 * EDGE) / (box.bottom - box.top);
    this.scale = Math.min(fitted ? Math.min(across, down) : across, 60);
    const [w, tall] = [(box.right - box.left) * this.scale + 2 * EDGE, (box.bottom - box.top) * this.scale + 2 * EDGE];
    this.picture.setAttribute("viewBox", `0 0 ${w} ${tall}`);
    this.picture.setAttribute("width", w);
    this.picture.setAttribute("height", tall);
    const place = ([x, y]) => [EDGE + (x - box.left) * this.scale, EDGE + (y - box.top) * this.scale];
    // corridors first: shared walls belong to the rooms
    for (const room of [...rooms].sort((a, b) => (b.kind === "corridor") - (a.kind === "corridor"))) {
      const points = room.polygon_m.map(place);
      const label = labelBox(points) ?? { x: points[0][0], y: points[0][1], width: 0, height: 0 };
      const shape = svg("polygon", { class: "wall", points: points.map((point) => point.map((value) => value.toFixed(1)).join(",")).join(" ") });
      const content = svg("g", { class: "content" });
      const group = svg("g", { class: `room kind-${room.kind}`, "data-room": room.room_id }, svg("title", {}, room.name), shape, content);
      this.picture.append(group);
      this.drawn.set(room.room_id, { room, label, group, content, signature: "" });
    }
    this.update();
  }

  /** Show what is true now. Only rooms in which something shown has changed are drawn again. */
  update() {
    if (!this.floor) return;
    const byRoom = new Map();
    for (const device of this.model.devices.values()) {
      if (!this.drawn.has(device.room_id)) continue;
      if (!byRoom.has(device.room_id)) byRoom.set(device.room_id, []);
      byRoom.get(device.room_id).push(device);
    }
    let shown = 0;
    for (const [id, drawn] of this.drawn) {
      const devices = (byRoom.get(id) ?? []).sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
      shown += devices.length;
      this.draw(drawn, devices);
    }
    this.climates.show(this.floor, this.selection.room);
    const label = t("twin.plan_label", { floor: this.floor.name, rooms: this.drawn.size, devices: shown });
    if (this.picture.getAttribute("aria-label") !== label) this.picture.setAttribute("aria-label", label);
  }

  draw(drawn, devices) {
    const { room, label } = drawn;
    const width = label.width - 2 * PAD;
    const marks = devices.map((device) => {
      const state = this.model.state(device);
      const watts = this.model.lost(device) || device.active_power_w === null ? null : device.active_power_w;
      return { id: device.device_id, name: device.name, state, watts, dim: this.filter.size > 0 && !this.filter.has(state) };
    });
    const severity = this.severity(room, devices);
    const climate = this.climate(room, width);
    const selected = this.selection.room === room.room_id;
    const signature = JSON.stringify([marks, severity, climate, selected, this.selection.device]);
    if (drawn.signature === signature) return;
    drawn.signature = signature;
    drawn.group.classList.toggle("selected", selected);
    if (selected) this.picture.append(drawn.group); // its outline above its neighbours'
    drawn.content.replaceChildren();
    const head = this.head(room, label, width, severity, climate);
    drawn.content.append(...head.parts);
    const area = { x: label.x + PAD, y: head.bottom + 4, width, height: label.y + label.height - 6 - head.bottom - 4 };
    if (marks.length) drawn.content.append(...this.marks(marks, area));
  }

  severity(room, devices) {
    const alarms = [...this.model.alarmsOf("room", room.room_id), ...devices.flatMap((device) => this.model.alarmsOf("device", device.device_id))];
    return ["critical", "caution", "information"].find((severity) => alarms.some((alarm) => alarm.severity === severity)) ?? null;
  }

  climate(room, width) {
    const climate = this.model.climates.get(room.room_id);
    if (!climate) return null;
    if (this.model.stale(climate)) {
      const time = climate.heard_at === null ? null : clock(climate.heard_at, now());
      return { stale: true, text: time === null ? t("state.no_data_yet") : t("state.no_data_since", { time }) };
    }
    const words = [];
    for (const name of CLIMATE) {
      const value = climate.climate[name];
      if (value === undefined || words.length === 3) continue;
      const text = name === "voc_index" ? `VOC ${measure(name, value)}` : measure(name, value);
      if (this.wide([...words, text].join("   "), 12) > width) break;
      words.push(text);
    }
    return { stale: false, text: words.join("   ") };
  }

  head(room, label, width, severity, climate) {
    const parts = [];
    let bottom = label.y + 5;
    const size = width < 90 ? 11 : 12;
    const room_ = width - (severity ? 18 : 0);
    if (width >= 34 && label.height >= 22) {
      const lines = this.wrap(room.name, room_, size, label.height > 60 ? 2 : 1);
      for (const line of lines) {
        parts.push(svg("text", { class: "room-name", x: label.x + PAD, y: bottom + size, "font-size": size }, line));
        bottom += size + 3;
      }
      if (severity) parts.push(this.shape(`w-${severity}`, `severity-${severity}`, label.x + label.width - PAD - 14, label.y + 5, 14));
    } else if (severity) parts.push(this.shape(`w-${severity}`, `severity-${severity}`, label.x + 2, label.y + 2, Math.min(14, label.width - 4)));
    if (climate?.text && label.y + label.height - bottom > LINE) {
      const text = this.fit(climate.text, width, size);
      if (text) {
        parts.push(svg("text", { class: climate.stale ? "room-climate stale" : "room-climate", x: label.x + PAD, y: bottom + size, "font-size": size }, text));
        bottom += size + 4;
      }
    }
    return { parts, bottom };
  }

  marks(marks, area) {
    const columns = Math.max(1, Math.floor(area.width / 150));
    if (area.width >= 76 && Math.ceil(marks.length / columns) * ROW <= area.height) return this.rows(marks, area, columns);
    const across = Math.floor((area.width + 4) / CELL);
    const down = Math.floor((area.height + 4) / CELL);
    if (across * down >= marks.length) return marks.map((mark, n) => this.cell(mark, area.x + (n % across) * CELL, area.y + Math.floor(n / across) * CELL));
    return this.cluster(marks, area);
  }

  rows(marks, area, columns) {
    const width = area.width / columns;
    return marks.map((mark, n) => {
      const x = area.x + (n % columns) * width;
      const y = area.y + Math.floor(n / columns) * ROW;
      const watts = mark.watts === null ? "" : `${mark.watts < 10 ? mark.watts.toFixed(1) : power(Math.round(mark.watts)).replace(/\.0$/, "")}\u202fW`;
      const wattsWide = watts ? this.wide(watts, 12) + 5 : 0;
      const room = width - 21 - 4 - wattsWide;
      const both = room >= Math.min(60, this.wide(mark.name, 12));
      const parts = [
        svg("rect", { class: "halo", x: x - 4, y, width: width - 2 + (columns === 1 ? 6 : 0), height: ROW - 1, rx: 4 }),
        this.shape(`s-${mark.state}`, `state-${mark.state}`, x, y + 3, 15),
        svg("text", { class: "device-name", x: x + 21, y: y + 15, "font-size": 12 }, this.fit(mark.name, both ? room : width - 26, 12) || ""),
      ];
      if (both && watts) parts.push(svg("text", { class: "device-power", x: x + width - 1, y: y + 15, "font-size": 12, "text-anchor": "end" }, watts));
      return this.group(mark, parts);
    });
  }

  cell(mark, x, y) {
    const halo = svg("rect", { class: "halo", x: x - 3, y: y - 1, width: CELL, height: CELL, rx: 4 });
    return this.group(mark, [halo, this.shape(`s-${mark.state}`, `state-${mark.state}`, x, y + 2, 18)]);
  }

  group(mark, parts) {
    const names = ["device", mark.dim ? "dim" : "", this.selection.device === mark.id ? "selected" : ""].filter(Boolean).join(" ");
    const watts = mark.watts === null ? "" : `, ${power(mark.watts)} W`;
    return svg("g", { class: names, "data-device": mark.id }, svg("title", {}, `${mark.name}: ${t(`state.${mark.state}`)}${watts}`), parts);
  }

  /** Too many to draw one by one: a shape and a number for each state that occurs, the most frequent first. */
  cluster(marks, area) {
    const counts = STATES.map((state) => [state, marks.filter((mark) => mark.state === state).length]).filter(([, count]) => count);
    counts.sort((a, b) => b[1] - a[1]);
    const parts = [];
    let [x, y] = [area.x, area.y];
    const small = area.width < 30 || area.height < 18;
    const size = small ? Math.max(8, Math.min(14, area.width + 8, area.height + 6)) : 15;
    for (const [state, count] of counts) {
      const wide = small ? size : size + 5 + this.wide(String(count), 12) + 9;
      if (x > area.x && x + wide - 9 > area.x + area.width) [x, y] = [area.x, y + 20];
      if (y > area.y && y + 18 > area.y + area.height) break;
      parts.push(this.shape(`s-${state}`, `state-${state}`, x, y, size));
      if (small) break;
      parts.push(svg("text", { class: "device-power", x: x + size + 4, y: y + 12, "font-size": 12 }, String(count)));
      x += wide;
    }
    const words = counts.map(([state, count]) => `${count} ${t(`state.${state}`)}`).join(", ");
    return [svg("g", { class: "cluster" }, svg("title", {}, words), parts)];
  }

  shape(symbol, className, x, y, size) {
    return svg("use", { href: `#${symbol}`, class: `shape ${className}`, x, y, width: size, height: size });
  }

  wide(text, size, weight = 400) {
    ruler.font = `${weight} ${size}px ${this.family}`;
    return ruler.measureText(text).width;
  }

  fit(text, width, size, weight = 400) {
    if (this.wide(text, size, weight) <= width) return text;
    let short = text;
    while (short.length > 1 && this.wide(`${short}…`, size, weight) > width) short = short.slice(0, -1);
    return short.length > 2 ? `${short.trimEnd()}…` : "";
  }

  wrap(text, width, size, lines) {
    const bold = 600;
    if (lines < 2 || this.wide(text, size, bold) <= width) return [this.fit(text, width, size, bold)].filter(Boolean);
    const words = text.split(" ");
    let first = "";
    while (words.length && this.wide(first ? `${first} ${words[0]}` : words[0], size, bold) <= width) first = first ? `${first} ${words.shift()}` : words.shift();
    if (!first) return [this.fit(text, width, size, bold)].filter(Boolean);
    return words.length ? [first, this.fit(words.join(" "), width, size, bold)].filter(Boolean) : [first];
  }
}
