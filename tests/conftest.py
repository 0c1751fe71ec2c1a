"""Settings and fixtures for all tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aigc_zoo.text import PLUGIN_FILES

if TYPE_CHECKING:
    from aigc_zoo.game import Samples

# One thread for each worker and for each of its subprocesses, set before torch is imported: networks in tests are so
# small that several threads wait for each other longer than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Hypothesis draws new examples in every run, so its database is not kept with the sources.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", os.path.join(tempfile.gettempdir(), "aigc-zoo-hypothesis"))


@pytest.fixture(scope="session", autouse=True)
def _isolated_environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests use a cache of their own and ignore the user's plugin settings."""
    os.environ["ZOO_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    for name in ("ZOO_DISABLE_PLUGINS", "ZOO_STRICT"):
        os.environ.pop(name, None)
    # With this variable of pytest-xdist, pytest-benchmark would refuse to measure in `zoo bench`, which tests call.
    os.environ.pop("PYTEST_XDIST_WORKER", None)


@pytest.fixture(autouse=True)
def _no_plugin_files() -> Iterator[None]:
    """The plugin files of a command line that was completed, and not run, are in no message of the next test."""
    before = PLUGIN_FILES.set(())
    yield
    PLUGIN_FILES.reset(before)


@pytest.fixture(scope="session")
def zoo_data() -> Path:
    """The directory with real data that ZOO_DATA names. Without the variable, tests on real data are skipped."""
    value = os.environ.get("ZOO_DATA")
    if not value:
        found = "mnist/, cifar10-jpeg.zip, fsdd.zip, tinyshakespeare.txt"
        pytest.skip(f"ZOO_DATA is not set: it names the directory with the real data ({found})")
    directory = Path(value).resolve()
    if not directory.is_dir():
        raise FileNotFoundError(f"ZOO_DATA={value} is not a directory")
    return directory


@pytest.fixture(scope="session")
def cifar10_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache that `cifar10` is decoded into. Workers of pytest-xdist share it, and the first one decodes."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if base.name.startswith("popen-") else base) / "cifar10"


@pytest.fixture(scope="session")
def cifar10(zoo_data: Path, cifar10_cache: Path) -> Mapping[str, Samples]:
    """CIFAR-10 from a zip of 60,000 JPEGs, which takes 20 s to decode."""
    from opened import open_path

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(cifar10_cache))
        return open_path(zoo_data / "cifar10-jpeg.zip")


@dataclass(frozen=True)
class Promise:
    """A guarantee of docs/reliability.md: how many trials the test makes, and where it records what it counted."""

    name: str
    count: int
    record: Callable[[str, object], None]

    def kept(self, **facts: int | float | str) -> None:
        """Record counts for the table that `make reliability` writes."""
        for key, value in facts.items():
            self.record(f"{self.name}:{key}", value)


@pytest.fixture
def promise(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Promise:
    """The guarantee of a test marked `promise(NAME, fast, full)`, with the full count if ZOO_COUNTS=full."""
    marker = request.node.get_closest_marker("promise")
    assert marker is not None, "the fixture requires the mark promise(NAME, fast, full)"
    name, fast, full = marker.args
    return Promise(name, full if os.environ.get("ZOO_COUNTS") == "full" else fast, record_property)
