"""Times as a person in the hospital reads them. Pure: zone and now come in."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from wardtwin_cloud.web.catalogue import Catalogue


def local(at: float, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at, UTC).astimezone(zone)


def clock(at: float, zone: ZoneInfo, now: float) -> str:
    """14:02 today, 21 Nov 14:02 this year, 2025-11-21 14:02 before."""
    then, today = local(at, zone), local(now, zone)
    if then.date() == today.date():
        return then.strftime("%H:%M")
    if then.year == today.year:
        return f"{then.day} {then.strftime('%b %H:%M')}"
    return then.strftime("%Y-%m-%d %H:%M")


def iso(at: float, zone: ZoneInfo) -> str:
    return local(at, zone).isoformat(timespec="seconds")


def age(seconds: float, strings: Catalogue) -> str:
    """The same steps as js/format.js: 12 s, 5 min, 3 h, 4 d."""
    whole = max(0, int(seconds))
    if whole < 60:
        return strings.text("age.seconds", n=whole)
    if whole < 3600:
        return strings.text("age.minutes", n=whole // 60)
    if whole < 48 * 3600:
        return strings.text("age.hours", n=whole // 3600)
    return strings.text("age.days", n=whole // 86400)
