"""Finds the firmware's source files: in a checkout beside this package, or inside an installed wheel."""

from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import wardtwin_tools
from wardtwin_sync.registry import TagKind
from wardtwin_tools.tag.errors import ImageError

FOLDERS: dict[TagKind, str] = {"energy": "energy_tag", "environment": "environment_tag"}
LIBRARIES = ("wardtwin_wire", "wardtwin_tag", "wardtwin_node")


def tag_files(kind: TagKind, package: Path | None = None) -> dict[PurePosixPath, Path]:
    """Map each path on the tag to the file that goes there: main.py in the root, the libraries under lib/.

    `package` is the folder of wardtwin_tools (an argument for the tests). Raise ImageError if a part is missing.
    """
    package = package or Path(wardtwin_tools.__file__).parent
    main = _first(package / "firmware" / FOLDERS[kind], package.parents[1] / "firmware" / FOLDERS[kind])
    if main is None or not (main / "main.py").is_file():
        raise ImageError(
            f"the firmware of the {kind} tag is not installed", "Install wardtwin again: `pip install --force-reinstall wardtwin[tools]`."
        )
    files = dict(_sources(main, PurePosixPath()))
    for name in LIBRARIES:
        folder = _first(package / "firmware" / "lib" / name, package.parents[1] / "firmware" / "lib" / name) or _installed(name)
        if folder is None:
            raise ImageError(
                f"the firmware's {name} is not installed", "Install wardtwin again: `pip install --force-reinstall wardtwin[tools]`."
            )
        files |= _sources(folder, PurePosixPath("lib", name))
    return files


def _sources(folder: Path, target: PurePosixPath) -> dict[PurePosixPath, Path]:
    found = {}
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder)
        if not {"tests", "__pycache__"} & set(inside.parts):
            found[target / inside.as_posix()] = path
    return found


def _first(*folders: Path) -> Path | None:
    return next((folder for folder in folders if folder.is_dir()), None)


def _installed(name: str) -> Path | None:
    """A top-level package's folder, found without importing it."""
    spec = find_spec(name)
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None
