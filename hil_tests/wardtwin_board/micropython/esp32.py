"""`esp32` of an emulated board: NVS that keeps what was committed, and a data partition that behaves as NOR flash."""

import json
import os

import _emulator

_NVS_FILE = "nvs.json"
_BLOCK_BYTES = 4096
_ERASED = b"\xff" * 256
_PARTITIONS = {"queue": "queue.bin"}

HEAP_DATA = 4
HEAP_EXEC = 1


def idf_heap_info(capabilities):
    """One region: (total, free, largest free block, lowest free ever). The emulated board has no IDF heap to run out of."""
    return [(131072, 65536, 32768, 65536)]


def mcu_temperature():
    return 40


def raw_temperature():
    return 104


class NVS:
    """Only what was committed survives a reset. Types are kept apart, as the flash keeps them."""

    def __init__(self, namespace):
        if len(namespace) > 15:
            raise ValueError("namespace too long")
        self._namespace = namespace
        self._changes = {}

    def _stored(self):
        try:
            with open(_NVS_FILE) as file:
                return json.load(file)
        except OSError:
            return {}

    def _get(self, kind, key):
        name = kind + key
        if name in self._changes:
            value = self._changes[name]
        else:
            value = self._stored().get(self._namespace, {}).get(name)
        if value is None:
            raise OSError(-4354, "ESP_ERR_NVS_NOT_FOUND")
        return value

    def _set(self, kind, key, value):
        if len(key) > 15:
            raise OSError(-4361, "ESP_ERR_NVS_KEY_TOO_LONG")
        self._changes[kind + key] = value

    def get_i32(self, key):
        return self._get("i:", key)

    def set_i32(self, key, value):
        if not -0x80000000 <= value <= 0x7FFFFFFF:
            raise OverflowError("overflow converting long int to machine word")
        self._set("i:", key, value)

    def get_blob(self, key, buffer):
        value = bytes(self._get("b:", key))
        if len(value) > len(buffer):
            raise OSError(-4364, "ESP_ERR_NVS_INVALID_LENGTH")
        buffer[: len(value)] = value
        return len(value)

    def set_blob(self, key, value):
        self._set("b:", key, list(bytes(value)))

    def erase_key(self, key):
        stored = self._stored().get(self._namespace, {})
        names = [kind + key for kind in ("i:", "b:") if self._changes.get(kind + key, stored.get(kind + key)) is not None]
        if not names:
            raise OSError(-4354, "ESP_ERR_NVS_NOT_FOUND")
        for name in names:
            self._changes[name] = None

    def commit(self):
        stored = self._stored()
        entries = stored.setdefault(self._namespace, {})
        for name, value in self._changes.items():
            if value is None:
                entries.pop(name, None)
            else:
                entries[name] = value
        self._changes = {}
        with open(_NVS_FILE + ".new", "w") as file:
            json.dump(stored, file)
        os.rename(_NVS_FILE + ".new", _NVS_FILE)


class Partition:
    """A flash partition over a file: writing can only clear bits, erasing sets a whole block to 0xFF.

    A write during which the power fails is cut at the byte the bench chose.
    """

    BOOT = 0
    RUNNING = 1
    TYPE_APP = 0
    TYPE_DATA = 1

    def __init__(self, label, block_size=_BLOCK_BYTES):
        self._label = label
        self._block_bytes = block_size
        self._file = open(_PARTITIONS[label], "r+b", buffering=0)
        self._bytes = self._file.seek(0, 2)

    @classmethod
    def find(cls, type=0, subtype=0xFF, label=None, block_size=_BLOCK_BYTES):
        found = []
        if type == cls.TYPE_DATA:
            for name, path in _PARTITIONS.items():
                if (label is None or label == name) and path in os.listdir():
                    found.append(cls(name, block_size))
        return found

    def info(self):
        return 1, 0x40, 0x310000, self._bytes, self._label, False

    def readblocks(self, block_num, buf, offset=0):
        self._file.seek(block_num * self._block_bytes + offset)
        self._file.readinto(buf)

    def writeblocks(self, block_num, buf, offset=None):
        if offset is None:
            for i in range(-(-len(buf) // self._block_bytes)):
                self.ioctl(6, block_num + i)
            offset = 0
        at = block_num * self._block_bytes + offset
        size = len(buf)
        if at + size > self._bytes:
            raise OSError(22)
        self._file.seek(at)
        old = self._file.read(size)
        both = int.from_bytes(old, "little") & int.from_bytes(bytes(buf), "little")
        self._program(at, both.to_bytes(size, "little"))

    def ioctl(self, op, arg=0):
        if op == 4:
            return self._bytes // self._block_bytes
        if op == 5:
            return self._block_bytes
        if op == 6:
            # in pieces: the tag's heap is not ours to fill
            for at in range(arg * self._block_bytes, (arg + 1) * self._block_bytes, len(_ERASED)):
                self._program(at, _ERASED)
        return 0

    def _program(self, at, data):
        if _emulator.sources:
            _emulator.pump_control()
        left = _emulator.state["flash_bytes_left"]
        self._file.seek(at)
        if 0 <= left < len(data):
            self._file.write(data[:left])
            _emulator.halt(b"B")
        if left >= 0:
            _emulator.state["flash_bytes_left"] = left - len(data)
        self._file.write(data)
