"""Makes a tag on paper: key, card, settings, image. Nothing here asks, prints or opens a port."""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from wardtwin_sync.registry import SCHEMA, Device, TagBinding, TagCard, TagKind
from wardtwin_sync.states import Transport
from wardtwin_tools.tag import filesystem_image, settings
from wardtwin_tools.tag.bench_folder import IMAGE, BenchFolder, write_secret
from wardtwin_tools.tag.errors import SettingsError
from wardtwin_tools.tag.firmware_files import tag_files
from wardtwin_tools.tag.identity import ble_address
from wardtwin_tools.tag.keys import new_key
from wardtwin_tools.tag.ward_file import WardFile

_TAG_LIBRARY = PurePosixPath("lib/wardtwin_tag/settings.py")
_PASSWORD_ROUNDS = 101
"""mosquitto's own default for its $7$ (PBKDF2-SHA512) lines."""


@dataclass(frozen=True)
class Order:
    """What the technician asked for. `device` for an energy tag, `room_id` for an environment tag."""

    tag_id: str
    kind: TagKind
    ward: WardFile
    transport: Transport
    device: Device | None = None
    room_id: str | None = None
    sensors: tuple[str, ...] = ()
    wifi_password: str = field(default="", repr=False)
    make_new_key: bool = False


@dataclass(frozen=True)
class Made:
    """`new_key` is False when the folder held this tag's key already and it was kept."""

    folder: BenchFolder
    card: TagCard
    new_key: bool
    image_bytes: int
    files: int


def make(order: Order, out: Path, made_at: int) -> Made:
    """Write `out`/<tag id>/, at `made_at` (UTC seconds since 1970).

    A tag made again keeps its key and broker password, unless a new key is asked for.
    """
    if not order.ward.ward:
        raise SettingsError("the tag needs a ward", "Give --ward, or `ward` in the ward file.")
    if order.kind == "energy" and order.device is None:
        raise SettingsError("an energy tag sits on a device", "Give --device-id, --device-name and --device-type.")
    if order.kind == "environment" and not order.room_id:
        raise SettingsError("an environment tag sits in a room", "Give --room.")
    folder = BenchFolder(out / order.tag_id)
    before = folder.card()
    if before is not None and before.binding.tag_id != order.tag_id:
        raise SettingsError(f"{folder.path} holds the card of {before.binding.tag_id}", "Use another --out.")
    keep = before is not None and not order.make_new_key
    key = bytes.fromhex(before.key_hex) if before is not None and keep else new_key()
    mqtt = order.transport is Transport.MQTT
    password = ((folder.settings() or {}).get("broker", {}).get("password") or secrets.token_urlsafe(18)) if mqtt else ""
    chosen = settings.build(
        tag_id=order.tag_id,
        kind=order.kind,
        key=key,
        ward=order.ward,
        transport=order.transport,
        made_at=made_at,
        wifi_password=order.wifi_password,
        broker_password=password,
        sensors=order.sensors,
    )
    sources = tag_files(order.kind)
    own = settings.complete(chosen, sources[_TAG_LIBRARY].parents[1])
    card = TagCard(
        schema=SCHEMA,
        binding=TagBinding(
            tag_id=order.tag_id,
            kind=order.kind,
            transport=order.transport,
            # an environment tag is a beacon whatever carries its readings, and an energy tag on MQTT or serial never advertises
            ble_address=ble_address(order.tag_id) if order.kind == "environment" or order.transport is Transport.BLE else None,
            device_id=order.device.device_id if order.device else None,
            room_id=order.room_id,
            ward=order.ward.ward,
        ),
        key_hex=key.hex(),
        device=order.device,
    )
    folder.write(card, own, _ca(order.ward) if mqtt else b"", mosquitto_line(order.tag_id, password) if mqtt else "")
    files = folder.files()
    image = filesystem_image.build(files)
    write_secret(folder.path / IMAGE, image)
    return Made(folder, card, not keep, len(image), len(files))


def mosquitto_line(user: str, password: str) -> str:
    """A line for mosquitto's password_file: user:$7$rounds$salt$hash, both in base64."""
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _PASSWORD_ROUNDS)
    return f"{user}:$7${_PASSWORD_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


def _ca(ward: WardFile) -> bytes:
    if not ward.broker.tls or ward.broker.ca_file is None:
        return b""
    try:
        return settings.ca_der(ward.broker.ca_file.read_bytes())
    except OSError as error:
        raise SettingsError(f"cannot read the CA file {ward.broker.ca_file}: {error.strerror}") from error
