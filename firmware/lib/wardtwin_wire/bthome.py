"""BTHome v2 adverts (https://bthome.io/format/), encrypted: any BTHome receiver that has the bind key reads them too.

A legacy advert has 31 bytes: flags 3, service data header 4, device information 1, counter 4, CCM tag 4. That leaves 15
for objects, so a tag rotates several frames. What BTHome has no object for rides in object 0x54 (raw), whose first
byte says which: STATUS, SIGHTINGS, MAINS or AIR. A room beacon adds a TX power field, which is how tags tell it from other
tags; its frames hold at most 12 bytes of objects.
"""

import struct

from wardtwin_wire.errors import WireError

SERVICE_UUID16 = 0xFCD2
SERVICE_UUID = "0000fcd2-0000-1000-8000-00805f9b34fb"
TAG_BYTES = 4
MAX_OBJECT_BYTES = 15
MAX_BEACON_OBJECT_BYTES = 12
MAX_SIGHTINGS = 2

_ENCRYPTED_V2 = 0x41
_FLAGS = b"\x02\x01\x06"

STATUS = 1
SIGHTINGS = 2
MAINS = 3
AIR = 4

# object id -> (field, bytes, signed, step in the wire's integer)
_OBJECTS = {
    0x02: ("temperature_c", 2, True, 0.01),
    0x03: ("relative_humidity_pct", 2, False, 0.01),
    0x04: ("pressure_hpa", 3, False, 0.01),
    0x0B: ("active_power_w", 3, False, 0.01),
    0x0D: ("pm2_5_ug_m3", 2, False, 1),
    0x0E: ("pm10_ug_m3", 2, False, 1),
    0x12: ("co2_ppm", 2, False, 1),
    0x43: ("current_a", 2, False, 0.001),
    0x4A: ("voltage_v", 2, False, 0.1),
    0x4D: ("energy_wh", 4, False, 1),
}
_PACKET_ID = 0x00
_RAW = 0x54

_ENERGY_FRAMES = ((0x0B, 0x43, 0x4A), (0x4D,))
_ENVIRONMENT_FRAMES = ((0x02, 0x03, 0x04), (0x0D, 0x0E, 0x12))
_MAINS_FIELDS = (("frequency_hz", 0.01), ("power_factor", 0.001))
_AIR_FIELDS = (("voc_index", 1), ("formaldehyde_ppb", 1), ("pm1_ug_m3", 1))
_ABSENT = 0xFFFF


def energy_frames(values):
    """Return the rotation, a list of object bytes without packet id: [power, current, voltage], [energy, mains]."""
    frames = [_objects(ids, values) for ids in _ENERGY_FRAMES]
    frames[1] += _raw_fields(MAINS, _MAINS_FIELDS, values)
    return [frame for frame in frames if frame]


def environment_frames(values):
    """Return the rotation: [temperature, humidity, pressure], [particles, CO2], [VOC, formaldehyde, PM1]; empty ones left out."""
    frames = [_objects(ids, values) for ids in _ENVIRONMENT_FRAMES]
    frames.append(_raw_fields(AIR, _AIR_FIELDS, values))
    return [frame for frame in frames if frame]


def status_frame(boot_id, uptime_ms, failed_parts, peak_current_a=None):
    """Object bytes: which boot, uptime in whole seconds (held at its limit of 194 days), failed parts (low 8 bits of fields.PARTS)."""
    body = struct.pack("<BHBHBB", STATUS, *_u24(boot_id), *_u24(min(uptime_ms // 1000, 0xFFFFFF)), failed_parts & 0xFF)
    if peak_current_a is not None:
        body += struct.pack("<H", _scaled(peak_current_a, 0.001, 0, _ABSENT - 1))
    return _raw(body)


def sightings_frame(sightings):
    """Object bytes for the MAX_SIGHTINGS strongest of [(address, rssi_dbm)]: the address's last four bytes and the RSSI each."""
    strongest = sorted(sightings, key=lambda s: -s[1])[:MAX_SIGHTINGS]
    return _raw(bytes((SIGHTINGS,)) + b"".join(struct.pack("<4sb", address[-4:], rssi) for address, rssi in strongest))


def advert(aead, address, counter, packet_id, objects, tx_power_dbm=None):
    """Return the whole advert, at most 31 bytes.

    aead: Ccm with tag_length 4 under the bind key; address: the six bytes the radio sends from, as printed;
    counter: u32, one up with every new advert and never back, over reboots too. Raise WireError "length" when it does not fit.
    """
    plain = bytes((_PACKET_ID, packet_id & 255)) + objects
    limit = MAX_OBJECT_BYTES if tx_power_dbm is None else MAX_BEACON_OBJECT_BYTES
    if len(plain) > limit:
        raise WireError("length", "%d bytes of objects, room for %d" % (len(plain), limit))
    tail = struct.pack("<I", counter)
    sealed = aead.seal(_nonce(address, tail), plain)
    data = b"\x16\xd2\xfc" + bytes((_ENCRYPTED_V2,)) + sealed[:-TAG_BYTES] + tail + sealed[-TAG_BYTES:]
    out = _FLAGS + bytes((len(data),)) + data
    return out if tx_power_dbm is None else out + struct.pack("<BBb", 2, 0x0A, tx_power_dbm)


def open_service_data(aead, address, data):
    """Return (counter, objects) of encrypted service data (without the UUID). Raise WireError: version, truncated, authentication."""
    if not data or data[0] != _ENCRYPTED_V2:
        raise WireError("version", "not encrypted BTHome v2")
    if len(data) < 1 + 4 + TAG_BYTES:
        raise WireError("truncated", "%d bytes" % len(data))
    tail = bytes(data[-8:-4])
    objects = aead.open(_nonce(address, tail), bytes(data[1:-8] + data[-4:]))
    return struct.unpack("<I", tail)[0], objects


def is_beacon(adv_data):
    """Whether a raw advert is a wardtwin room beacon's: BTHome service data beside a TX power field. Never raises."""
    at = 0
    bthome = power = False
    while at + 1 < len(adv_data):
        length = adv_data[at]
        if length == 0:
            break
        kind = adv_data[at + 1]
        if kind == 0x16 and bytes(adv_data[at + 2 : at + 4]) == b"\xd2\xfc":
            bthome = True
        elif kind == 0x0A:
            power = True
        at += 1 + length
    return bthome and power


def decode(objects):
    """Return a dict: field names -> numbers; and, where present, packet_id, status (dict), sightings ([(4 bytes, rssi_dbm)]).

    Raise WireError "field" at an object this version does not know (its length is not known either), "truncated" at short bytes.
    """
    out = {}
    at = 0
    while at < len(objects):
        kind = objects[at]
        at += 1
        if kind == _PACKET_ID:
            out["packet_id"] = _take(objects, at, 1)[0]
            at += 1
        elif kind == _RAW:
            length = _take(objects, at, 1)[0]
            _decode_raw(_take(objects, at + 1, length), out)
            at += 1 + length
        elif kind in _OBJECTS:
            name, size, signed, step = _OBJECTS[kind]
            number = _integer(_take(objects, at, size), signed)
            out[name] = number if step == 1 else number / round(1 / step)
            at += size
        else:
            raise WireError("field", "object %02x" % kind)
    return out


def _decode_raw(body, out):
    if not body:
        raise WireError("truncated", "raw object")
    if body[0] == STATUS and len(body) in (8, 10):
        boot_low, boot_high, uptime_low, uptime_high, failed = struct.unpack_from("<HBHBB", body, 1)
        out["status"] = {
            "boot_id": boot_low + (boot_high << 16),
            "uptime_ms": (uptime_low + (uptime_high << 16)) * 1000,
            "failed_parts": failed,
        }
        if len(body) == 10:
            out["peak_current_a"] = struct.unpack_from("<H", body, 8)[0] / 1000
    elif body[0] == SIGHTINGS and len(body) % 5 == 1:
        out["sightings"] = [struct.unpack_from("<4sb", body, at) for at in range(1, len(body), 5)]
    elif body[0] == MAINS and len(body) == 5:
        _decode_raw_fields(_MAINS_FIELDS, body, out)
    elif body[0] == AIR and len(body) == 7:
        _decode_raw_fields(_AIR_FIELDS, body, out)
    else:
        raise WireError("field", "raw %02x of %d bytes" % (body[0], len(body)))


def _decode_raw_fields(fields, body, out):
    for i, (name, step) in enumerate(fields):
        number = struct.unpack_from("<H", body, 1 + 2 * i)[0]
        if number != _ABSENT:
            out[name] = number if step == 1 else number / round(1 / step)


def _raw_fields(kind, fields, values):
    if all(values.get(name) is None for name, _ in fields):
        return b""
    body = bytes((kind,))
    for name, step in fields:
        value = values.get(name)
        body += struct.pack("<H", _ABSENT if value is None else _scaled(value, step, 0, _ABSENT - 1))
    return _raw(body)


def _objects(ids, values):
    out = b""
    for kind in ids:
        name, size, signed, step = _OBJECTS[kind]
        value = values.get(name)
        if value is None:
            continue
        half = 1 << (8 * size - 1)
        low, high = (-half, half - 1) if signed else (0, 2 * half - 1)
        number = _scaled(value, step, low, high)
        out += bytes((kind,)) + bytes([number >> 8 * i & 255 for i in range(size)])
    return out


def _scaled(value, step, low, high):
    return max(low, min(high, int(round(value / step))))


def _integer(data, signed):
    number = 0
    for i in range(len(data)):
        number |= data[i] << 8 * i
    return number - (1 << 8 * len(data)) if signed and data[-1] & 0x80 else number


def _take(data, at, size):
    if at + size > len(data):
        raise WireError("truncated", "object")
    return bytes(data[at : at + size])


def _raw(body):
    return bytes((_RAW, len(body))) + body


def _u24(number):
    return number & 0xFFFF, number >> 16 & 0xFF


def _nonce(address, counter_bytes):
    return bytes(address) + b"\xd2\xfc" + bytes((_ENCRYPTED_V2,)) + counter_bytes
