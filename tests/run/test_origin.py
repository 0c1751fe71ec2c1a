"""The reasons for precision and engine: only what the user asked for is called so."""

from __future__ import annotations

from typing import Any

import pytest

from aigc_zoo import options
from aigc_zoo.plugins import catalogue
from aigc_zoo.run.prepare import prepare


def reasons(reference: str, data: str | None = None, file: Any = None, **given: Any) -> tuple[str, str]:
    configuration = options.resolve(catalogue(), reference, data=data, file=file, given={"device": "cpu", **given})
    prepared = prepare(catalogue(), configuration)
    return prepared.precision.why, prepared.engine.why


@pytest.mark.parametrize(
    ("settings", "precision", "engine"),
    [
        ({"precision": "fp32"}, "asked for", None),
        ({"engine": "eager", "data": "ring"}, "set by the preset ring", "asked for"),
        ({"data": "grid"}, "set by the preset grid", None),
        ({"data": "grid", "precision": "fp32"}, "asked for", None),
        ({"file": {"recipe": "zoo/vanilla", "run": {"precision": "fp32"}}}, "set by the configuration file", None),
        ({"file": {"run": {"engine": "eager"}}, "precision": "fp32"}, "asked for", "set by the configuration file"),
    ],
)
def test_only_what_the_user_asked_for_is_called_so(settings: Any, precision: str, engine: str | None) -> None:
    found = reasons("vanilla", **{"data": "digits", **settings})
    assert found[0] == precision
    if engine is not None:
        assert found[1] == engine
