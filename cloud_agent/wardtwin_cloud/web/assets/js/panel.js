// The side panel: what is selected, in full. And the list of open warnings.
import { h, icon, severityMark, stateMark, t, word } from "./page.js";
import { age, clock, dateAndTime, measure, power } from "./format.js";
import { now } from "./line.js";

function fact(name, value) {
  return h("div", { class: "fact" }, h("dt", {}, name), h("dd", { class: "num" }, value));
}

export class Panel {
  constructor(root, model, choose) {
    this.root = root;
    this.model = model;
    this.choose = choose;
    root.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.choose({ device: null });
    });
  }

  /** A device, or a room if no device is selected; hidden for anything else. */
  show({ device, room }) {
    const content = device ? this.device(this.model.devices.get(device)) : room ? this.room(this.model.rooms.get(room)) : null;
    const signature = content?.map((part) => part.outerHTML).join("") ?? "";
    this.root.hidden = !content;
    if (!content || signature === this.signature) return;
    this.signature = signature;
    const focused = this.root.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    this.root.replaceChildren(...content);
    if (focused) this.root.querySelector(`[data-focus=${focused}]`)?.focus();
  }

  head(title, sub, close) {
    return h("div", { class: "card-head" }, h("div", {}, h("h2", {}, title), h("p", { class: "quiet" }, sub)),
      h("button", { type: "button", class: "icon-button", "data-focus": "close", "aria-label": t("twin.close"), onclick: close }, icon("i-close")));
  }

  device(device) {
    if (!device) return null;
    const state = this.model.state(device);
    const lost = this.model.lost(device);
    const at = now();
    const since = this.model.lack(device) ?? (device.state_since === null ? "" : t("state.since", { time: clock(device.state_since, at) }));
    const room = this.model.rooms.get(device.room_id);
    const located = device.room_since === null ? t("twin.home_room") : t("twin.here_since", { time: clock(device.room_since, at) });
    const place = room
      ? h("span", {}, h("button", { type: "button", class: "link", "data-focus": "room", onclick: () => this.choose({ place: { noun: "room", id: room.room_id } }) }, room.name), h("span", { class: "sub" }, located))
      : t("device.unplaced");
    const values = Object.entries(device.values).filter(([name]) => name !== "active_power_w");
    return [
      this.head(device.name, word("type", device.device_type), () => this.choose({ device: null })),
      ...this.alarms("device", device.device_id),
      h("div", { class: `headline${lost ? " stale" : ""}` },
        h("div", {}, stateMark(state), h("span", { class: "sub" }, since)),
        h("p", { class: "big num" }, lost || device.active_power_w === null ? "–" : power(device.active_power_w), h("span", { class: "unit" }, " W"))),
      h("dl", { class: "facts" },
        fact(t("device.room"), place),
        ...(lost ? [] : values.map(([name, value]) => fact(t(`measure.${name}`), measure(name, value)))),
        fact(t("device.way"), device.gateway_id ? `${device.gateway_id}${device.transport ? `, ${word("transport", device.transport)}` : ""}` : "–")),
      h("p", { class: "foot" }, h("a", { class: "button", "data-focus": "open", href: `/devices/${encodeURIComponent(device.device_id)}` }, t("twin.open_device"))),
    ];
  }

  room(room) {
    if (!room) return null;
    const climate = this.model.climates.get(room.room_id);
    const devices = this.model.devicesIn({ noun: "room", id: room.room_id });
    const watts = devices.reduce((sum, device) => sum + (this.model.lost(device) ? 0 : (device.active_power_w ?? 0)), 0);
    const facts = [fact(t("twin.devices_here"), String(devices.length)), fact(t("twin.power_now"), `${power(watts)}\u202fW`)];
    let note = null;
    if (!climate) note = t("twin.no_climate");
    else if (this.model.stale(climate)) note = climate.heard_at === null ? t("state.no_data_yet") : t("state.no_data_since", { time: clock(climate.heard_at, now()) });
    else for (const [name, value] of Object.entries(climate.climate)) facts.push(fact(t(`measure.${name}`), measure(name, value)));
    return [
      this.head(room.name, `${room.building.name} · ${room.floor.name}`, () => this.choose({ place: { noun: "floor", id: room.floor.floor_id } })),
      ...this.alarms("room", room.room_id),
      h("dl", { class: "facts" }, facts),
      ...(note ? [h("p", { class: "quiet foot" }, note)] : []),
    ];
  }

  alarms(noun, id) {
    return this.model.alarmsOf(noun, id).map((alarm) => warning(alarm, "", false));
  }
}

function warning(alarm, where, timed = true) {
  const value = alarm.value === null ? "" : `${Number(alarm.value.toPrecision(4))}${alarm.unit ? `\u202f${alarm.unit}` : ""}`;
  const detail = [where, value].filter(Boolean).join(" · ");
  const at = h("time", { class: "sub num", datetime: new Date(alarm.raised_at * 1000).toISOString(), title: dateAndTime(alarm.raised_at) }, timed ? age(now() - alarm.raised_at) : clock(alarm.raised_at, now()));
  return h("div", { class: `warning warning-${alarm.severity}` }, severityMark(alarm.severity, word("rule", alarm.rule)), h("span", { class: "sub" }, detail), at);
}

const SHOWN = 4;

export class Warnings {
  constructor(root, model, choose) {
    this.root = root;
    this.model = model;
    this.choose = choose;
  }

  update() {
    const alarms = [...this.model.alarms];
    for (const gateway of this.model.gateways.values()) {
      if (gateway.received_at !== null && this.model.silent(gateway.gateway_id)) {
        alarms.push({ alarm_id: "", rule: "gateway_silent", subject: `gateway:${gateway.gateway_id}`, severity: "caution", raised_at: gateway.received_at, value: null });
      }
    }
    const list = alarms.slice(0, SHOWN).map((alarm) => {
      const subject = this.model.subject(alarm);
      const [noun, ...rest] = subject.split(":");
      const id = rest.join(":");
      const row = warning(alarm, this.model.nameOf(subject));
      const pick = noun === "device" && this.model.devices.has(id) ? () => this.choose({ device: id })
        : noun === "room" && this.model.rooms.has(id) ? () => this.choose({ place: { noun: "room", id } }) : null;
      return h("li", {}, pick ? h("button", { type: "button", class: "warning-pick", onclick: pick }, row) : row);
    });
    const signature = list.map((item) => item.outerHTML).join("");
    if (signature === this.signature) return;
    this.signature = signature;
    const at = [...this.root.querySelectorAll("button")].indexOf(document.activeElement);
    this.root.replaceChildren(
      h("div", { class: "card-head" }, h("h2", {}, t("warnings.title")), h("span", { class: "quiet num" }, alarms.length ? String(alarms.length) : "")),
      alarms.length ? h("ul", { class: "warning-list" }, list) : h("p", { class: "quiet calm" }, t("warnings.none")),
      ...(alarms.length > SHOWN ? [h("p", { class: "foot" }, h("a", { href: "/warnings" }, t("warnings.all", { n: alarms.length })))] : []),
    );
    if (at >= 0) this.root.querySelectorAll("button")[at]?.focus();
  }
}
