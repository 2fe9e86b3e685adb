"""The quantities a report carries, in their order on the wire, each a scaled integer.

A field list is a tuple of (name, struct code, step): value = integer * step. A set of values goes out as a presence
mask (u16, bit i for field i) and the present fields, little-endian. Names carry the unit and are the same in the
gateway's store, the batch and the twin.
"""

import struct

from wardtwin_wire.errors import WireError

ENERGY = (
    ("active_power_w", "i", 0.01),
    ("voltage_v", "H", 0.01),
    ("current_a", "H", 0.001),
    ("power_factor", "h", 0.001),
    ("frequency_hz", "H", 0.01),
    ("energy_wh", "I", 0.1),
    ("peak_current_a", "H", 0.001),
)

ENVIRONMENT = (
    ("temperature_c", "h", 0.01),
    ("relative_humidity_pct", "H", 0.01),
    ("pressure_hpa", "H", 0.1),
    ("voc_index", "H", 1),
    ("co2_ppm", "H", 1),
    ("formaldehyde_ppb", "H", 1),
    ("pm1_ug_m3", "H", 1),
    ("pm2_5_ug_m3", "H", 1),
    ("pm10_ug_m3", "H", 1),
)

STATUS = (
    ("boot_count", "I", 1),
    ("reset_cause", "B", 1),
    ("heap_free_bytes", "I", 1),
    ("queue_depth", "H", 1),
    ("queue_dropped", "I", 1),
    ("failed_parts", "H", 1),
    ("junk_bytes", "I", 1),
    ("firmware_version", "H", 1),
)
"""failed_parts: bits of PARTS that are configured and do not answer. firmware_version: major * 256 + minor."""

PARTS = ("meter", "bme280", "sgp40", "pms5003", "gas", "wifi", "broker", "serial", "ble", "flash")
RESET_CAUSES = ("unknown", "power_on", "hard", "watchdog", "deep_sleep", "soft", "brown_out")

_LIMITS = {"b": (-128, 127), "B": (0, 255), "h": (-32768, 32767), "H": (0, 65535), "i": (-2147483648, 2147483647), "I": (0, 4294967295)}


def pack_fields(fields, values):
    """Return mask and present fields. values: name -> number or None; a value outside its range is held at the limit."""
    mask = 0
    out = b""
    for i, (name, code, step) in enumerate(fields):
        value = values.get(name)
        if value is None:
            continue
        low, high = _LIMITS[code]
        scaled = int(round(value / step))
        mask |= 1 << i
        out += struct.pack("<" + code, max(low, min(high, scaled)))
    return struct.pack("<H", mask) + out


def unpack_fields(fields, data, start=0):
    """Return name -> number for the present fields. Raise WireError for short bytes, a field not known, or bytes left over."""
    if len(data) < start + 2:
        raise WireError("truncated", "no presence mask")
    mask = struct.unpack_from("<H", data, start)[0]
    if mask >> len(fields):
        raise WireError("field", "mask %04x" % mask)
    at = start + 2
    values = {}
    for i, (name, code, step) in enumerate(fields):
        if not mask >> i & 1:
            continue
        size = struct.calcsize("<" + code)
        if len(data) < at + size:
            raise WireError("truncated", name)
        scaled = struct.unpack_from("<" + code, data, at)[0]
        # dividing by a whole number gives the nearest float: 23012 -> 230.12, where * 0.01 would not
        values[name] = scaled if step == 1 else scaled / round(1 / step)
        at += size
    if at != len(data):
        raise WireError("length", "%d bytes left over" % (len(data) - at))
    return values
