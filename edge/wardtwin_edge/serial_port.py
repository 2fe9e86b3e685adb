"""The only door to pyserial: sealed frames from tags on USB, sealed acks back.

Ports are looked for again and again, so a tag may be plugged, pulled and plugged in elsewhere. Each open port has a thread.
"""

import glob
import logging
import random
import threading
import time
from collections import deque
from typing import Any

import serial

from wardtwin_edge.committer import Committer
from wardtwin_edge.config import Serial
from wardtwin_edge.pipeline import Arrival
from wardtwin_sync.states import Transport
from wardtwin_wire import serial as wire

_log = logging.getLogger(__name__)
_LOOK_EVERY_S = 2.0
_ASK_EVERY_S = 2.0
_WINDOW = 256
_HELLO_BYTES = 9


class SerialPorts(threading.Thread):
    """Keeps a `Port` for every path that matches the configuration."""

    def __init__(self, config: Serial, committer: Committer) -> None:
        super().__init__(name="serial", daemon=True)
        self._config = config
        self._committer = committer
        self._stopping = threading.Event()
        self.ports: dict[str, Port] = {}

    def run(self) -> None:
        while not self._stopping.is_set():
            for path in sorted({found for pattern in self._config.ports for found in glob.glob(pattern)}):
                port = self.ports.get(path)
                if port is None or not port.is_alive():
                    if port is not None and time.monotonic() < port.retry_at_s:
                        continue
                    self.ports[path] = port = Port(path, self._config.baud, self._committer, after=port)
                    port.start()
            self._stopping.wait(_LOOK_EVERY_S)

    def stop_reading(self) -> None:
        self._stopping.set()
        for port in list(self.ports.values()):
            port.stopping.set()

    def join(self, timeout: float | None = None) -> None:
        super().join(timeout)
        for port in list(self.ports.values()):
            port.join(timeout)


class Port(threading.Thread):
    transport = Transport.SERIAL

    def __init__(self, path: str, baud: int, committer: Committer, after: "Port | None" = None) -> None:
        super().__init__(name=f"serial {path}", daemon=True)
        self._path = path
        self._baud = baud
        self._committer = committer
        self._outgoing: deque[bytes] = deque()
        self._unacked = 0
        self._released: deque[int] = deque()
        self.stopping = threading.Event()
        self.failures: int = after.failures if after else 0
        self.received: int = after.received if after else 0
        self.junk_bytes: int = after.junk_bytes if after else 0
        self.retry_at_s = 0.0
        self.is_open = False
        self.tag_id: str | None = None
        self.state = "opening"

    def committed(self, tokens: list[Any]) -> None:
        self._released.append(len(tokens))

    def send_ack(self, tag_id: str, sealed: bytes) -> None:
        self._outgoing.append(wire.encode(wire.ACK, sealed))

    def run(self) -> None:
        began_s = time.monotonic()
        try:
            with self._open() as line:
                self.is_open, self.state = True, "open"
                self._serve(line)
            self.state = "closed"
        except (OSError, serial.SerialException) as error:
            self.state = f"gone: {error}"
        except Exception as error:  # no bytes of a tag may end the gateway
            _log.exception("serial %s", self._path)
            self.state = f"fault: {error}"
        self.is_open = False
        self.failures = 1 if time.monotonic() - began_s > 10 else self.failures + 1
        self.retry_at_s = time.monotonic() + min(30.0, 0.5 * 2 ** min(self.failures, 8)) * random.uniform(0.5, 1.0)

    def _open(self) -> Any:
        line = serial.Serial()
        line.port, line.baudrate = self._path, self._baud
        line.timeout, line.write_timeout = 0.1, 2.0
        line.exclusive = True
        line.dtr = line.rts = False  # on most boards these lines reset the chip
        line.open()
        return line

    def _serve(self, line: Any) -> None:
        decoder = wire.Decoder()
        ask_at_s = 0.0
        stop_at_s = float("inf")
        junk_before = self.junk_bytes
        while True:
            now_s = time.monotonic()
            if self.stopping.is_set():
                stop_at_s = min(stop_at_s, now_s + 5.0)
                if (self._unacked <= 0 and not self._outgoing) or now_s > stop_at_s:
                    return
            while self._released:
                self._unacked -= self._released.popleft()
            while self._outgoing:
                line.write(self._outgoing.popleft())
            if self.tag_id is None and now_s >= ask_at_s:
                line.write(wire.encode(wire.WHO, b""))
                ask_at_s = now_s + _ASK_EVERY_S
            if self.stopping.is_set() or self._unacked >= _WINDOW or self._committer.is_crowded:
                time.sleep(0.05)
                continue
            data = line.read(max(1, line.in_waiting))
            if data:
                self._take(decoder.feed(data))
                self.junk_bytes = junk_before + decoder.junk_bytes

    def _take(self, messages: list[tuple[int, bytes]]) -> None:
        now_s = time.monotonic()
        arrivals = []
        for kind, body in messages:
            if kind == wire.REPORT:
                arrivals.append(Arrival(self, body, now_s, True))
            elif kind == wire.HELLO and len(body) == _HELLO_BYTES:
                self.tag_id = body[:6].hex()
        if arrivals:
            self._unacked += len(arrivals)
            self.received += len(arrivals)
            self._committer.put(arrivals)
