"""What the doctor finds on machines that have and lack things."""

import json
import shutil
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from wardtwin_tools import doctor


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(doctor.list_ports, "comports", list)


def run(*arguments: str) -> tuple[int, str, str]:
    app = typer.Typer()
    app.command()(doctor.doctor)
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_the_last_line_of_stdout_is_one_object_with_every_check() -> None:
    code, stdout, stderr = run("--json")
    answer = json.loads(stdout)
    assert stdout.count("\n") == 1
    assert [finding["name"] for finding in answer["findings"]] == [
        "python", "packages", "micropython", "mosquitto", "chromium", "serial ports", "demo page",
    ]  # fmt: skip
    assert answer["healthy"] is (code == 0)
    assert "python" in stderr


@pytest.mark.usefixtures("bare_machine")
def test_a_bare_machine_is_healthy_and_every_lack_has_its_advice() -> None:
    findings = [doctor.micropython(), doctor.mosquitto(), doctor.chromium(), doctor.serial_ports()]
    assert {finding.verdict for finding in findings} == {"optional"}
    assert all(finding.advice for finding in findings)


def test_an_interpreter_that_does_not_run_is_told_apart_from_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "micropython"
    broken.write_bytes(b"\x7fELF broken")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert doctor.micropython().verdict == "missing"


def test_a_missing_extra_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name in ("bumble", "granian") else SimpleNamespace())
    finding = doctor.packages()
    assert (finding.verdict, finding.advice) == ("missing", "pip install 'wardtwin[cloud,demo]'")
    monkeypatch.setattr(doctor, "CHECKS", (doctor.packages,))
    code, _, stderr = run()
    assert code == 1
    assert "wardtwin[cloud,demo]" in stderr.splitlines()[-1]


def test_a_port_one_may_not_open_is_missing_with_the_group_to_join(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    board = tmp_path / "ttyUSB0"
    board.touch()
    monkeypatch.setattr(doctor.list_ports, "comports", lambda: [SimpleNamespace(device=str(board), vid=0x10C4)])
    assert doctor.serial_ports() == doctor.Finding("serial ports", "ok", str(board))
    monkeypatch.setattr("wardtwin_tools.tag.esp_port.os.access", lambda path, mode: False)
    finding = doctor.serial_ports()
    assert finding.verdict == "missing"
    assert "usermod" in finding.advice


def test_a_busy_page_port_is_told_with_the_way_around(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        monkeypatch.setattr(doctor, "DEMO_PORT", busy.getsockname()[1])
        finding = doctor.demo_port()
    assert finding.verdict == "optional"
    assert "--port" in finding.advice


def test_an_old_python_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "OLDEST_PYTHON", (99, 0))
    assert doctor.python().verdict == "missing"
