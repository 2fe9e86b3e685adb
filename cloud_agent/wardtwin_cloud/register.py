"""The registry: checked before it is taken, every contradiction listed at once; changed by one tag. Pure."""

from collections import Counter
from collections.abc import Iterable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec.structs import replace

from wardtwin_cloud.errors import RegistryError
from wardtwin_sync.registry import Device, Registry, TagBinding


def bind_tag(registry: Registry, binding: TagBinding, device: Device | None) -> Registry:
    """`registry` with the tag where `binding` says, and nowhere else; its device made or changed. The order of the rest stays.

    A device known already keeps its ward and home room where `device` has none: not said is not taken away.
    """
    devices = {known.device_id: known for known in registry.devices}
    if device is not None:
        known = devices.get(device.device_id, device)
        devices[device.device_id] = replace(device, ward=device.ward or known.ward, home_room_id=device.home_room_id or known.home_room_id)
    tags = {tag.tag_id: tag for tag in registry.tags} | {binding.tag_id: binding}
    return replace(registry, devices=tuple(devices.values()), tags=tuple(tags.values()))


def subject_of(binding: TagBinding) -> str:
    """`device:<id>` or `room:<id>` the tag sits on, empty where on nothing."""
    if binding.device_id is not None:
        return f"device:{binding.device_id}"
    return f"room:{binding.room_id}" if binding.room_id is not None else ""


def check_registry(registry: Registry) -> None:
    """Raise RegistryError with one sentence per contradiction."""
    faults = [*_twice(registry), *_dangling(registry), *_space(registry)]
    if faults:
        raise RegistryError(faults)


def _twice(registry: Registry) -> Iterable[str]:
    hospital = registry.hospital
    floors = [floor for building in hospital.buildings for floor in building.floors]
    for noun, ids in (
        ("building", [building.building_id for building in hospital.buildings]),
        ("floor", [floor.floor_id for floor in floors]),
        ("room", [room.room_id for floor in floors for room in floor.rooms]),
        ("device", [device.device_id for device in registry.devices]),
        ("tag", [tag.tag_id for tag in registry.tags]),
    ):
        for id_, times in Counter(ids).items():
            if times > 1:
                yield f"{noun} {id_} is there {times} times"
            if not id_ or len(id_) > 128:
                yield f"a {noun} id has 1 to 128 characters, this one has {len(id_)}: {id_[:40]}"


def _dangling(registry: Registry) -> Iterable[str]:
    rooms = registry.rooms()
    devices = {device.device_id for device in registry.devices}
    for device in registry.devices:
        if device.home_room_id is not None and device.home_room_id not in rooms:
            yield f"device {device.device_id}: home room {device.home_room_id} is not in the hospital"
    for tag in registry.tags:
        if tag.device_id is not None and tag.device_id not in devices:
            yield f"tag {tag.tag_id}: device {tag.device_id} is not in the registry"
        if tag.room_id is not None and tag.room_id not in rooms:
            yield f"tag {tag.tag_id}: room {tag.room_id} is not in the hospital"


def _space(registry: Registry) -> Iterable[str]:
    try:
        ZoneInfo(registry.hospital.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        yield f"time zone {registry.hospital.time_zone!r} is not an IANA name such as Europe/Berlin"
    for room in registry.rooms().values():
        if room.polygon_m and len(room.polygon_m) < 3:
            yield f"room {room.room_id}: an outline has at least 3 corners"
        if any(not -1e5 < coordinate < 1e5 for corner in room.polygon_m for coordinate in corner):
            yield f"room {room.room_id}: a corner is more than 100 km away"
