"""The firmware is found beside a checkout and inside a built wheel alike."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

import wardtwin_tools
from wardtwin_tools.tag import firmware_files
from wardtwin_tools.tag.errors import ImageError

CHECKOUT = Path(wardtwin_tools.__file__).parents[2]
UV = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")


@pytest.mark.parametrize("kind", ["energy", "environment"])
def test_a_checkout_has_main_and_all_libraries_and_no_tests(kind: firmware_files.TagKind) -> None:
    files = firmware_files.tag_files(kind)
    assert files[PurePosixPath("main.py")] == CHECKOUT / "firmware" / f"{kind}_tag" / "main.py"
    assert {f"lib/{name}/__init__.py" for name in firmware_files.LIBRARIES} <= {str(path) for path in files}
    assert not [path for path in files if "tests" in path.parts]


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    package = tmp_path / "tools" / "wardtwin_tools"
    package.mkdir(parents=True)
    with pytest.raises(ImageError, match="firmware of the energy tag is not installed"):
        firmware_files.tag_files("energy", package)


@pytest.mark.skipif(UV is None or not (CHECKOUT / "pyproject.toml").exists(), reason="needs uv and a checkout")
def test_a_wheel_carries_the_same_firmware(tmp_path: Path) -> None:
    built = subprocess.run(
        [str(UV), "build", "--wheel", "--out-dir", str(tmp_path), str(CHECKOUT)], capture_output=True, text=True, timeout=280
    )
    if built.returncode and "hatchling" in built.stderr and "resolve" in built.stderr.lower():
        pytest.skip("the build backend cannot be fetched here")
    assert built.returncode == 0, built.stderr
    installed = tmp_path / "site"
    shutil.unpack_archive(next(tmp_path.glob("*.whl")), installed, "zip")
    program = """
import json, sys
sys.path.insert(0, sys.argv[1])
from wardtwin_tools.tag import firmware_files
print(json.dumps({kind: {str(k): str(v) for k, v in firmware_files.tag_files(kind).items()} for kind in ("energy", "environment")}))
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(installed)], capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    for kind, found in json.loads(done.stdout).items():
        here = firmware_files.tag_files(kind)
        assert set(found) == {str(path) for path in here}
        for path, place in found.items():
            assert Path(place).is_relative_to(installed)
            assert Path(place).read_bytes() == here[PurePosixPath(path)].read_bytes()
