"""A small ward for hostile bytes and rough handling: gateway, broker and cloud are real processes, its tags exist as frames only."""

import asyncio
import contextlib
import os
import pty
import select
import threading
import time
import tty
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
from bumble import hci
from bumble.controller import Controller

from wardtwin_board.air import Air, Position, Propagation
from wardtwin_board.broker import Mosquitto
from wardtwin_board.ciphers import aead
from wardtwin_board.clock import Clock
from wardtwin_board.load import BrokerAccess, Load, LoadTag
from wardtwin_sync.registry import SCHEMA, Building, Device, Hospital, Registry, TagBinding, TagCard
from wardtwin_sync.states import Transport
from wardtwin_tools.counts import settle
from wardtwin_tools.demo_ward import GATEWAY_ID
from wardtwin_tools.stack import BrokerSettings, Stack, card_of
from wardtwin_wire import bthome, frame, keys, serial
from wardtwin_wire.errors import WireError

T = TypeVar("T")
LOAD_USER = ("load", "load")


def registry(count: int, transport: Transport = Transport.MQTT, device_type: str = "coffee_maker") -> Registry:
    """`count` energy tags, each on a device of its own, so that what follows from a reading is worked out too."""
    devices = tuple(Device(f"device-{n}", f"Device {n}", device_type, "ward-3") for n in range(1, count + 1))
    bindings = tuple(
        TagBinding(f"0bad00{n:06x}", "energy", transport, ble_address=address(n), device_id=f"device-{n}", ward="ward-3")
        for n in range(1, count + 1)
    )
    return Registry(SCHEMA, Hospital("rough", "Rough", "UTC", (Building("b", "Building", ()),)), devices, bindings)


def address(n: int) -> str:
    return f"C0:FF:EE:00:00:{n:02X}"


class Ward:
    """`registry`'s tags, a gateway, a cloud and, on demand, a broker; `close` ends them all. `workdir` keeps everything."""

    def __init__(self, workdir: Path, known: Registry, *, broker: bool = False, **stack: Any) -> None:
        self.workdir = workdir
        self._runner = asyncio.Runner()
        self.broker = Mosquitto(workdir / "broker", users={GATEWAY_ID: "gateway", LOAD_USER[0]: LOAD_USER[1]}, tags={}) if broker else None
        access = BrokerSettings(self.broker.host, self.broker.port, GATEWAY_ID, "gateway", self.broker.ca_pem) if self.broker else None
        self.cards: list[TagCard] = [card_of(known, tag.tag_id) for tag in known.tags]
        self.stack = Stack(workdir, known, self.cards, access, **stack)
        self.stack.prepare()
        self._loads: list[Load] = []

    @property
    def gateway_data(self) -> Path:
        return self.workdir / "gateway"

    @property
    def access(self) -> BrokerAccess:
        assert self.broker is not None
        return BrokerAccess(self.broker.host, self.broker.port, str(self.broker.ca_pem), *LOAD_USER)

    def configure(self, section: str, text: str) -> None:
        """Add lines to a section of the gateway's configuration."""
        path = self.stack.config_path
        before = path.read_text()
        head = f"[{section}]\n"
        path.write_text(before.replace(head, head + text + "\n") if head in before else f"{before}\n{head}{text}\n")

    def tags(self, first: int = 0, last: int | None = None) -> list[LoadTag]:
        return [LoadTag(card.binding.tag_id, bytes.fromhex(card.key_hex)) for card in self.cards[first:last]]

    def load(self, tags: list[LoadTag], rate: float) -> Load:
        """Good traffic over the broker, already running."""
        load = Load(tags, self.access, rate)
        self._loads.append(load)
        load.start()
        return load

    def start(self) -> None:
        self.run(self._start())

    async def _start(self) -> None:
        if self.broker is not None:
            await self.broker.start()
        await self.stack.start()

    def start_gateway(self) -> None:
        self.stack.gateway.start()
        self.run(self.stack.gateway.wait_ready())

    def start_cloud(self) -> None:
        self.stack.cloud.start()
        self.run(self.stack.cloud.wait_ready())

    def start_broker(self) -> None:
        assert self.broker is not None
        self.run(self.broker.start())

    def status(self) -> dict[str, Any]:
        return dict(httpx.get(self.stack.local_url + "/api/status", timeout=10, trust_env=False).raise_for_status().json())

    def cloud(self, path: str) -> Any:
        return httpx.get(self.stack.cloud_url + path, timeout=10, trust_env=False).raise_for_status().json()

    def settled(self) -> dict[str, dict[str, Any]]:
        """The cloud's count of each tag once nothing more comes: (tag id) -> its row. Tags with several boots are not for this."""
        return {row["tag_id"]: row for row in self.run(settle(self.stack, quiet_s=0.5))}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def rss_mb(self) -> float:
        return float(psutil.Process(self.stack.gateway.pid).memory_info().rss) / 2**20

    def close(self) -> None:
        for load in self._loads:
            load.close()
        self.run(self.stack.stop())
        self._runner.close()
        if self.broker is not None:
            self.broker.stop()


@contextlib.contextmanager
def ward(workdir: Path, known: Registry, **options: Any) -> Iterator[Ward]:
    made = Ward(workdir, known, **options)
    try:
        yield made
    finally:
        made.close()


def until(condition: Callable[[], Any], timeout_s: float, what: Any = "") -> Any:
    """Wait for condition() and return what it gave; after `timeout_s` fail with what() or what."""
    deadline = time.monotonic() + timeout_s
    while not (got := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what() if callable(what) else what}")
        time.sleep(0.05)
    return got


def rejected(status: dict[str, Any], transport: str) -> dict[str, int]:
    """reason -> count of one transport."""
    return {row["reason"]: row["count"] for row in status["rejected"] if row["transport"] == transport}


def assert_exactly_once(tags: list[LoadTag], stored: dict[str, dict[str, Any]]) -> None:
    for tag in tags:
        row = stored[tag.tag_id]
        assert (row["first"], row["last"]) == (1, tag.sequence), row
        assert row["count"] == row["distinct"] == tag.sequence, row


def take_ack(tag: LoadTag, data: bytes) -> None:
    """An ack that may be another tag's."""
    with contextlib.suppress(WireError):
        tag.take_ack(data)


class Wire:
    """A tag on USB as its serial line only: what is written arrives at the gateway, acks come back to `tags`."""

    def __init__(self, path: Path, tags: list[LoadTag]) -> None:
        self.tags = tags
        self._near, self._far = pty.openpty()
        tty.setraw(self._near)
        tty.setraw(self._far)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(os.ttyname(self._far))
        self._decoder = serial.Decoder()
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._read, name="wire", daemon=True)
        self._reader.start()

    def write(self, data: bytes) -> None:
        """All of it, however long the gateway takes."""
        while data:
            data = data[os.write(self._near, data) :]

    def send(self, tag: LoadTag, **values: float) -> bytes:
        """One good report, of a load that wanders or of `values`; return the frame."""
        uptime_ms = int(time.monotonic() * 1000)
        if values:
            tag.sequence += 1
            data = sealed_frame(tag, frame.ENERGY, tag.boot_id, tag.sequence, frame.pack_values(frame.ENERGY, uptime_ms, values))
        else:
            data = tag.make(uptime_ms)
        tag.held[tag.sequence] = (data, time.monotonic())
        self.write(serial.encode(serial.REPORT, data))
        return data

    @property
    def held(self) -> int:
        return sum(len(tag.held) for tag in self.tags)

    def _read(self) -> None:
        while not self._closing.is_set():
            if not select.select([self._near], [], [], 0.1)[0]:
                continue
            for kind, body in self._decoder.feed(os.read(self._near, 4096)):
                if kind == serial.ACK:
                    for tag in self.tags:
                        take_ack(tag, body)

    def close(self) -> None:
        self._closing.set()
        self._reader.join()
        os.close(self._near)
        os.close(self._far)


class AirTag:
    """A tag that only advertises."""

    def __init__(self, card: TagCard) -> None:
        assert card.binding.ble_address is not None
        self.tag_id = card.binding.tag_id
        self.address = card.binding.ble_address
        self.counter = 0
        self._aead = aead(bytes.fromhex(card.key_hex), keys.BTHOME, bthome.TAG_BYTES)

    def next(self) -> bytes:
        """The advert of a new reading."""
        self.counter += 1
        return self.sealed(bthome.energy_frames({"active_power_w": 40.0 + self.counter % 9, "voltage_v": 230.0, "current_a": 0.2})[0])

    def sealed(self, objects: bytes) -> bytes:
        """An authentic advert of `objects`, whatever they are."""
        address_bytes = bytes.fromhex(self.address.replace(":", ""))
        return bytes(bthome.advert(self._aead, address_bytes, self.counter, self.counter, objects))


class Sky:
    """The air around the gateway in a thread of its own, without loss; anything may be sent into it from any address."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sky", daemon=True)
        self._thread.start()
        self.air: Air = self._call(self._up())

    @property
    def gateway_env(self) -> dict[str, str]:
        return {"WARDTWIN_BOARD_HCI": f"tcp-client:127.0.0.1:{self.air.port}"}

    def send(self, source: str, data: bytes) -> None:
        """One advert (its AD structures), heard at once by a gateway that scans."""
        self._loop.call_soon_threadsafe(self.air.send, self._sender, 3, hci.Address(source, hci.Address.PUBLIC_DEVICE_ADDRESS), data, 1.0)

    async def _up(self) -> Air:
        air = Air(Clock(1.0), Propagation(loss=0.0, shadow_db=0.0, fading_db=0.0))
        self._sender = Controller("sender")
        air.join(self._sender, Position(1.0))
        await air.up()
        return air

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def close(self) -> None:
        self._call(self.air.down())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def sealed_frame(tag: LoadTag, kind: int, boot_id: int, sequence: int, payload: bytes) -> bytes:
    """An authentic frame of whatever content: a tag gone mad, or one whose key was stolen."""
    cipher = aead(tag.key, keys.REPORT, frame.TAG_BYTES)
    return bytes(frame.seal(cipher, kind, bytes.fromhex(tag.tag_id), boot_id, sequence, payload))
