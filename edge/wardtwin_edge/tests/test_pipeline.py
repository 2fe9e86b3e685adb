from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardtwin_edge import history, outbox
from wardtwin_edge.committer import runs
from wardtwin_edge.pipeline import Arrival
from wardtwin_edge.tests.wards import NOW, Bench, FakeTag, Hands, Recorder
from wardtwin_sync.batch import BatchKind
from wardtwin_sync.states import Transport
from wardtwin_wire import bthome, frame


def sent(bench: Bench, kind: BatchKind) -> list[dict]:
    return [row for _, row in outbox.rows_to_send(bench.store.db, kind, 10_000)]


def run(bench: Bench, tag: FakeTag, seconds: int, power_w: float, first: int = 1, **values: float) -> int:
    """A tag reporting once a second; return its next sequence."""
    for sequence in range(first, first + seconds):
        bench.take(tag.energy(sequence, power_w, **values))
        bench.hands.pass_(1)
    return first + seconds


def test_a_report_is_stored_under_its_key_with_its_values(bench: Bench) -> None:
    assert bench.take(bench.tags[0].energy(1, 42.0)) == [(1, 1)]
    ((tag_id, boot, sequence, kind, transport, at, line, measures),) = bench.rows(
        "readings", "tag_id, boot_id, sequence, kind, transport, measured_at, clock_line, measures"
    )
    assert (tag_id, boot, sequence, kind, transport, at, line) == (bench.tags[0].tag_id, 1, 1, "energy", "mqtt", NOW, 0)
    assert msgspec.json.decode(measures)["active_power_w"] == 42.0


def test_a_frame_sent_again_is_acked_again_and_stored_once(bench: Bench) -> None:
    data = bench.tags[0].energy(1)
    assert bench.take(data, data) == [(1, 1), (1, 1)]
    assert bench.take(data) == [(1, 1)]
    bench.restart()
    assert bench.take(data) == [(1, 1)]
    assert len(bench.rows("readings")) == 1
    assert bench.pipeline.duplicates == 1


def test_a_frame_that_comes_by_another_transport_is_the_same_frame(bench: Bench) -> None:
    data = bench.tags[0].energy(1)
    bench.take(data)
    bench.take(data, source=Recorder(Transport.SERIAL))
    assert len(bench.rows("readings")) == 1


def test_use_is_told_as_a_state_of_the_device(bench: Bench) -> None:
    run(bench, bench.tags[0], 30, 50.0)
    (row,) = sent(bench, BatchKind.STATES)
    assert row == {"device_id": "device-1", "tag_id": bench.tags[0].tag_id, "state": "in_use", "since": NOW, "reason": "rule"}


def test_frames_from_a_tag_s_queue_are_dated_when_they_were_measured(bench: Bench) -> None:
    tag = bench.tags[0]
    run(bench, tag, 10, 50.0)
    bench.hands.pass_(3600)
    bench.take(*[tag.energy(sequence, 50.0) for sequence in range(11, 20)])
    stamps = [row[0] for row in bench.rows("readings", "measured_at")]
    assert stamps == pytest.approx([NOW + sequence for sequence in range(19)], abs=0.01)


def test_a_restart_in_the_middle_of_a_run_tells_the_same_state_once(bench: Bench) -> None:
    following = run(bench, bench.tags[0], 3, 50.0)
    bench.restart()
    following = run(bench, bench.tags[0], 3, 50.0, following)
    bench.restart()
    run(bench, bench.tags[0], 10, 50.0, following)
    assert [(row["state"], row["since"]) for row in sent(bench, BatchKind.STATES)] == [("in_use", NOW)]


def test_a_commit_that_failed_leaves_no_trace_in_memory(bench: Bench) -> None:
    tag = bench.tags[0]
    following = run(bench, tag, 4, 50.0)
    for _ in range(3):  # worked out, never committed
        bench.pipeline.take(
            [Arrival(bench.source, tag.energy(following + n, 50.0, uptime_s=following + n), bench.hands.monotonic_s + n) for n in range(5)]
        )
    bench.pipeline.load()
    run(bench, tag, 10, 50.0, following)
    assert [(row["state"], row["since"]) for row in sent(bench, BatchKind.STATES)] == [("in_use", NOW)]
    assert len(bench.rows("readings")) == 14


def test_a_silent_device_is_unknown_and_its_tag_a_warning_until_it_is_back(bench: Bench) -> None:
    following = run(bench, bench.tags[0], 20, 50.0)
    bench.hands.pass_(200)
    bench.tick()
    states = [(row["state"], row["reason"]) for row in sent(bench, BatchKind.STATES)]
    assert states == [("in_use", "rule"), ("unknown", "silent")]
    alarm = [row for row in sent(bench, BatchKind.ALARMS) if row["subject"] == f"tag:{bench.tags[0].tag_id}"]
    assert [(row["rule"], row["cleared_at"]) for row in alarm] == [("tag_silent", None)]
    run(bench, bench.tags[0], 10, 50.0, following + 200)
    bench.tick()
    alarm = [row for row in sent(bench, BatchKind.ALARMS) if row["subject"] == f"tag:{bench.tags[0].tag_id}"]
    assert len({row["alarm_id"] for row in alarm}) == 1
    assert alarm[-1]["cleared_at"] is not None
    assert sent(bench, BatchKind.STATES)[-1]["state"] == "in_use"


def test_over_voltage_is_an_alarm_on_the_device(bench: Bench) -> None:
    run(bench, bench.tags[0], 10, 50.0, voltage_v=262.0)
    (row,) = sent(bench, BatchKind.ALARMS)
    assert (row["rule"], row["subject"], row["limit"], row["unit"]) == ("over_voltage", "device:device-1", 253.0, "V")


def test_a_room_s_air_beyond_its_limit_is_an_alarm_on_the_room(bench: Bench) -> None:
    tag = bench.tags[2]
    for sequence in range(1, 200):
        bench.take(tag.sealed(frame.ENVIRONMENT, sequence, frame.pack_values(frame.ENVIRONMENT, sequence * 1000, {"co2_ppm": 2500})))
        bench.hands.pass_(1)
    assert [(row["rule"], row["subject"]) for row in sent(bench, BatchKind.ALARMS)] == [("co2_high", "room:room-3")]


def test_a_failed_sensor_is_an_alarm_until_it_answers(bench: Bench) -> None:
    tag = bench.tags[2]
    for sequence, failed in ((1, 2), (2, 2), (3, 0)):
        bench.take(tag.sealed(frame.STATUS, sequence, frame.pack_values(frame.STATUS, sequence * 1000, {"failed_parts": failed})))
    assert [row["cleared_at"] is None for row in sent(bench, BatchKind.ALARMS)] == [True, False]


def test_a_tag_that_hears_a_beacon_is_in_the_beacon_s_room(bench: Bench) -> None:
    seen = frame.pack_sightings(1000, [(bench.tags[2].address, -55), (b"\x01" * 6, -30)])
    bench.take(bench.tags[0].sealed(frame.SIGHTINGS, 1, seen))
    (row,) = sent(bench, BatchKind.PLACEMENTS)
    assert row == {"device_id": "device-1", "tag_id": bench.tags[0].tag_id, "room_id": "room-3", "since": NOW, "rssi_dbm": -55.0}
    assert msgspec.json.decode(bench.rows("readings", "measures")[0][0])["sightings"][1] == [bench.tags[2].address.hex(), -55]


def test_four_bytes_of_a_beacon_s_address_are_enough_by_ble(bench: Bench) -> None:
    tag, beacon = bench.tags[0], bench.tags[2]
    data = bthome.advert(tag.ble, tag.address, 5, 0, bthome.sightings_frame([(beacon.address, -61)]))[7:]
    bench.hear(tag, data, rssi_dbm=-80)
    assert [row["room_id"] for row in sent(bench, BatchKind.PLACEMENTS)] == ["room-3"]


def test_what_the_gateway_s_own_radio_hears_places_a_tag_near_the_gateway(bench: Bench) -> None:
    for counter in (1, 2, 3):
        bench.hear(bench.tags[0], bench.tags[0].advert(counter, active_power_w=5), rssi_dbm=-48)
    assert [(row["room_id"], row["rssi_dbm"]) for row in sent(bench, BatchKind.PLACEMENTS)] == [("room-9", -48.0)]


def test_a_tag_the_gateway_hears_from_afar_is_not_in_the_gateway_s_room(bench: Bench) -> None:
    for counter, rssi_dbm in enumerate((-70, -88, -84, -90, -86), start=1):
        bench.hear(bench.tags[0], bench.tags[0].advert(counter, active_power_w=5), rssi_dbm=rssi_dbm)
    assert sent(bench, BatchKind.PLACEMENTS) == []


def test_a_tag_never_sighted_is_placed_by_its_home_room(bench: Bench) -> None:
    bench.take(bench.tags[0].energy(1))
    bench.tick()
    assert [(row["room_id"], row["rssi_dbm"]) for row in sent(bench, BatchKind.PLACEMENTS)] == [("room-1", None)]


def test_adverts_are_stored_under_their_counter_and_repeats_only_heard(bench: Bench) -> None:
    tag = bench.tags[0]
    data = tag.advert(7, active_power_w=5)
    for _ in range(3):
        bench.hear(tag, data)
    assert bench.rows("readings", "boot_id, sequence, transport") == [(0, 7, "ble")]
    assert bench.pipeline.rejected == {}


def test_an_advert_replayed_after_a_restart_is_rejected_and_counted(bench: Bench) -> None:
    tag = bench.tags[0]
    old, new = tag.advert(7, active_power_w=5), tag.advert(8, active_power_w=6)
    bench.hear(tag, old)
    bench.hear(tag, new)
    bench.restart()
    bench.hear(tag, old)
    bench.hear(tag, new)
    assert bench.pipeline.rejected == {("ble", "replay"): 1}
    assert len(bench.rows("readings")) == 2


def test_refused_messages_are_counted_by_transport_and_reason(bench: Bench) -> None:
    good = bench.tags[0].energy(1)
    bench.take(b"junk" * 10, FakeTag(9).energy(1), good[:-1] + bytes((good[-1] ^ 1,)), good)
    assert bench.pipeline.rejected == {("mqtt", "version"): 1, ("mqtt", "unknown_tag"): 1, ("mqtt", "authentication"): 1}
    assert list(bench.pipeline.heard_strangers) == [FakeTag(9).tag_id]
    assert bench.pipeline.rejected_of == {bench.tags[0].tag_id: 1}
    assert len(bench.rows("readings")) == 1


def test_an_authentic_frame_that_cannot_be_read_is_kept_aside_and_acked_once_and_again(bench: Bench) -> None:
    odd = bench.tags[0].sealed(9, 3, b"from the future")
    assert bench.take(odd) == [(1, 3)]
    bench.restart()
    assert bench.take(odd, bench.tags[0].energy(4)) == [(1, 3), (1, 4)]
    assert bench.rows("quarantine", "tag_id, boot_id, sequence, reason, payload") == [
        (bench.tags[0].tag_id, 1, 3, "kind", b"from the future")
    ]
    assert len(bench.rows("readings")) == 1


def test_a_late_told_state_has_its_minutes_summed_up_again(bench: Bench) -> None:
    following = run(bench, bench.tags[0], 90, 50.0)
    history.keep_summaries(bench.store.db, bench.store.minutes(), [])
    run(bench, bench.tags[0], 15, 0.0, following)
    minutes = {minute for tag_id, minute in bench.store.minutes() if tag_id == bench.tags[0].tag_id}
    assert int(NOW + 90) // 60 * 60 in minutes


def test_without_a_clock_everything_waits_and_is_then_dated_right(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FakeTag(1), FakeTag(3, "environment"), hands=Hands(system=100.0, monotonic=50.0))
    following = run(bench, bench.tags[0], 30, 50.0)
    assert sent(bench, BatchKind.STATES) == []
    assert outbox.readings_to_send(bench.store.db, 100) == []
    bench.hands.system_s = NOW + bench.hands.monotonic_s
    correction = bench.clock.check()
    assert correction is not None
    bench.store.commit(bench.pipeline.correct(correction))
    for line, _ in history.lines(bench.store.db):
        history.move_line(bench.store.db, line, correction.step_s)
    run(bench, bench.tags[0], 30, 0.0, following)
    stamps = [row[6] for row in outbox.readings_to_send(bench.store.db, 100)]
    assert stamps == pytest.approx([NOW + 50 + n for n in range(60)], abs=0.01)
    states = [(row["state"], row["since"]) for row in sent(bench, BatchKind.STATES)]
    assert [state for state, _ in states] == ["in_use", "off"]
    assert [since for _, since in states] == pytest.approx([NOW + 50, NOW + 80], abs=0.01)
    bench.store.close()


def test_runs_of_numbers_are_told_as_first_and_last() -> None:
    assert runs({(1, 1), (1, 2), (1, 4), (2, 5), (2, 6)}) == [(1, 1, 2), (1, 4, 4), (2, 5, 6)]
    assert runs(set()) == []


def flipped(at: int, byte: int) -> bytes:
    return bytes(byte if i == at else old for i, old in enumerate(FakeTag(1).energy(1)))


def authentic(number: int, kind: int, payload: bytes) -> bytes:
    return FakeTag(1).sealed(kind, number, payload)


frames = st.one_of(
    st.binary(max_size=250),
    st.builds(authentic, st.integers(0, 5), st.integers(0, 255), st.binary(max_size=100)),
    st.builds(flipped, st.integers(0, 60), st.integers(0, 255)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(frames, max_size=8))
def test_no_bytes_by_mqtt_or_serial_stop_the_good_traffic_beside_them(tmp_path_factory, junk) -> None:
    good = FakeTag(2)
    bench = Bench(tmp_path_factory.mktemp("fuzz"), FakeTag(1), good)
    try:
        assert (1, 1) in bench.take(*junk[:4], good.energy(1), *junk[4:])
        assert (1, 2) in bench.take(*junk, good.energy(2), source=Recorder(Transport.SERIAL))
        stored = bench.store.db.execute("SELECT count(*) FROM readings WHERE tag_id = ?", (good.tag_id,)).fetchone()[0]
        assert stored == 2
    finally:
        bench.store.close()


def sealed_advert(counter: int, objects: bytes) -> bytes:
    tag = FakeTag(1)
    return bthome.advert(tag.ble, tag.address, counter, 0, objects[:13])[7:]


adverts = st.one_of(st.binary(max_size=40), st.builds(sealed_advert, st.integers(0, 2**32 - 1), st.binary(max_size=13)))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(adverts, st.booleans()), max_size=8))
def test_no_advert_stops_the_good_traffic_beside_it(tmp_path_factory, junk) -> None:
    good = FakeTag(2)
    bench = Bench(tmp_path_factory.mktemp("fuzz"), FakeTag(1), good)
    try:
        for n, (data, known) in enumerate(junk):
            bench.hear(FakeTag(1) if known else FakeTag(8), data)
            bench.hear(good, good.advert(n + 1, active_power_w=5.0))
        stored = bench.store.db.execute("SELECT count(*) FROM readings WHERE tag_id = ?", (good.tag_id,)).fetchone()[0]
        assert stored == len(junk)
    finally:
        bench.store.close()


def test_a_sealed_frame_of_boot_0_does_not_stop_the_tag_s_adverts(bench: Bench) -> None:
    tag = bench.tags[0]
    bench.take(tag.sealed(frame.ENERGY, 2**32 - 1, frame.pack_values(frame.ENERGY, 1000, {"active_power_w": 5.0}), boot_id=0))
    assert bench.pipeline.rejected == {("mqtt", "undecodable_field"): 1}
    bench.pipeline.take([Arrival(Recorder(Transport.BLE), tag.advert(7, active_power_w=5), NOW, None, tag.address, -60)])
    assert ("ble", "replay") not in bench.pipeline.rejected
