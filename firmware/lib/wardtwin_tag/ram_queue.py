"""The queue of a board without a queue partition: the same interface as `flash_queue.FlashQueue`, lost with the power."""

CAPACITY = 64


class RamQueue:
    START = (0, 0)

    def __init__(self):
        self._frames = []
        self._next = 0
        self.depth = 0
        self.dropped = 0
        self.appended = 0
        self.torn = 0

    def append(self, frame):
        if len(self._frames) == CAPACITY:
            self._frames.pop(0)
            self.dropped += 1
        self._next += 1
        self.appended += 1
        self._frames.append(((0, self._next), frame))
        self.depth = len(self._frames)
        return 0, self._next

    def read(self, position):
        for at, frame in self._frames:
            if at >= position:
                return at, frame
        return None

    def after(self, position, frame):
        return position[0], position[1] + 1

    def release(self, position):
        for i in range(len(self._frames)):
            if self._frames[i][0] == position:
                self._frames.pop(i)
                self.depth = len(self._frames)
                return True
        return False
