"""The built filesystem in MicroPython itself: mounted as VfsLfs2 over a block device, booted from, nothing else on the path."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from wardtwin_sync.registry import TagKind
from wardtwin_tools.tag import provision
from wardtwin_tools.tests.tag.conftest import MADE_AT

MICROPYTHON = shutil.which("micropython", path=str(Path(sys.executable).parent)) or shutil.which("micropython")
pytestmark = pytest.mark.skipif(MICROPYTHON is None, reason="no MicroPython wheel for this platform")

BLOCK_DEVICE = """
import sys, vfs, os, json
class Flash:
    def __init__(self, path):
        self.file = open(path, "r+b")
        self.blocks = self.file.seek(0, 2) // 4096
    def readblocks(self, block, buf, offset=0):
        self.file.seek(block * 4096 + offset)
        self.file.readinto(buf)
    def writeblocks(self, block, buf, offset=0):
        self.file.seek(block * 4096 + offset)
        self.file.write(buf)
    def ioctl(self, op, arg):
        if op == 4: return self.blocks
        if op == 5: return 4096
        if op == 6: self.writeblocks(arg, b"\xff" * 4096); return 0
flash = Flash(sys.argv[1])
vfs.umount("/")
vfs.mount(vfs.VfsLfs2(flash), "/")
sys.path[:] = ["", ".frozen", "/lib"]
"""


def run_on_image(image: Path, program: str, folder: Path) -> str:
    script = folder / "boot_image.py"
    script.write_text(BLOCK_DEVICE + program)
    done = subprocess.run([str(MICROPYTHON), "-X", "heapsize=320K", str(script), str(image)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_main_runs_and_imports_wire_from_the_image(made: provision.Made, tmp_path: Path) -> None:
    program = """
exec(open("main.py").read(), {"__name__": "__main__"})
import wardtwin_wire.frame
print(wardtwin_wire.frame.__file__)
"""
    assert run_on_image(made.folder.path / "vfs.bin", program, tmp_path) == "tag starts\n/lib/wardtwin_wire/frame.py\n"


def test_the_tag_reads_the_settings_that_were_made_and_can_write_beside_them(made: provision.Made, tmp_path: Path) -> None:
    program = """
settings = json.load(open("settings.json"))
with open("mark", "w") as f: f.write("x" * 5000)
vfs.umount("/"); vfs.mount(vfs.VfsLfs2(flash), "/")
assert len(open("mark").read()) == 5000
print(json.dumps(settings))
"""
    assert json.loads(run_on_image(made.folder.path / "vfs.bin", program, tmp_path)) == made.folder.settings()


@pytest.mark.parametrize("kind", ["energy", "environment"])
def test_the_shipped_firmware_compiles_and_its_libraries_import_from_the_image(
    order: provision.Order, kind: TagKind, tmp_path: Path
) -> None:
    made = provision.make(replace(order, kind=kind, room_id="r-1" if kind == "environment" else None), tmp_path / "tags", MADE_AT)
    program = """
import gc
for folder in ("wardtwin_wire", "wardtwin_tag"):
    for name in sorted(os.listdir("/lib/" + folder)):
        if name.endswith(".py"):
            module = folder if name == "__init__.py" else folder + "." + name[:-3]
            __import__(module)
            print(module)
            gc.collect()
for folder in ("/lib/wardtwin_node", ""):
    for name in sorted(os.listdir(folder or "/")):
        if name.endswith(".py"):
            # these touch the board, which this interpreter has not: compile them, the emulated boards run them
            compile(open(folder + "/" + name).read(), name, "exec")
            print(folder + "/" + name)
"""
    listed = run_on_image(made.folder.path / "vfs.bin", program, tmp_path).split()
    assert {"wardtwin_wire.frame", "wardtwin_wire.bthome", "wardtwin_tag", "/main.py"} <= set(listed)
    assert not [name for name in listed if "test" in name]
