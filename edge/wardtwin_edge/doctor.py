"""`wardtwin-edge doctor`: the facts of the local page in the terminal; of the files when the gateway does not run."""

import sys
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from wardtwin_edge import outbox, roster
from wardtwin_edge.config import Config
from wardtwin_edge.database import connect, counters
from wardtwin_edge.local import words
from wardtwin_edge.local.page import URL_FILE
from wardtwin_edge.store import FILE_NAME
from wardtwin_sync.states import Severity

_MARK = {Severity.CRITICAL: "▲ critical", Severity.CAUTION: "■ caution", Severity.INFORMATION: "● information"}
_COLOUR = {Severity.CRITICAL: "bold red", Severity.CAUTION: "yellow", Severity.INFORMATION: "cyan"}


def examine(config: Config) -> dict[str, Any]:
    """The running gateway's own facts, or what its files say, with the advice to start it."""
    try:
        url = (config.data_dir / URL_FILE).read_text(encoding="ascii").strip()
        answer = httpx.get(f"{url}/api/status", timeout=6.0, trust_env=False)
        answer.raise_for_status()
        facts: dict[str, Any] = answer.json()
        if facts["gateway"]["id"] == config.gateway.id:
            return facts | {"running": True}
        reason = f"another gateway answers at {url}"
    except (OSError, httpx.HTTPError, ValueError, KeyError) as error:
        reason = f"the gateway does not answer ({type(error).__name__})"
    return _at_rest(config, reason)


def _at_rest(config: Config, reason: str) -> dict[str, Any]:
    lines = [{"severity": Severity.CRITICAL.value, "text": f"{reason}. Start it: systemctl start wardtwin-edge"}]
    facts: dict[str, Any] = {"running": False, "gateway": {"id": config.gateway.id, "ward": config.gateway.ward}, "tags": []}
    if config.data_dir.exists():
        known, faults = roster.Files(config.data_dir).load()
        facts["tags"] = [{"tag_id": tag.tag_id, "name": tag.device.name if tag.device else tag.tag_id} for tag in known.tags]
        lines += [{"severity": Severity.CAUTION.value, "text": fault} for fault in faults]
    if (config.data_dir / FILE_NAME).exists():
        db = connect(config.data_dir / FILE_NAME)
        try:
            facts["outbox"], facts["refused_batches"] = outbox.depths(db), outbox.refused(db)
            facts["dropped"] = {name.removeprefix("dropped_"): n for name, n in counters(db).items() if name.startswith("dropped_")}
        finally:
            db.close()
    return facts | {"advice": lines}


def needs_somebody(facts: dict[str, Any]) -> bool:
    return any(line["severity"] != Severity.INFORMATION for line in facts["advice"])


def show(facts: dict[str, Any]) -> None:
    console = Console(file=sys.stdout, highlight=False)
    gateway = facts["gateway"]
    console.print(
        f"[bold]{gateway['id']}[/] {gateway['ward']}" + (f", up {words.duration(gateway['uptime_s'])}" if facts["running"] else "")
    )
    if facts["running"]:
        _show_running(console, facts)
    for line in facts["advice"]:
        severity = Severity(line["severity"])
        console.print(f"[{_COLOUR[severity]}]{_MARK[severity]}[/] {line['text']}", soft_wrap=True)
    if not facts["advice"]:
        console.print("Everything heard, stored and sent. Nothing needs you.")


def _show_running(console: Console, facts: dict[str, Any]) -> None:
    disk, box = facts["disk"], facts["outbox"]
    waiting = box.get("readings", 0) + box.get("batched_rows", 0)
    rows = [
        [name, transport["state"], f"{words.number(transport['received'])} received"] for name, transport in facts["transports"].items()
    ]
    rows += [
        ["stored", facts["commit"]["fault"] or "committing", f"{words.number(facts['commit'].get('committed', 0))} readings"],
        ["cloud", facts["cloud"]["state"], f"{words.number(waiting)} waiting"],
        ["disk", f"{words.size(disk['used_bytes'])} of {words.size(disk['bound_bytes'])}", f"{words.size(disk['free_bytes'])} free"],
        ["clock", facts["clock"]["state"], f"{facts['clock']['jumps']} jumps"],
    ]
    rows += [["refused", f"{row['transport']}, {row['reason'].replace('_', ' ')}", words.number(row["count"])] for row in facts["rejected"]]
    table(["what", "state", "count"], rows, console)
    tags = [
        [
            tag["name"], tag["tag_id"], words.state(tag["state"]), tag["room"] or "", words.measures(tag["values"]), tag["transport"] or "",
            words.duration(tag["age_s"]),
        ]
        for tag in facts["tags"]
    ]  # fmt: skip
    if tags:
        table(["name", "tag", "state", "room", "last values", "heard by", "last heard"], tags, console)


def table(headers: list[str], rows: list[list[str]], console: Console | None = None) -> None:
    out = Table(box=None, pad_edge=False, header_style="dim")
    for header in headers:
        out.add_column(header, justify="right" if header in ("count", "last heard") else "left", overflow="fold")
    for row in rows:
        out.add_row(*row)
    (console or Console(file=sys.stdout, highlight=False)).print(out)
