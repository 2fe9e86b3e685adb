"""A made tag: its card, settings, keys and secrets."""

import datetime
import json
import shutil
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from wardtwin_sync.registry import decode_card
from wardtwin_sync.states import Transport
from wardtwin_tools.tag import identity, keys, provision, settings, ward_file
from wardtwin_tools.tag.errors import SettingsError
from wardtwin_tools.tests.tag.conftest import MOCK_TAG_ID
from wardtwin_wire import keys as wire_keys

WARD = """
ward = "ward-3"
transport = "mqtt"
[wifi]
ssid = "ward-iot"
password_file = "wifi.password"
[broker]
host = "gateway.ward-3.example"
ca_file = "ca.pem"
[meter]
shunt_ohm = 0.002
[sensors.bme280]
address = 119
[sensors.gas]
chip = "sfa30"
"""


def certificate() -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ward CA")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=9))
    return builder.sign(key, hashes.SHA256())


@pytest.fixture
def ward(tmp_path: Path) -> ward_file.WardFile:
    (tmp_path / "ward.toml").write_text(WARD)
    (tmp_path / "ca.pem").write_bytes(b"# the ward's CA\n" + certificate().public_bytes(serialization.Encoding.PEM))
    (tmp_path / "wifi.password").write_text("secret of the ward\n")
    return ward_file.read(tmp_path / "ward.toml")


def test_the_settings_of_an_mqtt_tag_are_those_the_firmware_reads(
    order: provision.Order, ward: ward_file.WardFile, small_firmware: Path, tmp_path: Path
) -> None:
    made = provision.make(replace(order, ward=ward, transport=Transport.MQTT, wifi_password="p"), tmp_path / "tags")
    own = json.loads((made.folder.path / "settings.json").read_bytes())
    password = own["broker"].pop("password")
    assert len(password) >= 20
    assert own == {
        "schema": 1,
        "kind": "energy",
        "key": made.card.key_hex,
        "ward": "ward-3",
        "transport": "mqtt",
        "report_period_s": 1,
        "ble": {"advert_interval_ms": 250, "beacon_tx_power_dbm": -4, "scan_period_s": 15, "scan_window_ms": 1500},
        "wifi": {"ssid": "ward-iot", "password": "p"},
        "broker": {"host": "gateway.ward-3.example", "port": 8883, "tls": True, "ca_der": "ca.der", "user": MOCK_TAG_ID},
        "meter": {"chip": "bl0942", "uart": {"id": 1, "tx": 17, "rx": 16}, "shunt_ohm": 0.002},
    }
    x509.load_der_x509_certificate((made.folder.path / "ca.der").read_bytes())
    again = provision.make(replace(order, ward=ward, transport=Transport.MQTT, wifi_password="q"), tmp_path / "tags")
    assert not again.new_key
    assert again.card == made.card
    assert json.loads((made.folder.path / "settings.json").read_bytes())["broker"]["password"] == password


def test_the_card_binds_tag_and_device_and_is_a_card_to_the_gateway(made: provision.Made) -> None:
    card = decode_card((made.folder.path / "card.json").read_bytes())
    assert card == made.card
    assert (card.binding.tag_id, card.binding.device_id, card.binding.ble_address, card.binding.room_id) == (
        MOCK_TAG_ID,
        "PUMP-07",
        None,
        None,
    )
    assert made.new_key
    assert card.key_hex not in repr(made.card.binding)


def test_an_environment_tag_is_a_beacon_and_carries_the_sensors_asked_for(
    order: provision.Order, small_firmware: Path, tmp_path: Path
) -> None:
    room = replace(order, kind="environment", device=None, room_id="r-101", sensors=("bme280", "gas"))
    made = provision.make(room, tmp_path / "tags")
    assert made.card.binding.ble_address == "24:0A:C4:E2:95:28"
    assert made.card.binding.room_id == "r-101"
    own = made.folder.settings()
    assert own is not None
    assert own["sensors"] == {
        "bme280": {"i2c": {"id": 0, "scl": 22, "sda": 21}, "address": 118},
        "gas": {"chip": "scd41", "i2c": {"id": 0, "scl": 22, "sda": 21}},
    }
    assert "wifi" not in own
    assert "meter" not in own


def test_the_ward_file_s_sensors_go_over_the_defaults(ward: ward_file.WardFile) -> None:
    own = settings.build(tag_id=MOCK_TAG_ID, kind="environment", key=bytes(16), ward=ward, transport=Transport.BLE)
    assert own["sensors"]["bme280"]["address"] == 119
    assert own["sensors"]["gas"]["chip"] == "sfa30"
    assert set(own["sensors"]) == {"bme280", "gas"}


@given(st.binary(min_size=16, max_size=16))
def test_the_bind_key_is_the_one_the_tag_derives(key: bytes) -> None:
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    assert keys.bthome_bind_key(key) == wire_keys.derive(block.update, wire_keys.BTHOME)


def test_two_new_keys_differ() -> None:
    assert keys.new_key() != keys.new_key()
    assert len(keys.new_key()) == 16


@pytest.mark.parametrize("text", ["24:0A:C4:E2:95:26", "24-0a-c4-e2-95-26", " 240AC4E29526\n", "240a.c4e2.9526"])
def test_a_mac_in_any_usual_spelling_is_the_tag_s_id(text: str) -> None:
    assert identity.tag_id(text) == MOCK_TAG_ID


@pytest.mark.parametrize("text", ["", "240ac4e2952", "240ac4e295266", "240ac4e2952g", "../../etc/pass"])
def test_anything_else_is_no_tag_id(text: str) -> None:
    with pytest.raises(SettingsError, match="no tag id"):
        identity.tag_id(text)


def test_the_radio_s_address_is_the_mac_plus_two_and_wraps_in_its_last_byte() -> None:
    assert identity.ble_address("240ac4e295fe") == "24:0A:C4:E2:95:00"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"device": None}, "sits on a device"),
        ({"kind": "environment"}, "sits in a room"),
        ({"ward": ward_file.WardFile()}, "needs a ward"),
        ({"transport": Transport.MQTT}, "needs a Wi-Fi"),
        ({"transport": Transport.MQTT, "ward": ward_file.WardFile(ward="w", wifi=ward_file.Wifi("s"))}, "needs a broker"),
        (
            {"transport": Transport.MQTT, "ward": ward_file.WardFile(ward="w", wifi=ward_file.Wifi("s"), broker=ward_file.Broker("h"))},
            "CA certificate",
        ),
        ({"ward": ward_file.WardFile(ward="w", meter={"chip": "hlw8012"})}, "no driver for a hlw8012"),
        ({"kind": "environment", "room_id": "r", "sensors": ("dht11",)}, "no driver for dht11"),
    ],
)
def test_an_impossible_tag_is_refused_and_leaves_nothing_behind(
    order: provision.Order, small_firmware: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        provision.make(changed(order, change), tmp_path / "tags")
    assert not (tmp_path / "tags").exists()


def changed(order: provision.Order, change: dict[str, object]) -> provision.Order:
    return replace(order, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["ward = 3", "wards = 'x'", "[wifi]\npassword = 'in clear'", "[broker]\nport = 'x'", "no toml", "schema = 2"]
)
def test_a_faulty_ward_file_is_told_with_the_place(tmp_path: Path, text: str) -> None:
    (tmp_path / "ward.toml").write_text(text)
    with pytest.raises(SettingsError, match=r"ward\.toml: "):
        ward_file.read(tmp_path / "ward.toml")


@pytest.mark.parametrize(
    "raw", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"-----BEGIN PRIVATE KEY-----\nAAAA", b"0\x82"]
)
def test_a_ca_file_without_a_certificate_is_refused(raw: bytes) -> None:
    with pytest.raises(SettingsError, match="no certificate"):
        settings.ca_der(raw)


def test_a_ca_in_der_is_taken_as_it_is() -> None:
    der = certificate().public_bytes(serialization.Encoding.DER)
    assert settings.ca_der(der) == der


@pytest.mark.parametrize("text", ["", "two\nlines", "\n"])
def test_a_secret_file_holds_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "secret").write_text(text)
    with pytest.raises(SettingsError, match="one line"):
        ward_file.secret(tmp_path / "secret")


@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="needs mosquitto")
def test_mosquitto_lets_the_tag_in_with_the_line_made_for_it(tmp_path: Path) -> None:
    import paho.mqtt.client as paho

    (tmp_path / "passwords").write_text(provision.mosquitto_line(MOCK_TAG_ID, "right"))
    (tmp_path / "passwords").chmod(0o644)  # mosquitto started by root reads it as another user
    tmp_path.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {tmp_path / 'passwords'}\nuser root\n")

    def answer(password: str) -> str:
        codes: list[str] = []
        client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        client.on_connect = lambda c, u, flags, code, properties: codes.append(str(code))
        client.username_pw_set(MOCK_TAG_ID, password)
        client.connect("127.0.0.1", port)
        deadline = time.monotonic() + 5
        while not codes and time.monotonic() < deadline:
            client.loop(0.1)
        client.disconnect()
        client.loop(0.1)
        return codes[0]

    with subprocess.Popen(["mosquitto", "-c", str(config)], stderr=subprocess.DEVNULL) as broker:
        try:
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            assert answer("right") == "Success"
            assert answer("wrong") == "Not authorized"
        finally:
            broker.terminate()
