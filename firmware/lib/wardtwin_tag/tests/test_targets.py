"""The firmware beyond this machine's Python: cross compiler, 32-bit MicroPython, another BTHome receiver, the board's types."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from wardtwin_tag import settings
from wardtwin_tag.tests.test_checks import CHECKS, FIRMWARE, LIB, NAMES
from wardtwin_wire import keys
from wardtwin_wire.tests import goldens
from wardtwin_wire.tests.test_wire import GOLDEN, block_of

WASM = FIRMWARE / "wasm"
SOURCES = sorted(
    path
    for folder in (LIB, FIRMWARE / "energy_tag", FIRMWARE / "environment_tag")
    for path in folder.rglob("*.py")
    if "tests" not in path.parts
)


def tool(name):
    return shutil.which(name) or str(Path(sys.executable).parent / name)


def test_every_file_of_the_firmware_compiles_for_an_esp32(tmp_path):
    assert len(SOURCES) > 30
    for path in SOURCES:
        out = tmp_path / "out.mpy"
        done = subprocess.run([tool("mpy-cross"), "-march=xtensawin", "-o", out, path], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{path}: {done.stderr}"


@pytest.fixture(scope="module")
def wasm_runner():
    """The runner, with its package installed as the lock file says; skipped where there is no Node or no registry."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no Node")
    if not (WASM / "node_modules").exists():
        done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=WASM, capture_output=True, text=True, timeout=120)
        if done.returncode:
            pytest.skip("npm ci failed: " + done.stderr[-200:])
    return WASM / "run.mjs"


def test_goldens_and_checks_hold_on_a_32_bit_interpreter(wasm_runner):
    done = subprocess.run(["node", wasm_runner, *NAMES], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert lines[0] == "goldens ok: 16"
    assert lines[-1] == f"checks ok: {len(CHECKS)}"


# the raw object (0x54) is ours: another receiver shows its bytes
EXPECTED = {
    "advert_energy_0": {"power": 12.34, "current": 0.061, "voltage": 230.1},
    "advert_energy_1": {"energy": 123.457},
    "advert_environment_0": {"temperature": -3.25, "humidity": 45.5, "pressure": 1013.2},
    "advert_environment_1": {"pm25": 5, "pm10": 8, "carbon_dioxide": 640},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_another_bthome_receiver_reads_the_same_values(name):
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData
    from bthome_ble import BTHomeBluetoothDeviceData
    from habluetooth import BluetoothServiceInfoBleak

    advert = bytes.fromhex(json.loads(GOLDEN.read_text())[name])
    data = advert[7 : 4 + advert[3]]
    address = ":".join(f"{byte:02X}" for byte in goldens.ADDRESS)
    uuid = "0000fcd2-0000-1000-8000-00805f9b34fb"
    seen = BluetoothServiceInfoBleak(
        name="tag",
        address=address,
        rssi=-60,
        manufacturer_data={},
        service_data={uuid: data},
        service_uuids=[uuid],
        source="test",
        device=BLEDevice(address, "tag", {}),
        advertisement=AdvertisementData("tag", {}, {uuid: data}, [uuid], None, -60, ()),
        connectable=False,
        time=time.time(),
        tx_power=None,
    )
    bind_key = keys.derive(block_of(goldens.KEY), keys.BTHOME)
    receiver = BTHomeBluetoothDeviceData(bindkey=bind_key)
    update = receiver.update(seen)
    assert receiver.bindkey_verified
    values = {key.key: value.native_value for key, value in update.entity_values.items()}
    assert EXPECTED[name].items() <= values.items()


def pyright_errors(project, stubs):
    command = [tool("pyright"), "--project", project, "--typeshedpath", stubs, "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    return [item for item in json.loads(done.stdout)["generalDiagnostics"] if item["severity"] == "error"]


def test_the_boards_types_hold_and_a_planted_error_is_caught(tmp_path):
    """One run over the firmware and a planted file: the errors are the planted ones and no others."""
    # the stubs replace parts of the standard library too, whose place differs from venv to venv
    stubs = Path(sysconfig.get_path("purelib"))
    config = json.loads((FIRMWARE / "pyrightconfig.json").read_text())
    planted = tmp_path / "planted.py"
    planted.write_text(
        "import machine\nimport time\n"
        "machine.Pin(2, machine.Pin.OUTPUT)\nmachine.UART(1, 4800).red()\ntime.ticks_msx()\nmachine.WDT(timeout='60 s')\n"
    )
    for name in ("include", "extraPaths"):
        config[name] = [str(FIRMWARE / path) for path in config[name]]
    config["include"].append(str(tmp_path))
    del config["venv"], config["venvPath"]
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
    errors = pyright_errors(tmp_path / "pyrightconfig.json", stubs)
    assert {Path(item["file"]).name for item in errors} == {"planted.py"}, errors
    assert [item["range"]["start"]["line"] for item in errors] == [2, 3, 4, 5], errors


def test_the_pin_table_and_the_drawings_show_the_defaults_of_the_settings():
    docs = FIRMWARE.parent / "docs"
    raw = {"schema": 1, "kind": "energy", "key": "00" * 16, "ward": "w", "transport": "ble"}
    raw["sensors"] = {"bme280": {}, "sgp40": {}, "pms5003": {}, "gas": {}}
    loaded = settings.load(json.dumps(raw))
    rows = re.findall(r"^\| `((?:meter|sensors)\.[\w.]+)` \| GPIO(\d+) \|", (docs / "firmware.md").read_text(), re.M)
    shown = {name: int(pin) for name, pin in rows}
    pins = {f"meter.uart.{end}": loaded.meter["uart"][end] for end in ("tx", "rx")}
    for name, section in loaded.sensors.items():
        bus = "uart" if "uart" in section else "i2c"
        pins |= {f"sensors.{name}.{bus}.{end}": pin for end, pin in section[bus].items() if end != "id"}
    assert shown == pins
    for kind, prefix in (("energy_tag", "meter"), ("environment_tag", "sensors")):
        drawn = set(re.findall(r"GPIO(\d+)  UART|(?:SDA|SCL|TX|RX)  GPIO(\d+)", (docs / "wiring" / f"{kind}.svg").read_text()))
        assert {int(a or b) for a, b in drawn} == {pin for name, pin in pins.items() if name.startswith(prefix)}
