"""The twin itself. No I/O and no clock: rows and `now` come in, views go out. Lives on one thread, the event loop's."""

from collections.abc import Iterable, Mapping
from typing import Any

from wardtwin_cloud.rows import Screened, reader_of
from wardtwin_cloud.store import Outcome
from wardtwin_cloud.twin.parts import NEVER, DeviceTwin, GatewayTwin, Limits, RoomTwin, take_values
from wardtwin_cloud.twin.strangers import Strangers
from wardtwin_sync.batch import ENERGY_FIELDS, ENVIRONMENT_FIELDS, BatchKind
from wardtwin_sync.registry import Registry

Row = dict[str, Any]
MAX_OPEN_ALARMS = 500
MAX_CLEARED_KNOWN = 5_000
"""Alarms remembered as cleared, so that a raise that arrives after its clear does not open them again."""

__all__ = ["Limits", "Twin"]


class Twin:
    """Devices, rooms, gateways and open alarms of one hospital. What changed since the last `delta` is remembered.

    `bound_since`: when a tag came to where it sits; what it measured before is not about that device or room.
    """

    def __init__(self, registry: Registry | None, limits: Limits, bound_since: Mapping[str, float] | None = None) -> None:
        self._bound_since = bound_since or {}
        self.limits = limits
        self.registry = registry
        self.devices: dict[str, DeviceTwin] = {}
        self.rooms: dict[str, RoomTwin] = {}
        self.gateways: dict[str, GatewayTwin] = {}
        self.alarms: dict[tuple[str, str], Row] = {}
        self.strangers = Strangers()
        self._cleared: dict[tuple[str, str], None] = {}
        self._device_of_tag: dict[str, DeviceTwin] = {}
        self._room_of_tag: dict[str, RoomTwin] = {}
        self._dirty_devices: set[str] = set()
        self._dirty_rooms: set[str] = set()
        self._dirty_gateways: set[str] = set()
        self._dirty_alarms = False
        if registry is not None:
            self._build(registry)

    def _build(self, registry: Registry) -> None:
        tags_of: dict[str, list[str]] = {}
        for tag in registry.tags:
            if tag.device_id is not None:
                tags_of.setdefault(tag.device_id, []).append(tag.tag_id)
        for device in registry.devices:
            twin = DeviceTwin(device, tuple(tags_of.get(device.device_id, ())))
            self.devices[device.device_id] = twin
            for tag_id in twin.tags:
                self._device_of_tag[tag_id] = twin
        for tag in registry.tags:
            if tag.room_id is not None and tag.device_id is None:
                room = self.rooms.setdefault(tag.room_id, RoomTwin(tag.room_id))
                room.tags = (*room.tags, tag.tag_id)
                self._room_of_tag[tag.tag_id] = room

    def inherit(self, earlier: "Twin") -> None:
        """Take what the store does not hold from the twin this one follows: alarms known as cleared, what was refused at the door."""
        self._cleared.update(earlier._cleared)
        for gateway_id, gateway in self.gateways.items():
            before = earlier.gateways.get(gateway_id)
            if before is not None:
                gateway.refused, gateway.last_refusal = before.refused, before.last_refusal

    # -- what comes in

    def add_gateway(self, row: Row, dropped: dict[str, int]) -> None:
        """A gateway as the store's table has it."""
        twin = self.gateways.setdefault(row["gateway_id"], GatewayTwin(row["gateway_id"]))
        twin.received_at = max(twin.received_at, row["received_at"] if row["received_at"] is not None else NEVER)
        twin.batches, twin.rows, twin.ahead = row["batches"], row["rows"], row["ahead"]
        twin.quarantined, twin.dropped = row["quarantined"], dropped
        self._dirty_gateways.add(twin.gateway_id)

    def take(self, batch: Screened, outcome: Outcome) -> None:
        """A batch the store has committed."""
        gateway = self.gateways.setdefault(batch.gateway_id, GatewayTwin(batch.gateway_id))
        gateway.received_at = max(gateway.received_at, batch.received_at)
        self._dirty_gateways.add(batch.gateway_id)
        if outcome is Outcome.QUARANTINED:
            gateway.quarantined += 1
        if outcome is not Outcome.STORED:
            return
        gateway.batches += 1
        gateway.rows += len(batch.rows)
        gateway.ahead += sum(batch.ahead)
        gateway.dropped = batch.dropped
        read = reader_of(batch.names)
        believed = (read(cells) for cells, ahead in zip(batch.rows, batch.ahead, strict=True) if not ahead)
        self.take_rows(batch.kind, batch.gateway_id, believed)

    def take_rows(self, kind: BatchKind, gateway_id: str, rows: Iterable[Row]) -> None:
        """Rows of the store's tables, believed (not ahead of the clock), in any order."""
        take = {
            BatchKind.READINGS: self._take_reading,
            BatchKind.STATES: self._take_state,
            BatchKind.PLACEMENTS: self._take_placement,
            BatchKind.ALARMS: self._take_alarm,
            BatchKind.SUMMARIES: self._take_summary,
            BatchKind.HEALTH: self._take_health,
        }[kind]
        for row in rows:
            take(row, gateway_id)

    def _take_reading(self, row: Row, gateway_id: str) -> None:
        at, tag_id = row["measured_at"], row["tag_id"]
        if at < self._bound_since.get(tag_id, NEVER):
            return
        device = self._device_of_tag.get(tag_id)
        room = self._room_of_tag.get(tag_id)
        if device is not None:
            moved = take_values(device.values, ENERGY_FIELDS, row, at)
            if device.hear(at, gateway_id, row["transport"]) or moved:
                self._dirty_devices.add(device.device.device_id)
        elif room is not None:
            moved = take_values(room.values, ENVIRONMENT_FIELDS, row, at)
            if room.hear(at, gateway_id) or moved:
                self._dirty_rooms.add(room.room_id)
        else:
            self.strangers.meet("tag", tag_id, gateway_id, at)

    def _take_state(self, row: Row, gateway_id: str) -> None:
        device = self.devices.get(row["device_id"])
        if device is None:
            self.strangers.meet("device", row["device_id"], gateway_id, row["since"])
        elif device.take_state(row, gateway_id):
            self._dirty_devices.add(row["device_id"])

    def _take_placement(self, row: Row, gateway_id: str) -> None:
        device = self.devices.get(row["device_id"])
        if device is None:
            self.strangers.meet("device", row["device_id"], gateway_id, row["since"])
        elif device.take_placement(row):
            self._dirty_devices.add(row["device_id"])

    def _take_summary(self, row: Row, gateway_id: str) -> None:
        """A minute's mean stands in where the raw readings did not come."""
        noun, _, subject = row["subject"].partition(":")
        end = row["minute_start"] + 60.0
        if not row["samples"]:
            return
        device, room = self.devices.get(subject), self.rooms.get(subject)
        if noun == "device" and device is not None:
            if end > device.heard_at and device.hear(end, gateway_id):
                take_values(device.values, ("active_power_w",), row, end)
                self._dirty_devices.add(subject)
        elif noun == "room" and room is not None:
            if end > room.heard_at and room.hear(end, gateway_id):
                take_values(room.values, ENVIRONMENT_FIELDS, row, end)
                self._dirty_rooms.add(subject)
        elif noun == "device":
            self.strangers.meet("device", subject, gateway_id, end)

    def _take_alarm(self, row: Row, gateway_id: str) -> None:
        key = (gateway_id, row["alarm_id"])
        known = self.alarms.get(key)
        if row["cleared_at"] is not None:
            self._cleared[key] = None
            if len(self._cleared) > MAX_CLEARED_KNOWN:
                del self._cleared[next(iter(self._cleared))]
            if self.alarms.pop(key, None) is not None:
                self._dirty_alarms = True
        elif key not in self._cleared and (known is not None or len(self.alarms) < MAX_OPEN_ALARMS):
            self.alarms[key] = {**row, "gateway_id": gateway_id}
            self._dirty_alarms = True

    def _take_health(self, row: Row, gateway_id: str) -> None:
        if self.gateways.setdefault(gateway_id, GatewayTwin(gateway_id)).take_health(row):
            self._dirty_gateways.add(gateway_id)

    def note_refusal(self, gateway_id: str, code: str) -> None:
        gateway = self.gateways.get(gateway_id)
        if gateway is not None:
            gateway.refused += 1
            gateway.last_refusal = code
            self._dirty_gateways.add(gateway_id)

    def owner_of_tag(self, tag_id: str) -> tuple[str, str] | None:
        """("device", id) or ("room", id) the tag is bound to."""
        if tag_id in self._device_of_tag:
            return "device", self._device_of_tag[tag_id].device.device_id
        return ("room", self._room_of_tag[tag_id].room_id) if tag_id in self._room_of_tag else None

    # -- staleness

    def silent(self, gateway_id: str | None, now: float) -> bool:
        gateway = self.gateways.get(gateway_id) if gateway_id is not None else None
        return gateway is None or now - gateway.received_at > self.limits.gateway_silent_after_s

    def stale(self, part: DeviceTwin | RoomTwin, now: float) -> bool:
        """Its last word is too old, or nothing comes from its gateway at all."""
        return now - part.heard_at > self.limits.stale_after_s or self.silent(part.gateway_id, now)

    def tick(self, now: float) -> None:
        """Let time pass: what went stale or silent, or came back, counts as changed."""
        for device_id, device in self.devices.items():
            if self.stale(device, now) != device.shown_stale:
                self._dirty_devices.add(device_id)
        for room_id, room in self.rooms.items():
            if self.stale(room, now) != room.shown_stale:
                self._dirty_rooms.add(room_id)
        for gateway_id, gateway in self.gateways.items():
            if self.silent(gateway_id, now) != gateway.shown_silent:
                self._dirty_gateways.add(gateway_id)

    # -- what goes out

    @property
    def changed(self) -> bool:
        return bool(self._dirty_devices or self._dirty_rooms or self._dirty_gateways or self._dirty_alarms)

    def delta(self, now: float) -> Row:
        """What changed since the last call, and forget it. Keys as in `snapshot`, without what never moves."""
        changed: Row = {"now": now}
        if self._dirty_devices:
            changed["devices"] = [self._show_device(self.devices[id_], now) for id_ in sorted(self._dirty_devices)]
        if self._dirty_rooms:
            changed["rooms"] = [self._show_room(self.rooms[id_], now) for id_ in sorted(self._dirty_rooms)]
        if self._dirty_gateways:
            changed["gateways"] = [self._show_gateway(self.gateways[id_], now) for id_ in sorted(self._dirty_gateways)]
        if self._dirty_alarms:
            changed["alarms"] = self.open_alarms()
        self._dirty_devices.clear()
        self._dirty_rooms.clear()
        self._dirty_gateways.clear()
        self._dirty_alarms = False
        return changed

    def settle(self, now: float) -> None:
        """Nothing has changed as of `now`: what is true now is what pages are about to get as a snapshot."""
        self._dirty_devices.update(self.devices)
        self._dirty_rooms.update(self.rooms)
        self._dirty_gateways.update(self.gateways)
        self.delta(now)

    def snapshot(self, now: float) -> Row:
        hospital = self.registry.hospital if self.registry is not None else None
        return {
            "now": now,
            "stale_after_s": self.limits.stale_after_s,
            "gateway_silent_after_s": self.limits.gateway_silent_after_s,
            "hospital": hospital,
            "devices": [device.view(self.stale(device, now)) for device in self.devices.values()],
            "rooms": [room.view(self.stale(room, now)) for room in self.rooms.values()],
            "gateways": [gateway.view(self.silent(id_, now)) for id_, gateway in sorted(self.gateways.items())],
            "alarms": self.open_alarms(),
            "unknown": self.strangers.view(),
        }

    def open_alarms(self) -> list[Row]:
        order = {"critical": 0, "caution": 1, "information": 2}
        return sorted(self.alarms.values(), key=lambda row: (order[row["severity"]], -row["raised_at"]))

    def _show_device(self, device: DeviceTwin, now: float) -> Row:
        device.shown_stale = self.stale(device, now)
        return device.moving(device.shown_stale)

    def _show_room(self, room: RoomTwin, now: float) -> Row:
        room.shown_stale = self.stale(room, now)
        return room.view(room.shown_stale)

    def _show_gateway(self, gateway: GatewayTwin, now: float) -> Row:
        gateway.shown_silent = self.silent(gateway.gateway_id, now)
        return gateway.view(gateway.shown_silent)
