import asyncio
from pathlib import Path
from typing import ClassVar

import pytest
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.exc import BleakError

from wardtwin_edge import ble, config
from wardtwin_edge.ble import BleLink, load_backend
from wardtwin_edge.errors import ConfigError
from wardtwin_edge.pipeline import Arrival
from wardtwin_edge.tests.wards import FakeTag
from wardtwin_wire.bthome import SERVICE_UUID

TAG = FakeTag(1)
NAME = "wardtwin_edge.tests.test_ble:FakeScanner"


class FakeScanner(BaseBleakScanner):
    """bleak's scanner interface over a list of what happened."""

    events: ClassVar[list[str]] = []
    fail: ClassVar[bool] = False
    live: ClassVar["FakeScanner | None"] = None

    def __init__(self, detection_callback, service_uuids, scanning_mode="active", **options) -> None:
        super().__init__(detection_callback, service_uuids)
        FakeScanner.events.append("new")

    async def start(self) -> None:
        FakeScanner.events.append("start")
        if FakeScanner.fail:
            raise BleakError("No Bluetooth adapters found.")
        FakeScanner.live = self

    async def stop(self) -> None:
        FakeScanner.events.append("stop")

    def set_scanning_filter(self, **options) -> None: ...

    def hear(self, address: str, service_data: dict[str, bytes], rssi: int = -60) -> None:
        device = BLEDevice(address, None, None)
        self.call_detection_callbacks(device, AdvertisementData(None, {}, service_data, [], None, rssi, ()))


class Basket:
    is_crowded = False

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []

    def put(self, arrivals: list[Arrival]) -> None:
        self.arrivals += arrivals


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch):
    FakeScanner.events, FakeScanner.fail, FakeScanner.live = [], False, None
    monkeypatch.setattr(ble, "_BACK_OFF_S", (0.01, 0.05))


async def running(link: BleLink, until, seconds: float = 5.0) -> None:
    task = asyncio.create_task(link.run())
    try:
        async with asyncio.timeout(seconds):
            while not until():
                await asyncio.sleep(0.005)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_bthome_adverts_come_in_with_address_and_strength_and_nothing_else_does() -> None:
    basket = Basket()
    link = BleLink(config.Ble(NAME), basket)

    async def scenario() -> None:
        task = asyncio.create_task(link.run())
        while FakeScanner.live is None:
            await asyncio.sleep(0.005)
        data = TAG.advert(1, active_power_w=5)
        FakeScanner.live.hear("C0:FF:EE:00:01:01", {SERVICE_UUID: data}, -61)
        FakeScanner.live.hear("11:22:33:44:55:66", {"0000feaa-0000-1000-8000-00805f9b34fb": b"x"})
        FakeScanner.live.hear("a-uuid-of-another-system", {SERVICE_UUID: data})
        assert link.is_scanning
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
    ((arrival),) = basket.arrivals
    assert (arrival.address, arrival.rssi_dbm, arrival.payload) == (TAG.address, -61, TAG.advert(1, active_power_w=5))
    assert (link.adverts, link.received) == (3, 1)


def test_a_silent_radio_is_restarted_then_made_anew_and_it_is_said() -> None:
    link = BleLink(config.Ble(NAME, stall_s=0.02), Basket())
    said: list[str] = []

    def made_anew() -> bool:
        if not said or said[-1] != link.state:
            said.append(link.state)
        return FakeScanner.events.count("start") >= 3 and link.is_scanning

    asyncio.run(running(link, made_anew))
    assert FakeScanner.events[:7] == ["new", "start", "stop", "start", "stop", "new", "start"]
    assert link.restarts == 1
    assert link.is_silent
    assert said[1] == "scanning"
    assert "scan restarted" in said[2]
    assert link.state == "adapter started anew, nothing heard yet"


def test_a_radio_that_is_heard_again_is_said_to_scan() -> None:
    link = BleLink(config.Ble(NAME, stall_s=0.05), Basket())

    def heard_again() -> bool:
        if link.is_silent and FakeScanner.live is not None:
            FakeScanner.live.hear("11:22:33:44:55:66", {})
        return link.restarts == 1 and not link.is_silent and link.state == "scanning"

    asyncio.run(running(link, heard_again))


def test_a_stuck_adapter_is_power_cycled_by_the_site_s_command(tmp_path: Path) -> None:
    FakeScanner.fail = True
    mark = tmp_path / "cycled"
    link = BleLink(config.Ble(NAME, power_cycle=("touch", str(mark))), Basket())
    asyncio.run(running(link, mark.exists))
    assert link.power_cycles >= 1


def test_no_adapter_is_said_and_tried_again() -> None:
    FakeScanner.fail = True
    link = BleLink(config.Ble(NAME), Basket())
    asyncio.run(running(link, lambda: FakeScanner.events.count("start") >= 3))
    assert link.state == "no radio: No Bluetooth adapters found."
    assert not link.is_scanning


def test_the_platform_s_own_scanner_without_an_adapter_ends_nothing() -> None:
    link = BleLink(config.Ble("bleak"), Basket())
    asyncio.run(running(link, lambda: link.state != "starting", 25))
    assert link.state.startswith(("no radio", "scanning"))


def test_adverts_are_dropped_and_counted_while_the_disk_cannot_follow() -> None:
    basket = Basket()
    basket.is_crowded = True
    link = BleLink(config.Ble(NAME), basket)
    link._on_advert(BLEDevice("C0:FF:EE:00:01:01", None, None), AdvertisementData(None, {}, {SERVICE_UUID: b"x"}, [], None, -60, ()))
    assert (basket.arrivals, link.dropped) == ([], 1)


@pytest.mark.parametrize("name", ["nonsense", "no.such:Module", "os:path", "wardtwin_edge.config:Ble"])
def test_a_backend_that_is_none_is_an_error_of_the_configuration(name: str) -> None:
    with pytest.raises(ConfigError):
        load_backend(name)


def test_ble_can_be_switched_off() -> None:
    link = BleLink(config.Ble("none"), Basket())
    asyncio.run(link.run())
    assert link.state == "switched off"
