"""Master data a gateway and the cloud share: the space, the devices, and which tag sits on what.

A tag's key is never part of the registry: it lives in the `TagCard`, which goes to the tag and to its gateway only.
"""

from typing import Literal, TypeVar

import msgspec

from wardtwin_sync.errors import SchemaError
from wardtwin_sync.states import Transport

SCHEMA = 1

TagKind = Literal["energy", "environment"]
T = TypeVar("T", "Registry", "TagCard")


class Room(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A room; `polygon_m` are its corners in metres on its floor's plan, x to the right, y down, not closed."""

    room_id: str
    name: str
    polygon_m: tuple[tuple[float, float], ...] = ()
    kind: str = "room"


class Floor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    floor_id: str
    name: str
    level: int
    rooms: tuple[Room, ...]


class Building(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    building_id: str
    name: str
    floors: tuple[Floor, ...]


class Hospital(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`time_zone` is an IANA name; pages show its clock, everything stored is UTC."""

    hospital_id: str
    name: str
    time_zone: str
    buildings: tuple[Building, ...]


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of equipment. `device_type` names its type record (thresholds, states, model)."""

    device_id: str
    name: str
    device_type: str
    ward: str = ""
    home_room_id: str | None = None


class TagBinding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which tag sits where: an energy tag on a device, an environment tag in a room.

    `tag_id` is the chip's unique id, 12 lower-case hex digits.
    `ble_address` is the address its adverts come from, `AA:BB:CC:DD:EE:FF`, upper case; on an ESP32 not the unique id.
    """

    tag_id: str
    kind: TagKind
    transport: Transport
    ble_address: str | None = None
    device_id: str | None = None
    room_id: str | None = None
    ward: str = ""


class TagCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What provisioning makes: the binding, the device it sits on, and the tag's key (16 bytes as 32 hex digits).

    The same file is written for the tag and the gateway. It holds a secret: mode 0600, never sent to the cloud.
    """

    schema: int
    binding: TagBinding
    key_hex: str
    device: Device | None = None


class Registry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    hospital: Hospital
    devices: tuple[Device, ...] = ()
    tags: tuple[TagBinding, ...] = ()

    def rooms(self) -> dict[str, Room]:
        return {room.room_id: room for b in self.hospital.buildings for floor in b.floors for room in floor.rooms}


def decode_registry(raw: bytes) -> Registry:
    """Raise SchemaError, with msgspec's path to the fault, when `raw` is not a registry of this schema."""
    return _decode(raw, Registry)


def decode_card(raw: bytes) -> TagCard:
    """Raise SchemaError when `raw` is not a tag card of this schema or its key is not 16 bytes of hex."""
    card = _decode(raw, TagCard)
    try:
        key = bytes.fromhex(card.key_hex)
    except ValueError as error:
        raise SchemaError("key_hex is not hexadecimal") from error
    if len(key) != 16:
        raise SchemaError(f"key_hex holds {len(key)} bytes, a tag's key has 16")
    return card


def encode(value: Registry | TagCard | TagBinding | Device) -> bytes:
    return msgspec.json.encode(value)


def _decode(raw: bytes, type_: type[T]) -> T:
    try:
        value = msgspec.json.decode(raw, type=type_)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise SchemaError(str(error)) from error
    if value.schema != SCHEMA:
        raise SchemaError(f"schema {value.schema}, this version speaks {SCHEMA}")
    return value
