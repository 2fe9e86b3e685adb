"""A batch: rows of one kind, column by column, under the key that makes delivery exactly-once.

Key: (gateway_id, epoch, sequence). `epoch` is a random id made with the gateway's outbox: a re-imaged gateway that
starts again at 1 has another epoch and is not taken for a duplicate. The hash is SHA-256 over the encoded bytes; the
same key with another hash is quarantined by the cloud. On the road the bytes are compressed with zstd by the uplink.

HTTP: POST /api/v1/gateways/{gateway_id}/batches/{epoch}/{sequence}
      Authorization: Bearer <gateway token>; Content-Encoding: zstd; Content-Type: application/json
      Wardtwin-Hash: <hash of the uncompressed bytes, hex>
      200 Ack · 400 SchemaError or ShapeError, do not retry · 401, 403 · 413 too large · 429 and 503 with Retry-After, retry
"""

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Literal

import msgspec

from wardtwin_sync.errors import SchemaError, ShapeError

SCHEMA = 1
CONTENT_TYPE = "application/json"
HASH_HEADER = "Wardtwin-Hash"
MAX_ROWS = 5_000
MAX_BYTES = 8 * 1024 * 1024
"""Bound of the uncompressed bytes: both sides hold one batch in memory."""


class BatchKind(StrEnum):
    READINGS = "readings"
    STATES = "states"
    PLACEMENTS = "placements"
    ALARMS = "alarms"
    SUMMARIES = "summaries"
    HEALTH = "health"


class StorageClass(StrEnum):
    """How dear a batch is when the gateway's disk fills: raw goes first, summary last, alarm never."""

    ALARM = "alarm"
    SUMMARY = "summary"
    RAW = "raw"


CLASS_OF: dict[BatchKind, StorageClass] = {
    BatchKind.ALARMS: StorageClass.ALARM,
    BatchKind.STATES: StorageClass.SUMMARY,
    BatchKind.PLACEMENTS: StorageClass.SUMMARY,
    BatchKind.SUMMARIES: StorageClass.SUMMARY,
    BatchKind.READINGS: StorageClass.RAW,
    BatchKind.HEALTH: StorageClass.RAW,
}

ENERGY_FIELDS = ("active_power_w", "voltage_v", "current_a", "power_factor", "frequency_hz", "energy_wh", "peak_current_a")
ENVIRONMENT_FIELDS = (
    "temperature_c", "relative_humidity_pct", "pressure_hpa", "voc_index", "co2_ppm", "formaldehyde_ppb",
    "pm1_ug_m3", "pm2_5_ug_m3", "pm10_ug_m3",
)  # fmt: skip
MEASURES = ENERGY_FIELDS + ENVIRONMENT_FIELDS
STATUS_FIELDS = (
    "boot_count", "reset_cause", "heap_free_bytes", "queue_depth", "queue_dropped", "failed_parts", "junk_bytes", "firmware_version",
)  # fmt: skip

COLUMNS: dict[BatchKind, tuple[str, ...]] = {
    # one row a frame of a tag, whatever its `kind` (energy, environment, sightings, status): a tag's sequence numbers can be
    # counted against these rows. Columns of MEASURES and STATUS_FIELDS follow as far as any row has them, null where a row
    # has not; `sightings` is a list of [address as hex, rssi_dbm].
    # boot_id 0 marks BLE, whose `sequence` is the BTHome counter, which goes on across boots
    BatchKind.READINGS: ("tag_id", "boot_id", "sequence", "kind", "transport", "measured_at"),
    # one row a change of state; `reason` is a word for why: rule, model, silent, unplugged, operator
    BatchKind.STATES: ("device_id", "tag_id", "state", "since", "reason"),
    # one row a change of room; `room_id` null: not known any more. `rssi_dbm` null: by home room
    BatchKind.PLACEMENTS: ("device_id", "tag_id", "room_id", "since", "rssi_dbm"),
    # one row a raise or clear; `alarm_id` stays the same over both, `cleared_at` null while it stands.
    # `subject` is device:<id>, room:<id>, tag:<id> or gateway:<id>; `rule` e.g. over_voltage; value and limit in `unit`
    BatchKind.ALARMS: ("alarm_id", "rule", "subject", "severity", "raised_at", "cleared_at", "value", "limit", "unit"),
    # one row a minute and subject (device:<id> or room:<id>): `seconds_by_state` is an object {state: seconds} or null;
    # MEASURES as <name> (mean), and for active_power_w also _min and _max; energy_wh is the minute's increase
    BatchKind.SUMMARIES: ("subject", "minute_start", "samples"),
    # one row a heartbeat; `detail` is an object for the admin page
    BatchKind.HEALTH: ("at", "clock_state", "queue_depth", "disk_bytes", "tags_heard", "rejected", "detail"),
}


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`columns` maps a name to a list with one value a row. Times are UTC seconds since 1970 (float).

    `dropped` counts, per storage class and since the epoch began, the rows this gateway had to let go.
    """

    schema: int
    gateway_id: str
    epoch: str
    sequence: int
    kind: BatchKind
    created_at: float
    columns: dict[str, list[Any]]
    dropped: dict[StorageClass, int] = {}

    def rows(self) -> int:
        return len(next(iter(self.columns.values()), []))


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something the cloud asks of the gateway, riding on an ack. `name` e.g. registry_changed; unknown names are ignored."""

    name: str
    argument: str = ""


class Ack(msgspec.Struct, frozen=True):
    """Sent after commit. `duplicate`: the batch was stored before; `quarantined`: same key, other hash, kept aside."""

    gateway_id: str
    epoch: str
    sequence: int
    status: Literal["stored", "duplicate", "quarantined"]
    commands: tuple[Command, ...] = ()


def columns_of(rows: Sequence[dict[str, Any]], kind: BatchKind) -> dict[str, list[Any]]:
    """Turn `rows` into columns: the kind's own first, then every other name that occurs, null where a row lacks it."""
    names = list(COLUMNS[kind])
    names += sorted({name for row in rows for name in row} - set(names))
    return {name: [row.get(name) for row in rows] for name in names}


def rows_of(batch: Batch) -> list[dict[str, Any]]:
    """The inverse of `columns_of`; null cells outside the kind's own columns are left out."""
    own = set(COLUMNS[batch.kind])
    names = list(batch.columns)
    return [
        {name: cell for name, cell in zip(names, cells, strict=True) if cell is not None or name in own}
        for cells in zip(*batch.columns.values(), strict=True)
    ]


def encode(batch: Batch | Ack) -> bytes:
    return msgspec.json.encode(batch)


def digest(raw: bytes) -> str:
    """The batch's hash: SHA-256 over its encoded, uncompressed bytes, as hex."""
    return hashlib.sha256(raw).hexdigest()


_BATCH = msgspec.json.Decoder(Batch)
_ACK = msgspec.json.Decoder(Ack)


def decode_batch(raw: bytes) -> Batch:
    """Raise SchemaError for bytes that are no batch, ShapeError for ragged, missing, empty or too many columns."""
    try:
        batch = _BATCH.decode(raw)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise SchemaError(str(error)) from error
    if batch.schema != SCHEMA:
        raise SchemaError(f"schema {batch.schema}, this version speaks {SCHEMA}")
    missing = [name for name in COLUMNS[batch.kind] if name not in batch.columns]
    if missing:
        raise ShapeError(f"{batch.kind} batch lacks the columns {', '.join(missing)}")
    lengths = {len(column) for column in batch.columns.values()}
    if len(lengths) != 1:
        raise ShapeError(f"columns differ in length: {sorted(lengths)}")
    if not 1 <= lengths.pop() <= MAX_ROWS:
        raise ShapeError(f"a batch has 1 to {MAX_ROWS} rows")
    return batch


def decode_ack(raw: bytes) -> Ack:
    try:
        return _ACK.decode(raw)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise SchemaError(str(error)) from error
