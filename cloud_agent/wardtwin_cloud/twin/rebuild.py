"""The twin from the store: at start, and when the register was changed."""

import msgspec

from wardtwin_cloud.store import Store
from wardtwin_cloud.twin.twin import MAX_OPEN_ALARMS, Limits, Twin
from wardtwin_sync.batch import BatchKind
from wardtwin_sync.registry import decode_registry

FRAMES = 24
"""Newest frames of a tag to read: its measures come spread over rotating frames, with status frames between."""


def rebuild(store: Store, limits: Limits) -> Twin:
    stored = store.registry()
    twin = Twin(decode_registry(stored[1]) if stored is not None else None, limits, store.bound_since())
    for row in store.gateways():
        twin.add_gateway(row, msgspec.json.decode(row["dropped"]) if row["dropped"] else {})
    for tag_id in store.tag_ids():
        for row in store.latest_readings(tag_id, FRAMES):
            twin.take_rows(BatchKind.READINGS, row["gateway_id"], [row])
    for kind, rows in (
        (BatchKind.STATES, store.latest_states()),
        (BatchKind.PLACEMENTS, store.latest_placements()),
        (BatchKind.HEALTH, store.latest_health()),
        (BatchKind.ALARMS, store.open_alarms(MAX_OPEN_ALARMS)),
    ):
        for row in rows:
            twin.take_rows(kind, row["gateway_id"], [row])
    return twin
