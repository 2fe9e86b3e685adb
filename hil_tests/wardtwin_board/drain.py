"""The ceiling of the ingest bench: frames queued at the broker for a persistent session, and paho alone draining them."""

import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from wardtwin_board.load import BrokerAccess
from wardtwin_wire import topics

SESSION = "bench-paho"
_PATIENCE_S = 120.0


def subscribe_once(access: BrokerAccess) -> None:
    """Make the persistent session, so that the broker queues for it from now on."""
    done = threading.Event()
    client = _client(access, SESSION, clean=False)
    client.on_connect = lambda c, *_: c.subscribe(topics.UP_FILTER, 1)
    client.on_subscribe = lambda *_: done.set()
    client.connect(access.host, access.port)
    client.loop_start()
    if not done.wait(10):
        raise TimeoutError("the broker did not take the bench's subscription within 10 s")
    client.disconnect()
    client.loop_stop()


def publish(access: BrokerAccess, frames: list[tuple[str, bytes]]) -> None:
    """Publish (tag id, frame) with QoS 1; return when the broker has them all."""
    client = _client(access, "bench-publisher", clean=True)
    client.max_inflight_messages_set(1000)
    client.max_queued_messages_set(0)
    client.connect(access.host, access.port)
    client.loop_start()
    last = None
    for tag_id, data in frames:
        last = client.publish(topics.up(tag_id), data, qos=1)
    if last is not None:
        last.wait_for_publish(_PATIENCE_S)
    client.disconnect()
    client.loop_stop()


def drain_with_paho(access: BrokerAccess, total: int) -> float:
    """Messages a second of paho at its best: nothing is done with a message but its ack."""
    got = 0
    times: list[float] = []

    def on_message(client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        nonlocal got
        got += 1
        client.ack(message.mid, message.qos)
        if got in (1, total):
            times.append(time.monotonic())

    client = _client(access, SESSION, clean=False)
    client.on_message = on_message
    client.connect(access.host, access.port)
    deadline = time.monotonic() + _PATIENCE_S
    while got < total and time.monotonic() < deadline:
        client.loop(0.1)
    client.disconnect()
    if got < total:
        raise TimeoutError(f"paho alone got {got} of {total} messages within {_PATIENCE_S:.0f} s")
    return (total - 1) / (times[1] - times[0])


def _client(access: BrokerAccess, client_id: str, clean: bool) -> mqtt.Client:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean, manual_ack=True)
    if access.ca_file:
        client.tls_set(ca_certs=access.ca_file)
    if access.username:
        client.username_pw_set(access.username, access.password)
    return client
