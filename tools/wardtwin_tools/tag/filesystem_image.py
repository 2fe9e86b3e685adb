"""The littlefs image for the tag's vfs partition, as MicroPython mounts it."""

from collections.abc import Mapping
from pathlib import PurePosixPath

from littlefs import LittleFS, LittleFSError

from wardtwin_tools.tag.errors import ImageError
from wardtwin_tools.tag.partition_table import SECTOR_BYTES, partition

DISK_VERSION = 0x0002_0000
"""littlefs 2.0 on disk: what MicroPython's VfsLfs2 mounts; the library's default, 2.1, it refuses."""


def build(files: Mapping[PurePosixPath, bytes], size: int = partition("vfs").size) -> bytes:
    """Return `size` bytes that hold `files`. Raise ImageError when they do not fit."""
    fs = LittleFS(block_size=SECTOR_BYTES, block_count=size // SECTOR_BYTES, disk_version=DISK_VERSION)
    try:
        for path, content in files.items():
            if path.parent != PurePosixPath():
                fs.makedirs(str(path.parent), exist_ok=True)
            with fs.open(str(path), "wb") as file:
                file.write(content)
    except LittleFSError as error:
        raise ImageError(f"{path} does not fit: {sum(map(len, files.values())):,} bytes of files, {size:,} of partition") from error
    return bytes(fs.context.buffer)
