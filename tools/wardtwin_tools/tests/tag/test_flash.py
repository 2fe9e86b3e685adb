"""Flashing an emulated chip (esp32-mock-bootloader) over a pty with the real esptool."""

import json
import os
import stat
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import pytest
import serial

from wardtwin_tools.tag import filesystem_image, flash, partition_table, provision
from wardtwin_tools.tag.bench_folder import CARD
from wardtwin_tools.tag.errors import ChipError, FlashError, ImageError, PortError, SettingsError
from wardtwin_tools.tag.esp_port import EspPort, check_port
from wardtwin_tools.tag.flash_plan import Region
from wardtwin_tools.tag.flash_plan import check as check_regions
from wardtwin_tools.tests.tag.conftest import MADE_AT, MOCK_TAG_ID

NVS = partition_table.partition("nvs")
QUEUE = partition_table.partition("queue")


def card_of(made: provision.Made) -> Path:
    return made.folder.path / CARD


def test_a_flashed_chip_reads_back_what_was_planned(made: provision.Made, vendor_file: Path, esp32: str) -> None:
    port = EspPort(esp32)
    job = flash.prepare(card_of(made), vendor_file)
    seen: dict[int, int] = {}
    chip, seconds = flash.run(job, port, progress=lambda offset, done: seen.__setitem__(offset, max(done, seen.get(offset, 0))))

    assert (chip.name, chip.tag_id, chip.flash_bytes) == ("ESP32", MOCK_TAG_ID, 4 * 1024 * 1024)
    assert seconds < 60
    assert not port.slowed
    assert seen == {region.offset: len(region.content) for region in job.regions}
    flashed = port.read(0, partition_table.FLASH_BYTES)
    for region in job.regions[1:]:
        assert flashed[region.offset :][: len(region.content)] == region.content, region.label
    bootloader = flashed[0x1000:][: len(job.regions[0].content)]
    assert bootloader[3] >> 4 == 2, "the header says 4 MB: with the vendor's 2 MB the bootloader would refuse the table"
    assert bootloader[24:-32] == job.regions[0].content[24:-32]
    assert partition_table.decode(flashed[0x8000:0x9000]) == partition_table.LAYOUT
    assert flashed[NVS.offset : NVS.end] == b"\xff" * NVS.size


def test_flashing_again_leaves_counters_and_queue_and_another_key_empties_the_queue(
    made: provision.Made, order: provision.Order, vendor_file: Path, esp32: str, tmp_path: Path
) -> None:
    port = EspPort(esp32)
    flash.run(flash.prepare(card_of(made), vendor_file), port)
    port.write([(NVS.offset, b"boot counter".ljust(64)), (QUEUE.offset, b"unsent".ljust(64))])

    again = flash.prepare(card_of(made), vendor_file)
    assert again.queue_kept
    flash.run(again, port)
    assert port.read(NVS.offset, 12) == b"boot counter"
    assert port.read(QUEUE.offset, 6) == b"unsent"

    provision.make(order, tmp_path / "tags", MADE_AT)
    assert flash.prepare(card_of(made), vendor_file).queue_kept, "made again without --new-key, the tag is the same"

    other = provision.make(replace(order, make_new_key=True), tmp_path / "tags", MADE_AT)
    assert other.card.key_hex != made.card.key_hex
    fresh = flash.prepare(card_of(made), vendor_file)
    assert not fresh.queue_kept
    flash.run(fresh, port)
    assert port.read(NVS.offset, 12) == b"boot counter"
    assert port.read(QUEUE.offset, QUEUE.size) == b"\xff" * QUEUE.size


def test_erase_clears_everything_but_the_boot_counter(made: provision.Made, vendor_file: Path, esp32: str) -> None:
    port = EspPort(esp32)
    flash.run(flash.prepare(card_of(made), vendor_file), port)
    port.write([(NVS.offset, b"boot counter".ljust(64)), (QUEUE.offset, b"unsent".ljust(64)), (0xF000, b"calibration".ljust(16))])
    flash.run(flash.prepare(card_of(made), vendor_file, wipe=True), port, erase=True)
    assert port.read(NVS.offset, 12) == b"boot counter"
    assert port.read(0xF000, 16) == b"\xff" * 16
    assert port.read(QUEUE.offset, 64) == b"\xff" * 64


def test_another_chip_s_card_is_refused_before_anything_is_written(
    order: provision.Order, small_firmware: Path, tmp_path: Path, vendor_file: Path, esp32: str
) -> None:
    other = provision.make(replace(order, tag_id="a0b1c2d3e4f5"), tmp_path / "tags", MADE_AT)
    with pytest.raises(ChipError, match=f"is {MOCK_TAG_ID}, the card is for a0b1c2d3e4f5") as refused:
        flash.run(flash.prepare(card_of(other), vendor_file), EspPort(esp32))
    assert MOCK_TAG_ID in refused.value.advice
    assert EspPort(esp32).read(0x8000, 64) == b"\xff" * 64
    assert not other.folder.was_flashed(other.card)


@pytest.mark.parametrize("chip", ["esp32s3", "esp32c3"])
def test_a_board_with_another_chip_is_named_and_refused(chip: str, chip_on_port: Callable[[str], AbstractContextManager[str]]) -> None:
    with (
        chip_on_port(chip) as port,
        pytest.raises(ChipError, match=f"is an ESP32-{chip[-2:].upper()}, the tag's firmware is for the ESP32"),
    ):
        EspPort(port).identify()


def test_a_silent_port_is_given_up_in_time(silent_port: str) -> None:
    started = time.monotonic()
    with pytest.raises(ChipError, match=r"no ESP32 answers|stopped answering") as given_up:
        EspPort(silent_port, connect_limit_s=20).identify()
    assert time.monotonic() - started < 20
    assert "BOOT" in given_up.value.advice


def test_an_esptool_that_hangs_is_ended_and_its_silence_told(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    hanging = ("/bin/sh", "-c", f"echo $$ > {pid}; exec sleep 60", "sh")
    started = time.monotonic()
    with pytest.raises(ChipError, match="stopped answering"):
        EspPort("rfc2217://nowhere", connect_limit_s=1, command=hanging).identify()
    with pytest.raises(ChipError, match="stopped answering"):
        EspPort("rfc2217://nowhere", quiet_limit_s=1, command=hanging).write([(0, b"x")])
    assert time.monotonic() - started < 10
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_an_erase_that_is_cut_off_puts_the_boot_counter_back_with_the_next_flash(
    made: provision.Made, vendor_file: Path, esp32: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = EspPort(esp32)
    port.write([(NVS.offset, b"boot counter".ljust(64))])

    def erased_and_unplugged(*_: object, **__: object) -> None:
        raise FlashError("the cable came off")

    with monkeypatch.context() as patch:
        patch.setattr(port, "write", erased_and_unplugged)
        with pytest.raises(FlashError, match="came off"):
            flash.run(flash.prepare(card_of(made), vendor_file, wipe=True), port, erase=True)
    port.write([(NVS.offset, b"\xff" * NVS.size)])

    flash.run(flash.prepare(card_of(made), vendor_file), port)
    assert port.read(NVS.offset, 12) == b"boot counter"
    assert made.folder.saved_nvs() is None


def test_a_transfer_that_breaks_is_tried_once_more_slowly(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    breaking = """echo "$@" >> CALLS; if [ $(wc -l < CALLS) = 1 ]; then echo "A fatal error: No more data"; exit 2; fi
echo "Writing 'x' at 0x00001000..."; echo "Hash of data verified." """.replace("CALLS", str(calls))
    port = EspPort("rfc2217://nowhere", command=("/bin/sh", "-c", breaking, "sh"))
    port.write([(0x1000, b"x")])
    assert port.slowed
    first, second = calls.read_text().splitlines()
    assert "--baud 460800" in first
    assert "--baud 115200" in second


def test_a_transfer_that_breaks_twice_is_told_with_esptool_s_words() -> None:
    broken = ("/bin/sh", "-c", "echo 'A fatal error occurred: Packet content transfer stopped'; exit 2")
    with pytest.raises(FlashError, match=r"ended with code 2: .*Packet content"):
        EspPort("rfc2217://nowhere", command=broken).write([(0x1000, b"x")])


def test_a_write_that_was_not_verified_is_no_success() -> None:
    with pytest.raises(FlashError, match="0 of 1 regions"):
        EspPort("rfc2217://nowhere", command=("/bin/echo", "Hash of nothing")).write([(0x1000, b"x")])


def test_a_port_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(PortError, match="there is no /dev/ttyUSB77") as absent:
        EspPort("/dev/ttyUSB77").identify()
    assert "serial ports here now" in absent.value.advice


@pytest.mark.parametrize(
    ("gid", "mode", "group"), [(20, 0o660, "dialout"), (5, 0o620, "tty"), (0, 0o660, "dialout"), (5, 0o600, "dialout")]
)
def test_a_port_one_may_not_open_is_told_with_the_group_to_join(
    gid: int, mode: int, group: str, silent_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr("wardtwin_tools.tag.esp_port.os.stat", lambda path, **_: SimpleNamespace(st_gid=gid, st_mode=mode))
    monkeypatch.setattr("wardtwin_tools.tag.esp_port.os.path.exists", lambda path: True)
    monkeypatch.setattr(
        "wardtwin_tools.tag.esp_port.grp.getgrgid", lambda gid: SimpleNamespace(gr_name={20: "dialout", 5: "tty", 0: "root"}[gid])
    )
    with pytest.raises(PortError, match="may not open") as denied:
        check_port(silent_port)
    assert f"usermod -aG {group} $USER" in denied.value.advice


def test_a_port_held_by_another_program_is_told_so(silent_port: str) -> None:
    with serial.Serial(silent_port, exclusive=True), pytest.raises(PortError, match="in use by another program"):
        EspPort(silent_port).identify()


def test_a_card_whose_settings_are_another_tag_s_is_not_flashed(made: provision.Made, vendor_file: Path) -> None:
    path = made.folder.path / "settings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"key": "00" * 16}))
    with pytest.raises(SettingsError, match="not of one tag"):
        flash.prepare(card_of(made), vendor_file)


def test_what_does_not_fit_is_said_before_the_port_is_opened() -> None:
    with pytest.raises(ImageError, match="does not fit"):
        filesystem_image.build({PurePosixPath("lib/large.py"): bytes(0x180000)})
    with pytest.raises(ImageError, match="do not fit"):
        check_regions([Region("vfs", 0x200000, bytes(0x180001), "")])
    with pytest.raises(ImageError, match="would overwrite"):
        check_regions([Region("bootloader", 0x1000, bytes(0x7001), ""), Region("table", 0x8000, b"x", "")])


def test_all_a_tag_s_files_are_their_owner_s_alone(made: provision.Made) -> None:
    assert stat.S_IMODE(made.folder.path.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in made.folder.path.iterdir()}
    assert set(modes) == {"card.json", "settings.json", "vfs.bin"}
    assert set(modes.values()) == {0o600}
