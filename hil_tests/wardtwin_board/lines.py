"""The bench's ends of a board's lines: control, UARTs, I2C, console. Each is one end of a socket pair served by the event loop."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

from wardtwin_board.chips.i2c import I2cChip
from wardtwin_board.chips.uart import LineSettings, UartChip

_CHUNK = 65536
_LEAST_DELAY_S = 0.0005
_LEAST_TALK_S = 0.005


class Line:
    """A socket pair; the far end is inherited by the board's process. `closed` is called when that process is gone."""

    blocking = False

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.far.setblocking(self.blocking)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.near, self._readable)

    def drain(self) -> None:
        """Take what is still in the line of a process that has ended."""
        if self.near.fileno() >= 0:
            self._readable()

    def _readable(self) -> None:
        try:
            data = self.near.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.received(data)
        else:
            self._loop.remove_reader(self.near)
            self.ended()

    def received(self, data: bytes) -> None:
        raise NotImplementedError

    def ended(self) -> None:
        """The board's process is gone."""

    def send(self, data: bytes) -> None:
        """Bytes that find no room or no board are lost, as on a wire."""
        with contextlib.suppress(OSError):
            self.near.send(data)

    def close(self) -> None:
        self._loop.remove_reader(self.near)
        self.near.close()
        self.far.close()


class UartLine(Line):
    """Bytes take their time on the line, in scaled time; a UART with the wrong settings reads garbage."""

    def __init__(self, chip: UartChip, now_s: Callable[[], float], speed: float) -> None:
        super().__init__()
        self._chip = chip
        self._now_s = now_s
        self._speed = speed
        self.settings: LineSettings | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._talk()

    def received(self, data: bytes) -> None:
        answer = self._chip.receive(self._through(data), self._now_s())
        if answer:
            delay_s = (len(data) + len(answer)) * self._chip.settings.byte_s / self._speed
            if delay_s < _LEAST_DELAY_S:
                self.send(self._through(answer))
            else:
                self._loop.call_later(delay_s, self.send, self._through(answer))
        if self._timer is None:
            self._talk()

    def _talk(self) -> None:
        self._timer = None
        every_s = self._chip.talks_every_s
        if every_s is None:
            return
        said = self._chip.transmit(self._now_s())
        if said:
            self.send(self._through(said))
        self._timer = self._loop.call_later(max(every_s / self._speed, _LEAST_TALK_S), self._talk)

    def _through(self, data: bytes) -> bytes:
        if self.settings is None or self.settings == self._chip.settings:
            return data
        return bytes(byte ^ 0xA5 for byte in data[::2])

    def send(self, data: bytes) -> None:
        if self.near.fileno() >= 0:
            super().send(data)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().close()


class I2cLine(Line):
    """All I2C buses of a board; see `micropython/machine.py` for the messages. chips: bus id -> address -> chip."""

    blocking = True
    _HEADER = struct.Struct("<BBBIH")

    def __init__(self, chips: dict[int, dict[int, I2cChip]], now_s: Callable[[], float]) -> None:
        super().__init__()
        self._chips = chips
        self._now_s = now_s
        self._buffer = b""
        self.transactions = 0

    def received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= self._HEADER.size:
            bus, address, flags, _clock_hz, length = self._HEADER.unpack_from(self._buffer)
            end = self._HEADER.size + (0 if flags & 1 else length)
            if len(self._buffer) < end:
                return
            body, self._buffer = self._buffer[self._HEADER.size : end], self._buffer[end:]
            self.send(self._transfer(bus, address, bool(flags & 1), body, length))

    def _transfer(self, bus: int, address: int, reading: bool, body: bytes, length: int) -> bytes:
        self.transactions += 1
        chip = self._chips.get(bus, {}).get(address)
        if chip is None or not chip.answers:
            return b"\x00\x00\x00"
        if reading:
            data = chip.read(length, self._now_s())
            return b"\x00\x00\x00" if data is None else struct.pack("<BH", 1, len(data)) + data
        return struct.pack("<BH", 1, len(body)) if chip.write(body, self._now_s()) else b"\x00\x00\x00"


class ControlLine(Line):
    """Messages of one letter and a number; see `micropython/_emulator.py`. `told`: called with (letter, number, more)."""

    _UART_SETTINGS_BYTES = 7

    def __init__(self, told: Callable[[bytes, int, bytes], None], gone: Callable[[], None]) -> None:
        super().__init__()
        self._told = told
        self._gone = gone
        self._buffer = b""

    def received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 5:
            letter = self._buffer[:1]
            end = 5 + (self._UART_SETTINGS_BYTES if letter == b"U" else 0)
            if len(self._buffer) < end:
                return
            number = struct.unpack_from("<I", self._buffer, 1)[0]
            more, self._buffer = self._buffer[5:end], self._buffer[end:]
            self._told(letter, number, more)

    def ended(self) -> None:
        self._gone()

    def tell(self, letter: bytes, number: int) -> None:
        self.send(letter + struct.pack("<I", number))


class ConsoleLine(Line):
    """The board's stdin and stdout, which are its USB serial line."""

    blocking = True

    def __init__(self, said: Callable[[bytes], None]) -> None:
        super().__init__()
        self._said = said

    def received(self, data: bytes) -> None:
        self._said(data)
