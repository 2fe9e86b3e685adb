"""What needs somebody, in words that say what happened, what it means and what to do. Pure: facts of `status` in, lines out."""

from typing import Any

from wardtwin_edge.clock import ClockState
from wardtwin_sync.states import Severity

_LOW_DISK_BYTES = 200 * 2**20
_NAMES = {"ble": "Bluetooth", "mqtt": "MQTT", "serial": "USB serial"}
_REMEDIES = {
    "ble": "Check that an adapter is there (bluetoothctl list) and that the service may use it.",
    "mqtt": "Check that the broker runs and that [mqtt] host, port and ca_file are right.",
    "serial": "Plug the tag in, or correct [serial] ports.",
}


def advice(facts: dict[str, Any]) -> list[dict[str, str]]:
    """Lines {"severity", "text"}, worst first; empty when nothing needs anybody."""
    lines = [*_own(facts), *_ways(facts), *_cloud(facts), *_tags(facts)]
    lines += [(Severity.CAUTION, notice) for notice in facts["gateway"]["notices"]]
    order = list(Severity)
    return [{"severity": severity.value, "text": text} for severity, text in sorted(lines, key=lambda line: order.index(line[0]))]


Lines = list[tuple[Severity, str]]


def _own(facts: dict[str, Any]) -> Lines:
    lines: Lines = []
    commit, clock, free = facts["commit"], facts["clock"]["state"], facts["disk"]["free_bytes"]
    if commit["fault"]:
        text = f"Nothing is being stored: {commit['fault']}. Tags keep their reports meanwhile. Free space, then look here again."
        lines.append((Severity.CRITICAL, text))
    if not commit["alive"]:
        lines.append((Severity.CRITICAL, "The commit loop does not answer. Restart the gateway: systemctl restart wardtwin-edge."))
    if 0 < free < _LOW_DISK_BYTES:
        lines.append((Severity.CAUTION, f"{free // 2**20} MB left on the disk. Free some, or lower storage.disk_bound_mb."))
    if clock == ClockState.UNSYNCHRONISED:
        text = "The time is not known yet, so nothing is sent; it is kept, and dated once the time is known. Check the time server."
        lines.append((Severity.CAUTION, text))
    if clock == ClockState.UNCONFIRMED:
        lines.append((Severity.CAUTION, "No time server confirms the clock; its time is used as it is. Check chrony or timedatectl."))
    return lines


def _ways(facts: dict[str, Any]) -> Lines:
    return [
        (Severity.CAUTION, f"{_NAMES[name]}: {transport['state'].rstrip('.')}. {_REMEDIES[name]}")
        for name, transport in facts["transports"].items()
        if transport["ok"] is False
    ]


def _cloud(facts: dict[str, Any]) -> Lines:
    lines: Lines = []
    cloud = facts["cloud"]
    if not cloud["url"]:
        lines.append(
            (Severity.INFORMATION, "No cloud is configured: reports stay here, up to the disk's bound. Set [cloud] url and token.")
        )
    elif not cloud["is_reached"] and facts["gateway"]["uptime_s"] > 5:
        remedy = "Put the right token into [cloud]." if "token" in cloud["state"] else "Check the network and [cloud] url."
        lines.append((Severity.CAUTION, f"Cloud: {cloud['state']}. Everything is kept. {remedy}"))
    for storage_class, n in facts["dropped"].items():
        lines.append((Severity.CAUTION, f"{n} rows of class {storage_class} were dropped because the outbox reached its bound."))
    for batch in facts["refused_batches"][:3]:
        what = f"batch {batch['sequence']} ({batch['rows']} {batch['kind']})"
        lines.append((Severity.CAUTION, f"The cloud refused {what}: {batch['reason']}. It is kept aside; tell the cloud's admin."))
    return lines


def _tags(facts: dict[str, Any]) -> Lines:
    lines: Lines = []
    tags = facts["tags"]
    if silent := [tag["name"] for tag in tags if tag["silent"]]:
        lines.append((Severity.CAUTION, f"{len(silent)} of {len(tags)} tags not heard: {_some(silent)}. Check their power and range."))
    if failed := [tag["name"] for tag in tags if tag["failed_parts"]]:
        lines.append((Severity.CAUTION, f"A sensor does not answer on {_some(failed)}. Look at its wiring."))
    if strangers := facts["strangers"]:
        text = f"Heard but not known here: {_some(strangers)}. If one is yours: wardtwin-edge tag add CARD.json"
        lines.append((Severity.INFORMATION, text))
    if not tags:
        lines.append((Severity.INFORMATION, "No tag is known yet. Add one: wardtwin-edge tag add CARD.json"))
    return lines


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
