"""An emulated chip behind a pty, a vendor image made by its documented format, and a made tag."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from wardtwin_tools.tests.tag.vendor_images import vendor_bin

MOCK_TAG_ID = "240ac4e29526"
"""The mock's ESP32: Espressif's prefix and a hash of the chip's name."""


@pytest.fixture
def vendor_file(tmp_path: Path) -> Path:
    path = tmp_path / "ESP32_GENERIC-v1.28.0.bin"
    path.write_bytes(vendor_bin())
    return path


@contextmanager
def _chip(folder: Path, chip: str) -> Iterator[str]:
    where = folder / f"{chip}.port"
    command = [
        sys.executable,
        "-m",
        "esp32_mock_bootloader.cli",
        "run",
        "--pty",
        "--port-file",
        str(where),
        "--chip",
        chip,
        "--timeout",
        "240",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 20
            while not (where.exists() and where.read_text().startswith("/")):
                assert process.poll() is None, "the mock bootloader did not start"
                assert time.monotonic() < deadline, "the mock bootloader gave no port"
                time.sleep(0.05)
            yield where.read_text().strip()
        finally:
            process.kill()


@pytest.fixture
def chip_on_port(tmp_path: Path) -> Callable[[str], AbstractContextManager[str]]:
    return lambda chip: _chip(tmp_path, chip)


@pytest.fixture
def esp32(tmp_path: Path) -> Iterator[str]:
    with _chip(tmp_path, "esp32") as port:
        yield port


@pytest.fixture
def silent_port() -> Iterator[str]:
    ours, theirs = os.openpty()
    try:
        yield os.ttyname(theirs)
    finally:
        for end in (ours, theirs):
            with contextlib.suppress(OSError):
                os.close(end)
