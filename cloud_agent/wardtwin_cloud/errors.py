"""What can go wrong in the cloud agent. Content errors blame what was sent; state errors blame this side, and retrying helps."""


class CloudError(Exception):
    """Root of this package's errors. `retry` says whether the same request can succeed later."""

    retry = False


class ContentError(CloudError):
    """Someone sent or imported something that cannot be taken."""


class RefusedError(ContentError):
    """A batch refused at the door. `status` is the HTTP status, `code` a stable word, the message is for a person."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class RegistryError(ContentError):
    """A registry that contradicts itself. `faults` lists every contradiction, one sentence each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class ConfigError(ContentError):
    """A setting or environment variable that cannot be understood."""


class BusyError(CloudError):
    """The queue before the writer is full. Come again in `retry_after_s`."""

    retry = True

    def __init__(self, message: str, retry_after_s: float = 2.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreError(CloudError):
    """The store could not commit (disk full, locked by another program): nothing of the batch is kept."""

    retry = True


class SchemaVersionError(CloudError):
    """The data folder was written by a newer wardtwin."""
