"""What can stop a tag from being made. Every error says what to do next; the command prints it as its last line."""

from wardtwin_tools.errors import ToolError


class TagToolError(ToolError):
    """Root of this package's errors. `advice` is the next step, one sentence."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class SettingsError(TagToolError):
    """A choice is missing or contradicts another: nothing has been made yet."""


class ImageError(TagToolError):
    """Bytes that are to be written are not what they should be, or do not fit where they should go."""


class PortError(TagToolError):
    """The serial port cannot be used: absent, busy, not permitted."""


class ChipError(TagToolError):
    """The port works; the chip on it is silent, of another kind, or another tag's."""


class FlashError(TagToolError):
    """Writing began and failed: the tag may not boot until it is flashed again."""
