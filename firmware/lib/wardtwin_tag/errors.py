"""What can go wrong on a tag. None of these ends a tag: the part is marked as failed and tried again."""


class TagError(Exception):
    """Root of this package's errors."""


class SettingsError(TagError):
    """settings.json cannot be used. faults: one line for each wrong setting, named by its path."""

    def __init__(self, faults):
        super().__init__("; ".join(faults))
        self.faults = faults


class SensorError(TagError):
    """A chip did not answer or did not make sense. reason: silent, checksum, identity or not_ready."""

    def __init__(self, reason, detail=""):
        super().__init__(reason + (": " + detail if detail else ""))
        self.reason = reason


class MqttError(TagError):
    """The session is over; connect anew. reason: closed, refused, silent, malformed or too_long."""

    def __init__(self, reason, detail=""):
        super().__init__(reason + (": " + detail if detail else ""))
        self.reason = reason
