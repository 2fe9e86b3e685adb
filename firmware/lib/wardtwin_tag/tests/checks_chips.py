"""What the chip decoders must do, on any interpreter: plain functions, run by test_checks.py on CPython and MicroPython."""

import struct

from wardtwin_tag import bl0942, bme280, cse7766, pms5003, scd41, settings, sgp40
from wardtwin_tag.bus import Bus, crc8
from wardtwin_tag.errors import SensorError
from wardtwin_tag.meter import power_factor
from wardtwin_tag.voc import VocIndex

KEY = "000102030405060708090a0b0c0d0e0f"


def meter_settings(**meter):
    import json

    raw = {"schema": 1, "kind": "energy", "key": KEY, "ward": "w", "transport": "serial", "meter": meter}
    return settings.load(json.dumps(raw)).meter


def u24(value, order="little"):
    data = bytes((value & 255, value >> 8 & 255, value >> 16 & 255))
    return data if order == "little" else bytes((data[2], data[1], data[0]))


def bl0942_packet(current=0, voltage=0, fast=0, watt=0, pulses=0, period=20000, command=0x58):
    body = b"\x55" + u24(current) + u24(voltage) + u24(fast) + u24(watt) + u24(pulses) + struct.pack("<H", period) + bytes(4)
    return body + bytes(((command + sum(body)) & 0xFF ^ 0xFF,))


def near(a, b, share=0.001):
    return abs(a - b) <= share * max(abs(a), abs(b))


def check_bl0942_values_follow_the_data_sheet():
    # 230 V behind 1.95 M / 510 ohm, 2 A over 1 milliohm, cos 0.9: the register formulas, evaluated by hand
    volt = 230 * 510 / 1950510 * 1000
    watt = 3537 * 2.0 * volt * 0.9 / (1.218 * 1.218)
    packet = bl0942_packet(int(305978 * 2.0 / 1.218), int(73989 * volt / 1.218), int(305978 * 4.0 / 1.218 * 0.363), int(watt), 77)
    (sample,) = bl0942.Decoder(meter_settings()).feed(packet)
    assert near(sample.voltage_v, 230)
    assert near(sample.current_a, 2)
    assert near(sample.active_power_w, 414)
    assert near(sample.peak_current_a, 4)
    assert sample.frequency_hz == 50.0
    assert sample.pulses == 77
    # at 414 W a pulse comes every 1638.4 * 256 / WATT seconds
    assert near(sample.wh_per_pulse, 414 * (1638.4 * 256 / watt) / 3600)


def check_bl0942_power_is_signed():
    (sample,) = bl0942.Decoder(meter_settings()).feed(bl0942_packet(watt=0x1000000 - 5000))
    assert sample.active_power_w < -1


def check_bl0942_calibration_gains_scale_their_quantity():
    plain = bl0942.Decoder(meter_settings()).feed(bl0942_packet(1000, 1000, 0, 1000))[0]
    gained = bl0942.Decoder(meter_settings(voltage_gain=1.1, current_gain=1.2, power_gain=1.3)).feed(bl0942_packet(1000, 1000, 0, 1000))[0]
    assert near(gained.voltage_v, plain.voltage_v * 1.1)
    assert near(gained.current_a, plain.current_a * 1.2)
    assert near(gained.active_power_w, plain.active_power_w * 1.3)
    assert near(gained.wh_per_pulse, plain.wh_per_pulse * 1.3)


def check_bl0942_address_is_in_the_request_and_in_the_checksum():
    assert bl0942.Decoder(meter_settings()).request() == b"\x58\xaa"
    decoder = bl0942.Decoder(meter_settings(address=3))
    assert decoder.feed(bl0942_packet(command=0x58)) == []
    assert decoder.request() == b"\x5b\xaa"
    assert len(decoder.feed(bl0942_packet(command=0x5B))) == 1


def check_bl0942_frequency_is_absent_without_mains():
    assert bl0942.Decoder(meter_settings()).feed(bl0942_packet(period=0))[0].frequency_hz is None


def check_bl0942_packets_come_through_noise_and_cuts():
    decoder = bl0942.Decoder(meter_settings())
    good = bl0942_packet(5, 6, 7, 8, 9)
    bad = bytearray(bl0942_packet(5, 6, 7, 8, 10))
    bad[9] ^= 0x10
    line = b"\x55\x55\xaa" + good + bytes(bad) + b"\x55" + good + good[:11]
    samples = []
    for at in range(0, len(line), 5):
        samples += decoder.feed(line[at : at + 5])
    assert [s.pulses for s in samples] == [9, 9]
    assert decoder.junk_bytes == 3 + 23 + 1
    assert [s.pulses for s in decoder.feed(good[11:])] == [9]


def cse7766_packet(state=0x55, voltage=(190000, 830), current=(16000, 8000), power=(5000000, 20000), complete=0x71, pulses=300):
    body = b""
    for pair in (voltage, current, power):
        body += u24(pair[0], "big") + u24(pair[1], "big")
    body += bytes((complete, pulses >> 8, pulses & 255))
    return bytes((state, 0x5A)) + body + bytes((sum(body) & 255,))


def check_cse7766_values_are_coefficient_over_cycle():
    (sample,) = cse7766.Decoder(meter_settings(chip="cse7766")).feed(cse7766_packet())
    assert near(sample.voltage_v, 190000 / 830)
    assert near(sample.current_a, 2)
    assert near(sample.active_power_w, 250)
    assert sample.frequency_hz is None
    assert sample.pulses == 300
    # 250 W give a pulse every 20 ms
    assert near(sample.wh_per_pulse, 250 * 0.02 / 3600)


def check_cse7766_states_say_what_is_zero_or_useless():
    decoder = cse7766.Decoder(meter_settings(chip="cse7766"))
    (sample,) = decoder.feed(cse7766_packet(state=0xF2))
    assert sample.active_power_w == 0
    assert sample.current_a == 0
    assert near(sample.voltage_v, 190000 / 830)
    (sample,) = decoder.feed(cse7766_packet(state=0xFE))
    assert (sample.active_power_w, sample.current_a, sample.voltage_v) == (0, 0, 0)
    assert decoder.feed(cse7766_packet(state=0xAA)) == []
    assert decoder.feed(cse7766_packet(state=0xF1)) == []
    assert decoder.uncalibrated == 2


def check_cse7766_keeps_a_value_whose_cycle_is_not_complete():
    decoder = cse7766.Decoder(meter_settings(chip="cse7766"))
    decoder.feed(cse7766_packet())
    (sample,) = decoder.feed(cse7766_packet(voltage=(190000, 1), power=(5000000, 40000), complete=0x11))
    assert near(sample.voltage_v, 190000 / 830)
    assert near(sample.active_power_w, 125)


def check_cse7766_frames_come_through_noise():
    decoder = cse7766.Decoder(meter_settings(chip="cse7766"))
    bad = bytearray(cse7766_packet())
    bad[7] ^= 1
    samples = decoder.feed(b"\x55\x5a\x00" + cse7766_packet()[:9] + bytes(bad) + cse7766_packet(pulses=301))
    assert [s.pulses for s in samples] == [301]


def check_power_factor_is_held_and_absent_at_no_load():
    assert power_factor(100.0, 230.0, 0.5) == 100 / 115
    assert power_factor(120.0, 230.0, 0.5) == 1.0
    assert power_factor(-120.0, 230.0, 0.5) == -1.0
    assert power_factor(0.1, 230.0, 0.001) is None


def check_pms5003_frames_are_read_and_noise_is_skipped():
    words = [28, 1, 2, 3, 11, 12, 13, 0, 0, 0, 0, 0, 0, 0]
    body = b"BM" + b"".join(struct.pack(">H", w) for w in words)
    good = body[:30] + struct.pack(">H", sum(body[:30]))
    decoder = pms5003.Decoder()
    assert decoder.feed(b"BMxx" + good[:20]) == []
    assert decoder.feed(good[20:] + good[:-1] + b"\x00" + good) == [{"pm1_ug_m3": 11, "pm2_5_ug_m3": 12, "pm10_ug_m3": 13}] * 2


# Bosch's worked example (BMP280 data sheet BST-BMP280-DS001, 3.12; the BME280 has the same formulas): 25.08 degrees, 100653.27 Pa
BME280_LOW = struct.pack("<HhhHhhhhhhhh", 27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000) + b"\x00\x4b"
# h2 362, h3 0, h4 324, h5 50, h6 30: values of a real chip
BME280_HIGH = struct.pack("<hB", 362, 0) + bytes((324 >> 4, 324 & 15 | (50 & 15) << 4, 50 >> 4, 30))


def check_bme280_equals_the_worked_example():
    calibration = bme280.Calibration(BME280_LOW, BME280_HIGH)
    fine = calibration.fine_temperature(519888)
    assert fine == 128422
    assert (fine * 5 + 128) >> 8 == 2508
    assert abs(calibration.pressure_q8(415148, fine) / 256 - 100653.27) < 0.05
    values = calibration.compensate(519888, 415148, 30000)
    assert near(values["temperature_c"], 25.08, 1e-6)
    assert near(values["pressure_hpa"], 1006.5327, 1e-5)


def check_bme280_pressure_equals_the_floating_form():
    calibration = bme280.Calibration(BME280_LOW, BME280_HIGH)
    p1, p2, p3, p4, p5, p6, p7, p8, p9 = calibration.p
    for raw, fine in ((415148, 128422), (300000, 60000), (500000, 200000), (415148, -20000)):
        a = fine / 2 - 64000.0
        b = (a * a * p6 / 32768.0 + a * p5 * 2.0) / 4.0 + p4 * 65536.0
        a = (1.0 + (p3 * a * a / 524288.0 + p2 * a) / 524288.0 / 32768.0) * p1
        p = (1048576.0 - raw - b / 4096.0) * 6250.0 / a
        p += (p9 * p * p / 2147483648.0 + p * p8 / 32768.0 + p7) / 16.0
        # 10 Pa: what 24-bit floats may make of the reference; on 53-bit ones the forms differ by hundredths
        assert abs(calibration.pressure_q8(raw, fine) / 256 - p) < 10


def check_bme280_humidity_equals_the_floating_form():
    calibration = bme280.Calibration(BME280_LOW, BME280_HIGH)
    fine = calibration.fine_temperature(519888)
    assert (calibration.h1, calibration.h2, calibration.h4, calibration.h5, calibration.h6) == (75, 362, 324, 50, 30)
    for raw in (20000, 26000, 30000, 36000):
        # section 8.1 of the data sheet
        h = fine - 76800.0
        h = (raw - (324 * 64.0 + 50 / 16384.0 * h)) * (362 / 65536.0 * (1.0 + 30 / 67108864.0 * h * (1.0 + 0 / 67108864.0 * h)))
        h = max(0.0, min(100.0, h * (1.0 - 75 * h / 524288.0)))
        assert abs(calibration.humidity_q10(raw, fine) / 1024 - h) < 0.01


class FakeI2c:
    """Answers from a script; an OSError where the script says None."""

    def __init__(self, answers=(), registers=None):
        self.answers = list(answers)
        self.registers = registers or {}
        self.sent = []

    def writeto(self, address, data):
        self.sent.append(bytes(data))

    def readfrom(self, address, count):
        answer = self.answers.pop(0)
        if answer is None:
            raise OSError(19)
        return answer[:count]

    def readfrom_mem(self, address, register, count):
        if register not in self.registers:
            raise OSError(19)
        return self.registers[register][:count]

    def writeto_mem(self, address, register, data):
        self.sent.append(bytes((register,)) + bytes(data))


def words(*values):
    out = b""
    for value in values:
        pair = bytes((value >> 8, value & 255))
        out += pair + bytes((crc8(pair),))
    return out


def last(steps):
    found = None
    for step in steps:
        found = step
    return found


def reason_of(call):
    try:
        call()
    except SensorError as error:
        return error.reason
    return None


def check_bme280_measures_by_registers():
    raw = bytes((415148 >> 12, 415148 >> 4 & 255, (415148 & 15) << 4, 519888 >> 12, 519888 >> 4 & 255, (519888 & 15) << 4, 0x75, 0x30))
    i2c = FakeI2c(registers={0xD0: b"\x60", 0x88: BME280_LOW, 0xE1: BME280_HIGH, 0xF3: b"\x00", 0xF7: raw})
    chip = bme280.Bme280(Bus(i2c, 0x76))
    last(chip.setup())
    values = last(chip.measure())
    assert near(values["temperature_c"], 25.08, 1e-6)
    assert 0 < values["relative_humidity_pct"] < 100
    assert b"\xf2\x01" in i2c.sent
    assert b"\xf4\x25" in i2c.sent
    i2c.registers[0xF7] = b"\x80\x00\x00\x80\x00\x00\x80\x00"
    assert reason_of(lambda: last(chip.measure())) == "not_ready"
    i2c.registers[0xD0] = b"\x58"
    assert reason_of(lambda: last(chip.setup())) == "identity"
    assert reason_of(lambda: last(bme280.Bme280(Bus(FakeI2c(), 0x76)).setup())) == "silent"


def check_sgp40_sends_the_climate_and_checks_the_crc():
    assert crc8(b"\xbe\xef") == 0x92
    i2c = FakeI2c([words(30000), None, words(30000)[:2] + b"\x00"])
    chip = sgp40.Sgp40(Bus(i2c, 0x59))
    assert last(chip.measure()) == {"voc_index": None}
    # the default of the data sheet's table 9
    assert i2c.sent[0] == bytes.fromhex("260f8000a2666693")
    chip.temperature_c, chip.relative_humidity_pct = 25.0, 50.0
    assert reason_of(lambda: last(chip.measure())) == "silent"
    assert i2c.sent[1] == bytes.fromhex("260f8000a2666693")
    assert reason_of(lambda: last(chip.measure())) == "checksum"


def check_scd41_reads_only_a_new_value():
    i2c = FakeI2c([words(0x8000), words(0x8006), words(640, 0x6667, 0x5EB9), words(0x8006), words(640, 1, 2)[:-1] + b"\x00"])
    chip = scd41.Scd41(Bus(i2c, 0x62))
    last(chip.setup())
    assert i2c.sent == [b"\x3f\x86", b"\x21\xb1"]
    assert last(chip.measure()) == {}
    assert last(chip.measure()) == {"co2_ppm": 640}
    assert reason_of(lambda: last(chip.measure())) == "checksum"


def check_voc_index_is_100_in_usual_air_and_rises_with_vocs():
    index = VocIndex()
    assert [index.update(30000) for _ in range(60)] == [None] * 60
    for i in range(3600):
        usual = index.update(30000 + (i * 7 % 41) - 20)
    assert 80 <= usual <= 120, usual
    event = index.update(28000)
    assert event > 200
    assert index.update(10) == 500
    assert index.update(65535) == 1
    # ten minutes of solvent do not become usual
    for _ in range(600):
        event = index.update(28000)
    assert event > 200, event
    for _ in range(60):
        usual = index.update(30000)
    assert 50 <= usual <= 150, usual
