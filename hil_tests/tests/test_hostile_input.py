"""No bytes on any of the three inputs end the running gateway, fill its memory, or stop or spoil the good traffic beside them."""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from wardtwin_board.load import LoadTag
from wardtwin_wire import bthome, frame, serial, topics

from .foe import AGES, GOOD, Foe, contents, junk, mad_kinds, mutated, mutations, numbers
from .rough_ward import AirTag, Sky, Ward, Wire, assert_exactly_once, registry, rejected, sealed_frame, until, ward

EXAMPLES = 250
GROWTH_MB = 30.0
UNPROVEN = {"truncated", "length", "version", "unknown_tag", "authentication"}
"""Why bytes that no known tag has sealed are turned away."""

# cards: 0 to 2 good over MQTT, 3 to 5 good over serial, 6 to 8 good over BLE; of each input one more whose key is in wrong hands
MQTT, SERIAL, BLE = slice(0, 3), slice(3, 6), slice(6, 9)
MAD_MQTT, MAD_SERIAL, MAD_BLE = 9, 10, 11

fuzzed = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=bool(os.environ.get("CI")), database=None, suppress_health_check=list(HealthCheck)
)


@dataclass
class Inputs:
    ward: Ward
    sky: Sky
    wire: Wire

    def tags(self, which: slice) -> list[LoadTag]:
        return self.ward.tags(which.start, which.stop)

    def mad(self, which: int) -> LoadTag:
        return self.ward.tags(which, which + 1)[0]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inputs]:
    """One gateway for all of it: what an input does to it, the next one meets."""
    workdir = tmp_path_factory.mktemp("hostile")
    with contextlib.ExitStack() as ends:
        sky = Sky()
        ends.callback(sky.close)
        line = workdir / "serial" / "tty0"
        there = ends.enter_context(ward(workdir, registry(12), broker=True, ble=True, serial_ports=[str(line)], env=sky.gateway_env))
        wire = Wire(line, there.tags(SERIAL.start, SERIAL.stop))
        ends.callback(wire.close)
        there.start()
        until(lambda: all(t["ok"] for t in there.status()["transports"].values()), 20, lambda: there.status()["transports"])
        yield Inputs(there, sky, wire)


@contextlib.contextmanager
def unharmed(there: Ward) -> Iterator[None]:
    """The same process after as before, with every part of it running and no more memory than is its due."""
    pid, before_mb = there.stack.gateway.pid, there.rss_mb()
    yield
    there.stack.gateway.check()
    assert there.stack.gateway.pid == pid
    status = there.status()
    assert status["commit"]["alive"]
    assert status["commit"]["fault"] is None
    assert status["refused_batches"] == []
    assert there.rss_mb() < before_mb + GROWTH_MB
    log = (there.workdir / "gateway.log").read_text()
    assert "Traceback" not in log, log[-3000:]


def unproven(there: Ward, transport: str) -> int:
    return sum(count for reason, count in rejected(there.status(), transport).items() if reason in UNPROVEN)


@pytest.fixture
def foe(inputs: Inputs) -> Iterator[Foe]:
    made = Foe(inputs.ward)
    yield made
    made.close()


def test_rubbish_over_mqtt_is_counted_and_the_tags_beside_it_lose_nothing(inputs: Inputs, foe: Foe) -> None:
    there = inputs.ward
    good = inputs.tags(MQTT)
    mad = inputs.mad(MAD_MQTT)
    real = inputs.mad(MAD_MQTT).make(1000)
    before = unproven(there, "mqtt")
    sent = 0

    @fuzzed
    @given(junk | mutations, st.sampled_from([topics.up(good[0].tag_id), topics.up("ffffffffffff"), topics.up("\u00e9\U0001f600 x")]))
    @example(b"", topics.up(good[1].tag_id))
    def rubbish(what: object, topic: str) -> None:
        nonlocal sent
        payload = what if isinstance(what, bytes) else mutated(real, what)  # type: ignore[arg-type]
        foe.publish(topic, payload, qos=sent % 2)
        foe.send()
        sent += 1

    @fuzzed
    @given(mad_kinds, numbers, numbers, contents)
    @example(frame.ENERGY, 5, 1, AGES)
    @example(frame.ENERGY, 5, 2, frame.pack_values(frame.ENERGY, 0, {"active_power_w": 5000.0}))
    @example(frame.ENERGY, 5, 3, frame.pack_values(frame.ENERGY, 60_000, {"active_power_w": 5000.0}))
    @example(frame.ENERGY, 5, 4, AGES)
    def authentic(kind: int, boot_id: int, sequence: int, payload: bytes) -> None:
        foe.publish(topics.up(mad.tag_id), sealed_frame(mad, kind, boot_id, sequence, payload))
        foe.send()

    foe.tags = good
    with unharmed(there):
        rubbish()
        authentic()
        for size in (frame.MAX_FRAME_BYTES + 1, 65_536, 4 << 20, 16 << 20):
            foe.publish(topics.up(good[0].tag_id), b"\x01" * size)
            sent += 1
        for topic in (
            "wardtwin/1/up",
            f"wardtwin/1/{good[0].tag_id}/down",
            f"wardtwin/2/{good[0].tag_id}/up",
            "wardtwin/1/a/b/up",
            "other",
        ):
            foe.publish(topic, GOOD)  # nobody listens there
        for name in (b"wardtwin/1/\xff\xfe/up", b"wardtwin/1/\xed\xa0\x80/up", b"wardtwin/1/+/up", b"wardtwin/1/\x00/up", b""):
            foe.raw(b"\x30" + bytes((4 + len(name),)) + len(name).to_bytes(2, "big") + name + b"xx")
        foe.raw(b"\xf0\xff\xff\xff\xff\x7f" + bytes(50))
        foe.send()
        time.sleep(1.0)
        foe.send_again()
        until(
            lambda: not any(tag.held for tag in good),
            20,
            lambda: f"not acked {[sorted(tag.held) for tag in good]} {there.status()['transports']['mqtt']}",
        )
        until(lambda: unproven(there, "mqtt") - before >= sent, 10, lambda: rejected(there.status(), "mqtt"))
        assert unproven(there, "mqtt") - before == sent
        assert any(reason.startswith("undecodable_") for reason in rejected(there.status(), "mqtt"))
        assert_exactly_once(good, there.settled())


def test_retained_rubbish_is_met_again_at_every_connect_and_stops_nothing(inputs: Inputs, foe: Foe) -> None:
    there = inputs.ward
    good = LoadTag(there.cards[0].binding.tag_id, bytes.fromhex(there.cards[0].key_hex), boot_id=2)
    places = [topics.up(f"{n:012x}") for n in range(20)]
    with unharmed(there):
        before = unproven(there, "mqtt")
        for place in places:
            foe.publish(place, b"\x00rubbish that stays", retain=True)
        assert there.broker is not None
        connects = there.status()["transports"]["mqtt"]["connects"]
        there.broker.stop()
        there.start_broker()
        until(lambda: there.status()["transports"]["mqtt"]["connects"] > connects, 15, "a new connection")
        load = there.load([good], rate=50)
        until(lambda: load.sent > 20, 10)
        until(lambda: unproven(there, "mqtt") - before >= 2 * len(places), 10, lambda: rejected(there.status(), "mqtt"))
        load.stop_generating()
        until(lambda: load.held == 0, 20, lambda: f"{load.held} not acked")
        until(foe.client.is_connected, 10)
        for place in places:
            foe.publish(place, b"", retain=True)


def test_noise_on_the_serial_line_is_counted_and_the_reports_in_it_come_through_at_once(inputs: Inputs) -> None:
    there, wire = inputs.ward, inputs.wire
    mad = inputs.mad(MAD_SERIAL)
    real = inputs.mad(MAD_SERIAL).make(1000)
    before = unproven(there, "serial")
    junk_before = _junk_bytes(there)
    sent = 0

    def between() -> None:
        wire.send(min(wire.tags, key=lambda tag: tag.sequence))

    @fuzzed
    @given(st.binary(max_size=600))
    def noise(data: bytes) -> None:
        wire.write(data)
        between()

    @fuzzed
    @given(mutations)
    def bent_on_the_line(change: tuple[int, int, str]) -> None:
        wire.write(mutated(serial.encode(serial.REPORT, real), change))
        between()

    @fuzzed
    @given(
        st.sampled_from((0, serial.REPORT, serial.REPORT, serial.ACK, serial.HELLO, serial.WHO, 200)),
        st.binary(max_size=serial.MAX_BODY_BYTES) | mutations,
    )
    def well_framed(kind: int, what: object) -> None:
        nonlocal sent
        body = what if isinstance(what, bytes) else mutated(real, what)  # type: ignore[arg-type]
        wire.write(serial.encode(kind, body))
        sent += kind == serial.REPORT
        between()

    @fuzzed
    @given(mad_kinds, numbers, numbers, contents)
    def authentic(kind: int, boot_id: int, sequence: int, payload: bytes) -> None:
        wire.write(serial.encode(serial.REPORT, sealed_frame(mad, kind, boot_id, sequence, payload)))
        between()

    with unharmed(there):
        noise()
        bent_on_the_line()
        well_framed()
        authentic()
        wire.write(b"\x55" * 1_000_000)  # a line that never ends: nothing of it is kept
        between()
        # never sent twice: what noise swallows would be missing here
        until(lambda: wire.held == 0, 20, lambda: f"{wire.held} not acked, {there.status()['transports']['serial']}")
        # a bent frame may be whole behind the change: its CRC fits by luck at most, its seal never
        assert unproven(there, "serial") - before >= sent
        assert _junk_bytes(there) - junk_before > 1_000_000
        assert_exactly_once(wire.tags, there.settled())


def _junk_bytes(there: Ward) -> int:
    return sum(int(port["junk_bytes"]) for port in there.status()["transports"]["serial"]["ports"].values())


def test_strange_adverts_are_counted_and_the_tags_in_the_air_are_all_heard(inputs: Inputs) -> None:
    there, sky = inputs.ward, inputs.sky
    tags = [AirTag(card) for card in there.cards[BLE]]
    mad = AirTag(there.cards[MAD_BLE])
    real = AirTag(there.cards[MAD_BLE]).next()[7:]
    before = unproven(there, "ble")
    sent = 0

    def between() -> None:
        tag = min(tags, key=lambda tag: tag.counter)
        sky.send(tag.address, tag.next())
        time.sleep(0.002)

    def service_data(data: bytes) -> bytes:
        return bytes((len(data) + 3, 0x16)) + bthome.SERVICE_UUID16.to_bytes(2, "little") + data

    @fuzzed
    @given(st.binary(max_size=31))
    def any_advert(data: bytes) -> None:
        sky.send("DE:AD:BE:EF:00:01", data)
        between()

    @fuzzed
    @given(
        st.sampled_from((tags[0].address, mad.address, "DE:AD:BE:EF:00:02")),
        st.binary(max_size=24) | st.binary(max_size=23).map(lambda tail: b"\x41" + tail) | mutations,
    )
    def any_service_data(source: str, what: object) -> None:
        nonlocal sent
        data = what if isinstance(what, bytes) else mutated(real, what)  # type: ignore[arg-type]
        sky.send(source, service_data(data))
        sent += 1
        between()

    @fuzzed
    @given(st.binary(max_size=bthome.MAX_OBJECT_BYTES - 2))
    def authentic(objects: bytes) -> None:
        mad.counter += 1
        sky.send(mad.address, mad.sealed(objects))
        between()

    with unharmed(there):
        any_advert()
        any_service_data()
        authentic()
        until(lambda: unproven(there, "ble") - before >= sent, 10, lambda: rejected(there.status(), "ble"))
        status = there.status()
        assert status["transports"]["ble"]["dropped"] == 0
        assert unproven(there, "ble") - before == sent
        assert any(reason.startswith("undecodable_") for reason in rejected(status, "ble"))
        stored = there.settled()
        for tag in tags:
            row = stored[tag.tag_id]
            assert (row["first"], row["last"], row["count"], row["distinct"]) == (1, tag.counter, tag.counter, tag.counter)
