"""A serial port with an ESP32's bootloader behind it, through esptool as a process of its own.

esptool's exit codes and messages are the interface (5.6.0, pinned); a process can be ended when a port hangs.
"""

import errno
import grp
import os
import re
import selectors
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from serial.tools import list_ports

from wardtwin_tools.tag.errors import ChipError, FlashError, PortError

CHIP = "ESP32"
DEFAULT_BAUD = 460_800
SAFE_BAUD = 115_200
CONNECT_LIMIT_S = 25.0
"""For the whole of a short command: three attempts with resets take about ten on a real board."""
QUIET_LIMIT_S = 90.0
"""Longest silence while writing: erasing one large region takes up to half a minute on slow flash."""

_BOOT_ADVICE = (
    "Hold the board's BOOT button, tap EN (reset), let BOOT go and try again; check that the USB cable carries data, not power alone."
)
_AGAIN = "Flash the tag again, with a shorter cable and without a hub; what is on the chip now may not start."
_PROGRESS = re.compile(r"(?:Writing at|Reading from) 0x[0-9a-f]+ .*?([\d.]+)%")
_REGION = re.compile(r"(?:Writing '.*'|Wrote \d+ bytes.*?) at 0x([0-9a-f]+)")


@dataclass(frozen=True)
class Chip:
    """`tag_id` is the base MAC, 12 hex digits. `flash_bytes` is 0 if the flash did not say."""

    name: str
    tag_id: str
    flash_bytes: int


class EspPort:
    """`command` runs esptool (an argument for the tests).

    `slowed`: a transfer broke and went through at SAFE_BAUD; a shorter cable would help.
    """

    def __init__(
        self,
        port: str,
        *,
        baud: int = DEFAULT_BAUD,
        connect_limit_s: float = CONNECT_LIMIT_S,
        quiet_limit_s: float = QUIET_LIMIT_S,
        command: Sequence[str] = (sys.executable, "-u", "-m", "esptool"),
    ) -> None:
        self.port = port
        self._baud = baud
        self._connect_limit_s = connect_limit_s
        self._quiet_limit_s = quiet_limit_s
        self._command = tuple(command)
        self.slowed = False

    def identify(self) -> Chip:
        """Ask the chip what it is. Raise PortError, or ChipError when it is silent or not an ESP32."""
        check_port(self.port)
        text = "\n".join(self._run(["--connect-attempts", "3", "flash-id"], total_s=self._connect_limit_s))
        name, mac = _find(r"Connected to (\S+)", text), _find(r"MAC:\s+([0-9a-f:]{17})", text)
        if name != CHIP:
            raise ChipError(
                f"the chip on {self.port} is an {name}, the tag's firmware is for the {CHIP}",
                "Use a board with an ESP32-WROOM-32 or -WROVER module.",
            )
        size = re.search(r"Detected flash size: (\d+)(KB|MB)", text)
        return Chip(name, mac.replace(":", ""), int(size[1]) * (1024 if size[2] == "KB" else 1024 * 1024) if size else 0)

    def read(self, offset: int, size: int) -> bytes:
        with tempfile.TemporaryDirectory(prefix="wardtwin-") as folder:
            target = Path(folder, "read.bin")
            self._transfer(["read-flash", hex(offset), hex(size), str(target)], lambda line: None)
            content = target.read_bytes()
        if len(content) != size:
            raise FlashError(f"{len(content):,} of {size:,} bytes were read", _AGAIN)
        return content

    def write(
        self,
        regions: Sequence[tuple[int, bytes]],
        *,
        erase_all: bool = False,
        progress: Callable[[int, int], None] = lambda offset, done: None,
    ) -> None:
        """Write each (offset, content) and have the chip's own MD5 of it compared. `progress` gets a region's offset and bytes done.

        The bootloader's header gets 4 MB as its flash size: with the 2 MB some images carry, it would refuse the tag's table.
        """
        with tempfile.TemporaryDirectory(prefix="wardtwin-") as folder:  # 0700: the filesystem holds the key
            arguments = ["write-flash", "--flash-size", "4MB"]
            arguments += ["--erase-all"] if erase_all else []
            for offset, content in regions:
                path = Path(folder, f"{offset:#08x}.bin")
                path.write_bytes(content)
                arguments += [hex(offset), str(path)]
            sizes = {offset: len(content) for offset, content in regions}
            at = regions[0][0]  # of a single region esptool does not say that it begins
            verified: set[int] = set()

            def said(line: str) -> None:
                nonlocal at
                if region := _REGION.search(line):
                    at = int(region[1], 16)
                elif moves := _PROGRESS.search(line):
                    progress(at, int(sizes.get(at, 0) * float(moves[1]) / 100))
                elif "Hash of data verified" in line:
                    verified.add(at)
                    progress(at, sizes.get(at, 0))

            self._transfer(arguments, said)
            if verified != sizes.keys():
                raise FlashError(f"{len(verified)} of {len(regions)} regions were verified", _AGAIN)

    def _transfer(self, arguments: list[str], said: Callable[[str], None]) -> None:
        """Run a long command, and once more slowly if it breaks: long cables and cheap adapters lose bytes at speed."""
        for baud in (SAFE_BAUD,) if self.slowed else (self._baud, SAFE_BAUD):
            try:
                for line in self._run(["--chip", CHIP.lower(), "--baud", str(baud), *arguments], quiet_s=self._quiet_limit_s):
                    said(line)
                return
            except FlashError:
                if baud <= SAFE_BAUD:
                    raise
                self.slowed = True

    def _run(self, arguments: list[str], *, total_s: float | None = None, quiet_s: float | None = None) -> Iterator[str]:
        """Yield esptool's lines as they come; raise what its end means."""
        environment = os.environ | {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200", "PYTHONUTF8": "1"}
        started = time.monotonic()
        lines: list[str] = []
        with subprocess.Popen(
            [*self._command, "--port", self.port, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        ) as process:
            try:
                for line in _lines(process, None if total_s is None else started + total_s, quiet_s):
                    lines.append(line)
                    yield line
            except TimeoutError:
                raise ChipError(
                    f"the chip on {self.port} stopped answering after {time.monotonic() - started:.0f} s", _BOOT_ADVICE
                ) from None
            finally:
                if process.poll() is None:
                    process.kill()
        if process.returncode:
            raise _meaning(self.port, lines, process.returncode)


def check_port(port: str) -> None:
    """Raise PortError for a port that is not there or not ours to open. Anything with :// is left to pyserial."""
    if "://" in port or not port.startswith("/"):
        return
    if not os.path.exists(port):
        here = ", ".join(sorted(found.device for found in list_ports.comports())) or "none"
        raise PortError(f"there is no {port}", f"Plug the board in; serial ports here now: {here}.")
    if not os.access(port, os.R_OK | os.W_OK):
        raise PortError(f"you may not open {port}", _permission_advice(port))


def _permission_advice(port: str) -> str:
    group = "dialout"
    try:
        owner = os.stat(port)
        if owner.st_gid and owner.st_mode & stat.S_IWGRP:  # a port of root's own group is a missing udev rule, not a group to join
            group = grp.getgrgid(owner.st_gid).gr_name
    except (KeyError, OSError):
        pass
    return f"Join its group with `sudo usermod -aG {group} $USER`, then log out and in again."


def _lines(process: subprocess.Popen[bytes], deadline: float | None, quiet_s: float | None) -> Iterator[str]:
    """Lines of the process as they end (a carriage return ends one too). Raise TimeoutError past `deadline` or after a silence."""
    assert process.stdout is not None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            limits = [] if quiet_s is None else [quiet_s]
            if deadline is not None:
                limits.append(max(deadline - time.monotonic(), 0))
            if not selector.select(min(limits) if limits else None):
                raise TimeoutError
            block = os.read(process.stdout.fileno(), 65536)
            if not block:
                break
            *ended, rest = re.split(rb"[\r\n]", rest + block)
            yield from (line.decode("utf-8", "replace") for line in ended if line)
    if rest:
        yield rest.decode("utf-8", "replace")
    process.wait()


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise ChipError(
            "esptool answered in words this version does not know", "Install the pinned esptool: `pip install wardtwin[tools]`."
        )
    return found[1]


def _meaning(port: str, lines: Sequence[str], code: int) -> Exception:
    """Translate esptool's last words."""
    text = " ".join(lines)
    wrong = re.search(r"This chip is (?:an? )?(\S+?),? not (\S+?)[.,]", text)
    if wrong:
        return ChipError(
            f"the chip on {port} is an {wrong[1]}, the tag's firmware is for the {CHIP}",
            "Use a board with an ESP32-WROOM-32 or -WROVER module.",
        )
    if f"Errno {errno.EACCES}" in text:
        return PortError(f"you may not open {port}", _permission_advice(port))
    if f"Errno {errno.ENOENT}" in text:
        return PortError(f"there is no {port}", "Plug the board in and look with `python -m serial.tools.list_ports`.")
    if "port is busy" in text or f"Errno {errno.EBUSY}" in text or "exclusively lock" in text:
        return PortError(
            f"{port} is in use by another program",
            f"Close the serial monitor, mpremote or gateway that holds it (`fuser {port}` names it).",
        )
    if "Failed to connect" in text or "No serial data received" in text:
        return ChipError(f"no ESP32 answers on {port}", _BOOT_ADVICE)
    last = next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else "no output")
    return FlashError(f"esptool ended with code {code}: {last.strip()}", _AGAIN)
