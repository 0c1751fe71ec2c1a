"""What all tests share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

# Networks in tests are tiny, and so are the machines: threads that wait for each other cost more than they save.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Examples are drawn anew every time; what hypothesis keeps between runs belongs nowhere near the sources.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", os.path.join(tempfile.gettempdir(), "aigc-zoo-hypothesis"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests neither read nor fill the user's cache, and count on nobody's plugin settings."""
    os.environ["ZOO_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    for name in ("ZOO_DISABLE_PLUGINS", "ZOO_STRICT"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def zoo_data() -> Path:
    """The folder of real data that ZOO_DATA names; without it, tests on real data are skipped and say so."""
    where = os.environ.get("ZOO_DATA")
    if not where:
        pytest.skip("ZOO_DATA is not set: it names the folder with the real data (mnist/, cifar10-jpeg.zip)")
    folder = Path(where).resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"ZOO_DATA={where} is not a folder")
    return folder


@dataclass(frozen=True)
class Promise:
    """A promise of docs/reliability.md that a test keeps: how often it is tried here, and what came of it."""

    name: str
    count: int
    record: Callable[[str, object], None]

    def kept(self, **facts: int | float | str) -> None:
        """What was counted, for the table that `make reliability` makes."""
        for what, value in facts.items():
            self.record(f"{self.name}:{what}", value)


@pytest.fixture
def promise(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Promise:
    """Of a test marked `promise(NAME, fast, full)`: the fast count, or with ZOO_COUNTS=full the published one."""
    marker = request.node.get_closest_marker("promise")
    assert marker is not None, "the fixture belongs to a test marked promise(NAME, fast, full)"
    name, fast, full = marker.args
    return Promise(name, full if os.environ.get("ZOO_COUNTS") == "full" else fast, record_property)
