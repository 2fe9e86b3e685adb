"""Puts a made tag onto its chip."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wardtwin_sync.registry import TagCard
from wardtwin_tools.tag import partition_table, vendor_image
from wardtwin_tools.tag.bench_folder import BenchFolder
from wardtwin_tools.tag.errors import ChipError, ImageError
from wardtwin_tools.tag.esp_port import Chip, EspPort
from wardtwin_tools.tag.flash_plan import Region, plan


@dataclass(frozen=True)
class Job:
    """Everything decided about one flash. `queue_kept` says whether unsent readings on the chip survive it."""

    folder: BenchFolder
    card: TagCard
    firmware: str
    regions: tuple[Region, ...]
    queue_kept: bool


def prepare(card_file: Path, image_file: Path, *, wipe: bool = False) -> Job:
    """Read and check all files; open no port. `wipe`: do not keep the queue even on a chip that had this key before."""
    folder = BenchFolder.of_card(card_file)
    card = folder.card(card_file.name)
    assert card is not None
    try:
        raw = image_file.read_bytes()
    except OSError as error:
        raise ImageError(
            f"cannot read {image_file}: {error.strerror}", "Give the MicroPython image you downloaded with --image."
        ) from error
    vendor = vendor_image.parse(raw)
    keep = folder.was_flashed(card) and not wipe
    return Job(folder, card, vendor.name, plan(vendor, folder.files(), keep_queue=keep), keep)


def run(
    job: Job, port: EspPort, *, erase: bool = False, progress: Callable[[int, int], None] = lambda offset, done: None
) -> tuple[Chip, float]:
    """Write the job. Return the chip and the seconds it took. Raise ChipError when the chip is another tag's.

    `erase` clears the whole chip first and puts its NVS back: the boot counter must never go back under the same key.
    """
    started = time.monotonic()
    chip = port.identify()
    wanted = job.card.binding.tag_id
    if chip.tag_id != wanted:
        raise ChipError(
            f"the chip on {port.port} is {chip.tag_id}, the card is for {wanted}",
            f"Use the card of {chip.tag_id}, or make one with `wardtwin tag provision --tag-id {chip.tag_id}`.",
        )
    if 0 < chip.flash_bytes < partition_table.FLASH_BYTES:
        raise ChipError(
            f"the chip has {chip.flash_bytes // 1024:,} KiB of flash, the tag needs 4,096",
            "Use a module with 4 MB of flash, e.g. ESP32-WROOM-32.",
        )
    regions = [(region.offset, region.content) for region in job.regions]
    nvs = partition_table.partition("nvs")
    if erase and job.folder.saved_nvs() is None:
        job.folder.save_nvs(port.read(nvs.offset, nvs.size))
    if (counters := job.folder.saved_nvs()) is not None:  # also after an erase that was cut off
        regions.append((nvs.offset, counters))
    port.write(sorted(regions), erase_all=erase, progress=progress)
    job.folder.flashed(job.card, job.firmware)
    return chip, time.monotonic() - started
