"""The words both sides use for what a device is doing and what is wrong."""

from enum import StrEnum


class DeviceState(StrEnum):
    """What a device is doing. An unplugged, silent or unfamiliar device is UNKNOWN, never idle."""

    OFF = "off"
    STANDBY = "standby"
    IN_USE = "in_use"
    CHARGING = "charging"
    FAULT = "fault"
    UNKNOWN = "unknown"


class Severity(StrEnum):
    CRITICAL = "critical"
    CAUTION = "caution"
    INFORMATION = "information"


class Transport(StrEnum):
    BLE = "ble"
    MQTT = "mqtt"
    SERIAL = "serial"
