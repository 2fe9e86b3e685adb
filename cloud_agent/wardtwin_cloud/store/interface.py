"""What any store must do. SQLite does it today; a PostgreSQL store takes the same calls and passes the same tests."""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from wardtwin_cloud.rows import Screened
from wardtwin_sync.registry import Registry

Row = dict[str, Any]


class Outcome(StrEnum):
    """What became of a batch; the words of an Ack's status."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"


class Span(NamedTuple):
    """A tag's rows with start <= measured_at < end."""

    tag_id: str
    start: float
    end: float


class Store(Protocol):
    """All times are UTC seconds since 1970. `commit` has one caller, the writer; reads may come from any thread."""

    def commit(self, batches: Sequence[Screened]) -> list[Outcome]:
        """Keep all of `batches` in one durable transaction, in order, each exactly once. Raise StoreError and keep none."""
        ...

    def close(self) -> None: ...

    # master data, gateways, tokens
    def import_registry(self, body: bytes, at: float) -> int: ...
    def change_registry(self, change: Callable[[Registry | None], Registry], at: float) -> int:
        """Replace the registry by what `change` makes of it, in one transaction; give its revision, the old one if it is the same.

        What `change` raises goes through, and nothing is changed. A tag that moves keeps its earlier rows where it sat.
        """
        ...

    def registry(self) -> tuple[int, bytes] | None: ...
    def add_gateway(self, gateway_id: str, fingerprint: str, at: float) -> None: ...
    def gateways(self) -> list[Row]: ...
    def add_token(self, name: str, fingerprint: str, at: float) -> bool:
        """Say False, and change nothing, when there is a token of this name."""
        ...

    def revoke_token(self, name: str) -> bool: ...
    def tokens(self) -> list[Row]: ...
    def change_marker(self) -> tuple[int, int, float]:
        """Differs when the registry or the list of gateways was changed, by whichever process."""
        ...

    # the latest, for the twin
    def latest_readings(self, tag_id: str, frames: int) -> list[Row]:
        """The newest `frames` believed readings of a tag, newest first."""
        ...

    def bound_since(self) -> dict[str, float]:
        """When each tag came to where it sits; 0 for a tag that never moved."""
        ...

    def latest_states(self) -> Iterator[Row]: ...
    def latest_placements(self) -> Iterator[Row]: ...
    def latest_health(self) -> Iterator[Row]: ...
    def tag_ids(self) -> list[str]: ...
    def open_alarms(self, limit: int) -> list[Row]: ...

    # history
    def alarms(self, before: float | None, limit: int) -> list[Row]: ...
    def states(self, device_id: str, start: float, end: float, limit: int) -> list[Row]:
        """Transitions in [start, end), oldest first, led by the one in force at `start` if any."""
        ...

    def spans(self, subject: str, start: float, end: float) -> list[Span]:
        """Which tags sat on `subject` (device:<id>, room:<id>) when, within [start, end)."""
        ...

    def readings(self, spans: Sequence[Span], limit: int) -> list[Row]: ...
    def reading_buckets(self, spans: Sequence[Span], start: float, bucket_s: float) -> list[Row]:
        """Per bucket: its start, `samples`, mean, min and max of active_power_w; buckets without a value are left out."""
        ...

    def summaries(self, subject: str, start: float, end: float, limit: int) -> list[Row]: ...
    def summary_buckets(self, subject: str, start: float, end: float, bucket_s: float) -> list[Row]:
        """As `reading_buckets`, from the minutes' summaries: the mean weighted by samples."""
        ...

    def sequences(self, tag_id: str | None = None) -> list[Row]: ...
    def quarantine(self, limit: int) -> list[Row]: ...
    def quarantine_count(self) -> int: ...
