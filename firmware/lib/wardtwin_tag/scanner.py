"""Packets of one fixed size out of a byte stream that may hold noise."""


class Scanner:
    """Feed what came in, get whole packets. What belongs to none is counted in `junk_bytes`.

    is_packet(buffer, at) says whether `size` bytes from `at` are one: header and checksum both.
    """

    def __init__(self, size, is_packet):
        self._size = size
        self._is_packet = is_packet
        self._buffer = bytearray()
        self.junk_bytes = 0

    def feed(self, data):
        """Return [packet]; fewer than `size` bytes at the end wait for the rest."""
        buffer = self._buffer
        buffer.extend(data)
        size = self._size
        packets = []
        at = 0
        while len(buffer) - at >= size:
            if self._is_packet(buffer, at):
                packets.append(bytes(buffer[at : at + size]))
                at += size
            else:
                self.junk_bytes += 1
                at += 1
        self._buffer = buffer[at:]
        return packets

    def restart(self):
        """Drop what waits for its rest: it will not come."""
        self.junk_bytes += len(self._buffer)
        self._buffer = bytearray()
