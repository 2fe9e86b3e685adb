"""AES-CCM over a block cipher that is handed in (RFC 3610, with a length field of two bytes: 13-byte nonces).

MicroPython has AES-ECB only (cryptolib), so the mode is built here; on CPython it equals `cryptography`'s AESCCM.
"""

from wardtwin_wire.errors import WireError

NONCE_BYTES = 13
MAX_TEXT_BYTES = 0xFFFF


class Ccm:
    """Seal and open with one key. encrypt_block: 16 bytes -> 16 bytes under AES-ECB; tag_length: 4, 6, … 16 bytes."""

    def __init__(self, encrypt_block, tag_length=8):
        self._block = encrypt_block
        self._tag_length = tag_length

    def seal(self, nonce, text, associated=b""):
        """Return ciphertext and tag, len(text) + tag_length bytes. A nonce must never be used twice with one key."""
        return self._crypt(nonce, text) + self._tag(nonce, text, associated)

    def open(self, nonce, sealed, associated=b""):
        """Return the text. Raise WireError "authentication" when key, nonce, associated bytes or tag do not agree."""
        cut = len(sealed) - self._tag_length
        if cut < 0:
            raise WireError("truncated", "shorter than its tag")
        text = self._crypt(nonce, sealed[:cut])
        expected = self._tag(nonce, text, associated)
        difference = 0
        for a, b in zip(expected, sealed[cut:]):
            difference |= a ^ b
        if difference:
            raise WireError("authentication")
        return text

    def _crypt(self, nonce, text):
        out = bytearray(len(text))
        for start in range(0, len(text), 16):
            counter = start // 16 + 1
            stream = self._block(b"\x01" + nonce + bytes((counter >> 8, counter & 255)))
            for i in range(start, min(start + 16, len(text))):
                out[i] = text[i] ^ stream[i - start]
        return bytes(out)

    def _tag(self, nonce, text, associated):
        length = len(text)
        flags = (0x40 if associated else 0) | ((self._tag_length - 2) // 2 << 3) | 1
        mac = self._block(bytes((flags,)) + nonce + bytes((length >> 8, length & 255)))
        if associated:
            mac = self._absorb(mac, bytes((len(associated) >> 8, len(associated) & 255)) + associated)
        mac = self._absorb(mac, text)
        stream = self._block(b"\x01" + nonce + b"\x00\x00")
        return bytes([mac[i] ^ stream[i] for i in range(self._tag_length)])

    def _absorb(self, mac, data):
        for start in range(0, len(data), 16):
            block = bytearray(mac)
            for i in range(start, min(start + 16, len(data))):
                block[i - start] ^= data[i]
            mac = self._block(bytes(block))
        return mac
