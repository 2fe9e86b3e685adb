"""settings.json, the tag's own configuration in the root of its flash: schema 1, as the firmware reads it."""

import json
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

from cryptography import x509

from wardtwin_sync.registry import TagKind
from wardtwin_sync.states import Transport
from wardtwin_tools.tag.errors import ImageError, SettingsError
from wardtwin_tools.tag.ward_file import WardFile

SCHEMA = 1
CA_NAME = "ca.der"
SENSORS = ("bme280", "sgp40", "pms5003", "gas")


def build(
    *,
    tag_id: str,
    kind: TagKind,
    key: bytes,
    ward: WardFile,
    transport: Transport,
    made_at: int,
    wifi_password: str = "",
    broker_password: str = "",
    sensors: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return what was chosen. Raise SettingsError for what an MQTT tag lacks; the rest is for the tag's own check to say.

    `made_at` is UTC seconds since 1970: a tag without a clock knows that it is not earlier.
    `sensors` are names of SENSORS for an environment tag; empty: those of the ward file, or all.
    """
    settings: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": kind,
        "key": key.hex(),
        "ward": ward.ward,
        "transport": str(transport),
        "report_period_s": ward.report_period_s,
        "provisioned_at_s": made_at,
        "ble": ward.ble,
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
            "ca_der": CA_NAME,
            "server_name": ward.broker.server_name,
            "user": tag_id,
            "password": broker_password,
        }
    if kind == "energy":
        settings["meter"] = ward.meter
    else:
        wanted = sensors or tuple(ward.sensors if ward.sensors is not None else SENSORS)
        settings["sensors"] = {name: (ward.sensors or {}).get(name, {}) for name in wanted}
    return settings


def complete(settings: dict[str, Any], library: Path) -> dict[str, Any]:
    """Return `settings` with every pin and constant written out, as the tag's own code completes them.

    `library` holds wardtwin_tag of the firmware that goes onto the tag. It is run, not imported: tools know a tag by its files.
    Written out, because a tag is wired once: another default in a later firmware must not move its pins.
    Raise SettingsError with the tag's words for what it would refuse, or not know.
    """
    command = [sys.executable, "-I", "-c", _CHECK, str(library)]
    done = subprocess.run(command, input=encode(settings), capture_output=True, timeout=30, check=False)
    if done.returncode:
        raise ImageError(f"the firmware's settings check does not run: {done.stderr.decode(errors='replace').strip()[-200:]}")
    answer = json.loads(done.stdout)
    if answer["faults"]:
        raise SettingsError("the tag would refuse: " + "; ".join(answer["faults"]), "docs/firmware.md lists every setting.")
    return {name: answer["sections"].get(name, value) for name, value in settings.items()}


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


_CHECK = """
import json, sys
sys.path.insert(0, sys.argv[1])
from wardtwin_tag import errors, settings
text = sys.stdin.read()
try:
    found = settings.load(text)
    faults = [f"{path}: no such setting" for path in found.unknown]
    sections = {name: getattr(found, name) for name in ("wifi", "broker", "ble", "meter", "sensors")}
except errors.SettingsError as error:
    faults, sections = list(error.faults), {}
json.dump({"faults": faults, "sections": sections}, sys.stdout)
"""
