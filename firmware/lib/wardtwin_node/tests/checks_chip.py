"""What a sensor driver at work must do; on MicroPython only (asyncio.sleep_ms). Run by wardtwin_tag's test_checks.py."""

import asyncio

from wardtwin_node.chips import Chip
from wardtwin_tag.errors import SensorError
from wardtwin_tag.health import Parts


class Node:
    """Clock and parts of a node; time passes when told."""

    def __init__(self):
        self.uptime = self
        self.parts = Parts()
        self.time_ms = 0

    def now_ms(self):
        return self.time_ms

    def failed(self, part, error):
        self.parts.failed(part)


class Driver:
    """Gives `answers` in turn: a dict, or the reason of a SensorError."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.setups = 0
        self.measured = 0

    def setup(self):
        self.setups += 1
        yield 0

    def measure(self):
        self.measured += 1
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            raise SensorError(answer)
        yield 0
        yield answer


def run(node, chip, seconds):
    """Ask once a second; return what came each time."""
    found = []
    for _ in range(seconds):
        found.append(asyncio.run(chip.measure()))
        node.time_ms += 1000
    return found


def check_a_slow_chip_holds_its_value_until_the_next_is_due():
    node = Node()
    driver = Driver({"co2_ppm": 1}, {"co2_ppm": 2})
    assert run(node, Chip(node, "gas", driver, 5000), 8) == [{"co2_ppm": 1}] * 5 + [{"co2_ppm": 2}] * 3
    assert driver.setups == 1


def check_one_miss_gives_nothing_and_is_no_failure():
    node = Node()
    driver = Driver({"a": 1}, "checksum", {"a": 2})
    assert run(node, Chip(node, "sgp40", driver, 1000), 3) == [{"a": 1}, {}, {"a": 2}]
    assert node.parts.failed_mask == 0
    # the chip may have lost its supply
    assert driver.setups == 2


def check_a_chip_that_stays_silent_is_failed_asked_less_and_taken_back():
    node = Node()
    driver = Driver(*["silent"] * 8, *[{"a": 1}] * 200)
    chip = Chip(node, "sgp40", driver, 1000)
    run(node, chip, 60)
    assert node.parts.failed_mask == 1 << 2
    assert driver.measured < 9, driver.measured
    found = run(node, chip, 140)
    assert found[-1] == {"a": 1}
    assert node.parts.failed_mask == 0


def check_a_chip_without_news_fails_instead_of_showing_an_old_value():
    node = Node()
    driver = Driver({"co2_ppm": 1}, *[{}] * 30)
    chip = Chip(node, "gas", driver, 5000)
    found = run(node, chip, 120)
    assert found[0] == {"co2_ppm": 1}
    assert found[-1] == {}
    assert node.parts.failed_mask == 1 << 4


def check_a_chip_that_was_never_there_gives_nothing():
    node = Node()
    driver = Driver(*["identity"] * 50)
    assert run(node, Chip(node, "bme280", driver, 1000), 30) == [{}] * 30
    assert node.parts.failed_mask == 1 << 1
