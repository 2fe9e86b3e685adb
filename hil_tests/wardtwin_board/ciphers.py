"""AEADs for the other end of a tag's line, from the `cryptography` package."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from wardtwin_wire.ccm import Ccm
from wardtwin_wire.keys import derive


def aead(key: bytes, label: bytes, tag_length: int) -> Ccm:
    """What opens and seals under the key derived from a tag's 16-byte key for one purpose (see wardtwin_wire.keys)."""
    derived = derive(Cipher(algorithms.AES(key), modes.ECB()).encryptor().update, label)
    return Ccm(Cipher(algorithms.AES(derived), modes.ECB()).encryptor().update, tag_length)
