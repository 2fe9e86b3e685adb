"""The emulated chips against the tag's own drivers, byte for byte, without a board between them."""

from typing import Any

import pytest

from wardtwin_board.chips.bl0942 import Bl0942, Front
from wardtwin_board.chips.bme280 import Bme280
from wardtwin_board.chips.cse7766 import FRAME_S, Cse7766
from wardtwin_board.chips.faults import Fault
from wardtwin_board.chips.i2c import I2cChip, crc8
from wardtwin_board.chips.pms5003 import Pms5003
from wardtwin_board.chips.scd41 import Scd41
from wardtwin_board.chips.sgp40 import Sgp40
from wardtwin_board.rooms import Climate, steady
from wardtwin_board.signals import constant
from wardtwin_tag import bl0942, bme280, cse7766, pms5003, scd41, sgp40
from wardtwin_tag.bus import Bus
from wardtwin_tag.errors import SensorError

CLIMATE = Climate(23.47, 51.3, 987.6, 28_400, 1234, 4, 11, 19)
GAINS = {"current_gain": 1.0, "voltage_gain": 1.0, "power_gain": 1.0}


class Wire:
    """machine.I2C's methods over one chip, with a clock that the driver's waits move."""

    def __init__(self, chip: I2cChip) -> None:
        self.chip = chip
        self.now_s = 100.0

    def writeto(self, address: int, data: bytes) -> None:
        if not self.chip.answers or not self.chip.write(bytes(data), self.now_s):
            raise OSError(19)

    def readfrom(self, address: int, size: int) -> bytes:
        data = self.chip.read(size, self.now_s) if self.chip.answers else None
        if data is None:
            raise OSError(19)
        return data

    def readfrom_mem(self, address: int, register: int, size: int) -> bytes:
        self.writeto(address, bytes((register,)))
        return self.readfrom(address, size)

    def writeto_mem(self, address: int, register: int, data: bytes) -> None:
        self.writeto(address, bytes((register,)) + data)

    def take(self, steps: Any) -> dict[str, float]:
        for step in steps:
            if isinstance(step, dict):
                return step
            self.now_s += step / 1000
        return {}


def measured(chip: I2cChip, driver_class: Any) -> tuple[Wire, Any, dict[str, float]]:
    wire = Wire(chip)
    driver = driver_class(Bus(wire, chip.address))
    wire.take(driver.setup())
    wire.now_s += 6
    return wire, driver, wire.take(driver.measure())


@pytest.mark.parametrize("watts", [0.0, 2.5, 61.7, 2300.0])
def test_bl0942_gives_the_driver_what_the_mains_have(watts: float) -> None:
    front = Front()
    chip = Bl0942(constant(watts, 231.4, 0.8), front)
    (sample,) = bl0942.Decoder(front.settings).feed(chip.receive(bl0942.request(), 10.0))
    assert sample.active_power_w == pytest.approx(watts, abs=0.02)
    assert sample.voltage_v == pytest.approx(231.4, abs=0.01)
    assert sample.current_a == pytest.approx(watts / (231.4 * 0.8), abs=0.001)
    assert sample.frequency_hz == pytest.approx(50.0, abs=0.01)


def test_bl0942_counts_energy_and_rolls_over() -> None:
    front = Front()
    chip = Bl0942(constant(3600.0), front)
    chip.set_pulses(0xFFFFFF)
    decoder = bl0942.Decoder(front.settings)
    (before,) = decoder.feed(chip.receive(bl0942.request(), 0.0))
    (after,) = decoder.feed(chip.receive(bl0942.request(), 100.0))
    assert after.pulses < before.pulses
    assert ((after.pulses - before.pulses) % bl0942.PULSE_MODULUS) * after.wh_per_pulse == pytest.approx(100.0, abs=0.5)


def test_bl0942_does_not_answer_what_is_no_command() -> None:
    chip = Bl0942(constant(10.0))
    assert chip.receive(b"\x00\x58\x00\x58", 0.0) == b""
    assert len(chip.receive(b"\xaa", 0.0)) == bl0942.PACKET_BYTES


def test_a_wrong_checksum_is_no_sample_and_the_next_packet_is() -> None:
    front = Front()
    chip = Bl0942(constant(50.0), front)
    decoder = bl0942.Decoder(front.settings)
    chip.fault = Fault.CHECKSUM
    assert decoder.feed(chip.receive(bl0942.request(), 1.0)) == []
    chip.fault = Fault.NONE
    assert len(decoder.feed(chip.receive(bl0942.request(), 2.0))) == 1
    assert decoder.junk_bytes >= bl0942.PACKET_BYTES


def test_a_stuck_meter_repeats_itself_while_the_load_changes() -> None:
    power = [40.0]
    front = Front()
    chip = Bl0942(lambda _t: constant(power[0])(0.0), front)
    decoder = bl0942.Decoder(front.settings)
    chip.fault = Fault.STUCK
    (first,) = decoder.feed(chip.receive(bl0942.request(), 1.0))
    power[0] = 400.0
    (second,) = decoder.feed(chip.receive(bl0942.request(), 2.0))
    assert second.active_power_w == first.active_power_w


def test_through_noise_some_packets_pass_and_none_is_wrong() -> None:
    front = Front()
    chip = Bl0942(constant(50.0), front, seed=3)
    chip.fault = Fault.NOISE
    # a decoder for each answer: what is left of a damaged one must not be read with the next
    answers = [chip.receive(bl0942.request(), float(n)) for n in range(400)]
    samples = [sample for answer in answers for sample in bl0942.Decoder(front.settings).feed(answer)]
    assert len(samples) > 100
    # a checksum of one byte lets one damaged packet in a few hundred through
    assert sum(abs(sample.active_power_w - 50.0) > 0.1 for sample in samples) <= 2


@pytest.mark.parametrize("watts", [0.0, 18.0, 1500.0])
def test_cse7766_gives_the_driver_what_the_mains_have(watts: float) -> None:
    chip = Cse7766(constant(watts, 228.9, 0.9))
    samples = cse7766.Decoder(GAINS).feed(chip.transmit(1.0))
    assert len(samples) == int(1.0 / FRAME_S) + 1
    assert samples[-1].active_power_w == pytest.approx(watts, rel=0.001)
    assert samples[-1].voltage_v == pytest.approx(228.9, rel=0.002)
    assert samples[-1].current_a == pytest.approx(watts / (228.9 * 0.9), rel=0.002)


def test_cse7766_without_its_calibration_gives_no_sample() -> None:
    chip = Cse7766(constant(100.0))
    chip.lost_calibration = True
    decoder = cse7766.Decoder(GAINS)
    assert decoder.feed(chip.transmit(0.5)) == []
    assert decoder.uncalibrated == 10


def test_cse7766_counts_energy() -> None:
    chip = Cse7766(constant(1000.0))
    decoder = cse7766.Decoder(GAINS)
    samples = [sample for n in range(61) for sample in decoder.feed(chip.transmit(float(n)))]
    assert (samples[-1].pulses - samples[0].pulses) * samples[-1].wh_per_pulse == pytest.approx(1000 / 60, rel=0.01)


@pytest.mark.parametrize("temperature_c", [-10.0, 0.0, 23.47, 60.0])
@pytest.mark.parametrize("pressure_hpa", [850.0, 987.6, 1050.0])
def test_bme280_driver_reads_the_room(temperature_c: float, pressure_hpa: float) -> None:
    climate = Climate(temperature_c, 51.3, pressure_hpa)
    _, _, values = measured(Bme280(steady(climate)), bme280.Bme280)
    assert values["temperature_c"] == pytest.approx(temperature_c, abs=0.02)
    assert values["pressure_hpa"] == pytest.approx(pressure_hpa, abs=0.05)
    assert values["relative_humidity_pct"] == pytest.approx(51.3, abs=0.1)


def test_bme280_computes_the_data_sheets_example() -> None:
    # Bosch's worked example for the BMP280 with the same formulas: 519888 -> 25.08 °C, 415148 -> 100653.27 Pa
    chip = Bme280(steady(CLIMATE))
    chip._calibration = type(chip._calibration)(t=(27504, 26435, -1000), p=(36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000))
    fine = chip.fine_temperature(519888)
    assert (fine * 5 + 128) >> 8 == 2508
    assert chip.pressure_q24_8(415148, fine) / 256 == pytest.approx(100653.25, abs=0.1)


def test_sgp40_gets_the_climate_and_gives_its_raw_signal() -> None:
    chip = Sgp40(steady(CLIMATE))
    wire, driver, _ = measured(chip, sgp40.Sgp40)
    driver.temperature_c, driver.relative_humidity_pct = 30.0, 70.0
    wire.take(driver.measure())
    assert chip.compensation == pytest.approx((70.0, 30.0), abs=0.01)


def test_scd41_gives_the_co2_of_the_room_every_five_seconds() -> None:
    wire, driver, values = measured(Scd41(steady(CLIMATE)), scd41.Scd41)
    assert values == {"co2_ppm": 1234}
    assert wire.take(driver.measure()) == {}
    wire.now_s += 5
    assert wire.take(driver.measure()) == {"co2_ppm": 1234}


@pytest.mark.parametrize(("chip", "driver"), [(Sgp40, sgp40.Sgp40), (Scd41, scd41.Scd41)])
def test_a_wrong_crc_is_an_error_of_that_sensor(chip: Any, driver: Any) -> None:
    part = chip(steady(CLIMATE))
    wire, its_driver, _ = measured(part, driver)
    part.fault = Fault.CHECKSUM
    wire.now_s += 10
    with pytest.raises(SensorError, match="checksum"):
        wire.take(its_driver.measure())


@pytest.mark.parametrize(("chip", "driver"), [(Bme280, bme280.Bme280), (Sgp40, sgp40.Sgp40), (Scd41, scd41.Scd41)])
def test_a_chip_that_does_not_acknowledge_is_an_error_of_that_sensor(chip: Any, driver: Any) -> None:
    part = chip(steady(CLIMATE))
    part.fault = Fault.SILENCE
    wire = Wire(part)
    with pytest.raises(SensorError, match="silent"):
        wire.take(driver(Bus(wire, part.address)).setup())


def test_crc8_is_sensirions() -> None:
    assert crc8(b"\xbe\xef") == 0x92


def test_pms5003_gives_the_driver_the_particles_of_the_room() -> None:
    chip = Pms5003(steady(CLIMATE))
    frames = pms5003.Decoder().feed(chip.transmit(3.5))
    assert len(frames) == 3
    assert frames[-1] == {"pm1_ug_m3": 4, "pm2_5_ug_m3": 11, "pm10_ug_m3": 19}


def test_pms5003_sleeps_wakes_and_answers_in_passive_mode() -> None:
    def command(letter: int, value: int) -> bytes:
        body = bytes((0x42, 0x4D, letter, 0, value))
        return body + sum(body).to_bytes(2, "big")

    chip = Pms5003(steady(CLIMATE))
    chip.receive(command(0xE4, 0), 0.0)
    assert chip.transmit(10.0) == b""
    chip.receive(command(0xE4, 1) + command(0xE1, 0), 10.0)
    assert chip.transmit(20.0) == b""
    assert len(pms5003.Decoder().feed(chip.receive(command(0xE2, 0), 21.0))) == 1


def test_pms5003_with_a_wrong_checksum_gives_nothing() -> None:
    chip = Pms5003(steady(CLIMATE))
    chip.fault = Fault.CHECKSUM
    assert pms5003.Decoder().feed(chip.transmit(5.0)) == []
