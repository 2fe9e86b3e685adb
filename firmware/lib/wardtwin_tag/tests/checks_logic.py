"""What counters, windows, settings and the like must do, on any interpreter (see checks_chips)."""

import json

from wardtwin_tag import settings
from wardtwin_tag.backoff import Backoff
from wardtwin_tag.counters import RESERVED_AT_ONCE, AdvertCounter, spend_boot_id
from wardtwin_tag.energy import SAVE_EVERY_MS, EnergyCounter
from wardtwin_tag.errors import SettingsError
from wardtwin_tag.flash_queue import FlashQueue
from wardtwin_tag.health import HeapWatch, Liveness, Parts, chip_restarted, reset_cause
from wardtwin_tag.meter import Sample
from wardtwin_tag.ram_queue import CAPACITY, RamQueue
from wardtwin_tag.sightings import MAX_BEACONS, Sightings
from wardtwin_tag.tests.nor_flash import NorFlash
from wardtwin_tag.uptime import Uptime
from wardtwin_tag.window import EnergyWindow, EnvironmentWindow

KEY = "000102030405060708090a0b0c0d0e0f"


class MemoryStore:
    """NVS: what is not committed is lost with the power."""

    def __init__(self):
        self.kept = {}
        self._pending = {}
        self.commits = 0

    def get(self, key, default):
        return self._pending.get(key, self.kept.get(key, default))

    def set(self, key, value):
        assert 0 <= value <= 0xFFFFFFFF
        self._pending[key] = value

    def commit(self):
        self.commits += 1
        self.kept.update(self._pending)
        self._pending = {}

    def after_power_cut(self):
        store = MemoryStore()
        store.kept = dict(self.kept)
        return store


def check_energy_counts_over_the_chips_roll_over():
    counter = EnergyCounter(MemoryStore(), 1 << 16, True)
    counter.update(100, 0.5, 0)
    counter.update(65530, 0.0005, 1000)
    before = counter.energy_wh
    counter.update(20, 0.5, 2000)
    assert abs(counter.energy_wh - before - 13.0) < 0.11, (before, counter.energy_wh)


def check_energy_goes_on_from_zero_when_the_chip_restarts():
    counter = EnergyCounter(MemoryStore(), 1 << 24, True)
    counter.update(5000, 0.2, 0)
    assert counter.energy_wh == 1000.0
    counter.update(10, 0.2, 1000)
    assert counter.energy_wh == 1002.0


def check_energy_survives_a_reset_of_the_tag_alone_without_a_gap():
    store = MemoryStore()
    counter = EnergyCounter(store, 1 << 24, True)
    counter.update(1000, 0.2, 0)
    assert not counter.save(0)
    assert counter.save(SAVE_EVERY_MS)
    # the chip went on counting while the tag restarted
    counter = EnergyCounter(store.after_power_cut(), 1 << 24, False)
    counter.update(1010, 0.2, 0)
    assert counter.energy_wh == 202.0
    # after a power cut the chip begins at zero too
    counter = EnergyCounter(store.after_power_cut(), 1 << 24, True)
    counter.update(5, 0.2, 0)
    assert counter.energy_wh == 201.0


def check_energy_is_saved_no_more_than_once_a_minute_and_only_when_it_grew():
    store = MemoryStore()
    counter = EnergyCounter(store, 1 << 24, True)
    for second in range(601):
        counter.update(second, 0.2, second * 1000)
        counter.save(second * 1000)
    assert store.commits == 10
    for second in range(601, 1200):
        counter.update(600, 0.2, second * 1000)
        counter.save(second * 1000)
    assert store.commits == 10


def check_small_steps_are_not_lost_on_a_large_total():
    store = MemoryStore()
    store.kept["energy"] = 40_000_000
    counter = EnergyCounter(store, 1 << 24, True)
    for i in range(1, 5001):
        counter.update(i, 0.0002, i * 1000)
    # 5000 pulses of 0.2 mWh are 1 Wh
    assert counter._total in (40_000_009, 40_000_010)


def check_boot_ids_are_spent_before_they_are_used():
    store = MemoryStore()
    assert spend_boot_id(store) == 1
    assert spend_boot_id(store.after_power_cut()) == 2


def check_advert_counters_never_come_twice_over_power_cuts():
    store = MemoryStore()
    seen = set()
    for _ in range(3):
        counter = AdvertCounter(store)
        for _ in range(RESERVED_AT_ONCE + 5):
            number = counter.take()
            assert number not in seen
            assert number > 0
            seen.add(number)
        store = store.after_power_cut()
    assert max(seen) < 3 * (RESERVED_AT_ONCE + 5) + 3 * RESERVED_AT_ONCE


def check_backoff_doubles_to_its_limit_with_jitter():
    low = Backoff(1000, 8000, lambda: 0.0)
    assert [low.next_ms() for _ in range(6)] == [500, 1000, 2000, 4000, 4000, 4000]
    high = Backoff(1000, 8000, lambda: 0.99999)
    assert [high.next_ms() for _ in range(5)] == [1000, 2000, 4000, 8000, 8000]
    high.reset()
    assert high.next_ms() == 1000


def check_uptime_goes_on_over_tick_wraps():
    wrap = 1 << 30
    ticks = [wrap - 500]

    def difference(new, old):
        return ((new - old + (wrap >> 1)) & (wrap - 1)) - (wrap >> 1)

    uptime = Uptime(lambda: ticks[0], difference)
    for _ in range(2000):
        ticks[0] = (ticks[0] + (1 << 21)) & (wrap - 1)
        now_ms = uptime.now_ms()
    assert now_ms == 2000 << 21


def check_energy_window_gives_means_peak_and_the_power_factor_of_the_means():
    window = EnergyWindow()
    assert window.close(0) == {}
    window.add(Sample(100.0, 230.0, 0.5, 0.7, 50.0, 0, 0.2))
    window.add(Sample(200.0, 220.0, 1.0, 1.0, None, 0, 0.2))
    values = window.close(12.5)
    assert values["active_power_w"] == 150
    assert values["voltage_v"] == 225
    assert values["current_a"] == 0.75
    assert values["frequency_hz"] == 50
    assert values["peak_current_a"] == 1.0
    assert values["energy_wh"] == 12.5
    assert abs(values["power_factor"] - 150 / (225 * 0.75)) < 1e-6
    assert window.close(0) == {}


def check_environment_window_leaves_out_what_was_not_measured():
    window = EnvironmentWindow()
    window.add({"temperature_c": 20.0, "voc_index": None})
    window.add({"temperature_c": 21.0, "co2_ppm": 600})
    window.add({"co2_ppm": 601})
    assert window.close() == {"temperature_c": 20.5, "co2_ppm": 601}
    assert window.close() == {}


def check_parts_remember_who_fails_and_say_when_it_is_news():
    parts = Parts()
    assert parts.failed("meter")
    assert not parts.failed("meter")
    assert parts.failed("flash")
    assert parts.failed_mask == 1 | 1 << 9
    assert parts.changed
    assert parts.failures == 3
    parts.changed = False
    assert parts.works("meter")
    assert not parts.works("meter")
    assert parts.failed_mask == 1 << 9
    assert parts.changed


def check_reset_causes_are_mapped_and_strange_ones_are_unknown():
    assert [reset_cause(code) for code in (0, 1, 3, 5, 6, 7, -1)] == [0, 1, 3, 5, 6, 0, 0]
    assert [chip_restarted(cause) for cause in range(7)] == [True, True, False, False, False, False, True]


def check_a_heap_that_stays_short_means_reset():
    heap = HeapWatch()
    assert [heap.must_reset(free) for free in (10_000, 10_000, 50_000, 10_000, 10_000, 10_000)] == [False] * 5 + [True]


def check_the_watchdog_is_fed_only_while_sampling_lives():
    live = Liveness(30_000, 0)
    assert live.alive(30_000)
    assert not live.alive(30_001)
    live.beat(40_000)
    assert live.alive(60_000)


def check_sightings_are_medians_per_beacon_and_bounded():
    sightings = Sightings()
    for rssi in (-60, -90, -61, -62, -59):
        sightings.add(b"\x01\x02\x03\x04\x05\x06", rssi)
    sightings.add(memoryview(b"\x01\x02\x03\x04\x05\x07"), -128)
    assert sightings.take() == [(b"\x01\x02\x03\x04\x05\x06", -61), (b"\x01\x02\x03\x04\x05\x07", -128)]
    assert sightings.take() == []
    for i in range(1000):
        sightings.add(bytes((0, 0, 0, 0, 0, i % 40)), -i % 100)
    assert len(sightings.take()) == MAX_BEACONS
    for _ in range(1000):
        sightings.add(bytes(6), -70)
    assert sightings.take() == [(bytes(6), -70)]


def raw_settings(**changes):
    raw = {"schema": 1, "kind": "energy", "key": KEY, "ward": "ward-3", "transport": "ble"}
    raw.update(changes)
    return json.dumps(raw)


def faults_of(text):
    try:
        settings.load(text)
    except SettingsError as error:
        return error.faults
    return []


def check_settings_come_with_their_defaults():
    loaded = settings.load(raw_settings(sensors={"bme280": {}}, meter={"uart": {"tx": 4}}))
    assert loaded.key == bytes(range(16))
    assert loaded.report_period_s == 1
    assert loaded.meter["uart"] == {"id": 1, "tx": 4, "rx": 16}
    assert loaded.meter["chip"] == "bl0942"
    assert loaded.sensors == {"bme280": {"i2c": {"id": 0, "scl": 22, "sda": 21}, "address": 0x76}}
    assert loaded.unknown == []


def check_every_fault_of_the_settings_is_named():
    faults = faults_of(raw_settings(kind="fridge", report_period_s="1", meter={"uart": {"tx": 77}}, ble=3, broker={"tls": "yes"}))
    for name in ("kind:", "report_period_s:", "meter.uart.tx:", "ble:", "broker.tls:"):
        assert len([f for f in faults if f.startswith(name)]) == 1, (name, faults)
    assert len(faults) == 5
    assert faults_of("{") == ["settings.json is not JSON"]
    assert "settings.json: not an object" in faults_of("[]")
    assert faults_of(raw_settings(report_period_s=True)) != []


def check_a_key_is_never_shown():
    faults = faults_of(raw_settings(key="0001020304050607zz090a0b0c0d0e0f"))
    assert faults == ["key: not 32 hexadecimal digits"]
    assert faults_of(raw_settings(key=17)) == ["key: not 32 hexadecimal digits"]


def check_mqtt_needs_its_wifi_and_broker():
    assert len(faults_of(raw_settings(transport="mqtt"))) == 3
    assert faults_of(raw_settings(transport="mqtt", wifi={"ssid": "w"}, broker={"host": "h", "user": "u"})) == []


def check_unknown_settings_are_listed_not_refused():
    assert settings.load(raw_settings(colour="red", meter={"uart": {"speed": 1}})).unknown in (
        ["colour", "meter.uart.speed"],
        ["meter.uart.speed", "colour"],
    )


def check_ram_queue_is_bounded_and_counts_what_it_drops():
    queue = RamQueue()
    positions = [queue.append(bytes((i,))) for i in range(CAPACITY + 3)]
    assert (queue.depth, queue.dropped, queue.appended) == (CAPACITY, 3, CAPACITY + 3)
    assert not queue.release(positions[0])
    assert queue.release(positions[3])
    at, data = queue.read(queue.START)
    assert data == b"\x04"
    assert queue.read(queue.after(at, data))[1] == b"\x05"


def check_flash_queue_keeps_its_order_over_a_full_ring_and_a_reboot():
    flash = NorFlash(3)
    queue = FlashQueue(flash)
    for i in range(400):
        position = queue.append(bytes((i & 255, i >> 8)) + bytes(48))
        if i % 3 == 0:
            queue.release(position)
    again = FlashQueue(flash)
    assert (again.depth, again.dropped, again.appended) == (queue.depth, queue.dropped, 400)
    assert again.depth + again.dropped == 400 - 134
    numbers = []
    at = again.START
    while True:
        found = again.read(at)
        if found is None:
            break
        numbers.append(found[1][0] | found[1][1] << 8)
        at = again.after(found[0], found[1])
    assert numbers == [i for i in range(400) if i % 3][-again.depth :]
