"""What can go wrong with the gateway's own things. Refused bytes are no error here: they are counted (see `decoder`)."""


class EdgeError(Exception):
    """Root of this package's errors. `advice` says what to do about it; `retry` whether trying again can help."""

    retry = False

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class ConfigError(EdgeError):
    """The configuration file, a tag card or a registry file cannot be used as it is."""


class StoreError(EdgeError):
    """The database refused a change. `retry` is true for a full disk: the next attempt may find room."""


class StoreFullError(StoreError):
    """No room on the disk, or the database has reached its bound."""

    retry = True
