"""What can be wrong with a batch or a registry, as content. Transport faults belong to the uplink."""


class SyncError(Exception):
    """Root of this package's errors. `retry` says whether sending the same bytes again can help."""

    retry = False


class SchemaError(SyncError):
    """The bytes are not a batch (or registry) of a schema version this side speaks."""


class ShapeError(SyncError):
    """Columns of a batch differ in length, or a column the kind requires is missing."""
