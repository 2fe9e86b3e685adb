import os
import pty
import select
import tty
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardtwin_edge import config, serial_port
from wardtwin_edge.committer import Committer
from wardtwin_edge.serial_port import SerialPorts
from wardtwin_edge.tests.wards import Bench, FakeTag, wait_for
from wardtwin_wire import frame
from wardtwin_wire import serial as wire

TAG, OTHER = FakeTag(1), FakeTag(2)


class Cable:
    """A pseudo-terminal in the place of a tag on USB, plugged in under a name of our choice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.near, far = pty.openpty()
        tty.setraw(self.near)
        tty.setraw(far)
        self._far = far
        path.symlink_to(os.ttyname(far))
        self._decoder = wire.Decoder()
        self.messages: list[tuple[int, bytes]] = []

    def send(self, data: bytes) -> None:
        os.write(self.near, data)

    def heard(self, kind: int) -> list[bytes]:
        while select.select([self.near], [], [], 0)[0]:
            self.messages += self._decoder.feed(os.read(self.near, 4096))
        return [body for number, body in self.messages if number == kind]

    def unplug(self) -> None:
        self.path.unlink()
        os.close(self.near)
        os.close(self._far)


@pytest.fixture
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(serial_port, "_LOOK_EVERY_S", 0.05)
    bench = Bench(tmp_path, TAG, OTHER)
    committer = Committer(config.Commit(), bench.store, bench.pipeline, bench.clock, 1)
    committer.start()
    found = SerialPorts(config.Serial((str(tmp_path / "ttyUSB*"),)), committer)
    found.start()
    yield bench, found, tmp_path
    found.stop_reading()
    committer.stop()
    committer.join(5)
    found.join(8)
    bench.store.close()


def report(sequence: int, tag: FakeTag = TAG) -> bytes:
    return wire.encode(wire.REPORT, tag.energy(sequence))


def acked(cable: Cable, tag: FakeTag = TAG) -> set[int]:
    runs = [run for body in cable.heard(wire.ACK) for run in frame.unpack_ack(frame.open_frame(tag.ack, body)[4])[1]]
    return {n for _, first, last in runs for n in range(first, last + 1)}


def test_a_tag_plugged_in_is_asked_who_it_is_stored_and_acked(ports) -> None:
    bench, found, folder = ports
    cable = Cable(folder / "ttyUSB0")
    wait_for(lambda: cable.heard(wire.WHO), what="the question")
    cable.send(b"boot: noise\r\n" + wire.encode(wire.HELLO, TAG.id_bytes + b"\x01\x00\x01") + report(1) + report(2))
    wait_for(lambda: acked(cable) == {1, 2}, what="the acks")
    port = found.ports[str(folder / "ttyUSB0")]
    assert port.tag_id == TAG.tag_id
    assert port.junk_bytes > 0
    assert bench.rows("readings", "transport") == [("serial",), ("serial",)]
    cable.unplug()


def test_a_tag_pulled_and_plugged_in_again_goes_on(ports) -> None:
    bench, found, folder = ports
    for sequence in (1, 2):
        cable = Cable(folder / "ttyUSB0")
        wait_for(lambda: cable.heard(wire.WHO), 15, "the question")  # noqa: B023
        cable.send(report(sequence))
        wait_for(lambda: sequence in acked(cable), what="the ack")  # noqa: B023
        cable.unplug()
        wait_for(lambda: not found.ports[str(folder / "ttyUSB0")].is_alive(), what="the loss")
    assert len(bench.rows("readings")) == 2


def test_two_tags_on_two_ports_are_read_side_by_side(ports) -> None:
    _, _, folder = ports
    cables = [(Cable(folder / "ttyUSB0"), TAG), (Cable(folder / "ttyUSB1"), OTHER)]
    for cable, tag in cables:
        wait_for(lambda: cable.heard(wire.WHO), what="the question")  # noqa: B023
        cable.send(report(1, tag))
    wait_for(lambda: all(acked(cable, tag) == {1} for cable, tag in cables))
    for cable, _ in cables:
        cable.unplug()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=400), max_size=6))
def test_no_bytes_on_the_line_hide_the_good_frame_behind_them(junk: list[bytes]) -> None:
    decoder = wire.Decoder()
    found = [body for data in [*junk, report(1)] for kind, body in decoder.feed(data) if kind == wire.REPORT]
    assert TAG.energy(1) in found
