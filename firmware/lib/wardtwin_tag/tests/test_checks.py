"""The checks of the tag logic, one by one on CPython, all at once on the MicroPython interpreter, and 32 bits wide in Node."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from wardtwin_tag.tests import checks_chips, checks_link, checks_logic
from wardtwin_tag.tests.run_checks import checks_of

LIB = Path(__file__).parents[2]
FIRMWARE = LIB.parent
MODULES = (checks_chips, checks_logic, checks_link)
CHECKS = [check for module in MODULES for check in checks_of(module)]
NAMES = [module.__name__ for module in MODULES]
MICROPYTHON = shutil.which("micropython") or str(Path(os.sys.executable).parent / "micropython")

needs_micropython = pytest.mark.skipif(not Path(MICROPYTHON).exists(), reason="no MicroPython interpreter for this platform")


def micropython(*arguments):
    """Run with the heap of a tag; return its standard output."""
    environment = {**os.environ, "MICROPYPATH": f"{LIB}:.frozen"}
    command = [MICROPYTHON, "-X", "heapsize=320K", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize(("name", "check"), CHECKS, ids=[name for name, _ in CHECKS])
def test_on_cpython(name, check):
    check()


@needs_micropython
def test_all_checks_hold_on_micropython_within_the_heap_of_a_tag():
    out = micropython(Path(__file__).with_name("run_checks.py"), *NAMES).split()
    assert [word for word in out if word.startswith("check_")] == [name for name, _ in CHECKS]
    assert int(out[-1]) == len(CHECKS)


@needs_micropython
def test_checks_of_the_node_hold_on_micropython():
    out = micropython(Path(__file__).with_name("run_checks.py"), "wardtwin_node.tests.checks_chip").split()
    assert int(out[-1]) == 5


@needs_micropython
def test_golden_frames_are_made_and_read_on_micropython():
    tests = LIB / "wardtwin_wire" / "tests"
    assert micropython(tests / "goldens.py", tests / "golden" / "frames.json").strip() == "goldens ok: 16"
