"""One emulated board: the firmware's process, its chips, flash, radio and serial line, and what power and resets do to them."""

import asyncio
import json
import os
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from wardtwin_board.air import Air, Position
from wardtwin_board.chips.i2c import I2cChip
from wardtwin_board.chips.uart import LineSettings, UartChip
from wardtwin_board.clock import Clock
from wardtwin_board.interpreter import HEAP, Firmware, Interpreter
from wardtwin_board.lines import ConsoleLine, ControlLine, I2cLine, Line, UartLine
from wardtwin_board.usb_serial import UsbSerial
from wardtwin_wire import serial

QUEUE_SECTORS = 64
SECTOR_BYTES = 4096
CONSOLE_BYTES = 200_000
WIFI = ("wardtwin-ward", "bench-password")
_BOOT_S = 0.3  # what an ESP32 takes from reset to main.py
_LEAST_WATCHDOG_S = 5.0  # real: the host is no faster at 200 times the speed


class ResetCause(IntEnum):
    """machine's constants on an ESP32. A brown-out is reported as power-on."""

    POWER_ON = 1
    HARD = 2
    WATCHDOG = 3
    DEEP_SLEEP = 4
    SOFT = 5


@dataclass
class Wiring:
    """uarts: UART id -> chip. i2c: bus id -> address -> chip."""

    uarts: dict[int, UartChip] = field(default_factory=dict)
    i2c: dict[int, dict[int, I2cChip]] = field(default_factory=dict)


class Board:
    """Made by `Bench.add_…_board`. directory: the root of the board's flash; tag_id: twelve hex digits."""

    def __init__(
        self,
        tag_id: str,
        kind: str,
        directory: Path,
        settings: Mapping[str, Any],
        wiring: Wiring,
        clock: Clock,
        air: Air,
        position: Position,
        interpreter: Interpreter,
        firmware: Firmware,
        serial_path: Path,
    ) -> None:
        self.tag_id = tag_id
        self.kind = kind
        self.directory = directory
        self.wiring = wiring
        self.position = position
        self.boots: list[ResetCause] = []
        """The reset causes so far, oldest first."""
        self.heap = HEAP
        self.wifi = WIFI
        self.main = firmware.main(kind)
        self.flash_bytes_until_power_fails: int | None = None
        self._clock = clock
        self._air = air
        self._radio = None if air is None else air.radio(self.ble_address, position, tag_id)
        self._interpreter = interpreter
        self._firmware = firmware
        self.serial = UsbSerial(serial_path, self._typed, seed=int(tag_id, 16))
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: list[Line] = []
        self._control: ControlLine | None = None
        self._uarts: dict[int, UartLine] = {}
        self._stdio: ConsoleLine | None = None
        self._console = bytearray()
        self._link_up = True
        self._rtc_s = 0
        self._rtc_set_at_s: float | None = None
        self._watchdog_ms: int | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._next_boot: asyncio.TimerHandle | None = None
        self._zero_s: float | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self.write_settings(settings)
        if not self.queue_file.exists():
            self.queue_file.write_bytes(b"\xff" * SECTOR_BYTES * QUEUE_SECTORS)

    @property
    def ble_address(self) -> str:
        """As printed; the ESP32 gives its Bluetooth the base address + 2 in the last byte."""
        raw = bytes.fromhex(self.tag_id)
        return (raw[:5] + bytes((raw[5] + 2 & 0xFF,))).hex(":").upper()

    @property
    def queue_file(self) -> Path:
        return self.directory / "queue.bin"

    @property
    def serial_path(self) -> Path:
        return self.serial.path

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def powered_at(self) -> float:
        """Scaled unix seconds of the first power-on, at which signals are at 0."""
        return self._clock.unix_base + (self._zero_s or 0.0)

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        (self.directory / "settings.json").write_text(json.dumps(settings, indent=1))

    def write_file(self, name: str, data: bytes) -> None:
        (self.directory / name).write_bytes(data)

    def now_s(self) -> float:
        """Scaled seconds since the first power-on."""
        return self._clock.now_s() - (self._zero_s or 0.0)

    def queue_image(self) -> bytes:
        return self.queue_file.read_bytes()

    def console(self) -> str:
        """The text the board printed on its serial line between the frames, over all boots; of the last 200 kB."""
        parts = bytes(self._console).split(b"\x00")
        text = [part for part in parts if part and not serial.Decoder().feed(b"\x00" + part + b"\x00")]
        return b"".join(text).decode("utf-8", "replace")

    async def power_on(self) -> None:
        """Return when the firmware's process runs; power cycles count as ResetCause.POWER_ON."""
        if self._process is not None or self._next_boot is not None:
            return
        if self._zero_s is None:
            self._zero_s = self._clock.now_s()
        self.serial.plug()
        self._power_up_chips()
        self._rtc_s, self._rtc_set_at_s = 0, None
        self._boot(ResetCause.POWER_ON)

    def power_off(self) -> None:
        """The plug is pulled: nothing is told to anybody."""
        self._cancel_boot()
        self._stop()

    def brown_out(self) -> None:
        """The supply dips and comes back: the board and its chips start anew."""
        self._stop()
        self._power_up_chips()
        self._rtc_s, self._rtc_set_at_s = 0, None
        self._boot_soon(ResetCause.POWER_ON)

    def brown_out_after_flash_bytes(self, count: int) -> None:
        """The supply dips in the middle of a flash write, when `count` more bytes are on the flash."""
        self.flash_bytes_until_power_fails = count
        if self._control is not None:
            self._control.tell(b"O", count)

    def reset(self) -> None:
        """The reset button."""
        self._stop()
        self._boot_soon(ResetCause.HARD)

    def set_link(self, up: bool) -> None:
        """The Wi-Fi link of this board goes or comes; connections through the access point are the access point's matter."""
        self._link_up = up
        if self._control is not None:
            self._control.tell(b"L", int(up))

    def set_pin(self, pin: int, level: int) -> None:
        if self._control is not None:
            self._control.tell(b"P", pin << 1 | level & 1)

    def set_analog(self, pin: int, u16: int) -> None:
        if self._control is not None:
            self._control.tell(b"A", pin << 16 | u16 & 0xFFFF)

    def close(self) -> None:
        self.power_off()
        self.serial.unplug()
        if self._radio is not None:
            self._radio.close()

    def _power_up_chips(self) -> None:
        now_s = self.now_s()
        for uart_chip in self.wiring.uarts.values():
            uart_chip.power_up(now_s)
        for bus in self.wiring.i2c.values():
            for i2c_chip in bus.values():
                i2c_chip.power_up(now_s)

    def _boot_soon(self, cause: ResetCause, after_s: float = _BOOT_S) -> None:
        self._cancel_boot()
        self._next_boot = asyncio.get_running_loop().call_later(self._clock.real_s(after_s), self._boot, cause)

    def _cancel_boot(self) -> None:
        if self._next_boot is not None:
            self._next_boot.cancel()
            self._next_boot = None

    def _boot(self, cause: ResetCause) -> None:
        self._next_boot = None
        self.boots.append(cause)
        self._watchdog_ms = None
        lines: dict[str, Line] = {}
        self._control = lines["EMU_CTL"] = ControlLine(self._told, self._ended)
        self._uarts = {n: UartLine(chip, self.now_s, self._clock.speed) for n, chip in self.wiring.uarts.items()}
        lines |= {f"EMU_UART{n}": line for n, line in self._uarts.items()}
        if self.wiring.i2c:
            lines["EMU_I2C"] = I2cLine(self.wiring.i2c, self.now_s)
        if self._radio is not None:
            lines["EMU_HCI"] = self._radio.power_on()
        self._stdio = ConsoleLine(self._said)
        self._lines = [*lines.values(), self._stdio]
        if not self._link_up:
            self._control.tell(b"L", 0)
        if self.flash_bytes_until_power_fails is not None:
            self._control.tell(b"O", self.flash_bytes_until_power_fails)
        far = self._stdio.far.fileno()
        self._process = subprocess.Popen(
            self._interpreter.command(self.main, self.heap),
            cwd=self.directory,
            env=self._environment(cause, {name: line.far.fileno() for name, line in lines.items()}),
            stdin=far,
            stdout=far,
            stderr=far,
            pass_fds=[line.far.fileno() for line in lines.values()],
        )
        for line in self._lines:
            line.far.close()

    def _environment(self, cause: ResetCause, descriptors: Mapping[str, int]) -> dict[str, str]:
        rtc_us = 0
        if self._rtc_set_at_s is not None:
            rtc_us = int((self._rtc_s + self._clock.now_s() - self._rtc_set_at_s) * 1e6)
        return {
            "PATH": os.environ.get("PATH", ""),
            "TZ": "UTC",
            **self._interpreter.environment(self._firmware.libraries),
            **self._clock.environment,
            "EMU_ID": self.tag_id,
            "EMU_RESET_CAUSE": str(int(cause)),
            "EMU_RTC_US": str(rtc_us),
            "EMU_WIFI": "\t".join(self.wifi),
            **{name: str(number) for name, number in descriptors.items()},
        }

    def _stop(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        # what it said last is still in the line
        if self._stdio is not None:
            self._stdio.drain()
        for line in self._lines:
            line.close()
        self._lines = []
        self._control = self._stdio = None
        self._uarts = {}
        if self._radio is not None:
            self._radio.power_off()

    def _told(self, letter: bytes, number: int, more: bytes) -> None:
        if letter == b"W":
            self._watchdog_ms = number
            self._fed()
        elif letter == b"F":
            self._fed()
        elif letter == b"U" and number in self._uarts:
            self._uarts[number].settings = LineSettings(*struct.unpack("<IBBB", more))
        elif letter == b"T":
            # signed: a clock may be set to before 2000
            self._rtc_s, self._rtc_set_at_s = (number ^ 1 << 31) - (1 << 31), self._clock.now_s()
        elif letter == b"R":
            self._stop()
            self._boot_soon(ResetCause.SOFT)
        elif letter == b"S":
            self._stop()
            if number:
                self._boot_soon(ResetCause.DEEP_SLEEP, number / 1000)
        elif letter == b"B":
            self.flash_bytes_until_power_fails = None
            self.brown_out()

    def _fed(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self._watchdog_ms is not None:
            after_s = max(self._clock.real_s(self._watchdog_ms / 1000), min(_LEAST_WATCHDOG_S, self._watchdog_ms / 1000))
            self._watchdog = asyncio.get_running_loop().call_later(after_s, self._bite)

    def _bite(self) -> None:
        self._watchdog = None
        self._stop()
        self._boot_soon(ResetCause.WATCHDOG)

    def _ended(self) -> None:
        """The program ended by itself. A real board would wait at its prompt until the watchdog bites, if one is armed."""
        if self._process is not None and self._watchdog is None:
            self._process.wait()
            self._said(b"\r\n[the program ended with %d]\r\n" % self._process.returncode)

    def _said(self, data: bytes) -> None:
        self._console += data
        if len(self._console) > CONSOLE_BYTES:
            del self._console[: len(self._console) - CONSOLE_BYTES]
        self.serial.send(data)

    def _typed(self, data: bytes) -> None:
        if self._stdio is not None:
            self._stdio.send(data)
