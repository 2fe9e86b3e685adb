"""What holds of an emulated board and of a real one alike, over its serial line."""

import itertools
import os
from typing import Any

import pytest

from wardtwin_wire import frame, serial

from .asynchronous import asynchronous
from .receiver import SerialReceiver, eventually

pytestmark = pytest.mark.any_board


@asynchronous
async def test_a_tag_says_who_it_is_when_asked(target: Any) -> None:
    async with target() as tag:
        receiver = SerialReceiver(tag.tag_id, tag.key, tag.path)
        try:
            receiver.write(serial.encode(serial.WHO, b""))
            await eventually(lambda: receiver.hellos, 15, "a HELLO")
        finally:
            await receiver.close()


@asynchronous
async def test_reports_come_once_a_second_without_a_gap_and_stop_coming_once_acked(target: Any) -> None:
    async with target() as tag:
        receiver = SerialReceiver(tag.tag_id, tag.key, tag.path)
        try:
            await eventually(lambda: len(receiver.got.of_kind(frame.ENERGY)) >= 15, 25 / tag.speed + 15, lambda: receiver.got)
            boot = receiver.got.boots[-1]
            sequences = receiver.got.sequences(boot)
            assert sequences == list(range(sequences[0], sequences[-1] + 1))
            uptimes = [uptime_ms for uptime_ms, _ in receiver.got.of_kind(frame.ENERGY)]
            assert all(later > earlier for earlier, later in itertools.pairwise(uptimes))
            assert receiver.got.refused == 0
            # what is acked is not sent again, though its time-out has passed
            assert receiver.got.repeats == 0
        finally:
            await receiver.close()


@asynchronous
async def test_a_reset_spends_a_boot_id_and_is_reported(target: Any) -> None:
    async with target() as tag:
        receiver = SerialReceiver(tag.tag_id, tag.key, tag.path)
        try:
            await eventually(lambda: receiver.got.of_kind(frame.STATUS), 20)
            before = receiver.got.boots[-1]
            tag.reset()
            await eventually(lambda: receiver.got.boots[-1] == before + 1, 20, lambda: receiver.got.boots)
        finally:
            await receiver.close()


@asynchronous
async def test_noise_from_the_gateways_side_does_not_stop_the_reports(target: Any) -> None:
    async with target() as tag:
        receiver = SerialReceiver(tag.tag_id, tag.key, tag.path)
        try:
            await eventually(lambda: len(receiver.got.reports) >= 3, 20)
            had = len(receiver.got.reports)
            receiver.write(os.urandom(2000))
            await eventually(lambda: len(receiver.got.reports) >= had + 5, 20)
        finally:
            await receiver.close()
