"""Environment tag: the air of a room, by whichever sensors are configured, and the room's beacon."""

import machine

from wardtwin_node.chips import Chip
from wardtwin_node.node import SAMPLE_MS, run
from wardtwin_tag import bme280, pms5003, scd41, sgp40
from wardtwin_tag.bus import Bus
from wardtwin_tag.window import EnvironmentWindow

_GAS_CHIPS = {"scd41": scd41.Scd41}
_GAS_PERIOD_MS = 5_000
_PARTICLES_SILENT_MS = 5_000


class Sensors:
    """The configured chips, in the order they are asked: the climate first, SGP40 compensates with it."""

    def __init__(self, node):
        configured = node.settings.sensors
        self._buses = {}
        self.chips = []
        self.climate = self.voc = None
        if "bme280" in configured:
            self.climate = bme280.Bme280(self._bus(configured["bme280"]))
            self.chips.append(Chip(node, "bme280", self.climate, SAMPLE_MS))
        if "sgp40" in configured:
            self.voc = sgp40.Sgp40(self._bus(configured["sgp40"]))
            self.chips.append(Chip(node, "sgp40", self.voc, SAMPLE_MS))
        if "gas" in configured:
            section = configured["gas"]
            self.chips.append(Chip(node, "gas", _GAS_CHIPS[section["chip"]](self._bus(section)), _GAS_PERIOD_MS))

    def compensate(self, values):
        if self.voc is not None and "temperature_c" in values:
            self.voc.temperature_c = values["temperature_c"]
            self.voc.relative_humidity_pct = values["relative_humidity_pct"]

    def _bus(self, section):
        pins = section["i2c"]
        if pins["id"] not in self._buses:
            self._buses[pins["id"]] = machine.I2C(pins["id"], scl=machine.Pin(pins["scl"]), sda=machine.Pin(pins["sda"]), freq=100_000)
        return Bus(self._buses[pins["id"]], section["address"])


class Particles:
    """The PMS5003 talks on its own; silence for too long is a failure."""

    def __init__(self, node):
        self._node = node
        self.decoder = pms5003.Decoder()
        self._uart = None
        self._heard_at_ms = node.uptime.now_ms()
        if "pms5003" in node.settings.sensors:
            pins = node.settings.sensors["pms5003"]["uart"]
            self._uart = machine.UART(pins["id"], 9600, tx=pins["tx"], rx=pins["rx"], timeout=0)

    def read(self):
        """Return the values that came since the last call, {} when none did."""
        if self._uart is None:
            return {}
        now_ms = self._node.uptime.now_ms()
        frames = self.decoder.feed(self._uart.read()) if self._uart.any() else []
        if frames:
            self._heard_at_ms = now_ms
            self._node.parts.works("pms5003")
            return frames[-1]
        if now_ms - self._heard_at_ms > _PARTICLES_SILENT_MS:
            self._node.failed("pms5003", "silent")
        return {}


class Sampling:
    """Once a second asks every chip that is due; once a report period reports. node: `wardtwin_node.node.Node`."""

    def __init__(self, node):
        self._node = node
        self._sensors = Sensors(node)
        self._particles = Particles(node)
        node.junk_bytes = lambda: self._particles.decoder.junk_bytes

    async def run(self):
        node = self._node
        window = EnvironmentWindow()
        report_ms = int(node.settings.report_period_s * 1000)
        report_at_ms = node.uptime.now_ms() + report_ms
        while True:
            node.beat()
            window.add(self._particles.read())
            for chip in self._sensors.chips:
                values = await chip.measure()
                self._sensors.compensate(values)
                window.add(values)
            now_ms = node.uptime.now_ms()
            if now_ms >= report_at_ms:
                report_at_ms = max(report_at_ms + report_ms, now_ms)
                node.report(window.close())
            await node.every(SAMPLE_MS)


if __name__ == "__main__":
    run("environment", Sampling)
