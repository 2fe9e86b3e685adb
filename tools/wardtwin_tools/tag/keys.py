"""The tag's key and the BTHome bind key derived from it. The labels are wardtwin_wire.keys', which tools do not import."""

import secrets

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

KEY_BYTES = 16
BTHOME_LABEL = b"wardtwin:bthome\x00"


def new_key() -> bytes:
    return secrets.token_bytes(KEY_BYTES)


def bthome_bind_key(key: bytes) -> bytes:
    """AES-ECB(key, label): any BTHome receiver reads the tag's adverts with it and learns nothing of the tag's key."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # one block, derived once: no chaining to lose
    return encryptor.update(BTHOME_LABEL) + encryptor.finalize()
