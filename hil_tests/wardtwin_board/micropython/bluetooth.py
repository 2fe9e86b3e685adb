"""`bluetooth.BLE` of an emulated board: advertising and scanning over HCI H4 to the bench's virtual controller.

As on the chip, what the interrupt handler is given lives only as long as the call.
"""

import binascii
import struct
import time

import _emulator

_IRQ_SCAN_RESULT = 5
_IRQ_SCAN_DONE = 6

_RESET = 0x0C03
_SET_ADVERTISING_PARAMETERS = 0x2006
_SET_ADVERTISING_DATA = 0x2008
_SET_SCAN_RESPONSE = 0x2009
_SET_ADVERTISING_ENABLE = 0x200A
_SET_SCAN_PARAMETERS = 0x200B
_SET_SCAN_ENABLE = 0x200C

_ADV_IND = 0
_ADV_NONCONN_IND = 3


class BLE:
    _radio = None

    def __new__(cls):
        if BLE._radio is None:
            BLE._radio = super().__new__(cls)
            BLE._radio._begin()
        return BLE._radio

    def _begin(self):
        self._line = None
        self._active = False
        self._handler = None
        self._received = b""
        self._replies = []
        self._scan_ends_ms = None
        self._scanning = False
        self._advert = b""
        address = bytearray(binascii.unhexlify(_emulator.setting("EMU_ID")))
        address[5] = address[5] + 2 & 0xFF  # the ESP32 gives its Bluetooth the base address + 2
        self._address = bytes(address)

    def active(self, on=None):
        if on is None:
            return self._active
        if on and not self._active:
            if self._line is None:
                self._line = _emulator.line("EMU_HCI")
                _emulator.listen(self._line, self._pump)
            self._active = True
            self._commands([(_RESET, b"")])
        elif not on and self._active:
            self.gap_advertise(None)
            self.gap_scan(None)
            self._active = False
        return self._active

    def config(self, name=None, **options):
        if name == "mac":
            return 0, self._address
        if name is not None:
            raise ValueError("unknown config param")

    def irq(self, handler):
        self._handler = handler

    def gap_advertise(self, interval_us, adv_data=None, *, resp_data=None, connectable=True):
        self._check()
        if interval_us is None:
            self._commands([(_SET_ADVERTISING_ENABLE, b"\x00")])
            return
        if adv_data is not None:
            if len(adv_data) > 31:
                raise OSError(22)
            self._advert = bytes(adv_data)
        units = max(0x20, min(0x4000, interval_us // 625))
        kind = _ADV_IND if connectable else _ADV_NONCONN_IND
        commands = [
            (_SET_ADVERTISING_ENABLE, b"\x00"),
            (_SET_ADVERTISING_PARAMETERS, struct.pack("<HHBBB6sBB", units, units, kind, 0, 0, bytes(6), 7, 0)),
            (_SET_ADVERTISING_DATA, _field31(self._advert)),
        ]
        if resp_data is not None:
            commands.append((_SET_SCAN_RESPONSE, _field31(bytes(resp_data))))
        commands.append((_SET_ADVERTISING_ENABLE, b"\x01"))
        self._commands(commands)

    def gap_scan(self, duration_ms, interval_us=1280000, window_us=11250, active=False):
        self._check()
        if duration_ms is None:
            if self._scanning:
                self._end_scan()
            return
        commands = [(_SET_SCAN_ENABLE, b"\x00\x00")] if self._scanning else []
        scan = struct.pack("<BHHBB", 1 if active else 0, interval_us // 625, window_us // 625, 0, 0)
        self._commands(commands + [(_SET_SCAN_PARAMETERS, scan), (_SET_SCAN_ENABLE, b"\x01\x00")])  # noqa: RUF005
        self._scanning = True
        self._scan_ends_ms = time.ticks_add(time.ticks_ms(), duration_ms) if duration_ms else None
        if self._expire not in _emulator.timers:
            _emulator.timers.append(self._expire)

    def _check(self):
        if not self._active:
            raise OSError(19)

    def _end_scan(self):
        self._scanning = False
        self._scan_ends_ms = None
        self._commands([(_SET_SCAN_ENABLE, b"\x00\x00")])
        if self._handler:
            self._handler(_IRQ_SCAN_DONE, None)

    def _expire(self):
        """End a scan whose time is over; return the ms until then, or None when none runs."""
        if self._scan_ends_ms is None:
            return None
        left_ms = time.ticks_diff(self._scan_ends_ms, time.ticks_ms())
        if left_ms <= 0:
            self._end_scan()
            return None
        return left_ms

    def _commands(self, commands):
        """Send all at once and wait for all completions: one round trip. Raise OSError(EINVAL) at the first refused."""
        out = b""
        for opcode, parameters in commands:
            out += b"\x01" + struct.pack("<HB", opcode, len(parameters)) + parameters
        self._replies = []
        self._line.write(out)
        while len(self._replies) < len(commands):
            if not self._receive():
                time.real_sleep_us(50)
        if any(self._replies):
            raise OSError(22)

    def _pump(self):
        while self._receive():
            pass

    def _receive(self):
        data = self._line.read(256)
        if not data:
            return False
        received = self._received + data
        at = 0
        while len(received) - at >= 3:
            end = at + 3 + received[at + 2]
            if len(received) < end:
                break
            self._event(received[at + 1], received[at + 3 : end])
            at = end
        self._received = received[at:]
        return True

    def _event(self, code, body):
        if code == 0x0E:
            self._replies.append(body[3])
        elif code == 0x3E and body[0] == 0x02 and self._handler and self._scanning:
            size = body[10]
            address = bytearray(reversed(body[4:10]))
            advert = bytearray(body[11 : 11 + size])
            rssi = body[11 + size]
            self._handler(_IRQ_SCAN_RESULT, (body[3], memoryview(address), body[2], rssi - 256 if rssi > 127 else rssi, memoryview(advert)))
            # the chip reuses these buffers for the next report: who kept a reference reads garbage
            address[:] = b"\xaa" * len(address)
            advert[:] = b"\xaa" * len(advert)


def _field31(data):
    return bytes((len(data),)) + data + bytes(31 - len(data))
