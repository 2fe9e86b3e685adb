"""The ward everyone meets first: Sankt Georg, ward 3. Pure: the registry the demo gives to boards, gateway and cloud alike.

`python -m wardtwin_tools.demo_ward` prints it as JSON, in the form `registry import` of gateway and cloud takes.
"""

import sys

from wardtwin_sync.registry import SCHEMA, Building, Device, Floor, Hospital, Registry, Room, TagBinding, TagKind, encode
from wardtwin_sync.states import Transport

WARD = "ward-3"
GATEWAY_ID = "gw-ward-3"
GATEWAY_ROOM_ID = "3-clean"
TIME_ZONE = "Europe/Berlin"

Rectangle = tuple[float, float, float, float]
"""x, y of the upper left corner, width and depth, in metres."""

# room_id, name, kind, rectangle
_WARD_3: tuple[tuple[str, str, str, Rectangle], ...] = (
    ("3-01", "Intensive care 1", "intensive", (0.0, 0.0, 8.4, 6.6)),
    ("3-02", "Intensive care 2", "intensive", (8.4, 0.0, 7.2, 6.6)),
    ("3-03", "Patient room 3", "patient", (15.6, 0.0, 4.8, 6.6)),
    ("3-04", "Patient room 4", "patient", (20.4, 0.0, 4.8, 6.6)),
    ("3-nurses", "Nurses' station", "staff", (0.0, 8.8, 4.8, 3.0)),
    ("3-store", "Equipment store", "store", (4.8, 8.8, 4.2, 3.0)),
    ("3-lift", "Stairs and lift", "stairs", (9.0, 8.8, 3.6, 3.0)),
    ("3-clean", "Clean utility", "store", (12.6, 8.8, 3.6, 3.0)),
    ("3-staff", "Staff room", "staff", (16.2, 8.8, 5.0, 3.0)),
    ("3-05", "Procedure room", "procedure", (0.0, 14.0, 9.6, 6.2)),
    ("3-06", "Reprocessing", "reprocessing", (9.6, 14.0, 6.6, 6.2)),
    ("3-07", "Laboratory", "laboratory", (16.2, 14.0, 5.4, 6.2)),
    ("3-wc", "WC", "sanitary", (21.6, 14.0, 3.6, 6.2)),
)
# the corridor runs around three sides of the core
_CORRIDOR_3 = (
    (0.0, 6.6), (25.2, 6.6), (25.2, 14.0), (0.0, 14.0), (0.0, 11.8), (21.2, 11.8), (21.2, 8.8), (0.0, 8.8),
)  # fmt: skip

_WARD_2: tuple[tuple[str, str, str, Rectangle], ...] = (
    ("2-01", "Patient room 1", "patient", (0.0, 0.0, 6.3, 5.6)),
    ("2-02", "Patient room 2", "patient", (6.3, 0.0, 6.3, 5.6)),
    ("2-03", "Patient room 3", "patient", (12.6, 0.0, 6.3, 5.6)),
    ("2-04", "Patient room 4", "patient", (18.9, 0.0, 6.3, 5.6)),
    ("2-corridor", "Corridor", "corridor", (0.0, 5.6, 25.2, 2.6)),
    ("2-lift", "Stairs and lift", "stairs", (0.0, 8.2, 5.4, 5.0)),
    ("2-nurses", "Nurses' station", "staff", (5.4, 8.2, 6.0, 5.0)),
    ("2-day", "Day room", "staff", (11.4, 8.2, 8.4, 5.0)),
    ("2-store", "Store", "store", (19.8, 8.2, 5.4, 5.0)),
)

# device_id, name, device_type, home room, transport of its energy tag
_DEVICES: tuple[tuple[str, str, str, str, Transport], ...] = (
    ("infusion-pump-1", "Infusion pump 1", "infusion_pump", "3-01", Transport.BLE),
    ("ventilator-1", "Ventilator 1", "ventilator", "3-01", Transport.MQTT),
    ("humidifier-1", "Humidifier 1", "humidifier", "3-01", Transport.MQTT),
    ("monitor-1", "Patient monitor 1", "patient_monitor", "3-01", Transport.MQTT),
    ("infusion-pump-2", "Infusion pump 2", "infusion_pump", "3-02", Transport.BLE),
    ("syringe-pump-1", "Syringe pump 1", "syringe_pump", "3-02", Transport.BLE),
    ("monitor-2", "Patient monitor 2", "patient_monitor", "3-02", Transport.MQTT),
    ("ecg-1", "ECG recorder 1", "ecg", "3-03", Transport.BLE),
    ("ultrasound-1", "Ultrasound 1", "ultrasound", "3-05", Transport.MQTT),
    ("anaesthesia-1", "Anaesthesia 1", "anaesthesia", "3-05", Transport.SERIAL),
    ("electrosurgical-1", "Electrosurgical unit 1", "electrosurgical", "3-05", Transport.BLE),
    ("autoclave-1", "Autoclave 1", "autoclave", "3-06", Transport.SERIAL),
    ("washer-1", "Washer-disinfector 1", "washer_disinfector", "3-06", Transport.SERIAL),
    ("refrigerator-1", "Lab refrigerator 1", "lab_refrigerator", "3-07", Transport.SERIAL),
)

# room, transport of its environment tag
_ENVIRONMENT: tuple[tuple[str, Transport], ...] = (
    ("3-01", Transport.MQTT),
    ("3-02", Transport.BLE),
    ("3-03", Transport.BLE),
    ("3-05", Transport.MQTT),
    ("3-06", Transport.SERIAL),
    ("3-07", Transport.SERIAL),
)


def demo_registry() -> Registry:
    """14 devices with an energy tag each, 6 rooms with an environment tag each, over all three transports.

    Tag ids are c0ffee000001 onwards, energy tags first; an advert's address is the tag id + 2, as on an ESP32.
    """
    devices = tuple(Device(id_, name, type_, WARD, room) for id_, name, type_, room, _ in _DEVICES)
    energy = [_binding(n, transport, device_id=id_) for n, (id_, _, _, _, transport) in enumerate(_DEVICES, start=1)]
    environment = [_binding(n, transport, room_id=room) for n, (room, transport) in enumerate(_ENVIRONMENT, start=len(_DEVICES) + 1)]
    return Registry(SCHEMA, _hospital(), devices, (*energy, *environment))


def _binding(number: int, transport: Transport, *, device_id: str | None = None, room_id: str | None = None) -> TagBinding:
    base = 0xC0FFEE000000 + number
    address = (base + 2).to_bytes(6, "big").hex(":").upper()
    kind: TagKind = "energy" if device_id else "environment"
    return TagBinding(f"{base:012x}", kind, transport, address, device_id, room_id, WARD)


def _hospital() -> Hospital:
    ward_3 = (*map(_room, _WARD_3), Room("3-corridor", "Corridor", _CORRIDOR_3, "corridor"))
    floors = (
        Floor("floor-3", "Floor 3 · Ward 3", 3, ward_3),
        Floor("floor-2", "Floor 2 · Ward 2", 2, tuple(map(_room, _WARD_2))),
    )
    return Hospital("sankt-georg", "Sankt Georg", TIME_ZONE, (Building("main", "Main building", floors),))


def _room(row: tuple[str, str, str, Rectangle]) -> Room:
    room_id, name, kind, (x, y, width, depth) = row
    right, lower = round(x + width, 2), round(y + depth, 2)
    return Room(room_id, name, ((x, y), (right, y), (right, lower), (x, lower)), kind)


if __name__ == "__main__":
    sys.stdout.write(encode(demo_registry()).decode() + "\n")
