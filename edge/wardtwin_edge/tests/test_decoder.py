import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wardtwin_wire
from wardtwin_edge import decoder
from wardtwin_edge.decoder import Rejected, Undecodable
from wardtwin_edge.roster import Roster
from wardtwin_edge.tests.wards import FakeTag
from wardtwin_sync.registry import SCHEMA, TagBinding, TagCard
from wardtwin_sync.states import Transport
from wardtwin_wire import fields, frame

TAG = FakeTag(1)
ROSTER = Roster([TAG.card, FakeTag(2).card])
GOOD = TAG.energy(7, 41.5, uptime_s=12.5)


def reason_of(call, *arguments) -> str:
    with pytest.raises(Rejected) as caught:
        call(*arguments)
    return caught.value.reason


def test_a_sealed_frame_is_read_as_the_tag_packed_it() -> None:
    report = decoder.open_sealed(ROSTER, GOOD)
    assert (report.tag.tag_id, report.kind, report.boot_id, report.sequence, report.uptime_s) == (TAG.tag_id, "energy", 1, 7, 12.5)
    assert report.values == {"active_power_w": 41.5, "voltage_v": 230.0, "current_a": 0.2}


@given(
    st.sampled_from([(frame.ENERGY, fields.ENERGY), (frame.ENVIRONMENT, fields.ENVIRONMENT), (frame.STATUS, fields.STATUS)]),
    st.data(),
    st.integers(0, 2**48 - 1),
)
def test_the_fast_reading_of_values_is_the_same_as_wire_s_own(kind, data, uptime_ms) -> None:
    number, table = kind
    values = {name: data.draw(st.none() | st.floats(-1e6, 5e9, allow_nan=False), label=name) for name, _, _ in table}
    payload = frame.pack_values(number, uptime_ms, values)
    for _ in range(2):  # the first reading works the layout out, the second uses it
        assert decoder._unpack(number, payload) == frame.unpack_values(number, payload)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("nothing", b"", "truncated"),
        ("half a header", GOOD[:10], "truncated"),
        ("another version", b"\x02" + GOOD[1:], "version"),
        ("too long", GOOD + bytes(200), "length"),
        ("a tag nobody knows", GOOD[:2] + b"\xff" * 6 + GOOD[8:], "unknown_tag"),
        ("a flipped bit in the payload", GOOD[:20] + bytes((GOOD[20] ^ 1,)) + GOOD[21:], "authentication"),
        ("another sequence than was sealed", GOOD[:12] + b"\x08" + GOOD[13:], "authentication"),
        ("sealed by another tag", GOOD[:2] + FakeTag(2).id_bytes + GOOD[8:], "authentication"),
        ("one byte short", GOOD[:-1], "authentication"),
    ],
)
def test_what_cannot_be_trusted_is_rejected_with_its_reason(name, data, reason) -> None:
    assert reason_of(decoder.open_sealed, ROSTER, data) == reason, name


def test_an_ack_sent_back_to_the_gateway_is_not_a_report() -> None:
    ack = frame.seal(TAG.ack, frame.ACK, TAG.id_bytes, 1, 1, frame.pack_ack(0, [(1, 1, 1)]))
    assert reason_of(decoder.open_sealed, ROSTER, ack) == "authentication"


@pytest.mark.parametrize(
    ("payload", "kind", "reason"),
    [
        (b"\x00" * 3, frame.ENERGY, "truncated"),
        (b"\x00" * 6 + b"\xff\xff", frame.ENERGY, "field"),
        (b"\x00" * 8 + b"left over", frame.ENERGY, "length"),
        (b"\x00" * 8, 9, "kind"),
        (b"\x00" * 8, frame.SIGHTINGS, "length"),
    ],
)
def test_authentic_frames_that_cannot_be_read_keep_their_number(payload, kind, reason) -> None:
    with pytest.raises(Undecodable) as caught:
        decoder.open_sealed(ROSTER, TAG.sealed(kind, 5, payload))
    odd = caught.value
    assert (odd.reason, odd.tag.tag_id, odd.boot_id, odd.sequence, odd.payload) == (reason, TAG.tag_id, 1, 5, payload)


@pytest.mark.parametrize(("boot_id", "sequence"), [(0, 1), (1, 0)])
def test_numbers_that_start_at_zero_are_not_taken_for_real(boot_id, sequence) -> None:
    data = TAG.sealed(frame.ENERGY, sequence, frame.pack_values(frame.ENERGY, 0, {}), boot_id)
    with pytest.raises(Undecodable):
        decoder.open_sealed(ROSTER, data)


def test_adverts_are_read_with_the_counter_as_their_number() -> None:
    report = decoder.open_advert(ROSTER, TAG.address, TAG.advert(41, active_power_w=12.5, current_a=0.1, voltage_v=229.0), 40)
    assert (report.kind, report.boot_id, report.sequence, report.uptime_s) == ("energy", 0, 41, None)
    assert report.values == {"active_power_w": 12.5, "current_a": 0.1, "voltage_v": 229.0}


@pytest.mark.parametrize(("last", "reason"), [(41, "repeat"), (42, "replay"), (1000, "replay")])
def test_an_advert_that_is_not_newer_is_no_report(last, reason) -> None:
    data = TAG.advert(41, active_power_w=1)
    assert reason_of(decoder.open_advert, ROSTER, TAG.address, data, last) == reason


def test_adverts_of_others_and_from_other_addresses_are_rejected() -> None:
    data = TAG.advert(1, active_power_w=1)
    assert reason_of(decoder.open_advert, ROSTER, bytes(6), data, -1) == "unknown_tag"
    assert reason_of(decoder.open_advert, ROSTER, FakeTag(2).address, data, -1) == "authentication"
    assert reason_of(decoder.open_advert, ROSTER, TAG.address, b"\x40\x02\xca\x09", -1) == "version"
    assert reason_of(decoder.open_advert, ROSTER, TAG.address, data[:7], -1) == "truncated"


def test_golden_frames_of_wire_are_read() -> None:
    golden = json.loads((Path(wardtwin_wire.__file__).parent / "tests/golden/frames.json").read_text())
    roster = Roster([TagCard(SCHEMA, TagBinding("c0ffee000001", "energy", Transport.MQTT), bytes(range(16)).hex())])
    for name in ("energy", "environment", "sightings", "status"):
        assert decoder.open_sealed(roster, bytes.fromhex(golden[f"frame_{name}"])).kind == name
