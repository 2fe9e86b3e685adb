"""MQTT brokers as processes of their own: mosquitto, the real one, and amqtt, which needs no system package.

Both: TLS with the bench's own CA, a password and two topics per tag, named users with access to all; `kill` is a
SIGKILL, and `start` again brings the broker back on the same port.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from wardtwin_board.certificates import make_certificates
from wardtwin_board.errors import BrokerError

START_S = 15.0
_PASSWORD_ROUNDS = 101  # mosquitto's default


class Broker(ABC):
    """workdir: configuration, certificates, persistence and log. users and tags: name or tag id -> password."""

    host = "127.0.0.1"

    def __init__(self, workdir: Path, users: Mapping[str, str], tags: Mapping[str, str]) -> None:
        self.workdir = workdir
        self.users = dict(users)
        self.tags = dict(tags)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        workdir.mkdir(parents=True, exist_ok=True)
        self._certificates = make_certificates(workdir)

    @property
    def ca_pem(self) -> Path:
        return self._certificates.ca_pem

    @property
    def ca_der(self) -> bytes:
        return self._certificates.ca_der.read_bytes()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @abstractmethod
    def _configure(self) -> list[str]:
        """Write the configuration; return the command."""

    async def start(self) -> None:
        """Return when a TLS handshake goes through. Raise BrokerError with the end of the log when none does."""
        command = self._configure()
        self._spawn(command)
        context = ssl.create_default_context(cafile=str(self.ca_pem))
        deadline = asyncio.get_running_loop().time() + START_S
        while True:
            try:
                _, writer = await asyncio.open_connection(self.host, self.port, ssl=context)
            except OSError as error:
                if not self.running or asyncio.get_running_loop().time() > deadline:
                    self.stop()
                    raise BrokerError(f"{command[0]} did not start: {error}\n{self._log_end()}") from error
                await asyncio.sleep(0.02)
                continue
            writer.close()
            with contextlib.suppress(OSError):  # a broker drops a client that says nothing
                await writer.wait_closed()
            return

    def _spawn(self, command: list[str]) -> None:
        with (self.workdir / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self) -> None:
        """SIGKILL: what was not on disk is gone."""
        self._end(kill=True)

    def stop(self) -> None:
        self._end(kill=False)

    def _end(self, kill: bool) -> None:
        if self._process is None:
            return
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _log_end(self) -> str:
        return (self.workdir / "broker.log").read_text(errors="replace")[-2000:]


class Mosquitto(Broker):
    """Debian's mosquitto 2 with persistence. It is in /usr/sbin, which is not on everybody's PATH."""

    @staticmethod
    def find() -> str | None:
        return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")

    def _configure(self) -> list[str]:
        binary = self.find()
        if binary is None:
            raise BrokerError("mosquitto was not found. On Debian: apt-get install mosquitto")
        passwords = self.workdir / "passwords"
        passwords.touch(mode=0o600)
        passwords.write_text("".join(f"{name}:{_mosquitto_hash(word)}\n" for name, word in (self.users | self.tags).items()))
        access = self.workdir / "access"
        access.touch(mode=0o600)
        access.write_text(
            "pattern write wardtwin/1/%u/up\npattern read wardtwin/1/%u/down\n"
            + "".join(f"user {name}\ntopic readwrite wardtwin/#\n" for name in self.users)
        )
        lines = [
            f"listener {self.port} {self.host}",
            f"cafile {self._certificates.ca_pem}",
            f"certfile {self._certificates.server_pem}",
            f"keyfile {self._certificates.server_key}",
            "allow_anonymous false",
            f"password_file {passwords}",
            f"acl_file {access}",
            "persistence true",
            f"persistence_location {self.workdir}/",
            "max_queued_messages 0",
            # the gateway acks after its group commit: the default of 20 in flight would make every commit a small one
            "max_inflight_messages 1000",
            "set_tcp_nodelay true",
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # else it drops to its own user and cannot read the key
        config = self.workdir / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        return [binary, "-c", str(config)]


class AmqttBroker(Broker):
    """amqtt in a process of its own: for a demo on a machine without mosquitto. It keeps nothing over a restart."""

    def _configure(self) -> list[str]:
        config = self.workdir / "amqtt.json"
        config.touch(mode=0o600)
        config.write_text(
            json.dumps(
                {
                    "host": self.host,
                    "port": self.port,
                    "certificate": str(self._certificates.server_pem),
                    "key": str(self._certificates.server_key),
                    "users": self.users,
                    "tags": self.tags,
                }
            )
        )
        return [sys.executable, "-m", "wardtwin_board.amqtt_process", str(config)]


def _mosquitto_hash(password: str) -> str:
    """mosquitto 2's password format: PBKDF2-HMAC-SHA512."""
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _PASSWORD_ROUNDS)
    return f"$7${_PASSWORD_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
