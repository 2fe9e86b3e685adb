"""`machine` of an emulated ESP32. Pins, buses and clocks keep the signatures of the ESP32 port; chips answer in the bench.

Not here, and so an AttributeError: SPI, I2S, PWM, Timer, touch, DAC.
"""

import binascii
import struct
import time

import _emulator

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

_READ_BYTES = 64
_freq = [160000000]


def reset_cause():
    return int(_emulator.setting("EMU_RESET_CAUSE", "1"))


def unique_id():
    return binascii.unhexlify(_emulator.setting("EMU_ID"))


def reset():
    _emulator.halt(b"R")


soft_reset = reset


def deepsleep(time_ms=0):
    _emulator.halt(b"S", time_ms)


def lightsleep(time_ms=0):
    time.sleep_ms(time_ms)


def idle():
    _emulator.pump()


def freq(hz=None):
    if hz is None:
        return _freq[0]
    if hz // 1000000 not in (20, 40, 80, 160, 240):
        raise ValueError("frequency must be 20MHz, 40MHz, 80Mhz, 160MHz or 240MHz")
    _freq[0] = hz


def disable_irq():
    return 0


def enable_irq(state):
    pass


class Pin:
    IN = 1
    OUT = 3
    OPEN_DRAIN = 7
    PULL_DOWN = 1
    PULL_UP = 2
    IRQ_RISING = 1
    IRQ_FALLING = 2

    def __init__(self, id, mode=-1, pull=-1, value=None):
        self._id = id
        self._irq = None
        self.init(mode, pull, value)

    def init(self, mode=-1, pull=-1, value=None):
        if pull == Pin.PULL_UP:
            _emulator.pins.setdefault(self._id, 1)
        if value is not None:
            self.value(value)

    def value(self, level=None):
        if level is None:
            return _emulator.pins.get(self._id, 0)
        _emulator.pins[self._id] = 1 if level else 0

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    def toggle(self):
        self.value(not self.value())

    def irq(self, handler=None, trigger=3):
        def changed(pin):
            edge = Pin.IRQ_RISING if self.value() else Pin.IRQ_FALLING
            if pin == self._id and handler and trigger & edge:
                handler(self)

        _emulator.on_pin.append(changed)


class ADC:
    ATTN_0DB = 0
    ATTN_2_5DB = 1
    ATTN_6DB = 2
    ATTN_11DB = 3

    def __init__(self, pin, atten=0):
        self._pin = pin._id if isinstance(pin, Pin) else pin

    def atten(self, atten):
        pass

    def read_u16(self):
        return _emulator.analog.get(self._pin, 0)

    def read_uv(self):
        return self.read_u16() * 3300000 // 65535

    def read(self):
        return self.read_u16() >> 4


class RTC:
    def datetime(self, parts=None):
        """(year, month, day, weekday, hours, minutes, seconds, microseconds); 2000-01-01 after power-on, until set."""
        if parts is not None:
            seconds = time.mktime((parts[0], parts[1], parts[2], parts[4], parts[5], parts[6], 0, 0))
            time.set_rtc_us(seconds * 1000000 + parts[7])
            return None
        now_us = time.time_ns() // 1000
        year, month, day, hours, minutes, seconds, weekday = time.gmtime(now_us // 1000000)[:7]
        return year, month, day, weekday, hours, minutes, seconds, now_us % 1000000

    init = datetime


class WDT:
    """The bench bites: it kills and boots the board when no feed came for `timeout` ms."""

    def __init__(self, id=0, timeout=5000):
        self._rest_ms = max(1, timeout // 8)
        self._fed_ms = time.ticks_ms()
        _emulator.tell(b"W", timeout)

    def feed(self):
        # at most eight messages a time-out: a loop that feeds all the time must not flood the bench
        now_ms = time.ticks_ms()
        if time.ticks_diff(now_ms, self._fed_ms) >= self._rest_ms:
            self._fed_ms = now_ms
            _emulator.tell(b"F")


class UART:
    """Bytes to and from the chip on this UART. Beyond `rxbuf` unread bytes the newest are lost, as on the chip."""

    def __init__(self, id, baudrate=115200, bits=8, parity=None, stop=1, **more):
        self._id = id
        self.emulated_line = _emulator.line("EMU_UART%d" % id)
        self._held = b""
        self._timeout_ms = 0
        self._rxbuf = 256
        self.init(baudrate, bits, parity, stop, **more)

    def init(self, baudrate=115200, bits=8, parity=None, stop=1, tx=None, rx=None, rts=None, cts=None,
             txbuf=256, rxbuf=256, timeout=0, timeout_char=0, invert=0, flow=0):  # fmt: skip
        self._timeout_ms = timeout
        self._rxbuf = rxbuf
        code = 0 if parity is None else 1 + (parity & 1)
        _emulator.tell(b"U", self._id, struct.pack("<IBBB", baudrate, bits, code, stop))

    def deinit(self):
        self._held = b""

    def _fill(self):
        # small reads: the tag's heap is not ours to fill
        while True:
            data = self.emulated_line.read(_READ_BYTES)
            if not data:
                return
            if len(self._held) < self._rxbuf:
                self._held += data[: self._rxbuf - len(self._held)]

    def any(self):
        self._fill()
        return len(self._held)

    def read(self, size=-1):
        self._fill()
        if self._timeout_ms and (len(self._held) < size or not self._held):
            self._wait(size)
        if not self._held:
            return None
        if size < 0:
            size = len(self._held)
        data = self._held[:size]
        self._held = self._held[size:]
        return data

    def _wait(self, size):
        start_ms = time.ticks_ms()
        while len(self._held) < max(size, 1) and time.ticks_diff(time.ticks_ms(), start_ms) < self._timeout_ms:
            time.sleep_ms(1)
            self._fill()

    def readinto(self, buffer, size=-1):
        data = self.read(len(buffer) if size < 0 else size)
        if data is None:
            return None
        buffer[: len(data)] = data
        return len(data)

    def readline(self):
        self._fill()
        end = self._held.find(b"\n")
        return self.read(end + 1) if end >= 0 else self.read()

    def write(self, data):
        return self.emulated_line.write(data)

    def flush(self):
        pass

    def txdone(self):
        return True

    def sendbreak(self):
        pass


class I2C:
    """Transactions as the port's: OSError(ENODEV) when no chip answers its address, ETIMEDOUT when one breaks off.

    On the line: bus u8, address u8, flags u8 (1: read), clock u32, length u16, bytes. Answer: status u8 (0 no
    acknowledge, 1 done, 2 broken off), length u16, bytes (read) or none (length: bytes acknowledged).
    """

    def __init__(self, id=-1, *, scl=None, sda=None, freq=400000, timeout=50000):
        self._bus = id & 0xFF
        self._freq = freq
        self._line = _emulator.line("EMU_I2C")

    def _transfer(self, address, flags, data, size):
        self._line.write(struct.pack("<BBBIH", self._bus, address, flags, self._freq, size if flags & 1 else len(data)) + data)
        status, length = struct.unpack("<BH", self._exactly(3))
        if status == 0:
            raise OSError(19)
        if status == 2:
            raise OSError(116)
        return self._exactly(length) if flags & 1 else length

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            more = self._line.read(size - len(data))
            if not more:
                raise OSError(5)
            data += more
        return data

    def scan(self):
        found = []
        for address in range(0x08, 0x78):
            try:
                self._transfer(address, 0, b"", 0)
                found.append(address)
            except OSError:
                pass
        return found

    def writeto(self, addr, buf, stop=True):
        return self._transfer(addr, 0, bytes(buf), 0)

    def writevto(self, addr, vector, stop=True):
        return self.writeto(addr, b"".join([bytes(part) for part in vector]))

    def readfrom(self, addr, nbytes, stop=True):
        return self._transfer(addr, 1, b"", nbytes)

    def readfrom_into(self, addr, buf, stop=True):
        buf[:] = self.readfrom(addr, len(buf))

    def readfrom_mem(self, addr, memaddr, nbytes, *, addrsize=8):
        self.writeto(addr, _register(memaddr, addrsize))
        return self.readfrom(addr, nbytes)

    def readfrom_mem_into(self, addr, memaddr, buf, *, addrsize=8):
        buf[:] = self.readfrom_mem(addr, memaddr, len(buf), addrsize=addrsize)

    def writeto_mem(self, addr, memaddr, buf, *, addrsize=8):
        self.writeto(addr, _register(memaddr, addrsize) + bytes(buf))


class SoftI2C(I2C):
    def __init__(self, scl, sda, *, freq=400000, timeout=50000):
        super().__init__(-1, scl=scl, sda=sda, freq=freq, timeout=timeout)


def _register(address, bits):
    return bytes([address >> shift & 0xFF for shift in range(bits - 8, -1, -8)])
