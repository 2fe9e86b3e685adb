// The twin page: one selection (place, device, states) seen in the tree, the plan, the table, the panel and the address.
import { block, h, icon, setText, t } from "./page.js";
import { Line, showFreshness } from "./line.js";
import { Model, STATES } from "./model.js";
import { Panel, Warnings } from "./panel.js";
import { Plan } from "./plan.js";
import { entriesOf, Search } from "./search.js";
import { DeviceTable } from "./table.js";
import { Tree } from "./tree.js";

const model = new Model(block("snapshot"));
const element = (id) => document.getElementById(id);

/** What is selected: a place always, a device maybe, states to show (none: all). */
const selection = { place: null, device: null, states: new Set() };

function firstPlace() {
  // the floor with the most devices is where something is to be seen
  const floors = [...model.floors.values()];
  if (!floors.length) return { noun: "hospital", id: model.hospital.hospital_id };
  const count = (floor) => model.devicesIn({ noun: "floor", id: floor.floor_id }).length;
  const best = floors.reduce((a, b) => (count(b) > count(a) ? b : a));
  return { noun: "floor", id: best.floor_id };
}

function known(place) {
  const homes = { room: model.rooms, floor: model.floors, building: model.buildings };
  return place.noun === "hospital" || place.noun === "elsewhere" || Boolean(homes[place.noun]?.has(place.id));
}

function fromAddress() {
  const query = new URLSearchParams(location.search);
  const [noun, ...rest] = (query.get("place") ?? "").split(":");
  const place = { noun, id: rest.join(":") };
  selection.device = model.devices.has(query.get("device")) ? query.get("device") : null;
  selection.states = new Set((query.get("state") ?? "").split(",").filter((state) => STATES.includes(state)));
  const room = selection.device ? model.rooms.get(model.devices.get(selection.device).room_id) : null;
  selection.place = noun && known(place) ? place : room ? { noun: "floor", id: room.floor.floor_id } : firstPlace();
  if (selection.place.noun === "hospital") selection.place.id = model.hospital.hospital_id;
}

function toAddress() {
  const query = new URLSearchParams();
  query.set("place", `${selection.place.noun}:${selection.place.id}`);
  if (selection.device) query.set("device", selection.device);
  if (selection.states.size) query.set("state", [...selection.states].join(","));
  history.replaceState(null, "", `?${query.toString().replaceAll("%3A", ":").replaceAll("%2C", ",")}`);
}

/** `{place}`, `{device}` or `{states}`; a device outside the chosen place takes the place along. */
function choose(change) {
  if (change.place) {
    selection.place = change.place;
    selection.device = null;
  }
  if (change.device !== undefined) {
    selection.device = change.device;
    const device = model.devices.get(change.device);
    if (device && !model.within(device.room_id, selection.place)) {
      const room = model.rooms.get(device.room_id);
      selection.place = room ? { noun: "floor", id: room.floor.floor_id } : { noun: "elsewhere", id: "" };
    }
    if (device && selection.states.size && !selection.states.has(model.state(device))) selection.states.clear();
  }
  if (change.states) selection.states = change.states;
  toAddress();
  refresh();
  tree.select(selection.place);
  table.select(selection.device);
}

function floorShown() {
  const { noun, id } = selection.place;
  if (noun === "floor") return id;
  if (noun === "room") return model.rooms.get(id).floor.floor_id;
  if (noun === "building") return model.buildings.get(id).floors[0]?.floor_id;
  return model.floors.has(plan.floorId) ? plan.floorId : firstPlace().id;
}

function placeName() {
  const { noun, id } = selection.place;
  if (noun === "room") return model.rooms.get(id).name;
  if (noun === "floor") return model.floors.get(id).name;
  if (noun === "building") return model.buildings.get(id).name;
  return noun === "elsewhere" ? t("twin.elsewhere") : model.hospital.name;
}

function path() {
  const { noun, id } = selection.place;
  const steps = [{ noun: "hospital", id: model.hospital.hospital_id, name: model.hospital.name }];
  const room = noun === "room" ? model.rooms.get(id) : null;
  const floor = room?.floor ?? (noun === "floor" ? model.floors.get(id) : null);
  const building = room?.building ?? floor?.building ?? (noun === "building" ? model.buildings.get(id) : null);
  if (building) steps.push({ noun: "building", id: building.building_id, name: building.name });
  if (floor) steps.push({ noun: "floor", id: floor.floor_id, name: floor.name });
  if (room) steps.push({ noun: "room", id: room.room_id, name: room.name });
  return steps;
}

const tree = new Tree(element("tree"), (place) => choose({ place }));
const plan = new Plan(element("plan"), model, choose);
const table = new DeviceTable(element("devices"), model, (device) => choose({ device: device === selection.device ? null : device }));
const panel = new Panel(element("panel"), model, choose);
const warnings = new Warnings(element("warnings"), model, choose);

const chips = new Map(STATES.map((state) => {
  const count = h("strong", { class: "num" });
  const chip = h("button", { type: "button", class: `chip state-${state}`, "aria-pressed": "false", onclick: () => {
    const states = new Set(selection.states);
    if (!states.delete(state)) states.add(state);
    choose({ states });
  } }, icon(`s-${state}`, "shape"), h("span", {}, t(`state.${state}`)), count);
  return [state, { chip, count }];
}));
element("chips").replaceChildren(...[...chips.values()].map(({ chip }) => chip));

function buildTree() {
  tree.build(model.hospital, [...model.devices.values()].some((device) => !model.rooms.has(device.room_id)));
  tree.select(selection.place);
}

function markTree() {
  const counts = new Map();
  const worst = new Map();
  const order = ["information", "caution", "critical"];
  const up = (roomId) => {
    const room = model.rooms.get(roomId);
    const top = `hospital:${model.hospital.hospital_id}`;
    return room ? [`room:${roomId}`, `floor:${room.floor.floor_id}`, `building:${room.building.building_id}`, top] : ["elsewhere:", top];
  };
  for (const device of model.devices.values()) for (const key of up(device.room_id)) counts.set(key, (counts.get(key) ?? 0) + 1);
  for (const alarm of model.alarms) {
    const [noun, ...rest] = model.subject(alarm).split(":");
    const id = rest.join(":");
    const room = noun === "room" ? id : noun === "device" ? model.devices.get(id)?.room_id : null;
    if (!room) continue;
    for (const key of up(room)) if (order.indexOf(alarm.severity) > order.indexOf(worst.get(key))) worst.set(key, alarm.severity);
  }
  for (const [key, { item }] of tree.items) tree.mark(item.place, counts.get(key) ?? 0, worst.get(key) ?? null);
}

function rail() {
  const count = document.querySelector("[data-count=warnings]");
  count.hidden = model.alarms.length === 0;
  setText(count, String(model.alarms.length));
  const severities = model.alarms.map((alarm) => alarm.severity);
  count.className = `count ${severities.includes("critical") ? "critical" : severities.length ? "caution" : ""}`;
  document.querySelector("[data-count=gateways]").className = `count ${model.silentGateway() ? "caution" : ""}`;
}

/** Everything that depends on data, selection or time. Cheap enough for once a second. */
function refresh() {
  const here = model.devicesIn(selection.place);
  const counts = model.counts(here);
  for (const [state, { chip, count }] of chips) {
    setText(count, String(counts[state]));
    chip.setAttribute("aria-pressed", String(selection.states.has(state)));
    chip.classList.toggle("none", counts[state] === 0);
  }
  setText(element("place"), placeName());
  crumbs();
  const shown = selection.states.size ? here.filter((device) => selection.states.has(model.state(device))) : here;
  setText(table.title, selection.place.noun === "room" ? t("twin.devices_in", { place: placeName() }) : t("twin.devices"));
  const nothing = model.devices.size === 0 ? t("twin.no_devices_text") : selection.place.noun === "room" && !selection.states.size ? t("twin.none_in_room") : t("twin.none_match");
  table.show(shown, nothing);
  plan.filter = selection.states;
  plan.selection = { device: selection.device, room: selection.place.noun === "room" ? selection.place.id : null };
  plan.show(floorShown());
  plan.update();
  panel.show({ device: selection.device, room: selection.place.noun === "room" ? selection.place.id : null });
  warnings.update();
  markTree();
  rail();
  showFreshness(line, model.silentGateway());
}

function crumbs() {
  const steps = path();
  const signature = JSON.stringify(steps);
  const nav = element("crumbs");
  if (nav.dataset.signature === signature) return;
  nav.dataset.signature = signature;
  nav.replaceChildren(...steps.map((step, n) => n === steps.length - 1
    ? h("span", { "aria-current": "location" }, step.name)
    : h("button", { type: "button", class: "link", onclick: () => choose({ place: { noun: step.noun, id: step.id } }) }, step.name)));
}

const line = new Line({
  snapshot: (data) => {
    if (!data.hospital) return;
    model.take(data);
    fromAddress();
    buildTree();
    table.rows.clear();
    refresh();
    table.select(selection.device);
  },
  delta: (data) => {
    model.merge(data);
    refresh();
  },
}, refreshWhenReady);

let ready = false;
function refreshWhenReady() {
  if (ready) refresh();
}

new Search(() => entriesOf(model.hospital, model.devices.values()), (entry) => {
  if (entry.noun === "device") choose({ device: entry.id });
  else choose({ place: { noun: entry.noun, id: entry.id } });
});

addEventListener("popstate", () => {
  fromAddress();
  refresh();
});

fromAddress();
ready = true;
buildTree();
refresh();
table.select(selection.device);
setInterval(refresh, 1000);
