"""What the MQTT client, the uplink and the beacon must do, on any interpreter (see checks_chips)."""

from wardtwin_tag.beacon import Beacon
from wardtwin_tag.counters import AdvertCounter
from wardtwin_tag.errors import MqttError
from wardtwin_tag.flash_queue import FlashQueue
from wardtwin_tag.mqtt import MqttClient
from wardtwin_tag.tests.checks_logic import MemoryStore
from wardtwin_tag.tests.nor_flash import NorFlash
from wardtwin_tag.uplink import MAX_RESEND_AFTER_MS, RESEND_AFTER_MS, WINDOW, Uplink
from wardtwin_wire import bthome, ccm, frame

CONNACK = b"\x20\x02\x00\x00"
TAG = b"\xc0\xff\xee\x00\x00\x01"


class Stream:
    """Takes `takes` bytes a write (None: all; 0: none), gives `pieces` one a read."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)
        self.writes = []
        self.takes = None

    def read(self, count):
        if not self.pieces:
            return None
        piece = self.pieces.pop(0)
        assert len(piece) <= count
        return piece

    def write(self, data):
        if self.takes == 0:
            return None
        taken = data if self.takes is None else data[: self.takes]
        self.writes.append(bytes(taken))
        return len(taken)


def client_on(stream, keepalive_s=60):
    return MqttClient(stream, "c0ffee000001", "c0ffee000001", "secret", keepalive_s, 0)


def reason_of(call):
    try:
        call()
    except MqttError as error:
        return error.reason
    return None


def check_mqtt_connect_is_as_the_standard_says():
    stream = Stream(CONNACK)
    client = client_on(stream)
    name = b"\x00\x0cc0ffee000001"
    body = b"\x00\x04MQTT\x04\xc2\x00\x3c" + name + name + b"\x00\x06secret"
    assert stream.writes == [b"\x10" + bytes((len(body),)) + body]
    assert not client.connected
    client.poll(1)
    assert client.connected


def check_mqtt_refusals_are_named():
    assert reason_of(lambda: client_on(Stream(b"\x20\x02\x00\x05")).poll(1)) == "refused"
    assert reason_of(lambda: client_on(Stream(b"")).poll(1)) == "closed"
    assert reason_of(lambda: client_on(Stream(b"\x30\x02\x00\x00")).poll(1)) == "malformed"
    client = client_on(Stream(CONNACK, b"\x90\x03\x00\x01\x80"))
    client.poll(1)
    assert reason_of(lambda: client.poll(2)) == "refused"


def check_mqtt_publish_is_one_write_with_qos_1():
    stream = Stream(CONNACK)
    client = client_on(stream)
    client.poll(1)
    payload = bytes(range(130))
    assert client.publish("a/b", payload, 2) == 1
    assert client.publish("a/b", b"x", 2) == 2
    length = 2 + 3 + 2 + 130
    assert stream.writes[1] == b"\x32" + bytes((length & 0x7F | 0x80, length >> 7)) + b"\x00\x03a/b\x00\x01" + payload
    assert len(stream.writes) == 3


def check_mqtt_partial_writes_are_finished_before_the_next_packet():
    stream = Stream(CONNACK)
    client = client_on(stream)
    client.poll(1)
    stream.writes = []
    stream.takes = 0
    client.publish("t", b"first", 2)
    client.publish("t", b"second", 2)
    assert stream.writes == []
    assert not client.idle
    stream.takes = 3
    for _ in range(20):
        client.poll(3)
    assert client.idle
    sent = b"".join(stream.writes)
    assert sent == b"\x32\x0a\x00\x01t\x00\x01first" + b"\x32\x0b\x00\x01t\x00\x02second"


def check_mqtt_messages_arrive_in_any_pieces():
    message = b"\x30\x0a\x00\x03d/1hello"
    whole = CONNACK + message + b"\x40\x02\x00\x01" + b"\xd0\x00" + message
    for size in (1, 2, 3, 7, 50):
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        client = client_on(Stream(*pieces))
        found = []
        for _ in range(len(pieces)):
            found += client.poll(1)
        assert found == [("d/1", b"hello")] * 2, size


def check_mqtt_packets_larger_than_a_tag_can_hold_end_the_session():
    assert reason_of(lambda: client_on(Stream(CONNACK + b"\x30\xff\xff\x7f")).poll(1)) == "too_long"
    assert reason_of(lambda: client_on(Stream(CONNACK + b"\x30\x80\x80\x80\x80\x01")).poll(1)) == "malformed"


def check_mqtt_pings_when_quiet_and_gives_up_a_silent_broker():
    stream = Stream(CONNACK)
    client = client_on(stream)
    client.poll(0)
    stream.writes = []
    client.poll(29_000)
    assert stream.writes == []
    client.poll(31_000)
    assert stream.writes == [b"\xc0\x00"]
    stream.pieces = [b"\xd0\x00"]
    client.poll(32_000)
    assert reason_of(lambda: client.poll(32_000 + 120_001)) == "silent"


def xor_block(key):
    """Not a cipher: every block differs with key and input, which is all these checks need."""

    def block(data):
        out = bytearray(16)
        for i in range(16):
            out[i] = (data[i] * 7 + key[i] * 13 + data[(i + 5) % 16] + i) & 0xFF
        return bytes(out)

    return block


class Gateway:
    """Opens what the tag sends and acks it."""

    def __init__(self):
        self.report = ccm.Ccm(xor_block(bytes(range(16))), 8)
        self.ack = ccm.Ccm(xor_block(bytes(range(16, 32))), 8)
        self.counter = 0

    def key_of(self, data):
        _, _, boot_id, sequence, payload = frame.open_frame(self.report, data)
        assert payload == b"payload"
        return boot_id, sequence

    def ack_of(self, *runs, **options):
        self.counter += 1
        payload = frame.pack_ack(options.get("time_ms", 0), runs)
        return frame.seal(self.ack, frame.ACK, options.get("tag_id", TAG), options.get("session", 77), self.counter, payload)


def uplink_on(flash, gateway, boot_id=5):
    return Uplink(FlashQueue(flash), gateway.report, gateway.ack, TAG, boot_id)


def drain(uplink, gateway, now_ms):
    sent = []
    while True:
        data = uplink.next_frame(now_ms)
        if data is None:
            return sent
        sent.append(gateway.key_of(data))


def check_uplink_probes_with_one_frame_and_opens_its_window_with_acks():
    gateway = Gateway()
    uplink = uplink_on(NorFlash(4), gateway)
    for _ in range(100):
        uplink.report(frame.ENERGY, b"payload")
    assert drain(uplink, gateway, 0) == [(5, 1)]
    assert drain(uplink, gateway, 100) == []
    assert uplink.acked(gateway.ack_of((5, 1, 1)), 100) == 1
    assert drain(uplink, gateway, 100) == [(5, 2), (5, 3)]
    for now_ms in range(200, 1000, 100):
        uplink.acked(gateway.ack_of((5, 1, 100)), now_ms)
        sent = drain(uplink, gateway, now_ms)
        assert len(sent) <= WINDOW
    assert uplink.queue.depth == 0


def check_uplink_sends_again_what_is_not_acked_oldest_first_and_slower_each_time():
    gateway = Gateway()
    uplink = uplink_on(NorFlash(4), gateway)
    for _ in range(3):
        uplink.report(frame.ENERGY, b"payload")
    times = []
    for now_ms in range(0, 800_000, 1000):
        for key in drain(uplink, gateway, now_ms):
            assert key == (5, 1)
            times.append(now_ms)
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert (gaps[0], gaps[-1]) == (RESEND_AFTER_MS, MAX_RESEND_AFTER_MS), gaps
    assert uplink.queue.depth == 3
    uplink.acked(gateway.ack_of((5, 1, 1)), 800_000)
    assert drain(uplink, gateway, 800_000) == [(5, 2), (5, 3)]


def check_uplink_keeps_a_frame_until_it_is_acked_over_a_reboot():
    gateway = Gateway()
    flash = NorFlash(4)
    uplink = uplink_on(flash, gateway)
    uplink.report(frame.ENERGY, b"payload")
    uplink.report(frame.ENERGY, b"payload")
    assert drain(uplink, gateway, 0) == [(5, 1)]
    uplink.acked(gateway.ack_of((5, 1, 1)), 1)
    again = uplink_on(flash, gateway, 6)
    again.report(frame.ENERGY, b"payload")
    assert drain(again, gateway, 0) == [(5, 2)]
    again.acked(gateway.ack_of((5, 1, 9)), 1)
    assert drain(again, gateway, 1) == [(6, 1)]


def check_uplink_sends_all_that_waits_after_the_link_changed():
    gateway = Gateway()
    uplink = uplink_on(NorFlash(4), gateway)
    for _ in range(4):
        uplink.report(frame.ENERGY, b"payload")
    drain(uplink, gateway, 0)
    uplink.acked(gateway.ack_of((5, 1, 1)), 1)
    assert drain(uplink, gateway, 1) == [(5, 2), (5, 3)]
    uplink.link_changed()
    assert drain(uplink, gateway, 2) == [(5, 2)]


def check_uplink_refuses_forged_foreign_and_old_acks():
    gateway = Gateway()
    uplink = uplink_on(NorFlash(4), gateway)
    uplink.report(frame.ENERGY, b"payload")
    drain(uplink, gateway, 0)
    good = gateway.ack_of((5, 9, 9))
    assert uplink.acked(good, 1) == 0
    assert uplink.rejected_acks == 0
    uplink.acked(good, 2)
    forged = bytearray(gateway.ack_of((5, 1, 1)))
    forged[-1] ^= 1
    uplink.acked(bytes(forged), 3)
    uplink.acked(gateway.ack_of((5, 1, 1), tag_id=bytes(6)), 4)
    uplink.acked(b"noise", 5)
    assert uplink.rejected_acks == 4
    assert uplink.queue.depth == 1
    gateway.counter = 0
    assert uplink.acked(gateway.ack_of((5, 1, 1), session=78), 6) == 1


def check_uplink_knows_the_time_from_acks():
    gateway = Gateway()
    uplink = uplink_on(NorFlash(4), gateway)
    assert uplink.unix_ms(0) is None
    uplink.acked(gateway.ack_of(), 500)
    assert uplink.unix_ms(500) is None
    uplink.acked(gateway.ack_of(time_ms=1_790_000_000_000), 1000)
    assert uplink.unix_ms(3500) == 1_790_000_002_500


def check_uplink_survives_a_ring_that_runs_over_under_it():
    gateway = Gateway()
    uplink = uplink_on(NorFlash(3), gateway)
    seen = set()
    for now_s in range(2000):
        uplink.report(frame.ENERGY, b"payload")
        for key in drain(uplink, gateway, now_s * 1000):
            seen.add(key)
    queue = uplink.queue
    assert queue.dropped > 0
    assert queue.depth + queue.dropped == 2000
    now_ms = 3_000_000
    while queue.depth:
        now_ms += 1000
        acks = drain(uplink, gateway, now_ms)
        for boot_id, sequence in acks:
            uplink.acked(gateway.ack_of((boot_id, sequence, sequence)), now_ms)
        assert now_ms < 4_000_000
    assert queue.appended == 2000


def check_beacon_gives_the_first_frame_every_other_beat():
    beacon = Beacon(ccm.Ccm(xor_block(bytes(16)), 4), bytes(6), AdvertCounter(MemoryStore()))
    frames = [b"\x0d\x01\x00", b"\x0d\x02\x00", b"\x0d\x03\x00"]
    seen = []
    counters = []
    for _ in range(8):
        advert = beacon.advert(frames)
        assert len(advert) <= 31
        assert not bthome.is_beacon(advert)
        counter, objects = bthome.open_service_data(ccm.Ccm(xor_block(bytes(16)), 4), bytes(6), advert[7:])
        counters.append(counter)
        assert objects[:2] == bytes((0, counter & 255))
        seen.append(objects[3])
    assert seen == [1, 2, 1, 3, 1, 2, 1, 3]
    assert counters == list(range(1, 9))


def check_beacon_of_a_room_is_told_from_a_tag():
    beacon = Beacon(ccm.Ccm(xor_block(bytes(16)), 4), bytes(6), AdvertCounter(MemoryStore()), -4)
    for objects in bthome.environment_frames(
        {"temperature_c": 21.0, "relative_humidity_pct": 40.0, "pressure_hpa": 1013.0, "voc_index": 100}
    ):
        assert bthome.is_beacon(beacon.advert([objects]))
        assert len(beacon.advert([objects])) <= 31
