"""settings.json, the tag's own configuration in the root of its flash: schema 1, as the firmware reads it."""

import json
import ssl
from typing import Any

from cryptography import x509

from wardtwin_sync.registry import TagKind
from wardtwin_sync.states import Transport
from wardtwin_tools.tag.errors import SettingsError
from wardtwin_tools.tag.ward_file import WardFile

SCHEMA = 1
CA_NAME = "ca.der"
METER_CHIPS = ("bl0942", "cse7766")

_I2C = {"id": 0, "scl": 22, "sda": 21}
METER = {"chip": "bl0942", "uart": {"id": 1, "tx": 17, "rx": 16}}
SENSORS: dict[str, dict[str, Any]] = {
    "bme280": {"i2c": _I2C, "address": 118},
    "sgp40": {"i2c": _I2C},
    "pms5003": {"uart": {"id": 2, "tx": 17, "rx": 16}},
    "gas": {"chip": "scd41", "i2c": _I2C},
}
"""Wired as docs/firmware.md draws them. A tag gets those asked for; all are optional."""
BLE = {"advert_interval_ms": 250, "beacon_tx_power_dbm": -4, "scan_period_s": 15, "scan_window_ms": 1500}


def build(
    *,
    tag_id: str,
    kind: TagKind,
    key: bytes,
    ward: WardFile,
    transport: Transport,
    wifi_password: str = "",
    broker_password: str = "",
    sensors: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return the settings. Raise SettingsError for a combination the tag could not run with.

    `sensors` are names of SENSORS for an environment tag; empty: those of the ward file, or all.
    """
    settings: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": kind,
        "key": key.hex(),
        "ward": ward.ward,
        "transport": str(transport),
        "report_period_s": ward.report_period_s,
        "ble": BLE | ward.ble,
    }
    if transport is Transport.MQTT:
        if not ward.wifi.ssid:
            raise SettingsError("an MQTT tag needs a Wi-Fi network", "Give --wifi-ssid, or [wifi] ssid in the ward file.")
        if not ward.broker.host:
            raise SettingsError("an MQTT tag needs a broker", "Give --broker-host, or [broker] host in the ward file.")
        if ward.broker.tls and ward.broker.ca_file is None:
            raise SettingsError("TLS needs the broker's CA certificate", "Give --ca-file, or [broker] ca_file in the ward file.")
        settings["wifi"] = {"ssid": ward.wifi.ssid, "password": wifi_password}
        settings["broker"] = {
            "host": ward.broker.host,
            "port": ward.broker.port,
            "tls": ward.broker.tls,
            "ca_der": CA_NAME if ward.broker.tls else "",
            "user": tag_id,
            "password": broker_password,
        }
    if kind == "energy":
        settings["meter"] = METER | ward.meter
        if settings["meter"]["chip"] not in METER_CHIPS:
            raise SettingsError(f"no driver for a {settings['meter']['chip']} meter", f"The tag knows {' and '.join(METER_CHIPS)}.")
    else:
        settings["sensors"] = _sensors(sensors, ward)
    return settings


def encode(settings: dict[str, Any]) -> bytes:
    return json.dumps(settings, indent=1).encode()


def ca_der(raw: bytes) -> bytes:
    """Return the CA certificate as DER, from PEM (the first in the file) or DER. Raise SettingsError for anything else."""
    try:
        der = (
            ssl.PEM_cert_to_DER_cert(
                raw.decode("ascii")[raw.index(b"-----BEGIN CERTIFICATE") :].split("-----END")[0] + "-----END CERTIFICATE-----\n"
            )
            if b"-----BEGIN" in raw
            else raw
        )
        x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise SettingsError(
            "the CA file holds no certificate", "It should be the broker's CA certificate, PEM or DER; not its key."
        ) from error
    return der


def _sensors(names: tuple[str, ...], ward: WardFile) -> dict[str, dict[str, Any]]:
    unknown = sorted({*names, *(ward.sensors or ())} - set(SENSORS))
    if unknown:
        raise SettingsError(f"no driver for {', '.join(unknown)}", f"An environment tag knows {', '.join(SENSORS)}.")
    wanted = names or tuple(ward.sensors if ward.sensors is not None else SENSORS)
    return {name: SENSORS[name] | (ward.sensors or {}).get(name, {}) for name in wanted}
