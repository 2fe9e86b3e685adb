"""`wardtwin demo`: a whole ward on this machine, and what came of it."""

import asyncio
import contextlib
import signal
import time
from pathlib import Path
from typing import Any
from zlib import crc32

from rich.table import Column, Table

from wardtwin_board.devices import device_signal
from wardtwin_board.rooms import Climate, RoomClimate, RoomSignal
from wardtwin_board.signals import MainsSignal
from wardtwin_sync.registry import Device, Registry, Room
from wardtwin_sync.states import DeviceState, Transport
from wardtwin_tools.counts import count, not_stored, settle
from wardtwin_tools.demo_ward import GATEWAY_ROOM_ID, demo_registry
from wardtwin_tools.emulated_ward import EmulatedWard
from wardtwin_tools.errors import ToolError
from wardtwin_tools.output import console

PORT = 8400
FIRST_STATE_S = 60.0
CROWDED_ROOM_ID = "3-05"
KEPT = {Transport.MQTT.value, Transport.SERIAL.value}
"""The transports whose frames a tag keeps until acked; BLE is fire and forget."""


async def run_demo(workdir: Path, *, headless: bool, seconds: float, port: int | None, mosquitto: bool) -> dict[str, Any]:
    registry = demo_registry()
    stop = _on_signals()
    ward = EmulatedWard(
        workdir, registry, _signal, _climate, mosquitto=mosquitto, gateway_room_id=GATEWAY_ROOM_ID,
        cloud_port=port or (None if headless else PORT), report_period_s=lambda tag: 1 if tag.kind == "energy" else 5,
    )  # fmt: skip
    with console.status("starting broker, cloud agent and gateway"):
        await ward.__aenter__()
    try:
        await ward.power_on()
        console.print(f"{_count(registry, 'energy')} energy tags and {_count(registry, 'environment')} environment tags are on.")
        with console.status("waiting for the first state on the page"):
            waited_s = await _first_state(ward)
        console.print(f"First device state on the page after {waited_s:.1f} s.")
        if not headless:
            console.print(f"\nThe ward:          [bold]{ward.stack.cloud_url}/[/bold]")
            console.print(f"The gateway's own: {ward.stack.local_url}/")
            console.print("Ctrl-C ends all of it.")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds if headless else None):
                await _until_stopped(stop, ward)
        twin = await ward.stack.get_cloud("/api/v1/twin")
        with console.status("pulling the plugs and counting"):
            ward.pull_all_plugs()
            sequences = await settle(ward.stack)
            rejected = {f"{row['transport']}: {row['reason']}": row["count"] for row in (await ward.stack.get_gateway())["rejected"]}
        return _result(registry, ward, sequences, twin, rejected)
    finally:
        await ward.__aexit__(None, None, None)


def print_result(result: dict[str, Any]) -> None:
    table = Table("transport", *(Column(name, justify="right") for name in ("tags", "sent", "stored by the cloud", "acked", "duplicates")))
    for name, row in result["transports"].items():
        table.add_row(name, *(str(row.get(key, "–")) for key in ("tags", "sent", "stored", "acked", "duplicates")))
    console.print(table)
    console.print(f"Lost: {result['lost']}. Still held by tags: {result['held_by_tags']}. Refused: {sum(result['rejected'].values())}.")


def _signal(device: Device) -> MainsSignal:
    # twice the pace of a ward: a visitor should see something change
    return device_signal(device.device_type, seed=crc32(device.device_id.encode()) & 0xFFFF, pace=2.0)


def _climate(room: Room) -> RoomSignal:
    # one room is crowded and badly aired: after two minutes there is a warning to look at
    base = Climate(co2_ppm=1900.0, temperature_c=23.5) if room.room_id == CROWDED_ROOM_ID else None
    return RoomClimate(seed=crc32(room.room_id.encode()) & 0xFFFF, base=base)


def _count(registry: Registry, kind: str) -> int:
    return sum(tag.kind == kind for tag in registry.tags)


def _on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _until_stopped(stop: asyncio.Event, ward: EmulatedWard) -> None:
    while not stop.is_set():
        ward.stack.cloud.check()
        ward.stack.gateway.check()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await stop.wait()


async def _first_state(ward: EmulatedWard) -> float:
    began = time.monotonic()
    while time.monotonic() - began < FIRST_STATE_S:
        ward.stack.gateway.check()
        twin = await ward.stack.get_cloud("/api/v1/twin")
        if any(device["state"] != DeviceState.UNKNOWN for device in twin["devices"]):
            return time.monotonic() - began
        await asyncio.sleep(0.2)
    raise ToolError(f"no device had a state within {FIRST_STATE_S:.0f} s; the logs are in the working folder, the gateway's is gateway.log")


def _result(
    registry: Registry, ward: EmulatedWard, sequences: list[dict[str, Any]], twin: dict[str, Any], rejected: dict[str, int]
) -> dict[str, Any]:
    queues = ward.queues()
    transports: dict[str, dict[str, int]] = {}
    for transport in Transport:
        counted = count(sequences, {transport.value})
        of_it = [queues[tag.tag_id] for tag in registry.tags if tag.transport is transport and tag.tag_id in queues]
        transports[transport.value] = {"tags": sum(tag.transport is transport for tag in registry.tags), "stored": counted.stored}
        if transport.value in KEPT:
            transports[transport.value] |= {
                "sent": sum(queue.sent for queue in of_it),
                "acked": sum(queue.acked for queue in of_it),
                "duplicates": counted.duplicates,
            }
    kept = count(sequences, KEPT)
    sent = sum(queue.sent for queue in queues.values())
    # what a tag still holds is not lost: it is sent again at the next power-on. Some of it may have been stored already,
    # its ack on the way when the plug was pulled.
    held = sum(len(not_stored(tag_id, queue.held, sequences)) for tag_id, queue in queues.items())
    rooms = {room.room_id: room.name for room in registry.rooms().values()}
    return {
        "tags": {"energy": _count(registry, "energy"), "environment": _count(registry, "environment")},
        "transports": transports,
        "sent": sent,
        "stored": kept.stored,
        "acked": sum(queue.acked for queue in queues.values()),
        "held_by_tags": held,
        "lost": sent - kept.stored - held,
        "duplicates": kept.duplicates,
        "rejected": rejected,
        "devices": [
            {
                "id": device["device_id"],
                "state": device["state"],
                "room": device["room_id"],
                "active_power_w": device["active_power_w"],
                "stale": device["stale"],
            }
            for device in twin["devices"]
        ],
        "rooms": [
            {"id": room["room_id"], "name": rooms[room["room_id"]], "stale": room["stale"], **room["climate"]} for room in twin["rooms"]
        ],
    }
