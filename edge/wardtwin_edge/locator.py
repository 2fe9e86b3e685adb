"""Which room a tag is in, from signal strengths. Pure: times are arguments.

`Locator` is the seam: nearest beacon here, a fingerprint classifier with a survey later; both take sightings and answer rooms.
"""

from collections import deque
from statistics import median
from typing import Any, Protocol

import msgspec

MEDIAN_OF = 5
NEAR_OF = 3
FRESH_S = 90.0
"""A sighting older than this does not count: three reports of a tag that looks around every 15 s, and some lost."""
STRONGER_DB = 4.0
FOR_S = 20.0
"""A new room must be stronger by STRONGER_DB for FOR_S. Users complain most of rooms that flap."""
LOST_S = 600.0
GATEWAY_NEAR_DBM = -75.0
"""The gateway's radio hears the whole ward: only what it hears this well can be in its own room."""


class Sighting(msgspec.Struct, frozen=True, gc=False):
    """`observer` heard `subject` with `rssi_dbm` at `at`. A tag hears a beacon, or the gateway hears a tag; both locate the tag.

    tag_id: who is located by it. place: what stands still (the beacon's address, or the gateway's id), in room_id.
    near_dbm: a place whose median over NEAR_OF sightings is weaker than this says nothing of its room. None: every place does.
    """

    observer: str
    subject: str
    tag_id: str
    place: str
    room_id: str
    rssi_dbm: float
    at: float
    near_dbm: float | None = None


class Placement(msgspec.Struct, frozen=True, gc=False):
    """`room_id` None: not known any more. `rssi_dbm` None: not located, by home room."""

    tag_id: str
    room_id: str | None
    since: float
    rssi_dbm: float | None


class Locator(Protocol):
    def see(self, sighting: Sighting) -> Placement | None: ...
    def review(self, tag_id: str, home_room_id: str | None, now: float) -> Placement | None: ...
    def room_of(self, tag_id: str) -> str | None: ...
    def memory(self, tag_id: str) -> dict[str, Any]: ...
    def recall(self, tag_id: str, memory: dict[str, Any]) -> None: ...
    def move(self, step_s: float) -> None: ...


class _Track:
    __slots__ = ("heard", "placed", "rival", "rival_since", "room_id", "seen_at", "since")

    def __init__(self) -> None:
        self.heard: dict[str, tuple[str, float | None, deque[tuple[float, float]]]] = {}
        self.placed = False
        self.room_id: str | None = None
        self.since = 0.0
        self.seen_at: float | None = None
        self.rival: str | None = None
        self.rival_since = 0.0


class NearestBeacon:
    """The room of the strongest beacon by the median of its last MEDIAN_OF sightings, with hysteresis in strength and time."""

    def __init__(self) -> None:
        self._tracks: dict[str, _Track] = {}

    def see(self, sighting: Sighting) -> Placement | None:
        """Take one sighting in; return the tag's new placement if it changes by it."""
        track = self._tracks.setdefault(sighting.tag_id, _Track())
        if track.seen_at is not None and sighting.at < track.seen_at - FRESH_S:
            return None  # came late, out of a tag's queue: the present is known better
        at = track.seen_at = max(sighting.at, track.seen_at or sighting.at)
        _, _, heard = track.heard.setdefault(sighting.place, (sighting.room_id, sighting.near_dbm, deque(maxlen=MEDIAN_OF)))
        heard.append((sighting.at, sighting.rssi_dbm))
        strength = _strengths(track, at)
        if not strength:
            return None
        best = max(strength, key=lambda room: (strength[room], room))
        here = strength.get(track.room_id or "")
        if not track.placed or track.room_id is None or here is None:
            if best == track.room_id:
                return None
            return self._place(sighting.tag_id, track, best, at, strength[best])
        if best == track.room_id or strength[best] < here + STRONGER_DB:
            track.rival = None
            return None
        if track.rival != best:
            track.rival, track.rival_since = best, at
        if at - track.rival_since < FOR_S:
            return None
        return self._place(sighting.tag_id, track, best, track.rival_since, strength[best])

    def review(self, tag_id: str, home_room_id: str | None, now: float) -> Placement | None:
        """Age: a tag never located is in its home room as far as anyone knows; one not sighted for LOST_S is nowhere known."""
        track = self._tracks.setdefault(tag_id, _Track())
        if not track.placed:
            return None if home_room_id is None else self._place(tag_id, track, home_room_id, now, None)
        if track.room_id is not None and track.seen_at is not None and now - track.seen_at > LOST_S:
            return self._place(tag_id, track, None, track.seen_at, None)
        return None

    def room_of(self, tag_id: str) -> str | None:
        track = self._tracks.get(tag_id)
        return track.room_id if track else None

    def memory(self, tag_id: str) -> dict[str, Any]:
        track = self._tracks[tag_id]
        return {"room_id": track.room_id, "since": track.since, "seen_at": track.seen_at, "placed": track.placed}

    def recall(self, tag_id: str, memory: dict[str, Any]) -> None:
        track = self._tracks[tag_id] = _Track()
        track.room_id, track.since = memory["room_id"], memory["since"]
        track.seen_at, track.placed = memory["seen_at"], memory["placed"]

    def move(self, step_s: float) -> None:
        for track in self._tracks.values():
            track.since += step_s
            track.rival_since += step_s
            if track.seen_at is not None:
                track.seen_at += step_s
            track.heard.clear()

    def _place(self, tag_id: str, track: _Track, room_id: str | None, since: float, rssi_dbm: float | None) -> Placement:
        track.placed, track.room_id, track.since, track.rival = True, room_id, since, None
        return Placement(tag_id, room_id, since, rssi_dbm)


def _strengths(track: _Track, now: float) -> dict[str, float]:
    """The strongest place of each room, by median over what is fresh; places gone stale are forgotten."""
    out: dict[str, float] = {}
    for place, (room_id, near_dbm, heard) in list(track.heard.items()):
        while heard and heard[0][0] < now - FRESH_S:
            heard.popleft()
        if not heard:
            del track.heard[place]
            continue
        level = median(rssi for _, rssi in heard)
        if near_dbm is not None and (len(heard) < NEAR_OF or level < near_dbm):
            continue
        if level > out.get(room_id, -999.0):
            out[room_id] = level
    return out
