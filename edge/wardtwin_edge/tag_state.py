"""What stands for one tag between two reports: what was heard, its classifier, its watches."""

import msgspec

from wardtwin_edge import alarms
from wardtwin_edge.alarms import Watch
from wardtwin_edge.classifier import Classifier
from wardtwin_edge.config import Config
from wardtwin_edge.roster import Tag
from wardtwin_sync.states import Transport

_LEAST_SILENCE_S = 5.0
"""Of real time: with a scaled clock a pause of the machine is no silence of a tag."""


class Heard(msgspec.Struct):
    """What the page shows of a tag."""

    transport: Transport | None = None
    received_s: float | None = None
    reports: int = 0
    duplicates: int = 0
    rssi_dbm: int | None = None
    values: dict[str, float] = {}
    failed_parts: int = 0


class TagState:
    """What stands for one tag: its heard values, classifier and watches."""

    __slots__ = ("classifier", "heard", "home_room_id", "minute", "silence", "since_s", "subject", "tag", "watches")

    def __init__(self, tag: Tag, config: Config, speed: float, since_s: float) -> None:
        self.tag = tag
        self.heard = Heard()
        self.since_s = since_s
        self.minute = -1
        kind = tag.device_type
        least = _LEAST_SILENCE_S * speed
        self.silence = max(kind.silent_after_s, least)
        self.home_room_id = tag.device.home_room_id if tag.device else tag.binding.room_id
        self.subject = f"device:{tag.device.device_id}" if tag.device else f"tag:{tag.tag_id}"
        if not tag.is_energy and tag.binding.room_id:
            self.subject = f"room:{tag.binding.room_id}"
        limits = alarms.energy_limits(config.mains, kind.max_current_a) if tag.is_energy else alarms.ROOM_LIMITS
        silent = msgspec.structs.replace(alarms.TAG_SILENT, above=self.silence)
        self.watches = [Watch(limit, self.subject) for limit in limits]
        self.watches += [Watch(silent, f"tag:{tag.tag_id}"), Watch(alarms.SENSOR_FAILED, f"tag:{tag.tag_id}")]
        self.classifier: Classifier | None = None
        if tag.is_energy and tag.device:
            # adverts are stamped on receipt, so with a scaled clock their stamps jump by what the machine was late
            patient = tag.binding.transport is Transport.BLE and least > kind.silent_after_s
            self.classifier = Classifier(msgspec.structs.replace(kind, silent_after_s=least) if patient else kind)
