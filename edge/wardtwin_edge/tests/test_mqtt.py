import shutil
import socket
import subprocess
import time
from pathlib import Path

import paho.mqtt.client as paho
import psutil
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from wardtwin_edge import config
from wardtwin_edge.committer import Committer
from wardtwin_edge.mqtt import MqttLink, publish_packet
from wardtwin_edge.tests.wards import Bench, FakeTag, wait_for
from wardtwin_wire import frame, topics

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
pytestmark = pytest.mark.skipif(not Path(MOSQUITTO).exists(), reason="mosquitto is not installed")
TAG = FakeTag(1)


class Broker:
    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._file = folder / "mosquitto.conf"
        self._file.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._file)], stderr=subprocess.DEVNULL)
        wait_for(self._answers, what="the broker")

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Ward:
    """A broker, a gateway's link to it with its committer, and a tag's own client."""

    def __init__(self, folder: Path, **options: int) -> None:
        self.broker = Broker(folder)
        self.broker.start()
        self.bench = Bench(folder, TAG)
        self.committer = Committer(config.Commit(), self.bench.store, self.bench.pipeline, self.bench.clock, 1)
        self.link = MqttLink(config.Mqtt("127.0.0.1", self.broker.port, **options), "gw-1", self.committer)
        self.acks: list[bytes] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="tag")
        self.client.on_message = lambda client, userdata, message: self.acks.append(message.payload)
        self.subscriptions = 0
        self.client.on_connect = lambda client, *rest: client.subscribe(topics.down(TAG.tag_id))
        self.client.on_subscribe = self._on_subscribe
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", self.broker.port)
        self.client.loop_start()
        wait_for(lambda: self.subscriptions == 1, what="the tag's subscription")

    def _on_subscribe(self, *rest: object) -> None:
        self.subscriptions += 1

    def start(self) -> None:
        self.committer.start()
        self.link.start()
        wait_for(lambda: self.link.is_connected, what="the connection")

    def publish(self, *payloads: bytes, qos: int = 1) -> None:
        for payload in payloads:
            self.client.publish(topics.up(TAG.tag_id), payload, qos=qos)

    def acked(self) -> set[int]:
        found = set()
        for sealed in self.acks:
            for _, first, last in frame.unpack_ack(frame.open_frame(TAG.ack, sealed)[4])[1]:
                found |= set(range(first, last + 1))
        return found

    def stop(self) -> None:
        self.link.stop_reading()
        self.committer.stop()
        for thread in (self.committer, self.link):
            if thread.ident is not None:
                thread.join(8)
        self.client.disconnect()
        self.client.loop_stop()
        self.bench.store.close()
        self.broker.stop()


@pytest.fixture
def ward(tmp_path: Path):
    made = Ward(tmp_path)
    yield made
    made.stop()


def test_frames_are_committed_and_the_tag_hears_of_it(ward: Ward) -> None:
    ward.start()
    time.sleep(0.3)  # the subscription
    ward.publish(*[TAG.energy(sequence) for sequence in range(1, 301)])
    wait_for(lambda: ward.acked() == set(range(1, 301)), what="all acks")
    assert ward.bench.pipeline.committed == 300


def test_frames_published_while_the_gateway_was_away_are_delivered_to_it(ward: Ward) -> None:
    ward.start()
    time.sleep(0.3)
    ward.link.stop_reading()
    ward.link.join(8)
    ward.publish(*[TAG.energy(sequence) for sequence in range(1, 101)])
    ward.link = MqttLink(config.Mqtt("127.0.0.1", ward.broker.port), "gw-1", ward.committer)
    ward.link.start()
    wait_for(lambda: ward.acked() == set(range(1, 101)), what="all acks")


def test_what_is_not_committed_is_not_acked_to_the_broker(ward: Ward) -> None:
    ward.link.start()  # without its committer: nothing is ever committed
    wait_for(lambda: ward.link.is_connected)
    time.sleep(0.3)
    ward.publish(*[TAG.energy(sequence) for sequence in range(1, 11)])
    wait_for(lambda: ward.link.received == 10)
    ward.link.stop_reading()
    ward.link.join(8)
    ward.link = MqttLink(config.Mqtt("127.0.0.1", ward.broker.port), "gw-1", ward.committer)
    ward.link.start()
    wait_for(lambda: ward.link.received == 10, what="the redelivery")
    ward.committer.start()
    wait_for(lambda: ward.acked() == set(range(1, 11)), what="all acks")
    assert ward.bench.pipeline.committed == 10


def test_a_full_window_stops_the_reading(tmp_path: Path) -> None:
    ward = Ward(tmp_path, window=150)
    try:
        ward.link.start()
        wait_for(lambda: ward.link.is_connected)
        time.sleep(0.3)
        ward.publish(*[TAG.energy(sequence, boot_id=2) for sequence in range(1, 1001)], qos=0)
        wait_for(lambda: ward.link.received >= 150)
        time.sleep(0.3)
        assert ward.link.received <= 300
        ward.committer.start()
        wait_for(lambda: ward.bench.pipeline.committed == 1000, what="the rest")
    finally:
        ward.stop()


def test_a_broker_that_comes_back_is_found_again(ward: Ward) -> None:
    ward.start()
    ward.broker.stop()
    wait_for(lambda: not ward.link.is_connected, what="the loss")
    ward.broker.start()
    wait_for(lambda: ward.link.is_connected and ward.link.connects == 2, 20, "the reconnect")
    wait_for(lambda: ward.subscriptions == 2, what="the tag's own reconnect")
    time.sleep(0.3)
    ward.publish(TAG.energy(1))
    wait_for(lambda: ward.acked() == {1}, what="the ack")


def test_junk_is_taken_off_the_broker_and_counted(ward: Ward) -> None:
    ward.start()
    time.sleep(0.3)
    ward.publish(b"", b"\x00" * 500, b"\x01" * 60, TAG.energy(1), b"\xff" * 70_000)
    wait_for(lambda: ward.acked() == {1} and sum(ward.bench.pipeline.rejected.values()) == 4)


def test_payloads_of_any_size_that_wait_for_the_disk_take_no_memory(ward: Ward) -> None:
    ward.link.start()
    wait_for(lambda: ward.link.is_connected)
    time.sleep(0.3)
    before = psutil.Process().memory_info().rss
    for _ in range(60):
        ward.client.publish(topics.up(TAG.tag_id), b"\x01" * 2**20, qos=0).wait_for_publish(10)
    wait_for(lambda: ward.link.received == 60, 10)
    assert psutil.Process().memory_info().rss - before < 30 * 2**20
    ward.committer.start()
    wait_for(lambda: ward.bench.pipeline.rejected["mqtt", "length"] == 60)


def test_without_a_broker_the_link_says_so_and_keeps_trying(tmp_path: Path) -> None:
    bench = Bench(tmp_path, TAG)
    committer = Committer(config.Commit(), bench.store, bench.pipeline, bench.clock, 1)
    with socket.socket() as taken:  # bound, not listening: refused at once
        taken.bind(("127.0.0.1", 0))
        link = MqttLink(config.Mqtt("127.0.0.1", taken.getsockname()[1]), "gw-1", committer)
        link.start()
        wait_for(lambda: "cannot connect" in link.state)
        assert link.is_alive()
        link.stop_reading()
        link.join(5)
    assert not link.is_alive()
    bench.store.close()


@pytest.mark.parametrize("size", [0, 60, 100, 127, 128, 4000])
def test_packets_written_here_are_what_the_broker_reads(size: int, ward: Ward) -> None:
    with socket.create_connection(("127.0.0.1", ward.broker.port)) as raw:
        raw.sendall(b"\x10\x12\x00\x04MQTT\x04\x02\x00\x3c\x00\x06tester")
        assert raw.recv(4)[:1] == b"\x20"
        raw.sendall(publish_packet(topics.down(TAG.tag_id), b"x" * size))
        wait_for(lambda: ward.acks == [b"x" * size])
