"""How numbers and states read on the page and in the terminal: always with unit and age."""

from typing import Any

STATES = {"in_use": "in use", "standby": "standby", "charging": "charging", "off": "off", "fault": "fault", "unknown": "unknown"}
_UNITS = (
    ("active_power_w", "{:.0f} W"), ("current_a", "{:.2f} A"), ("voltage_v", "{:.0f} V"), ("temperature_c", "{:.1f} °C"),
    ("relative_humidity_pct", "{:.0f} %"), ("co2_ppm", "{:.0f} ppm CO₂"), ("pm2_5_ug_m3", "{:.0f} µg/m³ PM2.5"),
    ("voc_index", "VOC {:.0f}"),
    ("formaldehyde_ppb", "{:.0f} ppb HCHO"),
)  # fmt: skip


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1_000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1_000
    raise AssertionError


def number(count: float) -> str:
    return f"{count:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def state(name: str | None) -> str:
    return STATES.get(name or "", "")


def measures(values: dict[str, Any]) -> str:
    return " · ".join(shape.format(values[name]) for name, shape in _UNITS if name in values)


FILTERS = {"duration": duration, "size": size, "number": number, "state": state, "measures": measures}
