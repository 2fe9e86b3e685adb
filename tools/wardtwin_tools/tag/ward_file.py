"""ward.toml: what all tags of a ward share. Secrets stay in files of their own, named here, relative to ward.toml."""

import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from wardtwin_tools.tag.errors import SettingsError

SCHEMA = 1


class Wifi(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ssid: str = ""
    password_file: Path | None = None


class Broker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`ca_file` is PEM or DER; the tag gets DER. `tls = false` only for a bench.

    `server_name` is the name in the broker's certificate where that is not `host` (an IP address, say).
    """

    host: str = ""
    port: int = 8883
    tls: bool = True
    server_name: str = ""
    ca_file: Path | None = None


class Door(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a tag is made known: the gateway's local page, or the cloud."""

    url: str = ""
    token_file: Path | None = None


class WardFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`meter`, `sensors` and `ble` go into the tag's settings as they are, over its own defaults."""

    schema: Literal[1] = 1
    ward: str = ""
    transport: Literal["ble", "mqtt", "serial"] | None = None
    report_period_s: int = 1
    wifi: Wifi = Wifi()
    broker: Broker = Broker()
    gateway: Door = Door()
    cloud: Door = Door()
    ble: dict[str, Any] = {}
    meter: dict[str, Any] = {}
    sensors: dict[str, dict[str, Any]] | None = None


def read(path: Path) -> WardFile:
    """Raise SettingsError with the place of the fault. Paths in the result are absolute."""
    try:
        ward = msgspec.convert(tomllib.loads(path.read_text()), type=WardFile, dec_hook=_path)
    except OSError as error:
        raise SettingsError(
            f"cannot read {path}: {error.strerror}", "Give the ward file with --ward-file, or leave it out and use flags."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(f"{path}: {error}", "docs/tags.md shows a whole ward file.") from error
    return _absolute(ward, path.parent)


def secret(path: Path) -> str:
    """The one line a secret's file holds."""
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the secret in {path}: {error}") from error
    if not text or "\n" in text:
        raise SettingsError(f"{path} should hold one line, the secret, and nothing else")
    return text


def _path(type_: type, value: object) -> object:
    if type_ is Path and isinstance(value, str):
        return Path(value).expanduser()
    raise NotImplementedError(type_)


def _absolute(ward: WardFile, folder: Path) -> WardFile:
    def at(path: Path | None) -> Path | None:
        return None if path is None else folder / path

    replace = msgspec.structs.replace
    return replace(
        ward,
        wifi=replace(ward.wifi, password_file=at(ward.wifi.password_file)),
        broker=replace(ward.broker, ca_file=at(ward.broker.ca_file)),
        gateway=replace(ward.gateway, token_file=at(ward.gateway.token_file)),
        cloud=replace(ward.cloud, token_file=at(ward.cloud.token_file)),
    )
