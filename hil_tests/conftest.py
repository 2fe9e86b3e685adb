"""One suite, two benches: `--bench=emulated` (the default) and `--bench=serial:/dev/ttyUSB0` for a provisioned board on a port.

A real board is asked over the serial protocol with its key (`--tag-key`). Tests that need a fault, a chip or a clock of the
emulated bench are left out then, and the run says which and why.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from wardtwin_board.bench import Bench

TAG_ID = "c0ffee000001"
KEY_HEX = "000102030405060708090a0b0c0d0e0f"


@dataclass(frozen=True)
class Target:
    """A tag on a serial port, emulated or real. reset: presses its reset button; speed: of its clock."""

    path: str
    key: bytes
    tag_id: str | None
    speed: float
    reset: Callable[[], None]


Targets = Callable[[], AbstractAsyncContextManager[Target]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bench", default="emulated", help="emulated, or serial:PORT for a real board")
    parser.addoption("--tag-key", default=KEY_HEX, help="with serial: the board's key, 32 hexadecimal digits")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "any_board: runs on a real board too; everything else here needs the emulated bench")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--bench") == "emulated":
        return
    here = Path(__file__).parent
    left_out = [item for item in items if here in item.path.parents and item.get_closest_marker("any_board") is None]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
    config.stash[_LEFT_OUT] = [item.nodeid for item in left_out]


_LEFT_OUT = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left_out = config.stash.get(_LEFT_OUT, [])
    if left_out:
        terminalreporter.section("left out on a real board: they inject faults, chips' values or a scaled clock")
        for name in left_out:
            terminalreporter.write_line(name)


@pytest.fixture
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Targets:
    """Returns a context manager: a running tag with transport serial, on this run's bench."""
    bench_option = str(request.config.getoption("--bench"))

    @asynccontextmanager
    async def emulated() -> AsyncIterator[Target]:
        async with Bench(tmp_path, speed=10) as bench:
            board = bench.add_energy_board(TAG_ID, {"key": KEY_HEX, "transport": "serial"})
            await board.power_on()
            yield Target(str(board.serial_path), bytes.fromhex(KEY_HEX), TAG_ID, bench.clock.speed, board.reset)

    @asynccontextmanager
    async def real() -> AsyncIterator[Target]:
        import serial

        path = bench_option.removeprefix("serial:")
        with serial.Serial(path, 115200) as port:

            def reset() -> None:
                port.dtr, port.rts = False, True
                port.rts = False

            yield Target(path, bytes.fromhex(request.config.getoption("--tag-key")), None, 1.0, reset)

    if bench_option == "emulated":
        return emulated
    if not bench_option.startswith("serial:"):
        raise pytest.UsageError("--bench is emulated or serial:PORT")
    return real
