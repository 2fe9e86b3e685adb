"""Golden frames on CPython, and what must hold for any bytes."""

import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from hypothesis import given
from hypothesis import strategies as st

from wardtwin_wire import bthome, ccm, fields, frame, serial
from wardtwin_wire.errors import WireError
from wardtwin_wire.tests import goldens

GOLDEN = Path(__file__).parent / "golden" / "frames.json"


def block_of(key):
    def block(data):
        return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(data)

    return block


def test_golden_frames_are_made_and_read_on_cpython():
    if os.environ.get("WARDTWIN_WRITE_GOLDENS"):
        GOLDEN.write_text(json.dumps({k: v.hex() for k, v in goldens.frames(block_of).items()}, indent=1) + "\n")
    assert goldens.check(block_of, GOLDEN) == 16


@given(st.binary(max_size=80), st.binary(max_size=40), st.binary(min_size=13, max_size=13), st.sampled_from([4, 8, 16]))
def test_ccm_equals_the_cryptography_package(text, associated, nonce, tag_length):
    ours = ccm.Ccm(block_of(goldens.KEY), tag_length)
    sealed = AESCCM(goldens.KEY, tag_length=tag_length).encrypt(nonce, text, associated)
    assert ours.seal(nonce, text, associated) == sealed
    assert ours.open(nonce, sealed, associated) == text


@given(st.integers(0, 200), st.integers(1, 255))
def test_any_changed_byte_of_a_frame_is_refused(position, flip):
    ours = ccm.Ccm(block_of(goldens.KEY), 8)
    data = bytearray(frame.seal(ours, frame.ENERGY, goldens.TAG_ID, 7, 1, frame.pack_values(frame.ENERGY, 1, goldens.ENERGY)))
    data[position % len(data)] ^= flip
    with pytest.raises(WireError):
        frame.open_frame(ours, bytes(data))


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_wire_error_only(data):
    for parse in (
        frame.read_header,
        lambda d: frame.unpack_values(frame.ENERGY, d),
        frame.unpack_sightings,
        frame.unpack_ack,
        bthome.decode,
        lambda d: bthome.open_service_data(ccm.Ccm(block_of(goldens.KEY), 4), bytes(6), d),
    ):
        try:
            parse(data)
        except WireError as error:
            assert error.reason in {"truncated", "version", "kind", "authentication", "field", "framing", "length"}
    assert bthome.is_beacon(data) in (True, False)


@given(st.lists(st.one_of(st.binary(max_size=20), st.tuples(st.integers(1, 255), st.binary(max_size=224)))), st.integers(1, 40))
def test_serial_messages_come_through_any_noise_and_any_cutting(parts, cut):
    line = b""
    expected = []
    for part in parts:
        if isinstance(part, bytes):
            line += part.replace(b"\x00", b"\x01")
        else:
            expected.append(part)
            line += serial.encode(*part)
    decoder = serial.Decoder()
    got = [m for i in range(0, len(line), cut) for m in decoder.feed(line[i : i + cut])]
    # noise of a few bytes passes a 16-bit CRC now and then: the good ones must be there, in order
    rest = iter(got)
    assert all(m in rest for m in expected)


def test_serial_decoder_memory_is_bounded_and_it_recovers():
    decoder = serial.Decoder()
    assert decoder.feed(b"\x41" * 100_000) == []
    assert len(decoder._buffer) <= serial.MAX_BODY_BYTES + 9
    assert decoder.feed(serial.encode(serial.WHO, b"")) == [(serial.WHO, b"")]
    assert decoder.junk_bytes == 100_000


def test_crc_is_the_catalogued_one():
    assert serial.crc16(b"123456789") == 0x29B1


def test_a_value_outside_its_range_is_held_at_the_limit():
    packed = fields.pack_fields(fields.ENERGY, {"voltage_v": 9999.0, "power_factor": -99.0})
    assert fields.unpack_fields(fields.ENERGY, packed) == {"voltage_v": 655.35, "power_factor": -32.768}
