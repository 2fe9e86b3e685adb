"""One key a tag; the keys in use are derived from it, so that no nonce of one purpose can meet another's.

derived = AES-ECB(tag key, label): the label is a 16-byte block of its own for each purpose.
"""

REPORT = b"wardtwin:report\x00"
"""Frames the tag sends."""
ACK = b"wardtwin:ack\x00\x00\x00\x00"
"""Frames the gateway sends to the tag."""
BTHOME = b"wardtwin:bthome\x00"
"""The BTHome bind key: may be given to any other BTHome receiver without giving away the tag's key."""


def derive(encrypt_block, label):
    """Return 16 bytes for `label`. encrypt_block: 16 bytes -> 16 bytes under the tag's key."""
    return encrypt_block(label)
