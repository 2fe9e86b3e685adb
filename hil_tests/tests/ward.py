"""What the end-to-end suites set up again and again."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wardtwin_board.bench import Bench, broker_settings
from wardtwin_board.board import Board
from wardtwin_board.broker import Broker, Mosquitto

from .receiver import MqttReceiver, SerialReceiver

KEY_HEX = "000102030405060708090a0b0c0d0e0f"
KEY = bytes.fromhex(KEY_HEX)
ENERGY_TAG = "c0ffee000001"
ROOM_TAG = "c0ffee000002"
PASSWORD = "tag-password"
GATEWAY = ("gateway", "gateway-password")


@dataclass
class MqttWard:
    bench: Bench
    broker: Broker

    def settings(self, tag_id: str, port: int | None = None, **more: Any) -> dict[str, Any]:
        broker = broker_settings(self.broker.host, port or self.broker.port, tag_id, PASSWORD)
        return {"key": KEY_HEX, "transport": "mqtt", "broker": broker, **more}

    def trust(self, board: Board) -> Board:
        board.write_file("ca.der", self.broker.ca_der)
        return board

    def receiver(self, tag_id: str) -> MqttReceiver:
        return MqttReceiver(tag_id, KEY, self.broker, *GATEWAY)


@asynccontextmanager
async def mqtt_ward(workdir: Path, speed: float, **options: Any) -> AsyncIterator[MqttWard]:
    broker = Mosquitto(workdir / "broker", users=dict([GATEWAY]), tags={ENERGY_TAG: PASSWORD, ROOM_TAG: PASSWORD})
    await broker.start()
    try:
        async with Bench(workdir, speed=speed, **options) as bench:
            yield MqttWard(bench, broker)
    finally:
        broker.stop()


def serial_settings(**more: Any) -> Mapping[str, Any]:
    return {"key": KEY_HEX, "transport": "serial", **more}


@asynccontextmanager
async def listening(board: Board) -> AsyncIterator[SerialReceiver]:
    """A powered board and a receiver on its serial line."""
    await board.power_on()
    receiver = SerialReceiver(board.tag_id, KEY, str(board.serial_path))
    try:
        yield receiver
    finally:
        await receiver.close()
