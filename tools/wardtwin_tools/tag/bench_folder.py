"""The folder of one tag on the technician's machine: card, settings, image, and the receipt of its last flash.

Everything here holds or leads to a secret: folder 0700, files 0600.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from wardtwin_sync.errors import SyncError
from wardtwin_sync.registry import TagCard, decode_card, encode
from wardtwin_tools.tag import settings
from wardtwin_tools.tag.errors import SettingsError
from wardtwin_tools.tag.firmware_files import tag_files

CARD = "card.json"
SETTINGS = "settings.json"
IMAGE = "vfs.bin"
RECEIPT = "flashed.json"
NVS = "nvs.bin"
PASSWORD_LINE = "mosquitto.passwd"


class BenchFolder:
    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of_card(cls, card: Path) -> "BenchFolder":
        """The folder a card lies in. Raise SettingsError when the card or its neighbours are missing or do not belong together."""
        folder = cls(card.parent)
        found = folder.card(card.name)
        if found is None:
            raise SettingsError(f"there is no {card}", "Make the tag first: `wardtwin tag provision`.")
        own = folder.settings()
        if own is None:
            raise SettingsError(
                f"there is no {SETTINGS} beside {card}", "Run `wardtwin tag provision` again with the same --out: the key stays."
            )
        if own.get("key") != found.key_hex or own.get("kind") != found.binding.kind:
            raise SettingsError(
                f"{card} and the {SETTINGS} beside it are not of one tag", "Run `wardtwin tag provision` again with the same --out."
            )
        return folder

    def card(self, name: str = CARD) -> TagCard | None:
        try:
            return decode_card((self.path / name).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, SyncError) as error:
            raise SettingsError(f"{self.path / name} is not a tag card: {error}") from error

    def settings(self) -> dict[str, Any] | None:
        try:
            own: dict[str, Any] = json.loads((self.path / SETTINGS).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise SettingsError(f"{self.path / SETTINGS} is not JSON: {error}") from error
        return own

    def write(self, card: TagCard, own: Mapping[str, Any], ca_der: bytes, password_line: str) -> None:
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path.chmod(0o700)
        write_secret(self.path / CARD, encode(card))
        write_secret(self.path / SETTINGS, settings.encode(dict(own)))
        for name, content in ((settings.CA_NAME, ca_der), (PASSWORD_LINE, password_line.encode())):
            if content:
                write_secret(self.path / name, content)
            else:
                (self.path / name).unlink(missing_ok=True)

    def files(self) -> dict[PurePosixPath, bytes]:
        """All that goes into the tag's filesystem: the installed firmware and this tag's settings."""
        own = self.settings() or {}
        content = {target: path.read_bytes() for target, path in tag_files(own["kind"]).items()}
        content[PurePosixPath(SETTINGS)] = (self.path / SETTINGS).read_bytes()
        if (self.path / settings.CA_NAME).exists():
            content[PurePosixPath(settings.CA_NAME)] = (self.path / settings.CA_NAME).read_bytes()
        return content

    def was_flashed(self, card: TagCard) -> bool:
        """Whether this card's key was written to its chip from here before: then what its queue holds is still its own."""
        try:
            receipt = json.loads((self.path / RECEIPT).read_bytes())
            return bool(receipt["tag_id"] == card.binding.tag_id and receipt["key_sha256"] == _fingerprint(card))
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def flashed(self, card: TagCard, firmware: str) -> None:
        receipt = {"tag_id": card.binding.tag_id, "key_sha256": _fingerprint(card), "firmware": firmware, "at": round(time.time())}
        write_secret(self.path / RECEIPT, json.dumps(receipt).encode())
        (self.path / NVS).unlink(missing_ok=True)

    def save_nvs(self, content: bytes) -> None:
        """Keep the chip's counters while its flash is erased: should the cable come off then, the next flash puts them back."""
        write_secret(self.path / NVS, content)

    def saved_nvs(self) -> bytes | None:
        try:
            return (self.path / NVS).read_bytes()
        except FileNotFoundError:
            return None


def write_secret(path: Path, content: bytes) -> None:
    """Replace `path` in one step, readable by its owner alone from the first byte on."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _fingerprint(card: TagCard) -> str:
    return hashlib.sha256(bytes.fromhex(card.key_hex)).hexdigest()
