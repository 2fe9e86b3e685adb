"""Belling BL0942 energy meter (data sheet V1.0): 4800 baud 8N1 by default, answers a read command with 23 bytes.

Read command: 0x58 | address, 0xAA. Packet: 0x55, I_RMS u24, V_RMS u24, I_FAST_RMS u24, WATT i24, CF_CNT u24, FREQ u16,
a reserved byte, STATUS, two reserved bytes, checksum = ~(command + the 22 bytes before it). Little-endian.
Write command: 0xA8 | address, register, three bytes, checksum of all before it, inverted.

    I_RMS = 305978 · I(A) · RL(mΩ) / Vref            V_RMS = 73989 · V · R1·1000 / (Vref · (R2 + R1))
    I_FAST_RMS = 0.363 · I_RMS
    WATT = 3537 · I·V·cosφ · RL · R1·1000 / (Vref² · (R2 + R1))     FREQ = 1 MHz / f     CF period = 1638.4·256 / WATT s
"""

from dataclasses import dataclass

from wardtwin_board.chips.faults import Fault
from wardtwin_board.chips.uart import LineSettings, UartChip
from wardtwin_board.signals import MainsSignal

READ = 0x58
WRITE = 0xA8
_FAST_RATIO = 0.363
_CREEP_WATT = 11  # below this the chip counts no energy and shows 0 (WA_CREEP 0x0B, one unit here)


@dataclass(frozen=True)
class Front:
    """The board around the chip. Defaults: a 1 mΩ shunt and 5 × 390 kΩ over 0.51 kΩ, as in the data sheet's circuit."""

    shunt_mohm: float = 1.0
    upper_kohm: float = 1950.0
    lower_kohm: float = 0.51
    reference_v: float = 1.218

    @property
    def _divider(self) -> float:
        return self.lower_kohm * 1000 / (self.upper_kohm * 1000 + self.lower_kohm * 1000) * 1000

    @property
    def settings(self) -> dict[str, float]:
        """The same constants as the tag's settings.json has them."""
        return {
            "vref_v": self.reference_v,
            "shunt_ohm": self.shunt_mohm / 1000,
            "divider_low_ohm": self.lower_kohm * 1000,
            "divider_high_ohm": self.upper_kohm * 1000,
            "current_gain": 1.0,
            "voltage_gain": 1.0,
            "power_gain": 1.0,
            "address": 0,
        }

    @property
    def current_per_a(self) -> float:
        return 305978 * self.shunt_mohm / self.reference_v

    @property
    def voltage_per_v(self) -> float:
        return 73989 * self._divider / self.reference_v

    @property
    def watt_per_w(self) -> float:
        return 3537 * self.shunt_mohm * self._divider / self.reference_v**2

    @property
    def joule_per_pulse(self) -> float:
        return 1638.4 * 256 / self.watt_per_w


class Bl0942(UartChip):
    settings = LineSettings(4800)

    def __init__(self, signal: MainsSignal, front: Front | None = None, address: int = 0, seed: int = 0) -> None:
        super().__init__(seed)
        self.front = front or Front()
        self._signal = signal
        self._read = READ | address
        self._write = WRITE | address
        self._received = b""
        self._stuck: bytes | None = None
        self.registers: dict[int, int] = {}
        self.power_up(0.0)

    def power_up(self, now_s: float) -> None:
        self._pulses = 0.0
        self._counted_s = now_s
        self._received = b""
        self.registers = {}

    @property
    def pulses(self) -> int:
        """CF_CNT: 24 bits, rolls over."""
        return int(self._pulses) & 0xFFFFFF

    def set_pulses(self, count: int) -> None:
        """For tests of the roll-over."""
        self._pulses = float(count)

    def receive(self, data: bytes, now_s: float) -> bytes:
        self._received += data
        answer = b""
        while len(self._received) >= 2:
            first, second = self._received[0], self._received[1]
            if first == self._read and second == 0xAA:
                self._received = self._received[2:]
                answer += self._answer(now_s)
            elif first == self._write:
                if len(self._received) < 6:
                    break
                body, check = self._received[:5], self._received[5]
                if ~sum(body) & 0xFF == check:
                    self.registers[second] = int.from_bytes(body[2:5], "little")
                self._received = self._received[6:]
            else:
                self._received = self._received[1:]
        return answer

    def _answer(self, now_s: float) -> bytes:
        if self.fault is Fault.SILENCE:
            self._count(now_s)
            return b""
        packet = self._packet(now_s)
        if self.fault is Fault.STUCK:
            self._stuck = self._stuck or packet
            return self._stuck
        self._stuck = None
        if self.fault is Fault.CHECKSUM:
            packet = packet[:-1] + bytes((packet[-1] ^ 0x5A,))
        return self.spoil(packet)

    def _count(self, now_s: float) -> None:
        """Energy since the last look, second by second: the signal may have changed between two reads."""
        while self._counted_s < now_s:
            step_s = min(1.0, now_s - self._counted_s)
            if now_s - self._counted_s > 3600:
                step_s = (now_s - self._counted_s) / 3600
            watts = self._signal(self._counted_s).active_power_w
            if watts * self.front.watt_per_w >= _CREEP_WATT:
                self._pulses += watts * step_s / self.front.joule_per_pulse
            self._counted_s += step_s

    def _packet(self, now_s: float) -> bytes:
        self._count(now_s)
        moment = self._signal(now_s)
        current = round(moment.current_a * self.front.current_per_a)
        voltage = round(moment.voltage_v * self.front.voltage_per_v)
        watt = round(moment.active_power_w * self.front.watt_per_w)
        if abs(watt) < _CREEP_WATT:
            watt = 0
        period = round(1_000_000 / moment.frequency_hz) if moment.frequency_hz else 0xFFFF
        body = b"\x55" + b"".join(
            (
                _u24(current),
                _u24(voltage),
                _u24(round(current * _FAST_RATIO)),
                (watt & 0xFFFFFF).to_bytes(3, "little"),
                self.pulses.to_bytes(3, "little"),
                min(period, 0xFFFF).to_bytes(2, "little"),
                b"\x00",
                bytes((1 if watt < 0 else 0,)),
                b"\x00\x00",
            )
        )
        return body + bytes((~(self._read + sum(body)) & 0xFF,))


def _u24(number: int) -> bytes:
    return max(0, min(0xFFFFFF, number)).to_bytes(3, "little")
