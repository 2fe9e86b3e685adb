"""From arrivals to changes: decode, stamp, deduplicate, derive. Runs in the committer's thread; no I/O but the store's look-ups.

`take` and `tick` return what to commit and mutate the memory of what stands. When that commit fails, `load` builds the
memory anew from the store, so memory never runs ahead of the disk.
"""

import logging
from collections import Counter, deque
from typing import Any, Protocol

import msgspec

from wardtwin_edge import alarms, decoder
from wardtwin_edge.alarms import Watch
from wardtwin_edge.classifier import Change
from wardtwin_edge.clock import SYNCHRONISED, Clock, Correction, Timeline
from wardtwin_edge.config import Config
from wardtwin_edge.decoder import Rejected, Report, Undecodable
from wardtwin_edge.locator import GATEWAY_NEAR_DBM, Locator, NearestBeacon, Placement, Sighting
from wardtwin_edge.roster import Roster, Tag
from wardtwin_edge.store import Changes, Store
from wardtwin_edge.tag_state import TagState
from wardtwin_sync.batch import BatchKind
from wardtwin_sync.states import Transport

_log = logging.getLogger(__name__)


class Source(Protocol):
    """Where messages come from and acks go to. `committed` and `send_ack` are called in the committer's thread."""

    transport: Transport

    def committed(self, tokens: list[Any]) -> None: ...
    def send_ack(self, tag_id: str, sealed: bytes) -> None: ...


class Arrival(msgspec.Struct, gc=False):
    """One message as it came. `token` goes back to the source once committed; `address` and `rssi_dbm` for BLE only."""

    source: Source
    payload: bytes
    received_s: float
    token: Any = None
    address: bytes | None = None
    rssi_dbm: int = 0


class Pipeline:
    def __init__(self, config: Config, store: Store, roster: Roster, clock: Clock, monotonic_s: float) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._started_s = monotonic_s
        self.speed = clock.speed
        self.roster = roster
        self.timeline = Timeline()
        self.locator: Locator = NearestBeacon()
        self.tags: dict[str, TagState] = {}
        self.gateway_watches = [Watch(limit, f"gateway:{config.gateway.id}") for limit in (alarms.DISK_FULL, alarms.CLOCK_WRONG)]
        self.rejected: Counter[tuple[str, str]] = Counter()
        self.rejected_of: Counter[str] = Counter()
        self.committed = 0
        self.duplicates = 0
        self.heard_strangers: deque[str] = deque(maxlen=20)
        self._counters: dict[str, int] = {}
        self._last_advert: dict[bytes, bytes] = {}
        self.load()

    def load(self) -> None:
        """Build everything that stands from the store; what was heard since the start is kept for the page."""
        store = self._store
        store.forget_newest()
        live = store.live()
        self.timeline.restore(store.boots())
        self._counters = store.ble_counters()
        self._last_advert.clear()
        self.locator = NearestBeacon()
        before = self.tags
        self.tags = {}
        for tag in self.roster.tags:
            state = self.tags[tag.tag_id] = TagState(tag, self._config, self._clock.speed, self._started_s)
            if tag.tag_id in before:
                state.heard = before[tag.tag_id].heard
            if state.classifier and (memory := live.get(f"state:{state.subject}")):
                state.classifier.recall(memory, store.last_measured(tag.tag_id))
            if memory := live.get(f"place:{tag.tag_id}"):
                self.locator.recall(tag.tag_id, memory)
            for watch in state.watches:
                if memory := live.get(f"watch:{watch.limit.rule}:{watch.subject}"):
                    watch.recall(memory)
        for watch in self.gateway_watches:
            if memory := live.get(f"watch:{watch.limit.rule}:{watch.subject}"):
                watch.recall(memory)

    # -- arrivals

    def take(self, arrivals: list[Arrival]) -> tuple[Changes, list[tuple[Source, Tag, int, int]]]:
        """Return what to commit, and (source, tag, boot_id, sequence) to ack once it is: duplicates too, their ack was lost."""
        changes = Changes()
        acks: list[tuple[Source, Tag, int, int]] = []
        fresh: set[tuple[str, int, int]] = set()
        for arrival in arrivals:
            try:
                if arrival.address is None:
                    report = decoder.open_sealed(self.roster, arrival.payload)
                else:
                    opened = self._open_advert(arrival)
                    if opened is None:
                        continue
                    report = opened
                self._take_report(report, arrival, changes, fresh, acks)
            except Rejected as no:
                self._reject(arrival, no)
            except Undecodable as odd:
                self._set_aside(odd, arrival, changes, acks)
        changes.boots += self.timeline.changed()
        return changes, acks

    def _open_advert(self, arrival: Arrival) -> Report | None:
        assert arrival.address is not None
        if self._last_advert.get(arrival.address) == arrival.payload:  # a repeat of what was just authenticated
            self._hear_repeat(arrival)
            return None
        tag = self.roster.by_address.get(arrival.address)
        last = self._counters.get(tag.tag_id, -1) if tag else -1
        try:
            report = decoder.open_advert(self.roster, arrival.address, arrival.payload, last)
        except Rejected as no:
            if no.reason == "repeat":
                self._hear_repeat(arrival)
                return None
            raise
        self._last_advert[arrival.address] = arrival.payload
        return report

    def _hear_repeat(self, arrival: Arrival) -> None:
        assert arrival.address is not None
        state = self.tags[self.roster.by_address[arrival.address].tag_id]
        state.heard.rssi_dbm = arrival.rssi_dbm
        state.heard.received_s = arrival.received_s

    def _take_report(
        self, report: Report, arrival: Arrival, changes: Changes, fresh: set[tuple[str, int, int]], acks: list[tuple[Source, Tag, int, int]]
    ) -> None:
        tag, boot_id, sequence = report.tag, report.boot_id, report.sequence
        source = arrival.source
        state = self.tags[tag.tag_id]
        key = (tag.tag_id, boot_id, sequence)
        if boot_id:
            acks.append((source, tag, boot_id, sequence))
        if key in fresh or not self._store.is_new(*key):
            self.duplicates += 1
            state.heard.duplicates += 1
            return
        fresh.add(key)
        received_at = self._clock.at(arrival.received_s)
        if report.uptime_s is None:
            at = received_at
            self._counters[tag.tag_id] = changes.ble_counters[tag.tag_id] = sequence
        else:
            at = self.timeline.measured_at(tag.tag_id, boot_id, report.uptime_s, received_at)
        line = self._clock.line
        changes.readings.append((tag.tag_id, boot_id, sequence, report.kind, source.transport.value, at, line, _measures(report)))
        heard = state.heard
        heard.transport, heard.received_s = source.transport, arrival.received_s
        heard.reports += 1
        minute = int(at) // 60 * 60
        if minute != state.minute:
            state.minute = minute
            changes.minutes.add((tag.tag_id, minute))
        if report.values:
            self._derive(state, report, at, line, changes)
        if report.sightings or arrival.address is not None:
            self._locate(state, report, arrival, at, changes)

    def _derive(self, state: TagState, report: Report, at: float, line: int, changes: Changes) -> None:
        values = report.values
        if report.kind == "status":
            state.heard.failed_parts = int(values.get("failed_parts", 0))
            self._watch(state.watches[-1], values.get("failed_parts", 0), at, line, changes)
            return
        heard = state.heard.values
        heard.update(values)
        classifier = state.classifier
        power = values.get("active_power_w")
        if classifier is not None and power is not None:
            found = classifier.feed(power, at)
            if found or classifier.moved:
                self._note_changes(state, found, at, line, changes)
        for watch in state.watches:
            value = values.get(watch.limit.field)
            if value is not None:
                row = watch.feed(value, at)
                if row is not None:
                    changes.outbox.append((BatchKind.ALARMS, row, line))
                if watch.moved:
                    changes.live[f"watch:{watch.limit.rule}:{watch.subject}"] = watch.memory()

    def _note_changes(self, state: TagState, found: list[Change], at: float, line: int, changes: Changes) -> None:
        assert state.classifier is not None
        assert state.tag.device is not None
        device_id, tag_id = state.tag.device.device_id, state.tag.tag_id
        for change in found:
            changes.states.append((device_id, tag_id, change.state.value, change.since, change.reason, line))
            row = {"device_id": device_id, "tag_id": tag_id, "state": change.state.value, "since": change.since, "reason": change.reason}
            changes.outbox.append((BatchKind.STATES, row, line))
            # minutes summed up under the old state are summed up again
            changes.minutes.update((tag_id, minute) for minute in range(int(change.since) // 60 * 60, int(at) // 60 * 60 + 60, 60))
        changes.live[f"state:{state.subject}"] = state.classifier.memory()

    def _locate(self, state: TagState, report: Report, arrival: Arrival, at: float, changes: Changes) -> None:
        if not state.tag.is_energy:
            return
        tag_id = state.tag.tag_id
        for address, rssi in report.sightings or ():
            room_id = self.roster.beacons.get(address)
            if room_id is not None:
                place = address.hex()
                self._see(Sighting(tag_id, place, tag_id, place[-8:], room_id, rssi, at), changes)
        if arrival.address is not None:
            state.heard.rssi_dbm = arrival.rssi_dbm
            gateway = self._config.gateway
            if gateway.room_id is not None:
                here = Sighting(gateway.id, tag_id, tag_id, gateway.id, gateway.room_id, arrival.rssi_dbm, at, GATEWAY_NEAR_DBM)
                self._see(here, changes)

    def _see(self, sighting: Sighting, changes: Changes) -> None:
        self._place(self.locator.see(sighting), changes)

    def _place(self, placement: Placement | None, changes: Changes) -> None:
        if placement is None:
            return
        tag = self.roster.by_name[placement.tag_id]
        if tag.device is not None:
            row = {
                "device_id": tag.device.device_id, "tag_id": tag.tag_id, "room_id": placement.room_id,
                "since": placement.since, "rssi_dbm": placement.rssi_dbm,
            }  # fmt: skip
            changes.outbox.append((BatchKind.PLACEMENTS, row, self._clock.line))
        changes.live[f"place:{tag.tag_id}"] = self.locator.memory(tag.tag_id)

    def _reject(self, arrival: Arrival, no: Rejected) -> None:
        self.rejected[arrival.source.transport.value, no.reason] += 1
        if no.reason == "unknown_tag":
            if no.tag_id not in self.heard_strangers:
                self.heard_strangers.append(no.tag_id)
        elif no.tag_id:
            self.rejected_of[no.tag_id] += 1

    def _set_aside(self, odd: Undecodable, arrival: Arrival, changes: Changes, acks: list[tuple[Source, Tag, int, int]]) -> None:
        transport = arrival.source.transport
        if odd.boot_id:
            acks.append((arrival.source, odd.tag, odd.boot_id, odd.sequence))
            if not self._store.is_new(odd.tag.tag_id, odd.boot_id, odd.sequence):
                return
        elif arrival.address is not None:  # a sealed frame that claims boot 0 must not pass for an advert's counter
            self._counters[odd.tag.tag_id] = changes.ble_counters[odd.tag.tag_id] = odd.sequence
        self.rejected[transport.value, f"undecodable_{odd.reason}"] += 1
        at = self._clock.at(arrival.received_s)
        changes.quarantine.append((at, transport.value, odd.tag.tag_id, odd.boot_id, odd.sequence, odd.reason, odd.payload))

    def _watch(self, watch: Watch, value: float, at: float, line: int, changes: Changes) -> None:
        row = watch.feed(value, at)
        if row is not None:
            changes.outbox.append((BatchKind.ALARMS, row, line))
        if watch.moved:
            changes.live[f"watch:{watch.limit.rule}:{watch.subject}"] = watch.memory()

    # -- time

    def tick(self, monotonic_s: float, disk_share: float) -> Changes:
        """What follows from nothing having come: call about twice a second."""
        changes = Changes()
        now, line, speed = self._clock.at(monotonic_s), self._clock.line, self._clock.speed
        for state in self.tags.values():
            heard_s = state.heard.received_s
            silent_s = (monotonic_s - (heard_s if heard_s is not None else state.since_s)) * speed
            self._watch(state.watches[-2], silent_s, now, line, changes)
            if state.classifier is not None and silent_s > state.silence:
                found = state.classifier.silent(now)
                if found:
                    self._note_changes(state, found, now, line, changes)
            if state.tag.is_energy and heard_s is not None:
                self._place(self.locator.review(state.tag.tag_id, state.home_room_id, now), changes)
        disk, clock = self.gateway_watches
        self._watch(disk, disk_share, now, line, changes)
        self._watch(clock, 0.0 if line == SYNCHRONISED else 1.0, now, line, changes)
        return changes

    def correct(self, correction: Correction) -> Changes:
        """The time became known, or jumped: move what is remembered. The store's rows are moved by the caller."""
        step = correction.step_s
        self.timeline.move(step)
        self.locator.move(step)
        changes = Changes()
        for state in self.tags.values():
            state.minute = -1
            if state.classifier is not None:
                state.classifier.move(step)
                changes.live[f"state:{state.subject}"] = state.classifier.memory()
        for watch in [*self.gateway_watches, *(watch for state in self.tags.values() for watch in state.watches)]:
            watch.move(step)
            changes.live[f"watch:{watch.limit.rule}:{watch.subject}"] = watch.memory()
        changes.boots += self.timeline.changed()
        return changes


def _measures(report: Report) -> str:
    if report.sightings:
        return _ENCODE({**report.values, "sightings": [[address.hex(), rssi] for address, rssi in report.sightings]}).decode()
    return _ENCODE(report.values).decode()


_ENCODE = msgspec.json.Encoder().encode
