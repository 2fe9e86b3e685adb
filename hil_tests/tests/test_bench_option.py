"""The suite against a port: here an emulated board's, as if it were a real one's. Its reset line cannot be tried this way."""

import asyncio
import sys
from pathlib import Path

from wardtwin_board.bench import Bench
from wardtwin_board.signals import constant

from .asynchronous import asynchronous
from .ward import ENERGY_TAG, KEY_HEX, serial_settings

HERE = Path(__file__).parent


@asynchronous
async def test_the_suite_for_any_board_runs_against_a_port_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    async with Bench(tmp_path / "bench", speed=1) as bench:
        board = bench.add_energy_board(ENERGY_TAG, serial_settings(), constant(30.0))
        await board.power_on()
        run = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "pytest", str(HERE), "-q", "-p", "no:cacheprovider", f"--bench=serial:{board.serial_path}", f"--tag-key={KEY_HEX}"),
            *("-k", "says_who_it_is or reports_come or brown_out", f"--basetemp={tmp_path / 'inner'}"),
            cwd=HERE.parent.parent,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await run.communicate())[0].decode()
        assert run.returncode == 0, output[:6000]
        assert "2 passed" in output
        assert "left out on a real board" in output
        assert "test_a_brown_out_during_a_flash_write_loses_no_accepted_frame" in output
