"""The moving parts of the twin: a device, a room's climate, a gateway. Each knows how to take a row and how to show itself.

A newer row wins, whatever order rows arrive in: values by `measured_at`, states and placements by `since`.
"""

from dataclasses import dataclass, field
from typing import Any

from wardtwin_sync.batch import ENERGY_FIELDS, ENVIRONMENT_FIELDS
from wardtwin_sync.registry import Device
from wardtwin_sync.states import DeviceState

Measured = tuple[float, float]
"""A value and when it was measured."""

NEVER = float("-inf")


@dataclass(frozen=True)
class Limits:
    """In seconds of the cloud's clock."""

    stale_after_s: float
    gateway_silent_after_s: float


def take_values(values: dict[str, Measured], names: tuple[str, ...], row: dict[str, Any], at: float) -> bool:
    """Merge the measures of one row; say whether any moved. A tag's frames rotate, so each measure has its own time."""
    moved = False
    for name in names:
        value = row.get(name)
        if value is not None and (name not in values or values[name][1] <= at):
            values[name] = (value, at)
            moved = True
    return moved


@dataclass(slots=True)
class DeviceTwin:
    device: Device
    tags: tuple[str, ...] = ()
    gateway_id: str | None = None
    transport: str | None = None
    heard_at: float = NEVER
    values: dict[str, Measured] = field(default_factory=dict)
    state: DeviceState = DeviceState.UNKNOWN
    state_since: float = NEVER
    reason: str | None = None
    placed_room_id: str | None = None
    placed_since: float = NEVER
    rssi_dbm: float | None = None
    shown_stale: bool = True
    """What was last told to the pages; `Twin.tick` compares."""

    @property
    def room_id(self) -> str | None:
        return self.placed_room_id if self.placed_since > NEVER else self.device.home_room_id

    def hear(self, at: float, gateway_id: str, transport: str | None = None) -> bool:
        if at < self.heard_at:
            return False
        self.heard_at, self.gateway_id = at, gateway_id
        self.transport = transport or self.transport
        return True

    def take_state(self, row: dict[str, Any], gateway_id: str) -> bool:
        if row["since"] < self.state_since:
            return False
        self.state, self.state_since, self.reason = DeviceState(row["state"]), row["since"], row["reason"]
        if self.state is not DeviceState.UNKNOWN:  # "unknown" is the gateway's word about silence, not the device's
            self.hear(row["since"], gateway_id)
        elif self.gateway_id is None:
            self.gateway_id = gateway_id
        return True

    def take_placement(self, row: dict[str, Any]) -> bool:
        if row["since"] < self.placed_since:
            return False
        self.placed_room_id, self.placed_since, self.rssi_dbm = row["room_id"], row["since"], row["rssi_dbm"]
        return True

    def view(self, stale: bool) -> dict[str, Any]:
        """As the API and the pages show it. `state` is unknown while stale; `reported_state` is the last word."""
        return {
            "device_id": self.device.device_id,
            "name": self.device.name,
            "device_type": self.device.device_type,
            "ward": self.device.ward,
            "home_room_id": self.device.home_room_id,
            "tag_ids": self.tags,
            **self.moving(stale),
        }

    def moving(self, stale: bool) -> dict[str, Any]:
        power = self.values.get("active_power_w")
        return {
            "device_id": self.device.device_id,
            "state": DeviceState.UNKNOWN if stale else self.state,
            "reported_state": self.state,
            "state_since": known(self.state_since),
            "reason": self.reason,
            "stale": stale,
            "heard_at": known(self.heard_at),
            "room_id": self.room_id,
            "room_since": known(self.placed_since),
            "rssi_dbm": self.rssi_dbm,
            "active_power_w": power[0] if power else None,
            "measured_at": power[1] if power else None,
            "values": {name: value for name, (value, _) in self.values.items() if name in ENERGY_FIELDS},
            "gateway_id": self.gateway_id,
            "transport": self.transport,
        }


@dataclass(slots=True)
class RoomTwin:
    """The climate of a room that has an environment tag."""

    room_id: str
    tags: tuple[str, ...] = ()
    gateway_id: str | None = None
    heard_at: float = NEVER
    values: dict[str, Measured] = field(default_factory=dict)
    shown_stale: bool = True

    def hear(self, at: float, gateway_id: str) -> bool:
        if at < self.heard_at:
            return False
        self.heard_at, self.gateway_id = at, gateway_id
        return True

    def view(self, stale: bool) -> dict[str, Any]:
        return {
            "room_id": self.room_id,
            "stale": stale,
            "heard_at": known(self.heard_at),
            "gateway_id": self.gateway_id,
            "climate": {name: value for name, (value, _) in self.values.items() if name in ENVIRONMENT_FIELDS},
        }


@dataclass(slots=True)
class GatewayTwin:
    gateway_id: str
    received_at: float = NEVER
    batches: int = 0
    rows: int = 0
    ahead: int = 0
    quarantined: int = 0
    refused: int = 0
    last_refusal: str | None = None
    dropped: dict[str, int] = field(default_factory=dict)
    health_at: float = NEVER
    health: dict[str, Any] = field(default_factory=dict)
    shown_silent: bool = True

    def take_health(self, row: dict[str, Any]) -> bool:
        if row["at"] < self.health_at:
            return False
        self.health_at, self.health = row["at"], row
        return True

    def view(self, silent: bool) -> dict[str, Any]:
        health = {name: self.health.get(name) for name in ("clock_state", "queue_depth", "disk_bytes", "tags_heard", "rejected")}
        return {
            "gateway_id": self.gateway_id,
            "silent": silent,
            "received_at": known(self.received_at),
            "batches": self.batches,
            "rows": self.rows,
            "rows_ahead_of_clock": self.ahead,
            "quarantined": self.quarantined,
            "refused": self.refused,
            "last_refusal": self.last_refusal,
            "dropped": self.dropped,
            "health_at": known(self.health_at),
            **health,
        }


def known(at: float) -> float | None:
    return None if at == NEVER else at
