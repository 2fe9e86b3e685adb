"""`wardtwin replay`: a recording through meter chip, tag, gateway and cloud, and the states the cloud made of it."""

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from wardtwin_board.rooms import Climate, steady
from wardtwin_board.signals import Mains, Recording, read_recording
from wardtwin_models import device_types
from wardtwin_sync.registry import SCHEMA, Building, Device, Hospital, Registry, TagBinding
from wardtwin_sync.states import Transport
from wardtwin_tools.counts import count, not_stored, settle
from wardtwin_tools.emulated_ward import EmulatedWard
from wardtwin_tools.errors import RecordingError, ToolError
from wardtwin_tools.intervals import intervals
from wardtwin_tools.output import console

Values = NDArray[np.float64]

TAG_ID = "c0ffee00f001"
DEVICE_ID = "replayed"
_FIRST_WORD_S = 30.0
_CATCH_UP_S = 180.0


@dataclass(frozen=True)
class Replay:
    """One recording to play. `unit`: key of an .npz; `start_s`, `duration_s`: which part of it, None to the end."""

    file: Path
    unit: str | None
    device_type: str
    transport: str
    speed: float
    start_s: float = 0.0
    duration_s: float | None = None


class Player:
    """A signal that holds the recording's first value until `begin`, plays it, and holds its last value afterwards."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._began_s: float | None = None

    def begin(self, now_s: float) -> None:
        self._began_s = now_s

    def __call__(self, now_s: float) -> Mains:
        t_s = 0.0 if self._began_s is None else now_s - self._began_s
        return self._recording(min(max(t_s, 0.0), self._recording.duration_s))


def load(plan: Replay) -> Recording:
    """Read the part of the file that is to be played. Raise RecordingError with the list of units or the fault."""
    if plan.device_type not in device_types.shipped():
        raise RecordingError(f"no type record {plan.device_type!r}. Known: {', '.join(sorted(device_types.shipped()))}")
    try:
        whole = read_recording(plan.file, plan.unit)
    except (OSError, ValueError) as error:
        raise RecordingError(str(error)) from error
    end_s = whole.duration_s if plan.duration_s is None else plan.start_s + plan.duration_s
    inside = (whole.time_s >= plan.start_s) & (whole.time_s <= end_s)
    if not inside.any():
        raise RecordingError(f"{plan.file} has nothing between {plan.start_s:.0f} and {end_s:.0f} s; it lasts {whole.duration_s:.0f} s")

    def part(column: Values | None) -> Values | None:
        return None if column is None else column[inside]

    return replace(
        whole,
        time_s=whole.time_s[inside] - plan.start_s,
        active_power_w=whole.active_power_w[inside],
        voltage_v=part(whole.voltage_v),
        current_a=part(whole.current_a),
        power_factor=part(whole.power_factor),
    )


async def run_replay(plan: Replay) -> dict[str, Any]:
    recording = load(plan)
    player = Player(recording)
    transport = Transport(plan.transport)
    record = device_types.of(plan.device_type)
    with tempfile.TemporaryDirectory(prefix="wardtwin-replay-") as scratch:
        ward = EmulatedWard(
            Path(scratch) / "ward", _registry(plan.device_type, transport), lambda _: player, lambda _: steady(Climate()),
            speed=plan.speed,
        )  # fmt: skip
        async with ward:
            board = ward.bench.boards[TAG_ID]
            await ward.power_on()
            with console.status("waiting for the tag's first word"):
                await _first_word(ward)
            begin_s = board.now_s()
            player.begin(begin_s)
            # a change shortly before the end is only believed after the type's dwell
            tail_s = max(record.min_on_s, record.min_off_s, record.standby_dwell_s) + 60 + 2 * plan.speed
            await _play(ward, board.now_s, begin_s, recording.duration_s, tail_s)
            if transport is not Transport.BLE:
                with console.status("waiting for what the tag still holds"):
                    await _caught_up(ward, transport)
            ward.pull_all_plugs()
            sequences = await settle(ward.stack)
            began = board.powered_at + begin_s
            states = (await ward.stack.get_cloud(f"/api/v1/devices/{DEVICE_ID}/states", **{"from": 0, "to": 4e9}))["states"]
            result: dict[str, Any] = {
                "intervals": intervals(sorted(states, key=lambda row: row["since"]), began, began + recording.duration_s),
                "seconds": recording.duration_s,
                "speed": plan.speed,
            }
            return result | _counts(ward, transport, sequences)


def _counts(ward: EmulatedWard, transport: Transport, sequences: list[dict[str, Any]]) -> dict[str, Any]:
    counted = count(sequences, {transport.value})
    if transport is Transport.BLE:
        # adverts are fire and forget: what came is counted, and nothing can be called lost
        return {"sent": None, "stored": counted.stored, "lost": 0, "duplicates": counted.duplicates}
    queue = ward.queues()[TAG_ID]
    held = len(not_stored(TAG_ID, queue.held, sequences))
    return {"sent": queue.sent, "stored": counted.stored, "lost": queue.sent - counted.stored - held, "duplicates": counted.duplicates,
            "held_by_tag": held}  # fmt: skip


def _registry(device_type: str, transport: Transport) -> Registry:
    hospital = Hospital("bench", "Bench", "UTC", (Building("b", "Building", ()),))
    address = (int(TAG_ID, 16) + 2).to_bytes(6, "big").hex(":").upper()
    tag = TagBinding(TAG_ID, "energy", transport, address, DEVICE_ID, None, "ward-3")
    return Registry(SCHEMA, hospital, (Device(DEVICE_ID, device_type, device_type, "ward-3"),), (tag,))


async def _first_word(ward: EmulatedWard) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _FIRST_WORD_S
    while (await ward.stack.get_cloud("/api/v1/twin"))["devices"][0]["active_power_w"] is None:
        ward.stack.gateway.check()
        if loop.time() > deadline:
            raise ToolError(f"the tag's first report did not reach the cloud within {_FIRST_WORD_S:.0f} s")
        await asyncio.sleep(0.1)


async def _caught_up(ward: EmulatedWard, transport: Transport) -> None:
    """Return when the cloud has as many reports as the tag had made by now: a busy machine may run behind a fast clock."""
    made = ward.queues()[TAG_ID].sent
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _CATCH_UP_S
    while (stored := count((await ward.stack.get_cloud("/api/v1/sequences"))["sequences"], {transport.value}).stored) < made:
        if loop.time() > deadline:
            raise ToolError(f"the tag is {made - stored} reports behind after {_CATCH_UP_S:.0f} s. Play with a lower --speed.")
        await asyncio.sleep(0.5)


async def _play(ward: EmulatedWard, now_s: Callable[[], float], begin_s: float, duration_s: float, tail_s: float) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("playing", total=duration_s)
        while now_s() < begin_s + duration_s + tail_s:
            ward.stack.gateway.check()
            ward.stack.cloud.check()
            progress.update(task, completed=min(now_s() - begin_s, duration_s))
            await asyncio.sleep(0.25)


def print_intervals(result: dict[str, Any]) -> None:
    table = Table("state", "from", "to", "for")
    for row in result["intervals"]:
        table.add_row(row["state"], _clock(row["start_s"]), _clock(row["end_s"]), _clock(row["end_s"] - row["start_s"]))
    console.print(table)
    console.print(f"sent {result['sent']}, stored {result['stored']}, lost {result['lost']}, duplicates {result['duplicates']}")


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
