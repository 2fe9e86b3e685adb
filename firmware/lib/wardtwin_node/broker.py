"""Wi-Fi and the MQTT broker. Nothing here waits in a blocking call except name resolution (see docs/firmware.md)."""

import asyncio
import errno
import random
import select
import socket
import ssl

import network

from wardtwin_tag.backoff import Backoff
from wardtwin_tag.errors import MqttError
from wardtwin_tag.mqtt import MqttClient
from wardtwin_wire import topics

_POLL_MS = 100
_WIFI_MS = 30_000
_CONNECT_MS = 60_000


class Broker:
    """run() keeps one session up: joins Wi-Fi, connects, drains the node's uplink, hands acks to it, and begins again after any failure."""

    def __init__(self, node):
        self._wifi = node.settings.wifi
        self._settings = node.settings.broker
        self._tag_id = node.tag_id
        self._uplink = node.uplink
        self._uptime = node.uptime
        self._node = node
        self._lan = network.WLAN(network.STA_IF)
        self._backoff = Backoff(1_000, 60_000, random.random)
        self._tls = None

    async def run(self):
        while True:
            sock = None
            try:
                await self._join()
                sock = await self._connect()
                await self._session(self._secure(sock))
            except (OSError, ValueError, MqttError) as error:
                self._node.failed("broker" if self._lan.isconnected() else "wifi", error)
            if sock is not None:
                sock.close()
            self._uplink.link_changed()
            await asyncio.sleep_ms(self._backoff.next_ms())

    async def _join(self):
        if self._lan.isconnected():
            return
        self._lan.active(True)
        self._lan.connect(self._wifi["ssid"], self._wifi["password"])
        deadline_ms = self._uptime.now_ms() + _WIFI_MS
        while not self._lan.isconnected():
            if self._uptime.now_ms() > deadline_ms:
                self._lan.disconnect()
                raise OSError(errno.ETIMEDOUT)
            await asyncio.sleep_ms(_POLL_MS)
        self._node.parts.works("wifi")

    async def _connect(self):
        """Return a connected socket that does not block."""
        address = socket.getaddrinfo(self._settings["host"], self._settings["port"], 0, socket.SOCK_STREAM)[0][-1]
        sock = socket.socket()
        try:
            sock.setblocking(False)
            try:
                sock.connect(address)
            except OSError as error:
                if error.errno != errno.EINPROGRESS:
                    raise
            poller = select.poll()
            poller.register(sock, select.POLLOUT)
            deadline_ms = self._uptime.now_ms() + _CONNECT_MS
            while True:
                for event in poller.poll(0):
                    if event[1] & (select.POLLERR | select.POLLHUP):
                        raise OSError(errno.ECONNREFUSED)
                    return sock
                if self._uptime.now_ms() > deadline_ms:
                    raise OSError(errno.ETIMEDOUT)
                await asyncio.sleep_ms(_POLL_MS)
        except OSError:
            sock.close()
            raise

    def _secure(self, sock):
        if not self._settings["tls"]:
            return sock
        if self._tls is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.verify_mode = ssl.CERT_REQUIRED
            with open(self._settings["ca_der"], "rb") as file:
                context.load_verify_locations(cadata=file.read())
            # kept only once it is whole: a context without its CA must not serve the next attempt
            self._tls = context
        name = self._settings["server_name"] or self._settings["host"]
        # the handshake happens in the first reads and writes, which give up instead of waiting
        return self._tls.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)

    async def _session(self, stream):
        now_ms = self._uptime.now_ms()
        settings = self._settings
        tag = self._tag_id.hex()
        up = topics.up(tag)
        client = MqttClient(stream, tag, settings["user"], settings["password"], settings["keepalive_s"], now_ms)
        deadline_ms = now_ms + _CONNECT_MS
        while not client.connected:
            client.poll(now_ms)
            if now_ms > deadline_ms:
                raise MqttError("silent", "no CONNACK")
            await asyncio.sleep_ms(_POLL_MS)
            now_ms = self._uptime.now_ms()
        client.subscribe(topics.down(tag), now_ms)
        self._uplink.link_changed()
        self._backoff.reset()
        self._node.parts.works("broker")
        while True:
            now_ms = self._uptime.now_ms()
            for _, payload in client.poll(now_ms):
                self._uplink.acked(payload, now_ms)
            while client.idle:
                frame = self._uplink.next_frame(now_ms)
                if frame is None:
                    break
                client.publish(up, frame, now_ms)
            await asyncio.sleep_ms(_POLL_MS)
            if not self._lan.isconnected():
                raise OSError(errno.ENOTCONN)
