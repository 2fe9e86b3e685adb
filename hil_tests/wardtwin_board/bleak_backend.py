"""A bleak scanner backend over the emulated air: the real gateway runs with it by `[ble] backend` in its configuration.

Speaks HCI H4 to the gateway's virtual controller at WARDTWIN_BOARD_HCI="tcp-client:host:port". Like a real adapter it may
go away: then nothing is heard any more, silently, until the scanner is stopped and started.
"""

import asyncio
import contextlib
import os
import struct
from typing import Any, Literal

from bleak.backends.scanner import AdvertisementData, AdvertisementDataCallback, BaseBleakScanner
from bleak.exc import BleakError

ENVIRONMENT_NAME = "WARDTWIN_BOARD_HCI"
_COMMAND_S = 5.0

_RESET = 0x0C03
_SET_SCAN_PARAMETERS = 0x200B
_SET_SCAN_ENABLE = 0x200C


class BumbleScanner(BaseBleakScanner):
    """Pass as `BleakScanner(callback, backend=BumbleScanner)`. `start` raises BleakError when there is no adapter."""

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None,
        service_uuids: list[str] | None = None,
        scanning_mode: Literal["active", "passive"] = "active",
        **_platform: Any,
    ) -> None:
        super().__init__(detection_callback, service_uuids)
        self._active = scanning_mode == "active"
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._completions: asyncio.Queue[tuple[int, int]] = asyncio.Queue()

    async def start(self) -> None:
        await self._close()
        self.seen_devices = {}
        self._completions = asyncio.Queue()
        kind, _, address = os.environ.get(ENVIRONMENT_NAME, "").partition(":")
        host, _, port = address.rpartition(":")
        if kind != "tcp-client" or not port.isdigit():
            raise BleakError(f"{ENVIRONMENT_NAME} is not tcp-client:HOST:PORT")
        try:
            self._reader, self._writer = await asyncio.open_connection(host, int(port))
            self._task = asyncio.create_task(self._listen(self._reader))
            await self._command(_RESET, b"")
            # continuously: window as long as the interval, 50 ms
            await self._command(_SET_SCAN_PARAMETERS, struct.pack("<BHHBB", int(self._active), 80, 80, 0, 0))
            await self._command(_SET_SCAN_ENABLE, b"\x01\x00")
        except (OSError, TimeoutError) as error:
            await self._close()
            raise BleakError(f"no Bluetooth adapter at {address}: {error}") from error

    async def stop(self) -> None:
        if self._writer is not None and self._task is not None and not self._task.done():
            with contextlib.suppress(OSError, TimeoutError, BleakError):
                await self._command(_SET_SCAN_ENABLE, b"\x00\x00")
        await self._close()

    async def _close(self) -> None:
        task, self._task = self._task, None
        writer, self._writer = self._writer, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _command(self, opcode: int, parameters: bytes) -> None:
        assert self._writer is not None
        self._writer.write(b"\x01" + struct.pack("<HB", opcode, len(parameters)) + parameters)
        async with asyncio.timeout(_COMMAND_S):
            while True:
                done, status = await self._completions.get()
                if done == opcode:
                    break
        if status:
            raise BleakError(f"the controller refused command {opcode:04x}: {status:02x}")

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                header = await reader.readexactly(3)
                body = await reader.readexactly(header[2])
                if header[1] == 0x0E:
                    self._completions.put_nowait((int.from_bytes(body[1:3], "little"), body[3] if len(body) > 3 else 0))
                elif header[1] == 0x3E and body[0] == 0x02:
                    self._report(body)

    def _report(self, body: bytes) -> None:
        size = body[10]
        data = body[11 : 11 + size]
        rssi = body[11 + size]
        address = bytes(reversed(body[4:10])).hex(":").upper()
        name, manufacturer, service_data, uuids, tx_power = _structures(data)
        advertisement = AdvertisementData(name, manufacturer, service_data, uuids, tx_power, rssi - 256 if rssi > 127 else rssi, (body,))
        if self.is_allowed_uuid(uuids):
            device = self.create_or_update_device(address, address, name, body, advertisement)
            self.call_detection_callbacks(device, advertisement)


def _structures(data: bytes) -> tuple[str | None, dict[int, bytes], dict[str, bytes], list[str], int | None]:
    """Name, manufacturer data, service data, service UUIDs and TX power of an advert's AD structures; junk ends the list."""
    name: str | None = None
    manufacturer: dict[int, bytes] = {}
    service_data: dict[str, bytes] = {}
    uuids: list[str] = []
    tx_power: int | None = None
    at = 0
    while at + 1 < len(data) and data[at]:
        kind, value = data[at + 1], data[at + 2 : at + 1 + data[at]]
        at += 1 + data[at]
        if kind in (0x08, 0x09):
            name = value.decode("utf-8", "replace")
        elif kind == 0xFF and len(value) >= 2:
            manufacturer[int.from_bytes(value[:2], "little")] = value[2:]
        elif kind == 0x16 and len(value) >= 2:
            service_data[_uuid16(value)] = value[2:]
        elif kind in (0x02, 0x03):
            uuids += [_uuid16(value[i : i + 2]) for i in range(0, len(value) - 1, 2)]
        elif kind == 0x0A and len(value) == 1:
            tx_power = int.from_bytes(value, "little", signed=True)
    return name, manufacturer, service_data, uuids, tx_power


def _uuid16(value: bytes) -> str:
    return f"{int.from_bytes(value[:2], 'little'):08x}-0000-1000-8000-00805f9b34fb"
