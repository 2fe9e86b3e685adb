"""The queue keeps what waits through power cuts at any byte, and counts what a full ring loses."""

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardtwin_tag.flash_queue import FlashQueue
from wardtwin_tag.tests.nor_flash import SECTOR_BYTES, NorFlash, PowerCutError

SECTORS = 4


def frame_of(number, size=60):
    return struct.pack("<I", number) + bytes((number * 7 + i) & 0xFF for i in range(size - 4))


def waiting(queue):
    found = []
    at = queue.START
    while (item := queue.read(at)) is not None:
        found.append(item)
        at = queue.after(*item)
    return found


def numbers(queue):
    return [struct.unpack_from("<I", frame)[0] for _, frame in waiting(queue)]


def test_frames_come_out_in_order_until_they_are_released():
    queue = FlashQueue(NorFlash(SECTORS))
    positions = [queue.append(frame_of(i)) for i in range(5)]
    assert numbers(queue) == [0, 1, 2, 3, 4]
    assert queue.release(positions[1])
    assert not queue.release(positions[1])
    assert numbers(queue) == [0, 2, 3, 4]
    assert queue.depth == 4


def test_a_reboot_finds_what_waits_and_goes_on_behind_it():
    flash = NorFlash(SECTORS)
    queue = FlashQueue(flash)
    positions = [queue.append(frame_of(i)) for i in range(150)]
    for position in positions[:70]:
        queue.release(position)
    again = FlashQueue(flash)
    assert numbers(again) == list(range(70, 150))
    again.append(frame_of(150))
    assert numbers(again) == list(range(70, 151))
    assert (again.depth, again.dropped, again.appended, again.torn) == (81, 0, 151, 0)


def test_a_full_ring_drops_its_oldest_sector_and_the_count_survives_reboots():
    flash = NorFlash(SECTORS)
    queue = FlashQueue(flash)
    for i in range(1000):
        queue.append(frame_of(i))
    assert queue.dropped > 600
    assert numbers(queue) == list(range(queue.dropped, 1000))
    again = FlashQueue(flash)
    assert (again.dropped, again.depth, again.appended) == (queue.dropped, queue.depth, 1000)
    assert again.dropped + again.depth == 1000


def test_releasing_a_frame_whose_sector_was_dropped_touches_nothing():
    flash = NorFlash(SECTORS)
    queue = FlashQueue(flash)
    first = queue.append(frame_of(0))
    for i in range(1, 1000):
        queue.append(frame_of(i))
    before = bytes(flash.data)
    assert not queue.release(first)
    assert bytes(flash.data) == before


def test_sectors_wear_alike():
    flash = NorFlash(SECTORS)
    queue = FlashQueue(flash)
    for i in range(2000):
        queue.release(queue.append(frame_of(i)))
    assert max(flash.erases) - min(flash.erases) <= 1
    assert queue.dropped == 0


def test_foreign_bytes_on_the_partition_are_taken_as_empty():
    flash = NorFlash(SECTORS)
    flash.data[:] = random.Random(1).randbytes(len(flash.data))
    queue = FlashQueue(flash)
    assert numbers(queue) == []
    queue.append(frame_of(1))
    assert numbers(FlashQueue(flash)) == [1]


def test_a_flipped_bit_costs_that_frame_only():
    flash = NorFlash(SECTORS)
    queue = FlashQueue(flash)
    positions = [queue.append(frame_of(i)) for i in range(120)]
    flash.data[positions[10][0] % SECTORS * SECTOR_BYTES + positions[10][1] + 20] ^= 4
    queue = FlashQueue(flash)
    assert numbers(queue) == [*range(10), *range(11, 120)]
    assert queue.depth == 119


def test_all_records_can_be_listed_with_the_acked_ones():
    flash = NorFlash(SECTORS)
    queue = FlashQueue(flash)
    positions = [queue.append(frame_of(i)) for i in range(100)]
    for position in positions[::2]:
        queue.release(position)
    assert [(frame_of(i), i % 2 == 1) for i in range(100)] == list(FlashQueue(flash).records())


class Model:
    """What must be true of the queue, from what its caller was told."""

    def __init__(self):
        self.next = 0
        self.acked = set()
        self.certain = []
        self.maybe = None
        self.maybe_acked = None


def run_until_cut(flash, queue, model, choices):
    """Append and release as `choices` say. Return False when the power was cut."""
    try:
        for choice in choices:
            if choice < 7:
                number = model.next
                model.next += 1
                model.maybe = number
                queue.append(frame_of(number, 60 + choice * 17))
                model.certain.append(number)
                model.maybe = None
            else:
                item = queue.read(queue.START)
                if item is not None:
                    number = struct.unpack_from("<I", item[1])[0]
                    model.maybe_acked = number
                    queue.release(item[0])
                    model.acked.add(number)
                    model.maybe_acked = None
    except PowerCutError:
        return False
    return True


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=250, max_size=400),
    st.lists(st.integers(0, 30_000), min_size=1, max_size=4),
    st.booleans(),
)
def test_a_power_cut_at_any_byte_loses_no_frame_and_no_count(choices, cuts, never_acked):
    flash = NorFlash(SECTORS)
    model = Model()
    if never_acked:
        choices = [c % 7 for c in choices]
    for cut in [*cuts, None]:
        flash.cut_after = None
        queue = FlashQueue(flash)
        check(queue, model)
        flash.cut_after = cut
        run_until_cut(flash, queue, model, choices)
    flash.cut_after = None
    check(FlashQueue(flash), model)


def check(queue, model):
    found = numbers(queue)
    if model.maybe is not None and model.maybe in found:
        # the write was whole, only the answer was cut off
        model.certain.append(model.maybe)
    if model.maybe_acked is not None and model.maybe_acked not in found:
        model.acked.add(model.maybe_acked)
    model.maybe = model.maybe_acked = None
    assert found == sorted(found)
    assert queue.depth == len(found)
    held = [n for n in model.certain if n not in model.acked]
    # what is gone is the oldest, and it is counted
    assert found == held[len(held) - len(found) :]
    assert queue.dropped == len(held) - len(found)
    assert queue.appended == len(model.certain)
    model.certain_dropped = queue.dropped
    # dropped frames stay counted: keep them out of `held` by leaving the model as it is


@pytest.mark.parametrize("start", range(0, 4000, 61))
def test_a_cut_while_a_sector_is_turned_over_is_exact(start):
    """Every byte around the first drop: note, erase, header, first record."""
    for cut in range(start, min(start + 61, 4000), 7):
        flash = NorFlash(SECTORS)
        queue = FlashQueue(flash)
        model = Model()
        run_until_cut(flash, queue, model, [0] * 238)
        flash.cut_after = cut
        run_until_cut(flash, queue, model, [0] * 60)
        flash.cut_after = None
        check(FlashQueue(flash), model)
