"""No noise on a UART crashes a decoder, and no single fault in a packet gives a wrong value."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardtwin_tag import bl0942, cse7766, pms5003
from wardtwin_tag.tests.checks_chips import bl0942_packet, cse7766_packet, meter_settings


def pms5003_packet():
    body = b"BM" + struct.pack(">14H", 28, *range(1, 14))
    return body + struct.pack(">H", sum(body))


DECODERS = {
    "bl0942": (lambda: bl0942.Decoder(meter_settings()), bl0942_packet(0x5555, 0x555555, 0x55, 0x550055, 7)),
    "cse7766": (lambda: cse7766.Decoder(meter_settings(chip="cse7766")), cse7766_packet(pulses=0x555A)),
    "pms5003": (pms5003.Decoder, pms5003_packet()),
}


@pytest.mark.parametrize("chip", DECODERS)
@given(junk=st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_survived_and_good_packets_come_again(chip, junk):
    make, packet = DECODERS[chip]
    decoder = make()
    for piece in junk:
        decoder.feed(piece)
    assert len(decoder._scanner._buffer) < len(packet)
    got = sum(len(decoder.feed(packet)) for _ in range(4))
    assert got >= 2


@pytest.mark.parametrize("fault", ["lost", "hit", "invented"])
@given(at=st.integers(0, 22), value=st.integers(1, 255), words=st.lists(st.integers(0, 0xFFFFFF), min_size=5, max_size=5))
def test_no_single_fault_in_an_answer_of_a_bl0942_gives_a_wrong_value(fault, at, value, words):
    """The sum fits every rotation of a packet: words full of headers (0x55) are the hard ones."""
    packet = bl0942_packet(*words)
    decoder = bl0942.Decoder(meter_settings())
    pulses = []
    for number in range(6):
        line = bytearray(packet)
        if number in (1, 3):
            if fault == "lost":
                del line[at]
            elif fault == "hit":
                line[at] ^= value
            else:
                line.insert(at, value)
        decoder.request()
        pulses += [(s.pulses, s.active_power_w, s.voltage_v) for s in decoder.feed(bytes(line))]
    assert len(set(pulses)) == 1
    assert len(pulses) >= 4
