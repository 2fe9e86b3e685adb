"""What a tag sends over MQTT and serial, and what of it the gateway has: the same for both, apart from the link.

A frame goes to flash before it goes out, and leaves flash when the gateway acks it (after its COMMIT). At most WINDOW frames
are under way; what is not acked in time goes out again, oldest first. The time-out follows the measured round trip and
doubles while no ack comes, and the window halves, so that a gateway that is away is not flooded when it comes back.
"""

from wardtwin_tag.ram_queue import RamQueue
from wardtwin_wire import frame
from wardtwin_wire.errors import WireError

WINDOW = 64
RESEND_AFTER_MS = 10_000
MAX_RESEND_AFTER_MS = 160_000


class _Sent:
    def __init__(self, boot_id, sequence, position, sent_at_ms):
        self.boot_id = boot_id
        self.sequence = sequence
        self.position = position
        self.sent_at_ms = sent_at_ms
        self.resent = False


class Uplink:
    """report() from the sampling side; next_frame() and acked() from the link.

    queue: `FlashQueue`; report_aead and ack_aead: `Ccm` with tag_length 8 under the derived keys; tag_id: 6 bytes.
    """

    def __init__(self, queue, report_aead, ack_aead, tag_id, boot_id):
        self.queue = queue
        self._report_aead = report_aead
        self._ack_aead = ack_aead
        self._tag_id = tag_id
        self._boot_id = boot_id
        self._sequence = 0
        self._under_way = []
        self._cursor = queue.START
        self._window = 1
        self._round_trip_ms = 0
        self._resend_after_ms = RESEND_AFTER_MS
        self._session = None
        self._clock = None
        self.rejected_acks = 0

    def report(self, kind, payload):
        """Seal `payload` as this boot's next frame and put it on flash."""
        # spent even if the flash refuses it: half of it may be there, and a nonce must never come twice
        self._sequence += 1
        self.queue.append(frame.seal(self._report_aead, kind, self._tag_id, self._boot_id, self._sequence, payload))

    def link_changed(self):
        """The link is new or gone: nothing is under way, all that waits is to be sent."""
        self._under_way = []
        self._cursor = self.queue.START
        self._window = 1
        self._resend_after_ms = RESEND_AFTER_MS

    def next_frame(self, now_ms):
        """Return the frame to send now, or None. It counts as sent: a link that cannot send it calls link_changed()."""
        under_way = self._under_way
        if under_way and now_ms - under_way[0].sent_at_ms >= self._resend_after_ms:
            again = self._send_again(now_ms)
            if again is not None:
                return again
        if len(under_way) >= self._window:
            return None
        found = self.queue.read(self._cursor)
        if found is None:
            return None
        position, data = found
        self._cursor = self.queue.after(position, data)
        _, _, boot_id, sequence = frame.read_header(data)
        under_way.append(_Sent(boot_id, sequence, position, now_ms))
        return data

    def acked(self, data, now_ms):
        """Take an ACK frame; return how many frames it released. What is forged or not newer than the last is counted and dropped."""
        try:
            kind, tag_id, session, counter, payload = frame.open_frame(self._ack_aead, data)
            time_ms, runs = frame.unpack_ack(payload)
        except WireError:
            self.rejected_acks += 1
            return 0
        old = self._session is not None and self._session[0] == session and counter <= self._session[1]
        if kind != frame.ACK or tag_id != self._tag_id or old:
            self.rejected_acks += 1
            return 0
        self._session = (session, counter)
        if time_ms:
            self._clock = (time_ms, now_ms)
        return self._release(runs, now_ms)

    def unix_ms(self, now_ms):
        """UTC by the gateway's last ack, None before the first that carried a time."""
        return None if self._clock is None else self._clock[0] + now_ms - self._clock[1]

    def _release(self, runs, now_ms):
        left = []
        released = 0
        for sent in self._under_way:
            if not _covers(runs, sent):
                left.append(sent)
                continue
            self.queue.release(sent.position)
            released += 1
            if not sent.resent:
                round_trip_ms = now_ms - sent.sent_at_ms
                self._round_trip_ms += (round_trip_ms - self._round_trip_ms) // 8 if self._round_trip_ms else round_trip_ms
        self._under_way = left
        if released:
            self._window = min(WINDOW, self._window + released)
            self._resend_after_ms = min(MAX_RESEND_AFTER_MS, max(RESEND_AFTER_MS, 4 * self._round_trip_ms))
        return released

    def _send_again(self, now_ms):
        sent = self._under_way.pop(0)
        found = self.queue.read(sent.position)
        if found is None or found[0] != sent.position:
            # dropped with its sector meanwhile
            return None
        if not sent.resent:
            self._window = max(1, self._window // 2)
        else:
            self._resend_after_ms = min(MAX_RESEND_AFTER_MS, self._resend_after_ms * 2)
        sent.resent = True
        sent.sent_at_ms = now_ms
        self._under_way.append(sent)
        return found[1]


class NoUplink:
    """The uplink of a tag that only advertises: takes everything, sends and knows nothing."""

    def __init__(self):
        self.queue = RamQueue()

    def report(self, kind, payload):
        pass

    def link_changed(self):
        pass

    def next_frame(self, now_ms):
        return None

    def acked(self, data, now_ms):
        return 0

    def unix_ms(self, now_ms):
        return None


def _covers(runs, sent):
    for boot_id, first, last in runs:
        if boot_id == sent.boot_id and first <= sent.sequence <= last:
            return True
    return False
