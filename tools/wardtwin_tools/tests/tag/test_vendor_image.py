"""What is taken from the vendor's download, and what is refused before a byte of it is written."""

import io

import pytest
from esptool.bin_image import ESP32FirmwareImage

from wardtwin_tools.tag import vendor_image
from wardtwin_tools.tag.errors import ImageError
from wardtwin_tools.tests.tag.vendor_images import application, esp_image, vendor_bin


def test_bootloader_and_application_come_out_without_the_padding_and_the_vendor_s_table() -> None:
    image = vendor_image.parse(vendor_bin() + b"\xff" * 4096)
    assert image.application == application()
    assert vendor_bin().startswith(image.bootloader)
    assert 18_000 < len(image.bootloader) < 19_000
    assert image.name == "micropython v1.28.0"


def test_the_images_of_these_tests_are_images_to_esptool_too() -> None:
    for raw in (vendor_bin()[:0x7000], application()):
        image = ESP32FirmwareImage(io.BytesIO(raw))
        image.verify()
        assert image.checksum == image.calculate_checksum()
        assert image.calc_digest == image.stored_digest


def _damaged(at: int) -> bytes:
    raw = bytearray(vendor_bin())
    raw[at] ^= 1
    return bytes(raw)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not an ESP32 image"),
        (b"\x7fELF" * 99, "not an ESP32 image"),
        (b"\xe9", "missing"),
        (vendor_bin(chip=9), "for an ESP32-S3"),
        (vendor_bin(chip=77), "unknown chip"),
        (vendor_bin(app=application(chip=5)), "the application is for an ESP32-C3"),
        (application(), "application alone"),
        (vendor_bin()[:0x9000], "ends before the application"),
        (vendor_bin()[:-1], "the application is cut"),
        (vendor_bin()[:0x20000], "the application is cut"),
        (_damaged(0x100), "the bootloader is damaged"),
        (_damaged(0x7004), "MD5"),
        (_damaged(0xF000 + 5000), "the application is damaged: its checksum"),
        (_damaged(len(vendor_bin()) - 1), "the application is damaged: its SHA-256"),
        (vendor_bin(app=b"\0" * 1000), "the application is missing"),
        (vendor_bin(app=esp_image([bytes(0x1F0000)])), "its partition 2,031,616"),
    ],
)
def test_a_wrong_file_is_refused_with_its_reason(raw: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        vendor_image.parse(raw)
