"""Runs the packaged benchmarks under pytest-benchmark, isolated from the user's pytest settings."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from aigc_zoo.bench.environment import environment
from aigc_zoo.errors import ZooError
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.prepare import Prepared
from aigc_zoo.run.signals import Stop

HERE = Path(__file__).parent
SECONDS = 4.0
"""Time for the rounds of one benchmark, if it allows at least twenty rounds."""


class Suite:
    """Settings and results of the benchmarks: catalogue, recipes or cells, and entries. It is also a pytest plugin."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        recipes: Sequence[str] = (),
        cells: Sequence[Any] = (),
        seconds: float = SECONDS,
        device: str = "auto",
        data: str | None = None,
        stop: Stop | None = None,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.catalogue, self.recipes, self.cells = catalogue, tuple(recipes), tuple(cells)
        self.seconds, self.device, self.data, self.stop, self.log = seconds, device, data, stop, log
        self.entries: list[dict[str, Any]] = []
        self.environment = environment()
        self.done = self.total = 0
        self.prepared: dict[str, Prepared] = {}

    def add(self, entry: Mapping[str, Any]) -> None:
        self.entries.append(dict(entry))

    # --- hooks of pytest ----------------------------------------------------------------------------------------------

    @pytest.fixture
    def suite(self) -> Suite:
        return self

    @pytest.hookimpl(tryfirst=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        for name, values in (("recipe", self.recipes), ("cell", self.cells)):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, values, ids=[str(value) for value in values])

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.total = len(session.items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.failed:
            outcome = "failed" if report.failed else f"{report.duration:.1f} s"
            self.done += 1
            self.log(f"{self.done}/{self.total}  {report.nodeid.rpartition('::')[2]}  {outcome}")


def run(suite: Suite, file: str, expression: str = "") -> list[dict[str, Any]]:
    """Run a packaged benchmark file and return its entries. An error in a benchmark is raised."""
    errors: list[BaseException] = []

    class Errors:
        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
            if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
                errors.append(call.excinfo.value)
            return (yield)

    words = ["-q", "-c", str(HERE / "pytest.ini"), "--rootdir", str(HERE), "--confcutdir", str(HERE)]
    words += ["-p", "no:cacheprovider", "--import-mode=importlib", "--benchmark-only", "--benchmark-disable-gc"]
    words += ["-k", expression] if expression else []
    output = io.StringIO()
    with _without_pytest_settings(), redirect_stdout(output), redirect_stderr(output):
        code = pytest.main([*words, str(HERE / file)], plugins=[suite, Errors()])
    if errors:
        raise errors[0]
    if code == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        last = [line for line in output.getvalue().splitlines() if line.strip()][-1:]
        raise ZooError(f"the benchmarks in {file} did not run: {' '.join(last)[:200]}")
    return suite.entries


@contextmanager
def _without_pytest_settings() -> Iterator[None]:
    """Remove the user's pytest settings from the environment for the time of a run."""
    saved = {name: os.environ.pop(name) for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(saved)
