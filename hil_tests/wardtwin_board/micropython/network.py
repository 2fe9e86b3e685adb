"""`network` of an emulated ESP32: a station that joins the bench's access point. The bench takes the link away and gives it back."""

import binascii
import time

import _emulator

STA_IF = 0
AP_IF = 1
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202
STAT_BEACON_TIMEOUT = 200
STAT_ASSOC_FAIL = 203
STAT_HANDSHAKE_TIMEOUT = 204

_JOIN_MS = 1200
_hostname = ["mpy-esp32"]


def hostname(name=None):
    if name is None:
        return _hostname[0]
    _hostname[0] = name


def country(code=None):
    return code or "XX"


class WLAN:
    IF_STA = STA_IF
    IF_AP = AP_IF
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2

    _station = None

    def __new__(cls, interface=STA_IF):
        if WLAN._station is None:
            WLAN._station = super().__new__(cls)
            WLAN._station._begin()
        return WLAN._station

    def _begin(self):
        self._active = False
        self._status = STAT_IDLE
        self._since_ms = 0
        self._credentials = None
        self._options = {"reconnects": -1, "pm": 1}
        _emulator.on_link.append(self._link_changed)

    def active(self, on=None):
        if on is None:
            return self._active
        self._active = bool(on)
        if not on:
            self.disconnect()
        return self._active

    def connect(self, ssid=None, key=None, *, bssid=None):
        if not self._active:
            raise OSError("Wifi Not Started")
        if self._status == STAT_CONNECTING:
            raise OSError("Wifi Internal State Error")
        if ssid is not None:
            self._credentials = (ssid, key or "")
        self._join()

    def disconnect(self):
        self._status = STAT_IDLE
        self._credentials = None

    def isconnected(self):
        return self.status() == STAT_GOT_IP

    def status(self, what=None):
        if what == "rssi":
            return -58
        _emulator.pump()
        if self._status == STAT_CONNECTING and time.ticks_diff(time.ticks_ms(), self._since_ms) >= _JOIN_MS:
            ssid, password = _emulator.setting("EMU_WIFI", "\t").split("\t")
            if not _emulator.state["link"] or self._credentials[0] != ssid:
                self._status = STAT_NO_AP_FOUND
            elif self._credentials[1] != password:
                self._status = STAT_WRONG_PASSWORD
            else:
                self._status = STAT_GOT_IP
        return self._status

    def _join(self):
        self._status = STAT_CONNECTING
        self._since_ms = time.ticks_ms()

    def _link_changed(self, up):
        if not up and self._status == STAT_GOT_IP:
            self._status = STAT_BEACON_TIMEOUT
        elif up and self._credentials and self._options["reconnects"] and self._status != STAT_GOT_IP:
            self._join()

    def config(self, name=None, **options):
        if name == "mac":
            return binascii.unhexlify(_emulator.setting("EMU_ID"))
        if name is not None:
            return self._options[name]
        self._options.update(options)

    def ifconfig(self, settings=None):
        return ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1") if self.isconnected() else ("0.0.0.0",) * 4

    def ipconfig(self, name):
        return {"addr4": self.ifconfig()[:2], "gw4": self.ifconfig()[2], "dhcp4": True}[name]
