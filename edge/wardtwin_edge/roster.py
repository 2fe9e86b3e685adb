"""Who belongs to the ward: tag cards and the registry, kept as files in the data directory, and what follows from them.

The files outlive a database that had to be moved aside. Cards hold keys: mode 0600, never sent on.
"""

import os
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from wardtwin_edge.errors import ConfigError
from wardtwin_models import device_types
from wardtwin_models.device_types import DeviceType
from wardtwin_sync import registry
from wardtwin_sync.errors import SyncError
from wardtwin_sync.registry import Device, Registry, TagBinding, TagCard
from wardtwin_wire import bthome, keys


class Tag(msgspec.Struct, frozen=True, gc=False):
    """One tag as the pipeline needs it: its ciphers ready, its device and type looked up."""

    tag_id: str
    id_bytes: bytes
    binding: TagBinding
    device: Device | None
    device_type: DeviceType
    report: AESCCM
    ack: AESCCM
    bthome: AESCCM
    address: bytes | None

    @property
    def is_energy(self) -> bool:
        return self.binding.kind == "energy"


class Roster:
    """Looks tags up by the ids that come in. Built anew whenever a card or the registry changes; never changed."""

    def __init__(self, cards: list[TagCard], known: Registry | None = None) -> None:
        self.registry = known
        bindings = {binding.tag_id: binding for binding in known.tags} if known else {}
        devices = {device.device_id: device for device in known.devices} if known else {}
        devices = {card.device.device_id: card.device for card in cards if card.device} | devices
        self.tags = [_tag(card, bindings.get(card.binding.tag_id, card.binding), devices) for card in cards]
        self.by_id = {tag.id_bytes: tag for tag in self.tags}
        self.by_name = {tag.tag_id: tag for tag in self.tags}
        self.by_address = {tag.address: tag for tag in self.tags if tag.address}
        self.devices = devices
        self.rooms = known.rooms() if known else {}
        self.beacons = _beacons(list(bindings.values()) + [tag.binding for tag in self.tags])


def _beacons(bindings: list[TagBinding]) -> dict[bytes, str]:
    """Room by beacon address: whole, and its last four bytes, which is all that a BLE report has room for."""
    out: dict[bytes, str] = {}
    for binding in bindings:
        if binding.kind == "environment" and binding.room_id and (address := address_bytes(binding.ble_address)):
            out[address] = out[address[-4:]] = binding.room_id
    return out


def _tag(card: TagCard, binding: TagBinding, devices: dict[str, Device]) -> Tag:
    block = Cipher(algorithms.AES(bytes.fromhex(card.key_hex)), modes.ECB()).encryptor().update
    device = devices.get(binding.device_id) if binding.device_id else None
    return Tag(
        tag_id=binding.tag_id,
        id_bytes=bytes.fromhex(binding.tag_id),
        binding=binding,
        device=device,
        device_type=device_types.of(device.device_type if device else device_types.GENERIC),
        report=AESCCM(keys.derive(block, keys.REPORT), tag_length=8),
        ack=AESCCM(keys.derive(block, keys.ACK), tag_length=8),
        bthome=AESCCM(keys.derive(block, keys.BTHOME), tag_length=bthome.TAG_BYTES),
        address=address_bytes(binding.ble_address),
    )


def address_bytes(text: str | None) -> bytes | None:
    """The six bytes of AA:BB:CC:DD:EE:FF, None for anything else (some systems give a UUID instead)."""
    if text is None:
        return None
    try:
        address = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        return None
    return address if len(address) == 6 else None


class Files:
    """The roster's files under one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._cards = data_dir / "tags"
        self._registry = data_dir / "registry.json"
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._cards.mkdir(mode=0o700, exist_ok=True)

    def stamp(self) -> tuple[int, int, int]:
        """Changes whenever a card or the registry does: cheap to ask every second."""
        names = sorted(self._cards.glob("*.json"))
        return (
            len(names),
            max((path.stat().st_mtime_ns for path in names), default=0),
            self._registry.stat().st_mtime_ns if self._registry.exists() else 0,
        )

    def load(self) -> tuple[Roster, list[str]]:
        """Return the roster and what could not be read, each as a line to show; a bad file never stops the others."""
        faults: list[str] = []
        known = None
        if self._registry.exists():
            try:
                known = registry.decode_registry(self._registry.read_bytes())
            except (OSError, SyncError) as error:
                faults.append(f"registry.json: {error}")
        cards = []
        for path in sorted(self._cards.glob("*.json")):
            try:
                cards.append(_checked(registry.decode_card(path.read_bytes())))
            except (OSError, SyncError, ConfigError) as error:
                faults.append(f"tags/{path.name}: {error}")
        return Roster(cards, known), faults

    def add_card(self, raw: bytes) -> TagCard:
        """Check and keep a card. Raise ConfigError."""
        try:
            card = _checked(registry.decode_card(raw))
        except SyncError as error:
            raise ConfigError(f"not a tag card: {error}", "use the file that `wardtwin tag provision` wrote") from error
        _write(self._cards / f"{card.binding.tag_id}.json", raw)
        return card

    def put_registry(self, raw: bytes) -> Registry:
        try:
            known = registry.decode_registry(raw)
        except SyncError as error:
            raise ConfigError(f"not a registry: {error}", "export it from the cloud agent again") from error
        _write(self._registry, raw)
        return known


def _checked(card: TagCard) -> TagCard:
    tag_id = card.binding.tag_id
    if len(tag_id) != 12 or tag_id != tag_id.lower() or any(c not in "0123456789abcdef" for c in tag_id):
        raise ConfigError(f"tag_id {tag_id!r} is not 12 lower-case hex digits")
    return card


def _write(path: Path, raw: bytes) -> None:
    """Whole or not at all, also over a power cut."""
    partial = path.with_suffix(".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
