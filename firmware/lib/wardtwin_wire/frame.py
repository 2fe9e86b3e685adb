"""The sealed frame of MQTT and serial: who, which boot, which number in clear; the rest under AES-CCM.

    offset  bytes  what
    0       1      version, 1
    1       1      kind (ENERGY, ENVIRONMENT, SIGHTINGS, STATUS from the tag; ACK from the gateway)
    2       6      tag id, the chip's unique id
    8       4      boot id: the tag's boot counter, from 1; in an ACK the gateway's session, random
    12      4      sequence: from 1, one up a frame, within the boot or session
    16      n      sealed payload
    16+n    8      CCM tag over the header (as associated bytes) and the payload

All integers little-endian. The nonce is kind, boot id, sequence and four zero bytes: (kind, boot, sequence)
never comes twice under one key because a boot id is spent the moment a tag starts.
A report's payload starts with the uptime at which it was measured, in ms (6 bytes), then the kind's fields.
"""

import struct

from wardtwin_wire import fields
from wardtwin_wire.errors import WireError

VERSION = 1
ENERGY = 1
ENVIRONMENT = 2
SIGHTINGS = 3
STATUS = 4
ACK = 0x80

HEADER_BYTES = 16
TAG_BYTES = 8
MAX_FRAME_BYTES = 192
MAX_SIGHTINGS = 8
MAX_ACK_RUNS = 8

_HEADER = "<BB6sII"
_FIELDS = {ENERGY: fields.ENERGY, ENVIRONMENT: fields.ENVIRONMENT, STATUS: fields.STATUS}


def seal(aead, kind, tag_id, boot_id, sequence, payload):
    """Return the frame. aead: `ccm.Ccm` (tag_length 8) or anything with its seal(nonce, text, associated)."""
    header = struct.pack(_HEADER, VERSION, kind, tag_id, boot_id, sequence)
    return header + aead.seal(_nonce(kind, boot_id, sequence), payload, header)


def read_header(frame):
    """Return (kind, tag_id, boot_id, sequence) without any check of authenticity. Raise WireError when it is no frame."""
    if len(frame) < HEADER_BYTES + TAG_BYTES:
        raise WireError("truncated", "%d bytes" % len(frame))
    if len(frame) > MAX_FRAME_BYTES:
        raise WireError("length", "%d bytes" % len(frame))
    version, kind, tag_id, boot_id, sequence = struct.unpack_from(_HEADER, frame)
    if version != VERSION:
        raise WireError("version", str(version))
    return kind, tag_id, boot_id, sequence


def open_frame(aead, frame):
    """Return (kind, tag_id, boot_id, sequence, payload). Raise WireError; "authentication" when the key does not fit."""
    kind, tag_id, boot_id, sequence = read_header(frame)
    payload = aead.open(_nonce(kind, boot_id, sequence), bytes(frame[HEADER_BYTES:]), bytes(frame[:HEADER_BYTES]))
    return kind, tag_id, boot_id, sequence, payload


def pack_values(kind, uptime_ms, values):
    """Payload of ENERGY, ENVIRONMENT or STATUS. values: field name -> number or None (see `fields`)."""
    return _uptime(uptime_ms) + fields.pack_fields(_FIELDS[kind], values)


def unpack_values(kind, payload):
    """Return (uptime_ms, values) of an ENERGY, ENVIRONMENT or STATUS payload."""
    if kind not in _FIELDS:
        raise WireError("kind", str(kind))
    return _read_uptime(payload), fields.unpack_fields(_FIELDS[kind], payload, 6)


def pack_sightings(uptime_ms, sightings):
    """sightings: [(address, rssi_dbm)], address 6 bytes as printed; the strongest MAX_SIGHTINGS go out."""
    strongest = sorted(sightings, key=lambda s: -s[1])[:MAX_SIGHTINGS]
    return _uptime(uptime_ms) + b"".join(struct.pack("<6sb", address, rssi) for address, rssi in strongest)


def unpack_sightings(payload):
    """Return (uptime_ms, [(address, rssi_dbm)])."""
    uptime_ms = _read_uptime(payload)
    if (len(payload) - 6) % 7:
        raise WireError("length", "sightings are 7 bytes each")
    return uptime_ms, [struct.unpack_from("<6sb", payload, at) for at in range(6, len(payload), 7)]


def pack_ack(time_ms, runs):
    """time_ms: the gateway's UTC in ms, 0 when it does not know; runs: [(boot_id, first, last)], inclusive, committed."""
    return struct.pack("<Q", time_ms) + b"".join(struct.pack("<III", *run) for run in runs)


def unpack_ack(payload):
    """Return (time_ms, [(boot_id, first, last)])."""
    if len(payload) < 8 or (len(payload) - 8) % 12:
        raise WireError("length", "an ack is 8 bytes and 12 a run")
    return struct.unpack_from("<Q", payload)[0], [struct.unpack_from("<III", payload, at) for at in range(8, len(payload), 12)]


def _nonce(kind, boot_id, sequence):
    return struct.pack("<BII", kind, boot_id, sequence) + b"\x00\x00\x00\x00"


def _uptime(uptime_ms):
    return struct.pack("<IH", uptime_ms & 0xFFFFFFFF, uptime_ms >> 32 & 0xFFFF)


def _read_uptime(payload):
    if len(payload) < 6:
        raise WireError("truncated", "no uptime")
    low, high = struct.unpack_from("<IH", payload)
    return low + (high << 32)
