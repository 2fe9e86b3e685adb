"""USB serial: the board's stdin and stdout carry frames between lines of text (`wardtwin_wire.serial`).

Anyone may ask WHO and hears HELLO, whatever the transport is: this is how a tag is found at the bench.
"""

import select
import struct
import sys

from wardtwin_tag import FIRMWARE_VERSION
from wardtwin_wire import serial

_MAX_READ_BYTES = 512
_HELLO_EVERY_MS = 10_000


class Console:
    """poll() often. received: called with the body of each ACK."""

    def __init__(self, tag_id, kind, received):
        self._hello = serial.encode(serial.HELLO, tag_id + struct.pack("<BH", kind, FIRMWARE_VERSION))
        self._received = received
        self._decoder = serial.Decoder()
        self._input = sys.stdin.buffer
        self._output = sys.stdout.buffer
        self._readable = select.poll()
        self._readable.register(self._input, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(self._output, select.POLLOUT)
        self._open = True
        self._rest = b""
        self._hello_at_ms = None
        self.heard = False

    @property
    def junk_bytes(self):
        return self._decoder.junk_bytes

    def poll(self, now_ms):
        """Read what is there and answer; say HELLO now and then until somebody has spoken."""
        self._flush()
        for message_type, body in self._decoder.feed(self._read()):
            if message_type == serial.WHO:
                self.heard = True
                self._write(self._hello)
            elif message_type == serial.ACK:
                self.heard = True
                self._received(body)
        if not self.heard and (self._hello_at_ms is None or now_ms - self._hello_at_ms >= _HELLO_EVERY_MS):
            self._hello_at_ms = now_ms
            self._write(self._hello)

    def ready(self):
        """Whether a frame can go out now without blocking."""
        return not self._rest and bool(self._writable.poll(0))

    def send(self, frame):
        self._write(serial.encode(serial.REPORT, frame))

    def _read(self):
        # one byte at a time: read(n) on an ESP32 waits until n bytes are there
        data = bytearray()
        while self._open and len(data) < _MAX_READ_BYTES and self._readable.poll(0):
            byte = self._input.read(1)
            if not byte:
                # end of file: without a listener stdin stays readable for ever
                self._open = False
                self._readable.unregister(self._input)
                break
            data += byte
        return data

    def _write(self, data):
        if self._rest or not self._writable.poll(0):
            # nobody reads: waiting would stop the sampling. What matters is sent again.
            return
        self._rest = data
        self._flush()

    def _flush(self):
        if self._rest:
            taken = self._output.write(self._rest)
            self._rest = self._rest[taken or 0 :]
