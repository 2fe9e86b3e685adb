"""Sockets that read and write as MicroPython's do: None when there is nothing to read or no room to write."""

import socket
import ssl
from typing import Any


class Socket(socket.socket):
    secured: "SecureSocket | None" = None

    def read(self, size: int = 65536) -> bytes | None:
        try:
            return self.recv(size)
        except BlockingIOError:
            return None

    def write(self, data: bytes) -> int | None:
        try:
            return self.send(data)
        except BlockingIOError:
            return None

    def close(self) -> None:
        # wrapping took the descriptor over; on MicroPython closing the socket below is enough
        if self.secured is not None:
            self.secured.close()
        super().close()


class SecureSocket:
    """A TLS stream over a Socket; the handshake happens in the first reads and writes."""

    def __init__(self, stream: ssl.SSLSocket) -> None:
        self._stream = stream

    def fileno(self) -> int:
        return self._stream.fileno()

    def read(self, size: int = 16384) -> bytes | None:
        try:
            return self._stream.read(size)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    def write(self, data: bytes) -> int | None:
        try:
            return self._stream.write(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    def close(self) -> None:
        self._stream.close()


_wrap_socket = ssl.SSLContext.wrap_socket


def wrap_socket(context: ssl.SSLContext, sock: Socket, **options: Any) -> SecureSocket:
    """In place of SSLContext.wrap_socket. (A subclass would not do: ssl's own setters look its class up by name.)"""
    sock.secured = SecureSocket(_wrap_socket(context, sock, **options))
    return sock.secured
