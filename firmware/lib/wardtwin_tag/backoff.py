"""Wait longer after each failure, and never in step with the other tags of the ward."""


class Backoff:
    """random: () -> [0, 1). The wait doubles from first_ms to limit_ms; half of it is jitter."""

    def __init__(self, first_ms, limit_ms, random):
        self._first_ms = first_ms
        self._limit_ms = limit_ms
        self._random = random
        self._next_ms = first_ms

    def next_ms(self):
        wait_ms = self._next_ms
        self._next_ms = min(self._limit_ms, wait_ms * 2)
        return wait_ms // 2 + int(self._random() * (wait_ms // 2 + 1))

    def reset(self):
        self._next_ms = self._first_ms
