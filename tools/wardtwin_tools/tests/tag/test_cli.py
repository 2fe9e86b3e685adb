"""The two commands as a technician and a script meet them."""

import http.server
import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from wardtwin_sync.registry import decode_card
from wardtwin_tools.tag import provision
from wardtwin_tools.tag.cli import tag_app
from wardtwin_tools.tests.tag.conftest import MOCK_TAG_ID

pytestmark = pytest.mark.usefixtures("small_firmware")

ENERGY = ["--kind", "energy", "--ward", "ward-3", "--device-id", "PUMP-07", "--device-name", "Pump 7", "--device-type", "infusion_pump"]


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(tag_app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def answer_of(stdout: str) -> dict[str, object]:
    lines = stdout.splitlines()
    assert len(lines) == 1, "everything but the one JSON line belongs on stderr"
    answer: dict[str, object] = json.loads(lines[0])
    return answer


class Door(http.server.BaseHTTPRequestHandler):
    seen: list[tuple[str, str | None, bytes]]
    status = 201

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, self.headers["Authorization"], body))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def door() -> Iterator[tuple[str, type[Door]]]:
    handler = type("OneDoor", (Door,), {"seen": []})
    server = http.server.HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_tag_is_made_from_the_chip_flashed_and_known_to_gateway_and_cloud(
    esp32: str, vendor_file: Path, tmp_path: Path, door: tuple[str, type[Door]]
) -> None:
    url, handler = door
    (tmp_path / "token").write_text("let me in")
    doors = ["--gateway", url, "--gateway-token-file", tmp_path / "token", "--cloud", url, "--cloud-token-file", tmp_path / "token"]
    code, stdout, stderr = run("provision", "--port", esp32, *ENERGY, "--transport", "serial", *doors, "--out", tmp_path / "tags", "--json")
    assert code == 0, stderr
    made = answer_of(stdout)
    assert (made["tag_id"], made["key"], made["gateway"], made["cloud"]) == (
        MOCK_TAG_ID,
        "new",
        {"status": "registered", "detail": f"{url}/api/tags"},
        {"status": "registered", "detail": f"{url}/api/v1/tags"},
    )
    assert "bthome_bind_key" not in made
    card_file = Path(str(made["card"]))
    card = decode_card(card_file.read_bytes())
    assert stat.S_IMODE(os.stat(card_file).st_mode) == 0o600
    assert card.key_hex not in stdout + stderr
    assert [(path, token) for path, token, _ in handler.seen] == [("/api/tags", "Bearer let me in"), ("/api/v1/tags", "Bearer let me in")]
    assert card.key_hex.encode() in handler.seen[0][2]
    assert card.key_hex.encode() not in handler.seen[1][2]

    code, stdout, stderr = run("flash", "--card", card_file, "--image", vendor_file, "--port", esp32, "--json")
    assert code == 0, stderr
    flashed = answer_of(stdout)
    assert (flashed["verified"], flashed["queue"], flashed["chip"], flashed["firmware"]) == (
        True,
        "emptied",
        "ESP32",
        "micropython v1.28.0",
    )
    assert "Flashed and verified" in stderr

    code, stdout, _ = run("flash", "--card", card_file, "--image", vendor_file, "--port", esp32, "--json")
    assert (code, answer_of(stdout)["queue"]) == (0, "kept")
    assert decode_card(card_file.read_bytes()) == card


def test_a_dry_run_opens_no_port_and_says_what_would_go_where(made: provision.Made, vendor_file: Path) -> None:
    card = made.folder.path / "card.json"
    code, stdout, stderr = run("flash", "--card", card, "--image", vendor_file, "--port", "/dev/absent", "--dry-run", "--json")
    assert code == 0
    answer = answer_of(stdout)
    assert answer["dry_run"] is True
    regions = answer["regions"]
    assert isinstance(regions, list)
    assert [(r["label"], r["offset"]) for r in regions] == [
        ("bootloader", 0x1000),
        ("table", 0x8000),
        ("factory", 0x10000),
        ("vfs", 0x200000),
        ("queue", 0x380000),
    ]
    assert "nothing was written" in stderr
    assert not made.folder.was_flashed(made.card)


def test_without_a_network_the_card_stays_and_the_next_steps_are_told(tmp_path: Path) -> None:
    code, stdout, stderr = run("provision", "--tag-id", "24:0A:C4:E2:95:26", *ENERGY, "--transport", "ble", "--out", tmp_path, "--json")
    assert code == 0
    answer = answer_of(stdout)
    assert answer["gateway"] == answer["cloud"] == {"status": "not asked", "detail": ""}
    assert "wardtwin-edge tag add" in stderr
    assert "wardtwin tag flash --card" in stderr
    assert (tmp_path / MOCK_TAG_ID / "card.json").exists()


def test_a_gateway_out_of_reach_leaves_a_made_tag_and_an_exit_code_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    doors = ["--gateway", "http://127.0.0.1:9", "--gateway-token-file", tmp_path / "token"]
    code, stdout, stderr = run("provision", "--tag-id", MOCK_TAG_ID, *ENERGY, "--transport", "ble", "--out", tmp_path, *doors, "--json")
    assert code == 3
    gateway = answer_of(stdout)["gateway"]
    assert isinstance(gateway, dict)
    assert gateway["status"] == "unreachable"
    assert "wardtwin-edge tag add" in stderr
    assert (tmp_path / MOCK_TAG_ID / "card.json").exists()


def test_the_bind_key_is_shown_only_when_asked_for(tmp_path: Path) -> None:
    arguments = ["provision", "--tag-id", MOCK_TAG_ID, *ENERGY, "--transport", "ble", "--out", tmp_path]
    _, stdout, _ = run(*arguments)
    assert stdout == ""
    _, stdout, _ = run(*arguments, "--show-bind-key")
    key = bytes.fromhex(decode_card((tmp_path / MOCK_TAG_ID / "card.json").read_bytes()).key_hex)
    shown = stdout.split()[-1]
    assert len(shown) == 32
    assert shown != key.hex()
    _, stdout, _ = run(*arguments, "--show-bind-key", "--json")
    assert answer_of(stdout)["bthome_bind_key"] == shown
    assert answer_of(stdout)["key"] == "kept"


@pytest.mark.parametrize(
    ("arguments", "words", "advice"),
    [
        (["provision", *ENERGY, "--transport", "ble"], "needs an id", "--port"),
        (["provision", *ENERGY, "--tag-id", MOCK_TAG_ID], "needs a transport", "--transport"),
        (["provision", *ENERGY, "--tag-id", "pump", "--transport", "ble"], "no tag id", "12 hex digits"),
        (
            ["provision", "--kind", "energy", "--ward", "w", "--tag-id", MOCK_TAG_ID, "--transport", "ble"],
            "sits on a device",
            "--device-id",
        ),
        (["provision", *ENERGY, "--port", "/dev/absent", "--transport", "ble"], "there is no /dev/absent", "Plug the board in"),
        (
            ["provision", *ENERGY, "--tag-id", MOCK_TAG_ID, "--transport", "mqtt", "--wifi-ssid", "x"],
            "Wi-Fi password",
            "--wifi-password-file",
        ),
        (
            ["provision", *ENERGY, "--tag-id", MOCK_TAG_ID, "--transport", "ble", "--cloud", "https://x"],
            "wants a token",
            "--cloud-token-file",
        ),
        (["provision", *ENERGY, "--tag-id", MOCK_TAG_ID, "--transport", "ble", "--ward-file", "absent.toml"], "absent.toml", "--ward-file"),
        (["flash", "--card", "absent.json", "--image", "absent.bin"], "there is no absent.json", "wardtwin tag provision"),
    ],
)
def test_an_error_says_what_to_do_next_and_makes_nothing(
    arguments: list[str], words: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    code, stdout, stderr = run(*arguments, "--json")
    assert code == 1
    assert words in stderr
    assert advice in stderr.splitlines()[-1]
    assert words in str(answer_of(stdout)["error"])
    assert sorted(tmp_path.rglob("*")) == before


def test_flash_without_a_port_asks_for_it(made: provision.Made, vendor_file: Path) -> None:
    code, _, stderr = run("flash", "--card", made.folder.path / "card.json", "--image", vendor_file)
    assert code == 1
    assert "--port" in stderr.splitlines()[-1]


def test_an_image_of_another_chip_is_told_in_the_words_of_the_shop(made: provision.Made, tmp_path: Path) -> None:
    from wardtwin_tools.tests.tag.vendor_images import vendor_bin

    (tmp_path / "s3.bin").write_bytes(vendor_bin(chip=9))
    code, _, stderr = run("flash", "--card", made.folder.path / "card.json", "--image", tmp_path / "s3.bin", "--dry-run")
    assert code == 1
    assert "ESP32-S3" in stderr
    assert "ESP32_GENERIC" in stderr.splitlines()[-1]
