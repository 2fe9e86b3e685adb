"""What is written where on a tag's flash, decided before the port is opened."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from wardtwin_tools.tag import filesystem_image, partition_table
from wardtwin_tools.tag.errors import ImageError
from wardtwin_tools.tag.vendor_image import APPLICATION_OFFSET, BOOTLOADER_OFFSET, VendorImage


@dataclass(frozen=True)
class Region:
    """`content` goes to `offset`; `what` says for people what it is."""

    label: str
    offset: int
    content: bytes
    what: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def plan(vendor: VendorImage, files: Mapping[PurePosixPath, bytes], *, keep_queue: bool) -> tuple[Region, ...]:
    """Return the regions in the order of their offsets.

    The NVS is never among them: it holds the boot counter, and a tag that counted from 1 again under the same key would
    use nonces twice and be refused as a replay. The queue is wiped unless `keep_queue`: what another key sealed, or the
    vendor's filesystem left there, would never be acked.
    """
    vfs, queue = partition_table.partition("vfs"), partition_table.partition("queue")
    partition_table.check(partition_table.LAYOUT)
    regions = [
        Region("bootloader", BOOTLOADER_OFFSET, vendor.bootloader, "the vendor's bootloader"),
        Region("table", partition_table.TABLE_OFFSET, partition_table.encode(), "partition table of the tag"),
        Region("factory", APPLICATION_OFFSET, vendor.application, vendor.name or "the vendor's application"),
        Region("vfs", vfs.offset, filesystem_image.build(files, vfs.size), f"littlefs, {len(files)} files"),
    ]
    if not keep_queue:
        regions.append(Region("queue", queue.offset, b"\xff" * queue.size, "empty queue"))
    check(regions)
    return tuple(regions)


def check(regions: list[Region]) -> None:
    """Raise ImageError if two regions touch the same sector or a region leaves its partition."""
    last_end = 0
    for region in sorted(regions, key=lambda region: region.offset):
        if region.offset < last_end:
            raise ImageError(f"{region.label} at {region.offset:#x} would overwrite what ends at {last_end:#x}")
        last_end = -(-(region.offset + len(region.content)) // partition_table.SECTOR_BYTES) * partition_table.SECTOR_BYTES
        for home in partition_table.LAYOUT:
            if home.label == region.label and (region.offset != home.offset or len(region.content) > home.size):
                raise ImageError(f"{region.label}: {len(region.content):,} bytes do not fit its partition of {home.size:,}")
