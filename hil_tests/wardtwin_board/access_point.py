"""The Wi-Fi a board is in, for tests that take it away: a relay to the broker that falls silent, as a lost radio link does."""

import asyncio
import contextlib
import socket

from wardtwin_board.board import Board


class AccessPoint:
    """host, port: what goes into the board's broker settings. While `down` nothing is relayed, nothing is told, nothing new comes in."""

    host = "127.0.0.1"

    def __init__(self, target_host: str, target_port: int) -> None:
        self.port = 0
        self._target = target_host, target_port
        self._up = asyncio.Event()
        self._up.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._boards: list[Board] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, self.host, self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def serve(self, board: Board) -> None:
        self._boards.append(board)

    def down(self) -> None:
        self._up.clear()
        for board in self._boards:
            board.set_link(False)

    def up(self) -> None:
        self._up.set()
        for board in self._boards:
            board.set_link(True)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._server is not None:
            await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._relay(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other: asyncio.StreamWriter | None = None
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._up.wait()
                back, other = await asyncio.open_connection(*self._target)
                for one in (writer, other):
                    one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                pumps = [asyncio.create_task(self._pump(reader, other)), asyncio.create_task(self._pump(back, writer))]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.wait(pumps)
        finally:
            writer.transport.abort()
            if other is not None:
                other.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self._up.wait()
                sink.write(data)
                await sink.drain()
