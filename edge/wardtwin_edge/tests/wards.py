"""A small ward for the tests: tags that seal real frames, a pipeline over a store in a temporary directory, a clock on strings."""

import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from wardtwin_edge import config
from wardtwin_edge.clock import Clock
from wardtwin_edge.pipeline import Arrival, Pipeline
from wardtwin_edge.roster import Roster
from wardtwin_edge.store import FILE_NAME, Store
from wardtwin_sync.registry import SCHEMA, Building, Device, Floor, Hospital, Registry, Room, TagBinding, TagCard
from wardtwin_sync.states import Transport
from wardtwin_wire import bthome, frame, keys

NOW = 1_790_000_000.0


class Sealer:
    """cryptography's AESCCM under the names that wire calls."""

    def __init__(self, key: bytes, label: bytes, tag_length: int = 8) -> None:
        block = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update
        aead = AESCCM(keys.derive(block, label), tag_length=tag_length)
        self.seal = lambda nonce, text, associated=b"": aead.encrypt(nonce, text, associated or None)
        self.open = lambda nonce, sealed, associated=b"": aead.decrypt(nonce, sealed, associated or None)


class FakeTag:
    """What a tag does with its key: numbers of its own, sealed frames, adverts."""

    def __init__(self, number: int, kind: str = "energy", device_type: str = "generic", transport: Transport = Transport.MQTT) -> None:
        self.id_bytes = bytes((0xC0, 0xFF, 0xEE, 0, 0, number))
        self.tag_id = self.id_bytes.hex()
        self.key = bytes((number,)) * 16
        self.address = bytes((0xC0, 0xFF, 0xEE, 0, 1, number))
        self.report = Sealer(self.key, keys.REPORT)
        self.ack = Sealer(self.key, keys.ACK)
        self.ble = Sealer(self.key, keys.BTHOME, bthome.TAG_BYTES)
        self.device = Device(f"device-{number}", f"Device {number}", device_type, "ward-3", "room-1") if kind == "energy" else None
        printed = ":".join(f"{byte:02X}" for byte in self.address)
        self.binding = TagBinding(
            self.tag_id, kind, transport, printed,
            device_id=self.device.device_id if self.device else None, room_id=None if self.device else f"room-{number}",
        )  # fmt: skip
        self.card = TagCard(SCHEMA, self.binding, self.key.hex(), self.device)

    def energy(self, sequence: int, power_w: float = 50.0, uptime_s: float | None = None, boot_id: int = 1, **values: float) -> bytes:
        uptime_ms = int((sequence if uptime_s is None else uptime_s) * 1000)
        payload = frame.pack_values(frame.ENERGY, uptime_ms, {"active_power_w": power_w, "voltage_v": 230.0, "current_a": 0.2, **values})
        return self.sealed(frame.ENERGY, sequence, payload, boot_id)

    def sealed(self, kind: int, sequence: int, payload: bytes, boot_id: int = 1) -> bytes:
        return frame.seal(self.report, kind, self.id_bytes, boot_id, sequence, payload)

    def advert(self, counter: int, **values: float) -> bytes:
        """Service data as bleak gives it: without the UUID."""
        whole = bthome.advert(self.ble, self.address, counter, counter & 255, bthome.energy_frames(values)[0])
        return whole[7:]


class Recorder:
    """A source that remembers what it was told."""

    def __init__(self, transport: Transport = Transport.MQTT) -> None:
        self.transport = transport
        self.tokens: list[Any] = []
        self.acks: list[tuple[str, bytes]] = []

    def committed(self, tokens: list[Any]) -> None:
        self.tokens += tokens

    def send_ack(self, tag_id: str, sealed: bytes) -> None:
        self.acks.append((tag_id, sealed))


class Hands:
    """Two clocks moved by hand: the system's and the monotonic one."""

    def __init__(self, system: float = NOW, monotonic: float = 1000.0) -> None:
        self.system_s = system
        self.monotonic_s = monotonic

    def pass_(self, seconds: float) -> None:
        self.system_s += seconds
        self.monotonic_s += seconds

    def clock(self, **options: Any) -> Clock:
        return Clock(system=lambda: self.system_s, monotonic=lambda: self.monotonic_s, boot="this start", **options)


def registry_of(*tags: FakeTag) -> Registry:
    rooms = tuple(Room(f"room-{n}", f"Room {n}") for n in range(1, 30))
    hospital = Hospital("h", "Hospital", "Europe/Berlin", (Building("b", "Main", (Floor("f", "Ground", 0, rooms),)),))
    return Registry(SCHEMA, hospital, tuple(t.device for t in tags if t.device), tuple(t.binding for t in tags))


def config_of(data_dir: Path, **sections: Any) -> config.Config:
    base = {"gateway": {"id": "gw-1", "data_dir": str(data_dir), "room_id": "room-9"}, "ble": {"backend": "none"}, "local": {"port": 0}}
    return config.decode({**base, **sections})


class Bench:
    """Pipeline and store without threads: what arrives is worked out and committed at once."""

    def __init__(self, data_dir: Path, *tags: FakeTag, hands: Hands | None = None) -> None:
        self.config = config_of(data_dir)
        self.data_dir = data_dir
        self.tags = tags
        self.hands = hands or Hands()
        self.clock = self.hands.clock()
        self.source = Recorder()
        self.open()

    def open(self) -> None:
        self.store = Store(self.data_dir / FILE_NAME)
        self.roster = Roster([tag.card for tag in self.tags], registry_of(*self.tags))
        self.pipeline = Pipeline(self.config, self.store, self.roster, self.clock, self.hands.monotonic_s)

    def restart(self) -> None:
        self.store.close()
        self.open()

    def take(self, *payloads: bytes, source: Recorder | None = None) -> list[tuple[int, int]]:
        """Commit sealed frames; return (boot_id, sequence) of what is to be acked."""
        arrivals = [Arrival(source or self.source, payload, self.hands.monotonic_s, 1) for payload in payloads]
        changes, acks = self.pipeline.take(arrivals)
        self.store.commit(changes)
        return [(boot_id, sequence) for _, _, boot_id, sequence in acks]

    def hear(self, tag: FakeTag, data: bytes, rssi_dbm: int = -60) -> None:
        arrival = Arrival(Recorder(Transport.BLE), data, self.hands.monotonic_s, None, tag.address, rssi_dbm)
        changes, _ = self.pipeline.take([arrival])
        self.store.commit(changes)

    def tick(self) -> None:
        self.store.commit(self.pipeline.tick(self.hands.monotonic_s, 0.0))

    def rows(self, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
        return self.store.db.execute(f"SELECT {columns} FROM {table} ORDER BY rowid").fetchall()


def wait_for(condition: Any, seconds: float = 10.0, what: str = "it") -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"{what} did not happen within {seconds} s"
        time.sleep(0.01)
