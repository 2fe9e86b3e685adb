"""What can go wrong on the bench itself; faults that a test asks for are not errors."""


class BoardError(Exception):
    """Root of this package's errors."""


class BrokerError(BoardError):
    """The broker is not installed, or did not start."""


class FirmwareError(BoardError):
    """The firmware or an interpreter to run it on was not found."""
