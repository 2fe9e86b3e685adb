"""settings.json: read once, checked whole, handed down.

A spec maps a setting's name to a check(value, path, faults) -> value; a missing setting is checked as None, and its check
knows the default. docs/firmware.md describes every setting.
"""

import json

from wardtwin_tag.errors import SettingsError


class Settings:
    """What settings.json says, complete with defaults. Sections are dicts, shaped as in the file; an absent sensor is not in `sensors`."""

    def __init__(self, values, unknown):
        self.kind = values["kind"]
        self.key = bytes.fromhex(values["key"])
        self.ward = values["ward"]
        self.transport = values["transport"]
        self.report_period_s = values["report_period_s"]
        self.provisioned_at_s = values["provisioned_at_s"]
        self.wifi = values["wifi"]
        self.broker = values["broker"]
        self.ble = values["ble"]
        self.meter = values["meter"]
        self.sensors = {name: section for name, section in values["sensors"].items() if section is not None}
        self.unknown = unknown


def load(text):
    """Return Settings. Raise SettingsError that names every fault; settings that are not known are only listed in `unknown`."""
    try:
        raw = json.loads(text)
    except ValueError:
        raise SettingsError(["settings.json is not JSON"])
    faults = []
    values = _ROOT(raw, "", faults)
    if values["transport"] == "mqtt":
        for section, name in (("wifi", "ssid"), ("broker", "host"), ("broker", "user")):
            if values[section][name] == "":
                faults.append("%s.%s: needed for transport mqtt" % (section, name))
    if faults:
        raise SettingsError(faults)
    unknown = []
    _ROOT.unknown(raw, "", unknown)
    return Settings(values, unknown)


def _choice(options, default=None):
    def check(value, path, faults):
        value = default if value is None else value
        if value not in options:
            faults.append("%s: %s is not one of %s" % (path, _shown(value), ", ".join([str(o) for o in options])))
        return value

    return check


def _number(low, high, default=None, whole=False):
    def check(value, path, faults):
        value = default if value is None else value
        wrong = isinstance(value, bool) or not isinstance(value, int if whole else (int, float))
        if wrong or not low <= value <= high:
            faults.append("%s: %s is not %s from %s to %s" % (path, _shown(value), "a whole number" if whole else "a number", low, high))
        return value

    return check


def _text(longest, default=None):
    def check(value, path, faults):
        value = default if value is None else value
        if not isinstance(value, str) or len(value) > longest:
            faults.append("%s: %s is not a text of at most %d characters" % (path, _shown(value), longest))
        return value

    return check


def _key(value, path, faults):
    try:
        good = len(value) == 32 and len(bytes.fromhex(value)) == 16
    except (TypeError, ValueError):
        good = False
    if not good:
        # not shown: it may be a real key with a typing error
        faults.append("%s: not 32 hexadecimal digits" % path)
        return "00" * 16
    return value


class _Section:
    """Check an object against a spec; an absent one is all defaults."""

    def __init__(self, spec):
        self.spec = spec

    def __call__(self, value, path, faults):
        if value is None:
            value = {}
        if not isinstance(value, dict):
            faults.append("%s: not an object" % (path or "settings.json"))
            value = {}
        return {name: self.spec[name](value.get(name), _join(path, name), faults) for name in self.spec}

    def unknown(self, value, path, found):
        """Add the paths of what no spec names to `found`."""
        if not isinstance(value, dict):
            return
        for name in value:
            check = self.spec.get(name)
            if check is None:
                found.append(_join(path, name))
            elif isinstance(check, _Section):
                check.unknown(value[name], _join(path, name), found)


class _Optional(_Section):
    """A section that may be absent, and is None then."""

    def __call__(self, value, path, faults):
        return None if value is None else _Section.__call__(self, value, path, faults)


def _flag(default):
    def check(value, path, faults):
        value = default if value is None else value
        if not isinstance(value, bool):
            faults.append("%s: %s is not true or false" % (path, _shown(value)))
        return value

    return check


def _join(path, name):
    return path + "." + name if path else name


def _shown(value):
    return "missing" if value is None else json.dumps(value)[:40]


def _pin(default):
    # ESP32: 34 to 39 are inputs only, 6 to 11 belong to the flash
    return _number(0, 39, default, whole=True)


def _i2c(address):
    bus = {"id": _number(0, 1, 0, whole=True), "scl": _pin(22), "sda": _pin(21)}
    return {"i2c": _Section(bus), "address": _number(8, 119, address, whole=True)}


def _uart(number, tx, rx):
    return _Section({"id": _number(0, 2, number, whole=True), "tx": _pin(tx), "rx": _pin(rx)})


_GAS = _i2c(0x62)
_GAS["chip"] = _choice(("scd41",), "scd41")

_ROOT = _Section(
    {
        "schema": _choice((1,)),
        "kind": _choice(("energy", "environment")),
        "key": _key,
        "ward": _text(32),
        "transport": _choice(("mqtt", "serial", "ble")),
        "report_period_s": _number(1, 3600, 1),
        "provisioned_at_s": _number(0, 4294967295, 0, whole=True),
        "wifi": _Section({"ssid": _text(32, ""), "password": _text(64, "")}),
        "broker": _Section(
            {
                "host": _text(253, ""),
                "port": _number(1, 65535, 8883, whole=True),
                "tls": _flag(True),
                "ca_der": _text(64, "ca.der"),
                "server_name": _text(253, ""),
                "user": _text(64, ""),
                "password": _text(64, ""),
                "keepalive_s": _number(10, 600, 60, whole=True),
            }
        ),
        "ble": _Section(
            {
                "advert_interval_ms": _number(20, 10240, 250, whole=True),
                "beacon_tx_power_dbm": _number(-40, 20, -4, whole=True),
                "scan_period_s": _number(2, 3600, 15),
                "scan_window_ms": _number(100, 10000, 1500, whole=True),
            }
        ),
        "meter": _Section(
            {
                "chip": _choice(("bl0942", "cse7766"), "bl0942"),
                "uart": _uart(1, 17, 16),
                "address": _number(0, 3, 0, whole=True),
                "vref_v": _number(0.5, 3, 1.218),
                "shunt_ohm": _number(0.00001, 1, 0.001),
                "divider_high_ohm": _number(1000, 100000000, 1950000),
                "divider_low_ohm": _number(1, 1000000, 510),
                "voltage_gain": _number(0.1, 10, 1.0),
                "current_gain": _number(0.1, 10, 1.0),
                "power_gain": _number(0.1, 10, 1.0),
            }
        ),
        "sensors": _Section(
            {
                "bme280": _Optional(_i2c(0x76)),
                "sgp40": _Optional(_i2c(0x59)),
                "pms5003": _Optional({"uart": _uart(2, 17, 16)}),
                "gas": _Optional(_GAS),
            }
        ),
    }
)
