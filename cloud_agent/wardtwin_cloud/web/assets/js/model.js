// The twin as the page holds it: the agent's snapshot, kept up by deltas, and what follows from it as time goes by.
import { t } from "./page.js";
import { clock } from "./format.js";
import { now } from "./line.js";

const STATES = ["in_use", "standby", "charging", "off", "fault", "unknown"];
export { STATES };

/**
 * Why nothing certain can be said of a device, in words; null when its state is known. `stale`: its last word is too old.
 * A device may be heard and yet its state not be known: then its power is shown, and no time of a last word.
 */
export function lack(device, stale) {
  if (stale || (device.reported_state === "unknown" && device.reason === "silent")) {
    return device.heard_at === null ? t("state.no_data_yet") : t("state.no_data_since", { time: clock(device.heard_at, now()) });
  }
  if (device.reported_state !== "unknown") return null;
  return t(device.reason === "unplugged" ? "state.unplugged" : "state.not_known");
}

export class Model {
  constructor(snapshot) {
    this.take(snapshot);
  }

  /** A whole snapshot: at start, after a long break, and when the register was changed. */
  take(snapshot) {
    this.hospital = snapshot.hospital;
    this.staleAfter = snapshot.stale_after_s;
    this.silentAfter = snapshot.gateway_silent_after_s;
    this.devices = new Map(snapshot.devices.map((device) => [device.device_id, device]));
    this.climates = new Map(snapshot.rooms.map((room) => [room.room_id, room]));
    this.gateways = new Map(snapshot.gateways.map((gateway) => [gateway.gateway_id, gateway]));
    this.alarms = snapshot.alarms;
    this.rooms = new Map();
    this.floors = new Map();
    this.buildings = new Map();
    this.tagOwner = new Map();
    for (const device of this.devices.values()) for (const tag of device.tag_ids) this.tagOwner.set(tag, `device:${device.device_id}`);
    for (const building of this.hospital?.buildings ?? []) {
      this.buildings.set(building.building_id, building);
      for (const floor of building.floors) {
        this.floors.set(floor.floor_id, { ...floor, building });
        for (const room of floor.rooms) this.rooms.set(room.room_id, { ...room, floor, building });
      }
    }
  }

  merge(delta) {
    for (const moving of delta.devices ?? []) {
      const device = this.devices.get(moving.device_id);
      if (device) Object.assign(device, moving);
    }
    for (const room of delta.rooms ?? []) this.climates.set(room.room_id, room);
    for (const gateway of delta.gateways ?? []) this.gateways.set(gateway.gateway_id, gateway);
    if (delta.alarms) this.alarms = delta.alarms;
  }

  silent(gatewayId) {
    const gateway = this.gateways.get(gatewayId);
    return !gateway || gateway.received_at === null || now() - gateway.received_at > this.silentAfter;
  }

  silentGateway() {
    for (const gateway of this.gateways.values()) if (this.silent(gateway.gateway_id)) return gateway;
    return null;
  }

  /** The agent said so, or time has passed since: the page decides by itself when the line is dead. */
  stale(part) {
    return part.heard_at === null || now() - part.heard_at > this.staleAfter || this.silent(part.gateway_id);
  }

  state(device) {
    return this.stale(device) ? "unknown" : device.reported_state;
  }

  /** No word of it that could be called live: its power is not shown. */
  lost(device) {
    return this.stale(device) || (device.reported_state === "unknown" && device.reason === "silent");
  }

  lack(device) {
    return lack(device, this.stale(device));
  }

  /** Devices in a place: {noun, id} with noun hospital, building, floor, room or elsewhere. */
  devicesIn(place) {
    return [...this.devices.values()].filter((device) => this.within(device.room_id, place));
  }

  within(roomId, place) {
    const room = this.rooms.get(roomId);
    switch (place.noun) {
      case "hospital": return true;
      case "elsewhere": return !room;
      case "building": return room?.building.building_id === place.id;
      case "floor": return room?.floor.floor_id === place.id;
      default: return room !== undefined && room.room_id === place.id;
    }
  }

  counts(devices) {
    const counts = Object.fromEntries(STATES.map((state) => [state, 0]));
    for (const device of devices) counts[this.state(device)] += 1;
    return counts;
  }

  /** Open alarms about a room or a device in it, worst first. */
  alarmsOf(noun, id) {
    return this.alarms.filter((alarm) => this.subject(alarm) === `${noun}:${id}`);
  }

  subject(alarm) {
    const [noun, ...rest] = alarm.subject.split(":");
    return noun === "tag" ? (this.tagOwner.get(rest.join(":")) ?? alarm.subject) : alarm.subject;
  }

  nameOf(subject) {
    const [noun, ...rest] = subject.split(":");
    const id = rest.join(":");
    if (noun === "device") return this.devices.get(id)?.name ?? id;
    if (noun === "room") return this.rooms.get(id)?.name ?? id;
    return id;
  }
}
