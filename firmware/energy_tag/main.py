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


def meter_port(settings):
    """Return (UART, decoder, request bytes, pulse modulus) of the configured chip."""
    meter = settings.meter
    pins = meter["uart"]
    if meter["chip"] == "bl0942":
        uart = machine.UART(pins["id"], 4800, tx=pins["tx"], rx=pins["rx"], timeout=0)
        return uart, bl0942.Decoder(meter), bl0942.request(meter["address"]), bl0942.PULSE_MODULUS
    # even parity; the chip talks all the time, so the buffer holds a second of it
    uart = machine.UART(pins["id"], 4800, bits=8, parity=0, stop=1, tx=pins["tx"], rx=pins["rx"], timeout=0, rxbuf=1024)
    return uart, cse7766.Decoder(meter), b"", cse7766.PULSE_MODULUS


async def sample(node):
    """Once a second ask the chip, take the last answer; once a report period report."""
    uart, decoder, request, modulus = meter_port(node.settings)
    energy = EnergyCounter(node.store, modulus, chip_restarted(node.reset_cause))
    window = EnergyWindow()
    node.junk_bytes = lambda: decoder.junk_bytes
    report_ms = int(node.settings.report_period_s * 1000)
    report_at_ms = seen_at_ms = node.uptime.now_ms()
    report_at_ms += report_ms
    while True:
        node.beat()
        if request:
            uart.write(request)
        latest = await read_sample(node, uart, decoder)
        now_ms = node.uptime.now_ms()
        if latest is not None:
            seen_at_ms = now_ms
            node.parts.works("meter")
            energy.update(latest.pulses, latest.wh_per_pulse, now_ms)
            energy.save(now_ms)
            window.add(latest)
        elif now_ms - seen_at_ms > _SILENT_AFTER_MS:
            node.failed("meter", "silent")
        if now_ms >= report_at_ms:
            report_at_ms = max(report_at_ms + report_ms, now_ms)
            node.report(window.close(energy.energy_wh))
        await node.every(SAMPLE_MS)


async def read_sample(node, uart, decoder):
    """Return the newest sample of this second, None when the chip says nothing until the next is due."""
    latest = None
    deadline_ms = node.uptime.now_ms() // SAMPLE_MS * SAMPLE_MS + SAMPLE_MS - _READ_MS
    while True:
        if uart.any():
            samples = decoder.feed(uart.read())
            if samples:
                latest = samples[-1]
        if latest is not None or node.uptime.now_ms() >= deadline_ms:
            return latest
        await asyncio.sleep_ms(_READ_MS)


if __name__ == "__main__":
    run("energy", sample)
