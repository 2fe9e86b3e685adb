"""What a tag does on the air, one job after the other: an environment tag is its room's beacon, an energy tag hears them."""

from wardtwin_node.radio import Radio
from wardtwin_tag.beacon import Beacon
from wardtwin_tag.counters import AdvertCounter
from wardtwin_wire import bthome, frame, keys

_BEAT_MS = 1_000
_STATUS_BEAT_MS = 10_000
"""A beacon whose values go another way only shows its status."""


class Air:
    """run() advertises a new frame each beat, and scans now and then. node: `node.Node`."""

    def __init__(self, node):
        options = node.settings.ble
        self._node = node
        self._scan_period_ms = int(options["scan_period_s"] * 1000)
        self._scan_window_ms = options["scan_window_ms"]
        self._sends_values = node.settings.transport == "ble"
        self._is_beacon = node.kind == frame.ENVIRONMENT
        self._advertises = self._sends_values or self._is_beacon
        self._radio = Radio(options["advert_interval_ms"])
        tx_power_dbm = options["beacon_tx_power_dbm"] if self._is_beacon else None
        aead = node.aead(keys.BTHOME, bthome.TAG_BYTES)
        self._beacon = Beacon(aead, self._radio.address, AdvertCounter(node.store), tx_power_dbm)
        self._sightings = []

    async def run(self):
        node = self._node
        beat_ms = _BEAT_MS if self._sends_values or not self._is_beacon else _STATUS_BEAT_MS
        next_scan_ms = node.uptime.now_ms() + self._scan_period_ms // 2
        while True:
            try:
                if self._advertises:
                    self._radio.advertise(self._beacon.advert(self._frames()))
                if not self._is_beacon and node.uptime.now_ms() >= next_scan_ms:
                    next_scan_ms = node.uptime.now_ms() + self._scan_period_ms
                    await self._scan()
                node.parts.works("ble")
            except OSError as error:
                node.failed("ble", error)
            await node.every(beat_ms)

    async def _scan(self):
        if self._advertises:
            self._radio.stop()
        self._sightings = await self._radio.scan(self._scan_window_ms, self._node.uptime)
        if self._sightings:
            self._node.send(frame.SIGHTINGS, frame.pack_sightings(self._node.uptime.now_ms(), self._sightings))

    def _frames(self):
        """The objects of the coming adverts, the one that matters most first."""
        node = self._node
        values = node.values
        frames = []
        if self._sends_values and values:
            frames = bthome.environment_frames(values) if self._is_beacon else bthome.energy_frames(values)
        peak_current_a = values.get("peak_current_a")
        frames.append(bthome.status_frame(node.boot_id, node.uptime.now_ms(), node.parts.failed_mask, peak_current_a))
        if self._sightings:
            frames.append(bthome.sightings_frame(self._sightings))
        return frames
