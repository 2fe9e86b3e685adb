"""The binary table against ESP-IDF's own test vector, against its documented layout, and against what it must refuse."""

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardtwin_tools.tag import partition_table as pt
from wardtwin_tools.tag.errors import ImageError
from wardtwin_tools.tag.partition_table import Partition

GOLDEN = (
    "aa50010200900000006000006e767300000000000000000000000000" + "00000000"
    "aa50010100f00000001000007068795f696e69740000000000000000" + "00000000"
    "aa5000000000010000001f00666163746f7279000000000000000000" + "00000000"
    "aa50018100002000000018007666730000000000000000000000000000000000"
    "aa500106000038000000080071756575650000000000000000000000" + "00000000"
    "ebeb" + "ff" * 14
)  # fmt: skip


def test_the_tag_s_table_is_these_bytes() -> None:
    rows = bytes.fromhex(GOLDEN)
    assert len(rows) == 5 * 32 + 16
    assert pt.encode() == (rows + hashlib.md5(rows[:-16]).digest()).ljust(0xC00, b"\xff")


def test_the_md5_row_is_the_one_of_esp_idf_s_own_test_vector() -> None:
    # the three partitions of LONGER_BINARY_TABLE in ESP-IDF's gen_esp32part tests, and the digest written there
    table = pt.encode(
        [
            Partition("factory", 0, 0, 0x10000, 0x100000),
            Partition("data", 1, 0x20, 0x110000, 0x200),
            Partition("second", 0x10, 0, 0x150000, 0x1000),
        ]
    )
    assert table[96:128] == b"\xeb\xeb" + b"\xff" * 14 + bytes.fromhex("f9bd061b45686f86571a2cd52a1da65b")


def test_the_map_fills_four_mebibytes_and_keeps_the_vendor_s_nvs_phy_and_application() -> None:
    pt.check(pt.LAYOUT)
    assert max(p.end for p in pt.LAYOUT) == 4 * 1024 * 1024
    # MicroPython ports/esp32/partitions-4MiB.csv
    assert [(p.label, p.offset, p.size) for p in pt.LAYOUT[:3]] == [
        ("nvs", 0x9000, 0x6000),
        ("phy_init", 0xF000, 0x1000),
        ("factory", 0x10000, 0x1F0000),
    ]


labels = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=15)
rows = st.builds(Partition, labels, st.integers(0, 0xFE), st.integers(0, 0xFE), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))


@given(st.lists(rows, min_size=1, max_size=20))
def test_what_is_encoded_is_decoded(layout: list[Partition]) -> None:
    assert list(pt.decode(pt.encode(layout))) == layout


@given(st.integers(0, 5 * 32 + 31), st.integers(1, 255))
def test_no_changed_byte_before_the_end_goes_unnoticed(at: int, flip: int) -> None:
    table = bytearray(pt.encode())
    table[at] ^= flip
    try:
        changed = pt.decode(bytes(table))
    except ImageError:
        return
    # the 14 filler bytes of the MD5 row mean nothing to the bootloader either
    assert 5 * 32 + 2 <= at < 5 * 32 + 16
    assert changed == pt.LAYOUT


@pytest.mark.parametrize("raw", [b"", b"\xff" * 0xC00, b"\0" * 0xC00, pt.encode()[:64]])
def test_bytes_without_rows_or_end_are_no_table(raw: bytes) -> None:
    with pytest.raises(ImageError, match="no partition table"):
        pt.decode(raw)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Partition("more", 1, 6, 0x3FF000, 0x1000), "overlaps"),
        (Partition("more", 1, 6, 0x400000, 0x1000), "the flash at"),
        (Partition("more", 1, 6, 0x400800, 0x1000), "not aligned"),
        (Partition("vfs", 1, 6, 0x400000, 0x1000), "label"),
        (Partition("sixteen_letters_", 1, 6, 0x400000, 0x1000), "label"),
        (Partition("app", 0, 16, 0x401000, 0x1000), "not aligned"),
        (Partition("low", 1, 6, 0x8000, 0x1000), "overlaps"),
    ],
)
def test_a_map_the_bootloader_would_refuse_is_refused_here(fault: Partition, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        pt.check([*pt.LAYOUT, fault])


def test_a_table_can_be_read_by_its_struct_alone() -> None:
    # independent of decode(): the layout as the programming guide prints it
    magic, type_, subtype, offset, size = struct.unpack_from("<HBBLL", pt.encode(), 4 * 32)
    assert (magic, type_, subtype, offset, size) == (0x50AA, 1, 6, 0x380000, 0x80000)
    assert pt.encode()[4 * 32 + 12 : 5 * 32] == b"queue".ljust(20, b"\0")
