"""An emulated chip behind a pty, a vendor image made by its documented format, and a made tag."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from wardtwin_sync.registry import Device
from wardtwin_sync.states import Transport
from wardtwin_tools.tag import firmware_files, provision
from wardtwin_tools.tag.ward_file import WardFile
from wardtwin_tools.tests.tag.vendor_images import vendor_bin

MADE_AT = 1_790_000_000
MOCK_TAG_ID = "240ac4e29526"
"""The mock's ESP32: Espressif's prefix and a hash of the chip's name."""


@pytest.fixture
def vendor_file(tmp_path: Path) -> Path:
    path = tmp_path / "ESP32_GENERIC-v1.28.0.bin"
    path.write_bytes(vendor_bin())
    return path


@contextmanager
def _chip(folder: Path, chip: str) -> Iterator[str]:
    """The path of a pty with a mock chip behind it, one session long.

    The mock ends a session seconds after a flash, even in the middle of the next one, unless it is told to end with its
    client; so it is told, and a client that never leaves is held here.
    """
    where = folder / f"{chip}.port"
    command = [sys.executable, "-m", "esp32_mock_bootloader.cli", "run", "--pty", "--port-file", str(where), "--chip", chip]
    command += ["--exit-on-disconnect", "--timeout", "240"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 20
            while not (where.exists() and where.read_text().startswith("/")):
                assert process.poll() is None, "the mock bootloader did not start"
                assert time.monotonic() < deadline, "the mock bootloader gave no port"
                time.sleep(0.05)
            port = where.read_text().strip()
            held = os.open(port, os.O_RDWR | os.O_NOCTTY)
            try:
                yield port
            finally:
                os.close(held)
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


@pytest.fixture
def small_firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The real wire and tag libraries under a main.py of one line: tests of the tools do not wait for the firmware's."""
    package = tmp_path / "checkout" / "tools" / "wardtwin_tools"
    package.mkdir(parents=True)
    root = package.parents[1] / "firmware"
    real = firmware_files.tag_files
    for folder in firmware_files.FOLDERS.values():
        (root / folder).mkdir(parents=True)
        (root / folder / "main.py").write_bytes(b'import wardtwin_wire.frame\nprint("tag starts")\n')
    (root / "lib").mkdir()
    for name in firmware_files.LIBRARIES:
        spec = find_spec(name)
        if spec is not None:
            (root / "lib" / name).symlink_to(next(iter(spec.submodule_search_locations or ())))
        else:
            (root / "lib" / name).mkdir()
    for user in ("bench_folder", "provision"):
        monkeypatch.setattr(f"wardtwin_tools.tag.{user}.tag_files", lambda kind: real(kind, package))
    return root


@pytest.fixture
def order() -> provision.Order:
    device = Device("PUMP-07", "Infusion pump 7", "infusion_pump", ward="ward-3")
    return provision.Order(MOCK_TAG_ID, "energy", WardFile(ward="ward-3"), Transport.SERIAL, device=device)


@pytest.fixture
def made(order: provision.Order, small_firmware: Path, tmp_path: Path) -> provision.Made:
    return provision.make(order, tmp_path / "tags", MADE_AT)
