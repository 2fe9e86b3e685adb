"""The gateway's facts and the advice that follows from them: one collection for the page, /api/status and doctor."""

import asyncio
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from wardtwin_edge import outbox
from wardtwin_edge.advice import advice
from wardtwin_edge.database import counters
from wardtwin_edge.pipeline import Pipeline
from wardtwin_edge.tag_state import TagState

if TYPE_CHECKING:
    from wardtwin_edge.gateway import Gateway

_PATIENCE_S = 3.0


def software_version() -> str:
    try:
        return version("wardtwin")
    except PackageNotFoundError:
        return "unknown"


async def collect(gateway: "Gateway") -> dict[str, Any]:
    """All facts, JSON-ready. The committer's part is asked for in its thread; when it does not answer, that is the first fact."""
    committer, uplink, clock = gateway.committer, gateway.uplink, gateway.clock
    facts: dict[str, Any] = {
        "gateway": {
            "id": gateway.config.gateway.id,
            "ward": gateway.config.gateway.ward,
            "version": software_version(),
            "uptime_s": round(time.monotonic() - gateway.started_s, 1),
            "epoch": gateway.store.epoch,
            "notices": [*([gateway.notice] if gateway.notice else []), *gateway.roster_faults],
        },
        "clock": {"state": clock.state.value, "now": clock.now(), "jumps": clock.jumps},
        "transports": transports(gateway),
        "disk": {
            "used_bytes": gateway.rollup.used_bytes,
            "bound_bytes": gateway.rollup.bound_bytes,
            "free_bytes": gateway.rollup.free_bytes,
        },
        "cloud": {
            "url": gateway.config.cloud.url,
            "state": uplink.state,
            "is_reached": uplink.is_reached,
            "acked_rows": uplink.acked_rows,
            "acked_batches": uplink.acked_batches,
            "last_ack_at": uplink.last_ack_at,
        },
        "commit": {
            "alive": time.monotonic() - committer.heartbeat_s < 15.0,
            "fault": committer.fault,
            "waiting": committer.waiting,
        },
        "tags": [],
        "alarms": [],
        "rejected": [],
        "strangers": [],
        "outbox": {},
        "dropped": {},
        "refused_batches": [],
    }
    try:
        inner = asyncio.wrap_future(committer.submit(lambda: _inner(gateway)))
        async with asyncio.timeout(_PATIENCE_S):
            facts |= await inner
        facts["commit"] |= {"committed": gateway.pipeline.committed, "duplicates": gateway.pipeline.duplicates}
    except Exception as error:
        facts["commit"]["fault"] = committer.fault or f"no answer: {error or type(error).__name__}"
    facts["advice"] = advice(facts)
    return facts


def transports(gateway: "Gateway") -> dict[str, dict[str, Any]]:
    """State of each adapter; an adapter not configured is there with state "not configured"."""
    out: dict[str, dict[str, Any]] = {name: {"state": "not configured", "ok": None, "received": 0} for name in ("ble", "mqtt", "serial")}
    if gateway.mqtt is not None:
        mqtt = gateway.mqtt
        out["mqtt"] = {"state": mqtt.state, "ok": mqtt.is_connected, "received": mqtt.received, "connects": mqtt.connects}
    if gateway.config.ble.backend != "none":
        ble = gateway.ble
        out["ble"] = {
            "state": ble.state, "ok": ble.is_scanning and not ble.is_silent, "received": ble.received, "adverts": ble.adverts,
            "dropped": ble.dropped, "restarts": ble.restarts, "power_cycles": ble.power_cycles,
        }  # fmt: skip
    if gateway.config.serial.ports:
        ports = {
            path: {"state": port.state, "tag_id": port.tag_id, "received": port.received, "junk_bytes": port.junk_bytes}
            for path, port in dict(gateway.serial.ports).items()
        }
        found = list(gateway.serial.ports.values())
        opened = sum(port.is_open for port in found)
        state = f"{opened} of {len(ports)} ports open" if ports else f"no port matches {', '.join(gateway.config.serial.ports)}"
        received = sum(port.received for port in found)
        out["serial"] = {"state": state, "ok": bool(ports) and opened == len(ports), "received": received, "ports": ports}
    return out


def _inner(gateway: "Gateway") -> dict[str, Any]:
    pipeline, db, now_s = gateway.pipeline, gateway.store.db, time.monotonic()
    watches = [*pipeline.gateway_watches, *(watch for state in pipeline.tags.values() for watch in state.watches)]
    rejected = sorted(pipeline.rejected.items())
    return {
        "tags": [_tag(pipeline, state, now_s) for state in pipeline.tags.values()],
        "alarms": [row for watch in watches if (row := watch.row()) is not None],
        "rejected": [{"transport": transport, "reason": reason, "count": n} for (transport, reason), n in rejected],
        "strangers": list(pipeline.heard_strangers),
        "outbox": outbox.depths(db),
        "dropped": {name.removeprefix("dropped_"): n for name, n in counters(db).items() if name.startswith("dropped_")},
        "refused_batches": outbox.refused(db),
    }


def _tag(pipeline: Pipeline, state: TagState, now_s: float) -> dict[str, Any]:
    tag, heard = state.tag, state.heard
    located = pipeline.locator.room_of(tag.tag_id) if tag.is_energy else tag.binding.room_id
    room = pipeline.roster.rooms.get(located) if located else None
    return {
        "tag_id": tag.tag_id,
        "kind": tag.binding.kind,
        "device_id": tag.device.device_id if tag.device else None,
        "name": tag.device.name if tag.device else (room.name if room else tag.tag_id),
        "transport": heard.transport.value if heard.transport else None,
        "expected_transport": tag.binding.transport.value,
        "age_s": None if heard.received_s is None else round(now_s - heard.received_s, 1),
        "silent": heard.received_s is None or now_s - heard.received_s > state.silence / pipeline.speed,
        "reports": heard.reports,
        "duplicates": heard.duplicates,
        "rejected": pipeline.rejected_of.get(tag.tag_id, 0),
        "rssi_dbm": heard.rssi_dbm,
        "state": state.classifier.state.value if state.classifier else None,
        "room_id": located,
        "room": room.name if room else located,
        "failed_parts": heard.failed_parts,
        "values": heard.values,
    }
