"""Many tags' worth of traffic from one process, for benches: real sealed frames, held until the gateway's sealed ack, as a tag does.

What is not here is the board: no meter, no flash. Use `bench.py` for those.
"""

import random
import struct
import threading
import time
from dataclasses import dataclass, field

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from paho.mqtt.enums import CallbackAPIVersion

from wardtwin_wire import frame, keys, topics
from wardtwin_wire.errors import WireError


def derived(key: bytes, label: bytes) -> AESCCM:
    """The AEAD for one purpose under a tag's 16-byte key (see wardtwin_wire.keys)."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return AESCCM(keys.derive(encryptor.update, label), tag_length=frame.TAG_BYTES)


class _Seal:
    """cryptography's AEAD under the two names that wardtwin_wire calls."""

    def __init__(self, aead: AESCCM) -> None:
        self.seal = aead.encrypt
        self._aead = aead

    def open(self, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
        try:
            return self._aead.decrypt(nonce, sealed, associated)
        except Exception as error:
            raise WireError("authentication") from error


@dataclass
class LoadTag:
    """A tag that exists as numbers only. `held` maps sequence -> (frame, monotonic time of the last send)."""

    tag_id: str
    key: bytes
    boot_id: int = 1
    sequence: int = 0
    held: dict[int, tuple[bytes, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._report = _Seal(derived(self.key, keys.REPORT))
        self._ack = _Seal(derived(self.key, keys.ACK))
        self._id = bytes.fromhex(self.tag_id)
        self._energy_wh = 0.0

    def make(self, uptime_ms: int) -> bytes:
        """The next energy report, of a load that wanders."""
        self.sequence += 1
        power_w = 40 + 20 * random.random()
        self._energy_wh += power_w / 3600
        values = {
            "active_power_w": power_w,
            "voltage_v": 230.0,
            "current_a": power_w / 230,
            "power_factor": 0.98,
            "frequency_hz": 50.0,
            "energy_wh": self._energy_wh,
            "peak_current_a": power_w / 200,
        }
        payload = frame.pack_values(frame.ENERGY, uptime_ms, values)
        return bytes(frame.seal(self._report, frame.ENERGY, self._id, self.boot_id, self.sequence, payload))

    def take_ack(self, data: bytes) -> None:
        """Let go of what the gateway says it has committed. Raise WireError for an ack that is not this tag's gateway's."""
        _, _, _, _, payload = frame.open_frame(self._ack, data)
        for boot_id, first, last in frame.unpack_ack(payload)[1]:
            if boot_id == self.boot_id:
                for sequence in range(first, last + 1):
                    self.held.pop(sequence, None)


@dataclass(frozen=True)
class BrokerAccess:
    """Where the load goes; `username` must be allowed to write every tag's topics."""

    host: str
    port: int
    ca_file: str | None = None
    username: str | None = None
    password: str | None = None


class Load:
    """`rate` messages a second over all `tags`, published QoS 1, each held until acked and sent again after `resend_s`."""

    def __init__(self, tags: list[LoadTag], access: BrokerAccess, rate: float, resend_s: float = 2.0) -> None:
        self._tags = {tag.tag_id: tag for tag in tags}
        self._rate = rate
        self._resend_s = resend_s
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._generating = threading.Event()
        self._closed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"load-{random.getrandbits(32):08x}")
        self._client.max_queued_messages_set(0)
        self._client.max_inflight_messages_set(2000)
        self._client.reconnect_delay_set(1, 2)
        if access.ca_file:
            self._client.tls_set(ca_certs=access.ca_file)
        if access.username:
            self._client.username_pw_set(access.username, access.password)
        self._client.on_connect = lambda client, *_: client.subscribe([(topics.down(tag_id), 0) for tag_id in self._tags])
        self._client.on_message = self._on_message
        self._client.connect_async(access.host, access.port, keepalive=10)
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> None:
        self._generating.set()
        self._client.loop_start()
        self._thread.start()

    def stop_generating(self) -> None:
        """No new reports; what is held goes on being sent until acked."""
        self._generating.clear()

    def close(self) -> None:
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def sent(self) -> int:
        return sum(tag.sequence for tag in self._tags.values())

    @property
    def held(self) -> int:
        return sum(len(tag.held) for tag in self._tags.values())

    def _on_message(self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        tag = self._tags.get(message.topic.split("/")[2])
        if tag is not None:
            with self._lock:
                try:
                    tag.take_ack(bytes(message.payload))
                except (WireError, struct.error):
                    return

    def _run(self) -> None:
        order = list(self._tags.values())
        made = 0
        began = time.monotonic()
        next_resend = began
        while not self._closed.wait(0.01):
            now = time.monotonic()
            if self._generating.is_set():
                while made < (now - began) * self._rate:
                    tag = order[made % len(order)]
                    made += 1
                    with self._lock:
                        data = tag.make(int((now - self._started) * 1000))
                        tag.held[tag.sequence] = (data, now)
                    self._publish(tag, data)
            if now >= next_resend:
                next_resend = now + 0.2
                self._resend(now)

    def _resend(self, now: float) -> None:
        if not self._client.is_connected():
            return
        with self._lock:
            late = [(tag, sequence, data) for tag in self._tags.values() for sequence, (data, at) in tag.held.items()
                    if now - at > self._resend_s]  # fmt: skip
            for tag, sequence, data in late:
                tag.held[sequence] = (data, now)
        for tag, _, data in late:
            self._publish(tag, data)

    def _publish(self, tag: LoadTag, data: bytes) -> None:
        # while the broker is away nothing is handed to paho: the frame is held here and sent again later
        if self._client.is_connected():
            self._client.publish(topics.up(tag.tag_id), data, qos=1)
