from collections.abc import Iterator
from pathlib import Path

import pytest

from wardtwin_edge.tests.wards import Bench, FakeTag


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Two energy tags, one environment tag in room-3, over a store in a temporary directory."""
    made = Bench(tmp_path, FakeTag(1), FakeTag(2), FakeTag(3, "environment"))
    yield made
    made.store.close()
