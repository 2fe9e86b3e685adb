"""Why bytes were refused. `reason` is a short word that both sides count by."""


class WireError(ValueError):
    """Root of this package's errors. reason: truncated, version, kind, authentication, field, framing or length."""

    def __init__(self, reason, detail=""):
        super().__init__(reason + (": " + detail if detail else ""))
        self.reason = reason
