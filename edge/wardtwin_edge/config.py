"""The gateway's configuration: one TOML file, read once into frozen records and handed down."""

import os
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from wardtwin_edge.errors import ConfigError


class Gateway(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`room_id`: where the gateway's own radio stands, for locating by what it hears itself."""

    id: str
    data_dir: str
    ward: str = ""
    room_id: str | None = None


class Cloud(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`url` empty: no cloud, the outbox just fills up to its bound. `ca_file`: a private authority's certificate."""

    url: str = ""
    token: str = ""
    ca_file: str | None = None


class Mqtt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`host` empty: no broker. TLS whenever `ca_file` is given. `window`: messages held unacked before reading stops."""

    host: str = ""
    port: int = 8883
    ca_file: str | None = None
    username: str | None = None
    password: str | None = None
    client_id: str | None = None
    window: int = 3_000


class Serial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`ports`: device paths or globs, looked for again and again, so that a tag may be plugged in at any time."""

    ports: tuple[str, ...] = ()
    baud: int = 115_200


class Ble(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`backend`: "bleak", "none", or "package.module:Class" of a bleak scanner backend. `power_cycle`: a command for a stuck adapter."""

    backend: str = "bleak"
    adapter: str | None = None
    stall_s: float = 60.0
    power_cycle: tuple[str, ...] = ()


class Local(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The installer's page. `port` 0: any free one (it is printed and written to <data_dir>/local.url)."""

    host: str = "127.0.0.1"
    port: int = 8480


class Storage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`disk_bound_mb`: what the database may take. `history_hours`: how long sent readings stay for a look at them."""

    disk_bound_mb: float = 2_048.0
    history_hours: float = 48.0


class Commit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Group commit: at this many messages, or this long after the first of them."""

    max_messages: int = 150
    max_delay_ms: float = 50.0


class Mains(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nominal voltage, and the share of it that is tolerated (EN 50160: ±10 %)."""

    nominal_v: float = 230.0
    tolerance: float = 0.10


class ClockTrust(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`wait_s`: how long a plausible clock that no time server confirms is distrusted before it is used anyway."""

    wait_s: float = 600.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    gateway: Gateway
    cloud: Cloud = Cloud()
    mqtt: Mqtt = Mqtt()
    serial: Serial = Serial()
    ble: Ble = Ble()
    local: Local = Local()
    storage: Storage = Storage()
    commit: Commit = Commit()
    mains: Mains = Mains()
    clock: ClockTrust = ClockTrust()

    @property
    def data_dir(self) -> Path:
        return Path(self.gateway.data_dir)


def decode(document: dict[str, Any]) -> Config:
    """Raise ConfigError with the path of the fault, e.g. "Expected `int`, got `str` - at `$.mqtt.port`"."""
    try:
        config = msgspec.convert(document, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error), "correct the named entry of the configuration file") from error
    if not config.gateway.id or "/" in config.gateway.id:
        raise ConfigError("gateway.id is empty or holds a slash", "give the gateway a name like gw-ward-3")
    if config.commit.max_messages < 1 or config.mqtt.window < config.commit.max_messages:
        raise ConfigError("commit.max_messages must be at least 1 and at most mqtt.window")
    return config


def read(path: Path) -> Config:
    """Read `path`. The cloud token may come from the environment instead (WARDTWIN_CLOUD_TOKEN), the broker's password likewise."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "pass the file with --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}", "correct the named line") from error
    for section, key, variable in (("cloud", "token", "WARDTWIN_CLOUD_TOKEN"), ("mqtt", "password", "WARDTWIN_MQTT_PASSWORD")):
        if variable in os.environ:
            document.setdefault(section, {})[key] = os.environ[variable]
    return decode(document)
