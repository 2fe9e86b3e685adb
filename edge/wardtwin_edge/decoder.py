"""From bytes of any transport to a `Report`, or a reason why not. Pure: no clock, no store; counters come in as arguments.

Two kinds of no: `Rejected` bytes are not proven to be from the tag they name and are thrown away, counted. `Undecodable`
bytes are authentic but say something this version cannot read: they are kept aside and acked, or they would block the
tag's queue for ever.
"""

import struct
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag

from wardtwin_edge.roster import Roster, Tag
from wardtwin_wire import bthome, fields, frame
from wardtwin_wire.errors import WireError

KINDS = {frame.ENERGY: "energy", frame.ENVIRONMENT: "environment", frame.SIGHTINGS: "sightings", frame.STATUS: "status"}


class Report(msgspec.Struct, gc=False):
    """What one frame or advert says. `boot_id` 0: BLE, `sequence` is its counter. `uptime_s` None: stamp it on receipt.

    `values`: field names of wardtwin_sync.batch -> numbers. `sightings`: [(address, 6 or its last 4 bytes, rssi_dbm)].
    """

    tag: Tag
    kind: str
    boot_id: int
    sequence: int
    uptime_s: float | None
    values: dict[str, float]
    sightings: list[tuple[bytes, int]] | None = None


class Rejected(Exception):
    """`reason`: unknown_tag, version, truncated, length, authentication or replay. `tag_id` as claimed, empty if none."""

    def __init__(self, reason: str, tag_id: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.tag_id = tag_id


class Undecodable(Exception):
    def __init__(self, reason: str, tag: Tag, boot_id: int, sequence: int, payload: bytes) -> None:
        super().__init__(reason)
        self.reason = reason
        self.tag = tag
        self.boot_id = boot_id
        self.sequence = sequence
        self.payload = payload


def open_sealed(roster: Roster, data: bytes) -> Report:
    """Read a sealed frame of MQTT or serial."""
    size = len(data)
    if size < _LEAST:
        raise Rejected("truncated")
    if size > frame.MAX_FRAME_BYTES:
        raise Rejected("length")
    version, kind, id_bytes, boot_id, sequence = _HEADER.unpack_from(data)
    if version != frame.VERSION:
        raise Rejected("version")
    tag = roster.by_id.get(id_bytes)
    if tag is None:
        raise Rejected("unknown_tag", id_bytes.hex())
    try:
        payload = tag.report.decrypt(_NONCE.pack(kind, boot_id, sequence), data[frame.HEADER_BYTES :], data[: frame.HEADER_BYTES])
    except InvalidTag:
        raise Rejected("authentication", tag.tag_id) from None
    try:
        if boot_id == 0 or sequence == 0:
            raise WireError("field", "boot id and sequence start at 1")
        if kind == frame.SIGHTINGS:
            uptime_ms, sightings = frame.unpack_sightings(payload)
            return Report(tag, "sightings", boot_id, sequence, uptime_ms / 1000, {}, sightings)
        uptime_ms, values = _unpack(kind, payload)
    except WireError as error:
        raise Undecodable(error.reason, tag, boot_id, sequence, payload) from error
    return Report(tag, KINDS[kind], boot_id, sequence, uptime_ms / 1000, values)


def open_advert(roster: Roster, address: bytes, data: bytes, last_counter: int) -> Report:
    """Read encrypted BTHome service data. `last_counter`: the tag's newest counter, also from before a restart; −1 for none."""
    tag = roster.by_address.get(address)
    if tag is None:
        raise Rejected("unknown_tag", address.hex())
    try:
        counter, objects = bthome.open_service_data(_Opener(tag), address, data)
    except WireError as error:
        raise Rejected(error.reason, tag.tag_id) from None
    if counter <= last_counter:
        raise Rejected("repeat" if counter == last_counter else "replay", tag.tag_id)
    try:
        decoded: dict[str, Any] = bthome.decode(objects)
    except WireError as error:
        raise Undecodable(error.reason, tag, 0, counter, objects) from error
    decoded.pop("packet_id", None)
    sightings = decoded.pop("sightings", None)
    status = decoded.pop("status", None)
    kind: str = tag.binding.kind
    if status is not None:
        kind = "status"
        decoded["boot_count"] = status["boot_id"]
        decoded["failed_parts"] = status["failed_parts"]
    elif sightings is not None and not decoded:
        kind = "sightings"
    return Report(tag, kind, 0, counter, None, decoded, sightings)


_HEADER = struct.Struct("<BB6sII")
_NONCE = struct.Struct("<BII4x")
_LEAST = frame.HEADER_BYTES + frame.TAG_BYTES
_TABLES = {frame.ENERGY: fields.ENERGY, frame.ENVIRONMENT: fields.ENVIRONMENT, frame.STATUS: fields.STATUS}
_LAYOUTS: dict[tuple[int, int, int], tuple[struct.Struct, tuple[tuple[str, int], ...]]] = {}


class _Opener:
    """The tag's BTHome cipher with the interface that wire asks for."""

    def __init__(self, tag: Tag) -> None:
        self._tag = tag

    def open(self, nonce: bytes, sealed: bytes, associated: bytes = b"") -> bytes:
        try:
            return self._tag.bthome.decrypt(nonce, sealed, associated or None)
        except InvalidTag:
            raise WireError("authentication") from None


def _unpack(kind: int, payload: bytes) -> tuple[int, dict[str, float]]:
    """frame.unpack_values in one struct call: a layout is worked out once for each set of present fields.

    Whatever does not fit a known layout goes the plain way, which also names the fault.
    """
    if len(payload) >= 8:
        layout = _LAYOUTS.get((kind, len(payload), payload[6] | payload[7] << 8))
        if layout is not None:
            shape, names = layout
            numbers = shape.unpack(payload)
            values = {name: number / scale if scale != 1 else number for (name, scale), number in zip(names, numbers[3:], strict=True)}
            return numbers[0] | numbers[1] << 32, values
    uptime_ms, values = frame.unpack_values(kind, payload)
    mask = payload[6] | payload[7] << 8
    present = [field for i, field in enumerate(_TABLES[kind]) if mask >> i & 1]
    shape = struct.Struct("<IHH" + "".join(code for _, code, _ in present))
    _LAYOUTS[kind, len(payload), mask] = shape, tuple((name, round(1 / step)) for name, _, step in present)
    return uptime_ms, values
