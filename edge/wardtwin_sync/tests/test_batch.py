"""The batch contract: what goes out comes back, and what is wrong is named."""

import msgspec
import pytest

from wardtwin_sync import batch
from wardtwin_sync.batch import Batch, BatchKind
from wardtwin_sync.errors import SchemaError, ShapeError

ROWS = [
    {"tag_id": "c0", "boot_id": 1, "sequence": 1, "kind": "energy", "transport": "mqtt", "measured_at": 1.5, "active_power_w": 12.3},
    {"tag_id": "c0", "boot_id": 1, "sequence": 2, "kind": "environment", "transport": "mqtt", "measured_at": 2.5, "temperature_c": 21.0},
]


def a_batch(**changes: object) -> Batch:
    columns = batch.columns_of(ROWS, BatchKind.READINGS)
    whole = Batch(1, "gw", "e1", 7, BatchKind.READINGS, 3.0, columns, {batch.StorageClass.RAW: 4})
    return msgspec.structs.replace(whole, **changes)


def test_rows_survive_the_columns() -> None:
    raw = batch.encode(a_batch())
    back = batch.decode_batch(raw)
    assert back == a_batch()
    assert batch.rows_of(back) == ROWS
    assert back.rows() == 2


def test_the_same_batch_has_the_same_bytes_and_hash() -> None:
    assert batch.digest(batch.encode(a_batch())) == batch.digest(batch.encode(a_batch()))
    assert batch.digest(batch.encode(a_batch())) != batch.digest(batch.encode(a_batch(sequence=8)))


def test_a_ragged_or_incomplete_batch_is_named() -> None:
    columns = dict(a_batch().columns)
    with pytest.raises(ShapeError, match="differ in length"):
        batch.decode_batch(batch.encode(a_batch(columns={**columns, "voltage_v": [1.0]})))
    del columns["boot_id"]
    with pytest.raises(ShapeError, match="boot_id"):
        batch.decode_batch(batch.encode(a_batch(columns=columns)))
    with pytest.raises(ShapeError, match="1 to"):
        batch.decode_batch(batch.encode(a_batch(columns=batch.columns_of([], BatchKind.READINGS))))


def test_another_schema_and_no_json_are_refused() -> None:
    with pytest.raises(SchemaError, match="schema 2"):
        batch.decode_batch(batch.encode(a_batch(schema=2)))
    with pytest.raises(SchemaError):
        batch.decode_batch(b"\xff\x00")
