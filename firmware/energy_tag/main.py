"""Energy tag: a meter chip on a UART, one sample a second."""

import asyncio

import machine

from wardtwin_node.node import SAMPLE_MS, run
from wardtwin_tag import bl0942, cse7766
from wardtwin_tag.energy import EnergyCounter
from wardtwin_tag.health import chip_restarted
from wardtwin_tag.window import EnergyWindow

_READ_MS = 20
_SILENT_AFTER_MS = 5_000


class Sampling:
    """Once a second asks the chip, takes the last answer; once a report period reports. node: `wardtwin_node.node.Node`."""

    def __init__(self, node):
        self._node = node
        self._uart, self._decoder = meter_port(node.settings.meter)
        # made once: run() may be started again, but the chip's counter goes on
        self._energy = EnergyCounter(node.store, self._decoder.PULSE_MODULUS, chip_restarted(node.reset_cause))
        self._window = EnergyWindow()
        self._seen_at_ms = node.uptime.now_ms()
        node.junk_bytes = lambda: self._decoder.junk_bytes

    async def run(self):
        node = self._node
        report_ms = int(node.settings.report_period_s * 1000)
        report_at_ms = node.uptime.now_ms() + report_ms
        while True:
            node.beat()
            self._take(await self._read(), node.uptime.now_ms())
            now_ms = node.uptime.now_ms()
            if now_ms >= report_at_ms:
                report_at_ms = max(report_at_ms + report_ms, now_ms)
                node.report(self._window.close(self._energy.energy_wh))
            await node.every(SAMPLE_MS)

    def _take(self, sample, now_ms):
        if sample is not None:
            self._seen_at_ms = now_ms
            self._node.parts.works("meter")
            self._energy.update(sample.pulses, sample.wh_per_pulse, now_ms)
            self._energy.save(now_ms)
            self._window.add(sample)
        elif now_ms - self._seen_at_ms > _SILENT_AFTER_MS:
            self._node.failed("meter", "silent")

    async def _read(self):
        """Return the newest sample of this second, None when the chip says nothing until the next is due."""
        uart = self._uart
        uptime = self._node.uptime
        latest = self._received()
        request = self._decoder.request()
        if request:
            uart.write(request)
        deadline_ms = uptime.now_ms() // SAMPLE_MS * SAMPLE_MS + SAMPLE_MS - _READ_MS
        while True:
            latest = self._received() or latest
            if latest is not None or uptime.now_ms() >= deadline_ms:
                return latest
            await asyncio.sleep_ms(_READ_MS)

    def _received(self):
        samples = self._decoder.feed(self._uart.read()) if self._uart.any() else []
        return samples[-1] if samples else None


def meter_port(meter):
    """Return (UART, decoder) of the configured chip. meter: the section of settings.json."""
    pins = meter["uart"]
    if meter["chip"] == "bl0942":
        return machine.UART(pins["id"], 4800, tx=pins["tx"], rx=pins["rx"], timeout=0), bl0942.Decoder(meter)
    # even parity; the chip talks all the time, so the buffer holds a second of it
    uart = machine.UART(pins["id"], 4800, bits=8, parity=0, stop=1, tx=pins["tx"], rx=pins["rx"], timeout=0, rxbuf=1024)
    return uart, cse7766.Decoder(meter)


if __name__ == "__main__":
    run("energy", Sampling)
