"""What stops a command, in words for the person at the terminal."""


class ToolError(Exception):
    """Root. The message says what happened, what it means and what to do; the command exits with `exit_code`."""

    exit_code = 1


class ServiceError(ToolError):
    """A process of the ward did not start or ended by itself; the message carries the end of its log."""


class RecordingError(ToolError):
    """A file that was to be played is no recording this version reads."""

    exit_code = 2
