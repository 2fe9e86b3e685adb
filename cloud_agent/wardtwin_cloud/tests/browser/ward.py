"""A small day on a ward, sent as real batches: readings, states, placements, climate, alarms, health."""

import math
import subprocess
import sys
from typing import Any

from wardtwin_cloud.tests.serving import Feeder
from wardtwin_sync.batch import BatchKind
from wardtwin_sync.registry import Registry, decode_registry

# watts by state; a cycle of (state, seconds) repeats
_WATTS: dict[str, dict[str, float]] = {
    "autoclave": {"in_use": 2150, "standby": 38, "off": 0.4},
    "washer_disinfector": {"in_use": 1480, "standby": 9, "off": 0.6},
    "lab_refrigerator": {"in_use": 128, "standby": 6},
    "ventilator": {"in_use": 96, "standby": 34},
    "ultrasound": {"in_use": 310, "standby": 84, "off": 1.1},
    "anaesthesia": {"in_use": 188, "standby": 61},
    "electrosurgical": {"in_use": 240, "standby": 22, "off": 0.3},
}
_PLAIN = {"in_use": 24.0, "standby": 7.5, "off": 0.2, "charging": 18.0, "fault": 2.0}
_NOW = {  # what each demo device does at the end of the day
    "infusion-pump-1": "in_use", "ventilator-1": "in_use", "humidifier-1": "in_use", "monitor-1": "in_use",
    "infusion-pump-2": "charging", "syringe-pump-1": "in_use", "monitor-2": "standby", "ecg-1": "off", "ultrasound-1": "standby",
    "anaesthesia-1": "standby", "electrosurgical-1": "off", "autoclave-1": "in_use", "washer-1": "fault", "refrigerator-1": "in_use",
}  # fmt: skip


def demo_ward() -> Registry:
    """The demo's registry, by its command: this package does not import the tools."""
    done = subprocess.run([sys.executable, "-m", "wardtwin_tools.demo_ward"], check=True, capture_output=True)
    return decode_registry(done.stdout)


def watts(device_type: str, state: str, at: float) -> float:
    level = _WATTS.get(device_type, _PLAIN).get(state, _PLAIN.get(state, 1.0))
    return max(0.0, level * (1 + 0.04 * math.sin(at / 17.0) + 0.02 * math.sin(at * 1.7)))


def fill(feeder: Feeder, registry: Registry, now: float, *, hours: float = 2.0, silent: str = "") -> None:
    """Send the last `hours` up to `now`; device `silent` stopped being heard 20 minutes ago."""
    device_tags = {tag.device_id: tag for tag in registry.tags if tag.device_id}
    states: list[dict[str, Any]] = []
    placements: list[dict[str, Any]] = []
    for n, device in enumerate(registry.devices):
        tag = device_tags[device.device_id]
        end = now - 1200 if device.device_id == silent else now
        last = _NOW.get(device.device_id, ("in_use", "standby", "off", "charging")[n % 4])
        plan = _plan(last, now - hours * 3600, now, n)
        states += [
            {"device_id": device.device_id, "tag_id": tag.tag_id, "state": state, "since": since, "reason": "rule"}
            for state, since, _ in plan
        ]
        if tag.transport == "ble":
            placements.append(
                {
                    "device_id": device.device_id,
                    "tag_id": tag.tag_id,
                    "room_id": device.home_room_id,
                    "since": now - 3000,
                    "rssi_dbm": -58.0,
                }
            )
        rows = []
        step = 5.0 if len(registry.devices) < 50 else hours * 3600
        at, sequence = end - hours * 3600, 0
        while at <= end - 1:
            at = min(at + step, end - 1 + 1e-6)
            sequence += 1
            state = next((state for state, since, until in plan if since <= at < until), last)
            load = watts(device.device_type, state, at)
            rows.append(
                {
                    "tag_id": tag.tag_id, "boot_id": 0 if tag.transport == "ble" else 3, "sequence": sequence, "kind": "energy",
                    "transport": str(tag.transport), "measured_at": at, "active_power_w": round(load, 1), "voltage_v": 230.4,
                    "current_a": round(load / 226, 3), "power_factor": 0.97, "energy_wh": 18000 + 1000 * n + sequence * 0.2,
                }
            )  # fmt: skip
        _send(feeder, BatchKind.READINGS, rows)
    _send(feeder, BatchKind.STATES, states)
    if placements:
        _send(feeder, BatchKind.PLACEMENTS, placements)
    _send(feeder, BatchKind.READINGS, [climate(tag.tag_id, str(tag.transport), n, now - 2) for n, tag in enumerate(_room_tags(registry))])
    health = {
        "at": now,
        "clock_state": "synchronised",
        "queue_depth": 3,
        "disk_bytes": 48_300_000,
        "tags_heard": 20,
        "rejected": 12,
        "detail": None,
    }
    _send(feeder, BatchKind.HEALTH, [health])


def _plan(last: str, start: float, end: float, shift: int) -> list[tuple[str, float, float]]:
    """(state, since, until) up to `end`, ending in `last`."""
    cut = [0.0, 0.22 + 0.01 * (shift % 7), 0.55, 0.72 + 0.01 * (shift % 9)]
    words = {"in_use": ("standby", "in_use", "standby"), "off": ("in_use", "standby", "in_use")}.get(last, ("off", "standby", "in_use"))
    edges = [start + (end - start) * part for part in cut] + [end + 10]
    return [(word, edges[n], edges[n + 1]) for n, word in enumerate((*words, last))]


def _room_tags(registry: Registry) -> list[Any]:
    return [tag for tag in registry.tags if tag.room_id]


def climate(tag_id: str, transport: str, n: int, at: float) -> dict[str, Any]:
    return {
        "tag_id": tag_id, "boot_id": 0 if transport == "ble" else 2, "sequence": 1 + int(at) % 10_000_000, "kind": "environment",
        "transport": transport, "measured_at": at, "temperature_c": 21.2 + 0.4 * n, "relative_humidity_pct": 41.0 + n,
        "pressure_hpa": 1008.0, "co2_ppm": 560.0 + 70 * n, "voc_index": 96.0 + n, "pm2_5_ug_m3": 4.0,
    }  # fmt: skip


def alarms(now: float) -> list[dict[str, Any]]:
    def row(
        id_: str, rule: str, subject: str, severity: str, ago: float, value: float, limit: float, unit: str, cleared: bool = False
    ) -> dict[str, Any]:
        return {"alarm_id": id_, "rule": rule, "subject": subject, "severity": severity, "raised_at": now - ago,
                "cleared_at": now - ago / 2 if cleared else None, "value": value, "limit": limit, "unit": unit}  # fmt: skip

    return [
        row("a1", "over_current", "device:washer-1", "critical", 420, 11.8, 10.0, "A"),
        row("a2", "humidity_high", "room:3-06", "caution", 1500, 71.0, 65.0, "%"),
        row("a3", "under_voltage", "device:ultrasound-1", "caution", 5400, 204.0, 207.0, "V", cleared=True),
        row("a4", "co2_high", "room:3-01", "information", 7000, 1240.0, 1200.0, "ppm", cleared=True),
    ]


def _send(feeder: Feeder, kind: BatchKind, rows: list[dict[str, Any]]) -> None:
    for first in range(0, len(rows), 4000):
        feeder.send(kind, rows[first : first + 4000]).raise_for_status()
