"""The stand-ins for MicroPython's board modules, by small programs in place of the firmware: time, flash, NVS, Wi-Fi, resets."""

import asyncio
import sys
from pathlib import Path

import psutil
import pytest

from wardtwin_board.bench import Bench
from wardtwin_board.board import Board, ResetCause

from .asynchronous import asynchronous
from .receiver import eventually
from .ward import ENERGY_TAG, serial_settings

INTERPRETERS = pytest.mark.parametrize("interpreter", ["micropython", "cpython"])


def program(bench: Bench, source: str) -> Board:
    board = bench.add_energy_board(ENERGY_TAG, serial_settings())
    board.main = board.directory / "program.py"
    board.main.write_text(source)
    return board


async def said(board: Board, word: str = "done", within_s: float = 10) -> list[str]:
    await eventually(lambda: word in board.console(), within_s, board.console)
    return board.console().replace("\r", "").splitlines()


@INTERPRETERS
@asynchronous
async def test_time_runs_at_the_benchs_speed(tmp_path: Path, interpreter: str) -> None:
    async with Bench(tmp_path, speed=50, interpreter=interpreter) as bench:
        board = program(
            bench,
            """
import asyncio, select, time
def lasts(what):
    began = time.ticks_ms()
    what()
    return time.ticks_diff(time.ticks_ms(), began)
async def nap():
    began = time.ticks_ms()
    await asyncio.sleep_ms(10_000)
    return time.ticks_diff(time.ticks_ms(), began)
print(lasts(lambda: time.sleep_ms(10_000)))
print(lasts(lambda: time.sleep(10)))
print(asyncio.run(nap()))
print("done")
""",
        )
        began = bench.clock.now_s()
        await board.power_on()
        lines = await said(board)
        assert all(10_000 <= int(line) < 14_000 for line in lines[:3])
        assert bench.clock.now_s() - began < 30 + 50 * 3


@asynchronous
async def test_a_poll_times_out_in_scaled_time_below_a_millisecond_of_real_time(tmp_path: Path) -> None:
    async with Bench(tmp_path, speed=200) as bench:
        board = program(
            bench,
            """
import select, sys, time
waiting = select.poll()
waiting.register(sys.stdin.buffer, select.POLLIN)
began = time.ticks_ms()
for _ in range(50):
    waiting.poll(100)
print(time.ticks_diff(time.ticks_ms(), began))
print("done")
""",
        )
        await board.power_on()
        lines = await said(board)
        assert 5_000 <= int(lines[0]) < 15_000


@INTERPRETERS
@asynchronous
async def test_the_clock_is_unset_after_power_on_and_survives_a_reset_once_set(tmp_path: Path, interpreter: str) -> None:
    async with Bench(tmp_path, speed=1, interpreter=interpreter) as bench:
        board = program(
            bench,
            """
import machine, time
print(machine.reset_cause(), machine.RTC().datetime()[:5], time.gmtime(0)[0])
if machine.reset_cause() == machine.PWRON_RESET:
    machine.RTC().datetime((2026, 3, 4, 2, 5, 6, 7, 0))
    machine.reset()
print("done")
""",
        )
        await board.power_on()
        lines = await said(board)
        assert lines[0] == "1 (2000, 1, 1, 5, 0) 2000"
        assert lines[1] == "5 (2026, 3, 4, 2, 5) 2000"
        assert board.boots == [ResetCause.POWER_ON, ResetCause.SOFT]


@INTERPRETERS
@asynchronous
async def test_flash_clears_bits_only_and_a_power_cut_tears_a_write(tmp_path: Path, interpreter: str) -> None:
    async with Bench(tmp_path, interpreter=interpreter) as bench:
        board = program(
            bench,
            """
import esp32, machine, time
(flash,) = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="queue")
got = bytearray(4)
def show():
    flash.readblocks(2, got, 100)
    print(bytes(got))
if len(open("boots.txt").read() if "boots.txt" in __import__("os").listdir() else "") == 0:
    print(flash.ioctl(4, 0), flash.ioctl(5, 0))
    show()
    flash.writeblocks(2, b"\\xf0\\x0f\\xaa\\x00", 100)
    flash.writeblocks(2, b"\\x33\\xff\\xff\\xff", 100)
    show()
    flash.ioctl(6, 2)
    show()
    open("boots.txt", "w").write("1")
    print("ready")
    while "go.txt" not in __import__("os").listdir():
        time.sleep_ms(10)
    flash.writeblocks(2, b"\\x01\\x02\\x03\\x04", 100)
else:
    show()
    print("done")
""",
        )
        await board.power_on()
        lines = await said(board, "ready")
        assert lines[:4] == ["64 4096", r"b'\xff\xff\xff\xff'", r"b'0\x0f\xaa\x00'", r"b'\xff\xff\xff\xff'"]
        board.brown_out_after_flash_bytes(2)
        board.write_file("go.txt", b"")
        lines = await said(board)
        assert lines[5] == r"b'\x01\x02\xff\xff'"
        assert board.boots == [ResetCause.POWER_ON, ResetCause.POWER_ON]


@INTERPRETERS
@asynchronous
async def test_only_committed_nvs_values_survive(tmp_path: Path, interpreter: str) -> None:
    async with Bench(tmp_path, interpreter=interpreter) as bench:
        board = program(
            bench,
            """
import esp32, machine
nvs = esp32.NVS("test")
def read(key):
    try:
        return nvs.get_i32(key)
    except OSError as error:
        return error.args[0]
if machine.reset_cause() == machine.PWRON_RESET:
    nvs.set_i32("kept", 7)
    nvs.set_blob("blob", b"abc")
    nvs.commit()
    nvs.set_i32("lost", 8)
    print(read("lost"))
    machine.reset()
blob = bytearray(8)
print(read("kept"), read("lost"), blob[: nvs.get_blob("blob", blob)])
nvs.erase_key("kept")
print(read("kept"))
print("done")
""",
        )
        await board.power_on()
        lines = await said(board)
        assert lines[:3] == ["8", "7 -4354 bytearray(b'abc')", "-4354"]


@INTERPRETERS
@asynchronous
async def test_wifi_joins_with_the_right_password_only_and_loses_its_link(tmp_path: Path, interpreter: str) -> None:
    async with Bench(tmp_path, speed=10, interpreter=interpreter) as bench:
        board = program(
            bench,
            """
import network, time
lan = network.WLAN(network.STA_IF)
lan.active(True)
def join(ssid, password):
    lan.connect(ssid, password)
    while lan.status() == network.STAT_CONNECTING:
        time.sleep_ms(100)
    print(lan.status(), lan.isconnected(), lan.ifconfig()[0])
join("wardtwin-ward", "wrong")
join("elsewhere", "bench-password")
join("wardtwin-ward", "bench-password")
print("joined")
while lan.isconnected():
    time.sleep_ms(100)
print(lan.status())
while not lan.isconnected():
    time.sleep_ms(100)
print("done")
""",
        )
        await board.power_on()
        await said(board, "joined")
        board.set_link(False)
        await asyncio.sleep(0.3)
        board.set_link(True)
        lines = await said(board)
        assert lines[:3] == ["202 False 0.0.0.0", "201 False 0.0.0.0", "1010 True 127.0.0.1"]
        assert lines[4] == "200"


@INTERPRETERS
@asynchronous
async def test_a_board_does_not_outlive_its_bench(tmp_path: Path, interpreter: str) -> None:
    source = f"""
import asyncio, pathlib
from wardtwin_board.bench import Bench
async def main():
    async with Bench(pathlib.Path({str(tmp_path)!r}), interpreter={interpreter!r}) as bench:
        board = bench.add_energy_board({ENERGY_TAG!r}, {dict(serial_settings())!r})
        await board.power_on()
        await asyncio.sleep(1)
        print(board.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    bench = await asyncio.create_subprocess_exec(sys.executable, "-c", source, stdout=asyncio.subprocess.PIPE)
    assert bench.stdout is not None
    board = psutil.Process(int(await bench.stdout.readline()))
    assert board.is_running()
    bench.kill()
    await bench.wait()
    await eventually(lambda: not board.is_running() or board.status() == psutil.STATUS_ZOMBIE, 10, board)


@asynchronous
async def test_a_program_that_never_feeds_is_bitten(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        board = program(
            bench,
            """
import machine
print(machine.reset_cause())
if machine.reset_cause() == machine.WDT_RESET:
    print("done")
else:
    dog = machine.WDT(timeout=400)
    while True:
        pass
""",
        )
        await board.power_on()
        lines = await said(board)
        assert lines[:2] == ["1", "3"]


@asynchronous
async def test_a_uart_keeps_what_fits_its_buffer_and_loses_the_newest(tmp_path: Path) -> None:
    async with Bench(tmp_path, speed=20) as bench:
        board = bench.add_energy_board(ENERGY_TAG, serial_settings(), chip="cse7766")
        board.main = board.directory / "program.py"
        board.main.write_text(
            """
import machine, time
uart = machine.UART(1, 4800, bits=8, parity=0, stop=1, tx=17, rx=16, rxbuf=100)
time.sleep_ms(5000)
print(uart.any(), len(uart.read()))
wrong = machine.UART(1, 9600, tx=17, rx=16, rxbuf=512)
time.sleep_ms(1000)
wrong.read()
time.sleep_ms(2000)
print(b"\\xf2\\x5a" in wrong.read())
print("done")
"""
        )
        await board.power_on()
        lines = await said(board)
        assert lines[0] == "100 100"
        assert lines[1] == "False"


@asynchronous
async def test_the_interpreter_is_told_to_whoever_looks_when_it_is_not_micropython(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "elsewhere" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    bench = Bench(tmp_path)
    assert bench.interpreter.name == "cpython"
    assert "CPython" in capsys.readouterr().err
