"""A made tag: its card, settings, keys and secrets."""

import datetime
import importlib
import json
import socket
import struct
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

from wardtwin_board.broker import Mosquitto
from wardtwin_sync.registry import decode_card
from wardtwin_sync.states import Transport
from wardtwin_tools.tag import identity, keys, provision, settings, ward_file
from wardtwin_tools.tag.errors import SettingsError
from wardtwin_tools.tests.tag.conftest import MADE_AT, MOCK_TAG_ID

wire_keys = importlib.import_module("wardtwin_wire.keys")
"""The tag's own file, as a reference: by name, because tools do not import the tag's packages."""

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
address = 98
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
    made = provision.make(replace(order, ward=ward, transport=Transport.MQTT, wifi_password="p"), tmp_path / "tags", MADE_AT)
    own = json.loads((made.folder.path / "settings.json").read_bytes())
    password = own["broker"].pop("password")
    meter = own.pop("meter")
    assert (meter["chip"], meter["uart"], meter["shunt_ohm"]) == ("bl0942", {"id": 1, "tx": 17, "rx": 16}, 0.002)
    assert meter["divider_high_ohm"] > 0, "every constant is written out"
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
        "broker": {
            "host": "gateway.ward-3.example",
            "port": 8883,
            "tls": True,
            "ca_der": "ca.der",
            "server_name": "",
            "user": MOCK_TAG_ID,
            "keepalive_s": 60,
        },
        "provisioned_at_s": MADE_AT,
    }
    x509.load_der_x509_certificate((made.folder.path / "ca.der").read_bytes())
    again = provision.make(replace(order, ward=ward, transport=Transport.MQTT, wifi_password="q"), tmp_path / "tags", MADE_AT)
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
    made = provision.make(room, tmp_path / "tags", MADE_AT)
    assert made.card.binding.ble_address == "24:0A:C4:E2:95:28"
    assert made.card.binding.room_id == "r-101"
    own = made.folder.settings()
    assert own is not None
    assert {name: section for name, section in own["sensors"].items() if section} == {
        "bme280": {"i2c": {"id": 0, "scl": 22, "sda": 21}, "address": 0x76},
        "gas": {"chip": "scd41", "i2c": {"id": 0, "scl": 22, "sda": 21}, "address": 0x62},
    }
    assert "wifi" not in own
    assert "meter" not in own


def test_the_ward_file_s_sensors_go_over_the_tag_s_own(
    order: provision.Order, ward: ward_file.WardFile, small_firmware: Path, tmp_path: Path
) -> None:
    made = provision.make(replace(order, kind="environment", device=None, room_id="r", ward=ward), tmp_path / "tags", MADE_AT)
    sensors = (made.folder.settings() or {})["sensors"]
    assert (sensors["bme280"]["address"], sensors["gas"]["address"]) == (119, 98)
    assert not sensors.get("sgp40")
    assert not sensors.get("pms5003")


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
        ({"ward": ward_file.WardFile(ward="w", meter={"chip": "hlw8012"})}, "hlw8012.* is not one of"),
        ({"ward": ward_file.WardFile(ward="w", meter={"shunt_ohms": 1})}, "meter.shunt_ohms: no such setting"),
        ({"ward": ward_file.WardFile(ward="w", ble={"scan_period_s": 0})}, "ble.scan_period_s: 0 is not"),
        ({"kind": "environment", "room_id": "r", "sensors": ("dht11",)}, "sensors.dht11: no such setting"),
    ],
)
def test_an_impossible_tag_is_refused_and_leaves_nothing_behind(
    order: provision.Order, small_firmware: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        provision.make(changed(order, change), tmp_path / "tags", MADE_AT)
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


@pytest.mark.skipif(Mosquitto.find() is None, reason="needs mosquitto")
def test_mosquitto_lets_the_tag_in_with_the_line_made_for_it(tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text(provision.mosquitto_line(MOCK_TAG_ID, "right"))
    (tmp_path / "passwords").chmod(0o644)  # mosquitto started by root reads it as another user
    tmp_path.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {tmp_path / 'passwords'}\nuser root\n")

    def answer(password: str) -> int:
        """Return CONNACK's code (MQTT 3.1.1, 3.2.2.3): 0 welcome, 5 not authorised."""
        fields = b"".join(struct.pack(">H", len(text)) + text for text in (b"tag", MOCK_TAG_ID.encode(), password.encode()))
        body = struct.pack(">H4sBBH", 4, b"MQTT", 4, 0xC2, 60) + fields
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(bytes([0x10, len(body)]) + body)
            return connection.recv(4)[3]

    with subprocess.Popen([str(Mosquitto.find()), "-c", str(config)], stderr=subprocess.DEVNULL) as broker:
        try:
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            assert answer("right") == 0
            assert answer("wrong") == 5
        finally:
            broker.terminate()
