"""The only door to paho: sealed frames in from the broker, PUBACK after commit, sealed acks out.

One thread owns the client and its socket (paho's external loop), so a group of messages costs one hand-over and the acks of
a commit go out together. With the window full it stops reading: the broker keeps what is not acked.
"""

import contextlib
import logging
import random
import select
import socket
import ssl
import threading
import time
from collections import deque
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from wardtwin_edge.committer import Committer
from wardtwin_edge.config import Mqtt
from wardtwin_edge.pipeline import Arrival
from wardtwin_sync.states import Transport
from wardtwin_wire import topics

_log = logging.getLogger(__name__)
_KEEPALIVE_S = 30
_GROUP = 100
_BACK_OFF_S = (0.5, 30.0)


class MqttLink(threading.Thread):
    transport = Transport.MQTT

    def __init__(self, config: Mqtt, gateway_id: str, committer: Committer) -> None:
        super().__init__(name="mqtt", daemon=True)
        self._config = config
        self._committer = committer
        self._stopping = threading.Event()
        self._released: deque[tuple[int, list[tuple[int, int, int]]]] = deque()
        self._outgoing: deque[tuple[str, bytes]] = deque()
        self._wake_r, self._wake_w = socket.socketpair()
        self._wake_r.setblocking(False)
        self._wake_w.setblocking(False)
        self._batch: list[Arrival] = []
        self._connection = 0
        self._unacked = 0
        self._client = self._new_client(config.client_id or f"wardtwin-{gateway_id}")
        self.state = "never connected"
        self.is_connected = False
        self.connects = 0
        self.received = 0

    def _new_client(self, client_id: str) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False, manual_ack=True)
        client.connect_timeout = 5.0
        config = self._config
        if config.username:
            client.username_pw_set(config.username, config.password)
        if config.ca_file:
            client.tls_set(ca_certs=config.ca_file, tls_version=ssl.PROTOCOL_TLS_CLIENT)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        return client

    # -- called from the committer's thread

    def committed(self, tokens: list[Any]) -> None:
        self._released.append((len(tokens), tokens))
        self._wake()

    def send_ack(self, tag_id: str, sealed: bytes) -> None:
        self._outgoing.append((tag_id, sealed))
        self._wake()

    def stop_reading(self) -> None:
        self._stopping.set()
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake
            self._wake_w.send(b"\x00")

    # -- this thread

    def run(self) -> None:
        back_off = _BACK_OFF_S[0]
        try:
            while not self._stopping.is_set():
                began = time.monotonic()
                try:
                    self._connection += 1
                    self._unacked = 0
                    self._client.connect(self._config.host, self._config.port, _KEEPALIVE_S)
                    self._serve()
                except (OSError, ValueError) as error:
                    self.state = f"cannot connect: {error}"
                except Exception as error:  # whatever a broker answers, the gateway goes on
                    _log.exception("mqtt")
                    self.state = f"fault: {error}"
                self.is_connected = False
                if self._stopping.is_set():
                    break
                back_off = _BACK_OFF_S[0] if time.monotonic() - began > 10 else min(back_off * 2, _BACK_OFF_S[1])
                self._stopping.wait(back_off * random.uniform(0.5, 1.0))
        finally:
            with contextlib.suppress(Exception):
                self._client.disconnect()
            self._wake_r.close()
            self._wake_w.close()

    def _serve(self) -> None:
        client = self._client
        stop_at = float("inf")
        while True:
            sock = client.socket()
            if sock is None:
                return
            if self._stopping.is_set():
                stop_at = min(stop_at, time.monotonic() + 5.0)
                if self._unacked <= 0 or time.monotonic() > stop_at:
                    self._send_out()
                    return
            reading = self._unacked < self._config.window and not self._stopping.is_set()
            pending = reading and getattr(sock, "pending", int)() > 0
            wanted = [sock, self._wake_r] if reading else [self._wake_r]
            readable, writable, _ = select.select(wanted, [sock] if client.want_write() else [], [], 0.0 if pending else 0.2)
            if self._wake_r in readable:
                with contextlib.suppress(BlockingIOError):
                    self._wake_r.recv(4096)
            if (pending or sock in readable) and not self._read():
                return
            if writable and client.loop_write() is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                return
            self._send_out()
            if client.loop_misc() is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                self.state = "connection lost"
                return

    def _read(self) -> bool:
        """Read until nothing more is there or the group is full, and hand it over; False when the connection is gone."""
        batch = self._batch
        ok = True
        while len(batch) < _GROUP:
            before = len(batch)
            if self._client.loop_read() is not MQTTErrorCode.MQTT_ERR_SUCCESS:
                self.state = "connection lost"
                ok = False
                break
            if len(batch) == before:
                break
        if batch:
            self._batch = []
            self._unacked += len(batch)
            self.received += len(batch)
            self._committer.put(batch)
        return ok

    def _send_out(self) -> None:
        client = self._client
        while self._released:
            count, tokens = self._released.popleft()
            for connection, mid, qos in tokens:
                if connection == self._connection:  # ids of an earlier connection may mean other messages now
                    self._unacked -= 1
                    client.ack(mid, qos)
            del count
        while self._outgoing:
            tag_id, sealed = self._outgoing.popleft()
            client.publish(topics.down(tag_id), sealed, qos=0)

    def _on_connect(self, client: paho.Client, userdata: object, flags: object, reason: Any, properties: object) -> None:
        if reason.is_failure:
            self.state = f"refused: {reason}"
            return
        self.is_connected = True
        self.connects += 1
        self.state = "connected"
        client.subscribe(topics.UP_FILTER, qos=1)

    def _on_message(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        token = (self._connection, message.mid, message.qos)
        self._batch.append(Arrival(self, bytes(message.payload), time.monotonic(), token))
