"""From a decoded batch to rows the store and the twin take. Pure: no clock, no I/O.

`decode_batch` of wardtwin_sync checks the frame of a batch (kind, columns present, equal length). Here every cell is
checked: a number is a number the database can hold, a time is a time, an id is short. One bad cell refuses the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import GenericAlias
from typing import Annotated, Any

import msgspec

from wardtwin_cloud.errors import RefusedError
from wardtwin_sync.batch import COLUMNS, MEASURES, Batch, BatchKind
from wardtwin_sync.states import DeviceState, Severity, Transport

MAX_COLUMNS = 96
LATEST_TIME = 253_402_300_799.0
"""31 December 9999: pages and databases have no later day."""

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Word = Annotated[str, msgspec.Meta(max_length=128)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Number = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
Time = Annotated[float, msgspec.Meta(ge=0, le=LATEST_TIME)]
Span = Annotated[float, msgspec.Meta(ge=0, le=1e9)]

_TYPES: dict[BatchKind, dict[str, Any]] = {
    BatchKind.READINGS: {
        "tag_id": Id, "boot_id": Count, "sequence": Count, "kind": Id, "transport": Transport, "measured_at": Time,
    },
    BatchKind.STATES: {"device_id": Id, "tag_id": Id | None, "state": DeviceState, "since": Time, "reason": Word | None},
    BatchKind.PLACEMENTS: {"device_id": Id, "tag_id": Id | None, "room_id": Id | None, "since": Time, "rssi_dbm": Number | None},
    BatchKind.ALARMS: {
        "alarm_id": Id, "rule": Id, "subject": Id, "severity": Severity, "raised_at": Time, "cleared_at": Time | None,
        "value": Number | None, "limit": Number | None, "unit": Word | None,
    },
    BatchKind.SUMMARIES: {"subject": Id, "minute_start": Time, "samples": Count},
    BatchKind.HEALTH: {
        "at": Time, "clock_state": Word | None, "queue_depth": Count | None, "disk_bytes": Count | None,
        "tags_heard": Count | None, "rejected": Count | dict[str, Count] | None, "detail": dict[str, Any] | None,
    },
}  # fmt: skip
_OPTIONAL: dict[BatchKind, dict[str, Any]] = {
    BatchKind.READINGS: dict.fromkeys(MEASURES, Number | None),
    BatchKind.STATES: {},
    BatchKind.PLACEMENTS: {},
    BatchKind.ALARMS: {},
    BatchKind.SUMMARIES: {
        **dict.fromkeys((*MEASURES, "active_power_w_min", "active_power_w_max"), Number | None),
        "seconds_by_state": dict[DeviceState, Span] | None,
    },
    BatchKind.HEALTH: {},
}
_TIME_COLUMN = {
    BatchKind.READINGS: "measured_at",
    BatchKind.STATES: "since",
    BatchKind.PLACEMENTS: "since",
    BatchKind.ALARMS: "raised_at",
    BatchKind.SUMMARIES: "minute_start",
    BatchKind.HEALTH: "at",
}
_AS_TEXT = {"seconds_by_state", "detail"}


@dataclass(frozen=True)
class Screened:
    """A batch fit to store. `names` are the columns of the kind's table, `rows` its cells in that order.

    `ahead` marks, row by row, a time further ahead of `received_at` than the tolerance: such a row is kept as sent, but
    is not believed as the current state.
    """

    gateway_id: str
    epoch: str
    sequence: int
    digest: str
    kind: BatchKind
    created_at: float
    received_at: float
    names: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    ahead: tuple[bool, ...]
    raw: bytes = field(repr=False)
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int]:
        return self.gateway_id, self.epoch, self.sequence


def table_columns(kind: BatchKind) -> tuple[str, ...]:
    """The columns of the kind's table that come from a batch, in order; `detail` (JSON) keeps what has no column."""
    own = (*COLUMNS[kind], *_OPTIONAL[kind])
    return own if "detail" in own else (*own, "detail")


def screen(batch: Batch, raw: bytes, digest: str, received_at: float, future_tolerance_s: float) -> Screened:
    """Check every cell of `batch`. Raise RefusedError (400) naming the column and row of the first that does not fit."""
    if len(batch.columns) > MAX_COLUMNS or any(len(name) > 64 for name in batch.columns):
        raise RefusedError(400, "shape", f"a batch has at most {MAX_COLUMNS} columns with names of at most 64 characters")
    _check(batch.epoch, Id, "epoch")
    _check(batch.sequence, Count, "sequence")
    _check(batch.created_at, Time, "created_at")
    for count in batch.dropped.values():
        _check(count, Count, "dropped")
    kind = batch.kind
    types = _TYPES[kind] | _OPTIONAL[kind]
    checked: dict[str, list[Any]] = {
        name: _check(cells, GenericAlias(list, (types[name],)), name) if name in types else cells for name, cells in batch.columns.items()
    }
    count = batch.rows()
    extras = {name: cells for name, cells in checked.items() if name not in types}
    if kind is BatchKind.HEALTH:
        _fold_rejects(checked, count)
    if extras or "detail" in checked:
        checked["detail"] = _details(extras, checked.get("detail"), count)
    if "seconds_by_state" in checked:
        checked["seconds_by_state"] = [_text(cell) for cell in checked["seconds_by_state"]]
    names = table_columns(kind)
    nothing = [None] * count
    latest = received_at + future_tolerance_s
    return Screened(
        batch.gateway_id, batch.epoch, batch.sequence, digest, kind, batch.created_at, received_at, names,
        tuple(zip(*(checked.get(name, nothing) for name in names), strict=True)),
        tuple(at > latest for at in checked[_TIME_COLUMN[kind]]),
        raw, {str(name): value for name, value in batch.dropped.items()},
    )  # fmt: skip


def _check(value: Any, type_: Any, name: str) -> Any:
    try:
        return msgspec.convert(value, type_)
    except (msgspec.ValidationError, OverflowError) as error:
        raise RefusedError(400, "cell", f"{name}: {error}") from error


def _fold_rejects(checked: dict[str, list[Any]], count: int) -> None:
    """A gateway may count its rejects by reason; the column keeps the sum, `detail` the reasons."""
    details = checked.get("detail", [None] * count)
    for row, rejected in enumerate(checked["rejected"]):
        if isinstance(rejected, dict):
            details[row] = {**(details[row] or {}), "rejected_by_reason": rejected}
            checked["rejected"][row] = min(sum(rejected.values()), 2**63 - 1)


def _details(extras: dict[str, list[Any]], own: list[dict[str, Any] | None] | None, count: int) -> list[str | None]:
    rows: list[dict[str, Any]] = [dict(cell) if cell else {} for cell in own or [None] * count]
    for name, cells in extras.items():
        for row, cell in zip(rows, cells, strict=True):
            if cell is not None:
                row[name] = cell
    return [_text(row) for row in rows]


def _text(value: dict[Any, Any] | None) -> str | None:
    return msgspec.json.encode(value).decode() if value else None


RowReader = Callable[[tuple[Any, ...]], dict[str, Any]]


def reader_of(names: tuple[str, ...]) -> RowReader:
    """Rows as dictionaries, for who reads few of them."""
    return lambda row: dict(zip(names, row, strict=True))
