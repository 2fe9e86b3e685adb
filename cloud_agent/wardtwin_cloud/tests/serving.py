"""A real agent in a process of its own, and a gateway that talks to it over real HTTP."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import zstandard

from wardtwin_cloud.config import CloudConfig
from wardtwin_cloud.store import open_store
from wardtwin_cloud.tokens import fingerprint, new_token
from wardtwin_sync.batch import HASH_HEADER, SCHEMA, Batch, BatchKind, columns_of, digest, encode
from wardtwin_sync.registry import Building, Device, Floor, Hospital, Registry, Room, TagBinding
from wardtwin_sync.registry import encode as encode_registry
from wardtwin_sync.states import Transport

GATEWAY = "gw-1"


def small_registry(devices: int = 3, rooms: int = 2, name: str = "Device") -> Registry:
    """`devices` devices with a tag each over `rooms` rooms in a row, each room with an environment tag."""
    plan = tuple(
        Room(f"room-{n}", f"Room {n}", ((n * 5.0, 0.0), (n * 5.0 + 5, 0.0), (n * 5.0 + 5, 4.0), (n * 5.0, 4.0))) for n in range(rooms)
    )
    hospital = Hospital("h", "Test hospital", "Europe/Berlin", (Building("b", "House", (Floor("f", "Ground floor", 0, plan),)),))
    fleet = tuple(Device(f"device-{n}", f"{name} {n}", "infusion_pump", "ward", f"room-{n % rooms}") for n in range(devices))
    tags = tuple(TagBinding(f"{n:012x}", "energy", Transport.MQTT, device_id=f"device-{n}", ward="ward") for n in range(devices))
    beacons = tuple(TagBinding(f"{0xE000 + n:012x}", "environment", Transport.BLE, room_id=f"room-{n}", ward="ward") for n in range(rooms))
    return Registry(1, hospital, fleet, tags + beacons)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A `wardtwin-cloud run` on a data folder; may be killed and started again on the same port."""

    data: Path
    environ: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "wardtwin_cloud.cli", "run", "--data", str(self.data), "--port", str(self.port), *self.arguments]
        self.process = subprocess.Popen(command, env={**os.environ, **self.environ})
        end = time.monotonic() + 20
        while time.monotonic() < end:
            assert self.process.poll() is None, "the agent ended at start"
            try:
                if httpx.get(f"{self.url}/healthz", timeout=1).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("the agent did not come up")

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the agent did not end on {number.name}") from None


@contextmanager
def serving(
    data: Path, registry: Registry | None = None, environ: dict[str, str] | None = None, arguments: Sequence[str] = ()
) -> Iterator[tuple[Server, str]]:
    """An agent with gateway GATEWAY enrolled; gives the server and the gateway's token."""
    token = enrol(data, GATEWAY, registry if registry is not None else small_registry())
    server = Server(data, environ or {}, tuple(arguments))
    server.start()
    try:
        yield server, token
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()


def enrol(data: Path, gateway_id: str, registry: Registry | None = None) -> str:
    token = new_token()
    store = open_store(CloudConfig(data).database)
    store.add_gateway(gateway_id, fingerprint(token), time.time())
    if registry is not None:
        store.import_registry(encode_registry(registry), time.time())
    store.close()
    return token


def readings(first: int, count: int, *, tag: int = 0, boot: int = 1, at: float | None = None, **cells: Any) -> list[dict[str, Any]]:
    """`count` energy frames of one tag, a second apart, the last one at `at` (now)."""
    end = time.time() if at is None else at
    return [
        {
            "tag_id": f"{tag:012x}", "boot_id": boot, "sequence": first + n, "kind": "energy", "transport": "mqtt",
            "measured_at": end - count + 1 + n, "active_power_w": 40.0 + n % 7, "voltage_v": 230.1, **cells,
        }
        for n in range(count)
    ]  # fmt: skip


@dataclass
class Feeder:
    """A gateway's uplink, as simple as the contract allows."""

    url: str
    token: str
    gateway_id: str = GATEWAY
    epoch: str = "epoch-1"
    sequence: int = 0
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=10))

    def __enter__(self) -> "Feeder":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def batch(self, kind: BatchKind, rows: Sequence[dict[str, Any]], sequence: int | None = None, created_at: float | None = None) -> Batch:
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        at = time.time() if created_at is None else created_at
        return Batch(SCHEMA, self.gateway_id, self.epoch, sequence, kind, at, columns_of(rows, kind))

    def send(self, kind: BatchKind, rows: Sequence[dict[str, Any]], sequence: int | None = None) -> httpx.Response:
        return self.post(self.batch(kind, rows, sequence))

    def post(self, batch: Batch) -> httpx.Response:
        return self.post_raw(encode(batch), batch.sequence)

    def post_raw(
        self,
        raw: bytes,
        sequence: int,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        path_gateway: str | None = None,
    ) -> httpx.Response:
        """`raw` is hashed; `body` replaces its compressed form on the road."""
        return self.client.post(
            f"{self.url}/api/v1/gateways/{path_gateway or self.gateway_id}/batches/{self.epoch}/{sequence}",
            content=zstandard.compress(raw) if body is None else body,
            headers={
                "Authorization": f"Bearer {self.token}",
                "Content-Encoding": "zstd",
                "Content-Type": "application/json",
                HASH_HEADER: digest(raw),
                **(headers or {}),
            },
        )

    def get(self, path: str, **parameters: Any) -> Any:
        response = self.client.get(self.url + path, params=parameters)
        response.raise_for_status()
        return response.json()
