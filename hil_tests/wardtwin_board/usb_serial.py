"""The USB serial adapter of a board: a pty whose name stays the same over reboots, with a cable that can be pulled."""

import asyncio
import contextlib
import os
import pty
import random
import tty
from collections.abc import Callable
from pathlib import Path

from wardtwin_board.chips.faults import noisy


class UsbSerial:
    """path: a link to the pty, for the gateway. Bytes that nobody reads are lost when the driver's buffer is full (`lost_bytes`).

    noise: share of the bytes that are hit, on the way to the gateway.
    """

    def __init__(self, path: Path, typed: Callable[[bytes], None], seed: int = 0) -> None:
        self.path = path
        self.noise = 0.0
        self.lost_bytes = 0
        self._typed = typed
        self._chance = random.Random(seed)
        self._master: int | None = None
        self._slave: int | None = None

    @property
    def plugged(self) -> bool:
        return self._master is not None

    def plug(self) -> None:
        if self._master is not None:
            return
        self._master, self._slave = pty.openpty()
        # held open: without an open slave every read of the master would fail
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(self._slave))
        asyncio.get_running_loop().add_reader(self._master, self._readable)

    def unplug(self) -> None:
        """Pull the cable: the gateway's port is gone."""
        if self._master is None or self._slave is None:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        self.path.unlink(missing_ok=True)
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = None

    def send(self, data: bytes) -> None:
        """From the board to whoever has the port open."""
        if self._master is None:
            return
        if self.noise:
            data = noisy(data, self._chance, self.noise)
        try:
            written = os.write(self._master, data)
        except BlockingIOError:
            written = 0
        self.lost_bytes += len(data) - written

    def _readable(self) -> None:
        with contextlib.suppress(OSError):
            assert self._master is not None
            data = os.read(self._master, 65536)
            if data:
                self._typed(data)
