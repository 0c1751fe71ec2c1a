"""Changed copies of the test plugins, and the results of conformance checks on them."""

from __future__ import annotations

from pathlib import Path

from aigc_zoo.testing import Result, list_cases
from aigc_zoo.testing.runner import run_check

FOLDER = Path(__file__).parent / "testing"
FAMILIES = ("late", "sequences", "weighted", "inpaint")
FILES = {"conforming": FOLDER / "conforming.py"} | {name: FOLDER / "families" / f"{name}.py" for name in FAMILIES}
"""A plugin of every kind of component, and families that were written from the guide alone."""

Changes = tuple[tuple[str, str], ...]
"""Pairs of a text in a plugin's source and what replaces it."""

LATE, WAVES, WEIGHTED = "recipe local/late", "recipe local/wave-gan", "recipe local/weighted"

FOOL = '        return {"loss": softplus(-nets.D(batch["fake"], batch["label"])).mean()}\n'
"""The generator's loss of `late`."""

REAL_AND_FAKE = 'return {"loss": softplus(-real).mean() + softplus(fake).mean(), '
"""The discriminator's loss of `late`."""

D_PLAY = "loss=Until(start, None, changed(plus(discriminate, Every(16, r1, None)), noisy)),\n"
"""The play of the discriminator of `late`, in the line before its optimizer."""

D_OPTIMIZER = f"{D_PLAY}                optimizer=adam(lr, 0.0, 0.99)"


def weight(name: str, value: str, before: str) -> tuple[str, str]:
    """A change of `conforming` that adds a weight before another one."""
    return f"        self.{before} =", f"        self.{name} = nn.Parameter({value})\n        self.{before} ="


def results(folder: Path, family: str, changes: Changes, subject: str, checks: str) -> dict[str, Result]:
    """The results of these checks on a component of a changed copy of a plugin, which is written to the folder."""
    source = FILES[family].read_text(encoding="utf-8")
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    path = folder / f"{family}_changed.py"
    path.write_text(source, encoding="utf-8")
    cases = list_cases(path, tiers=("cpu",))
    chosen = [case for case in cases if case.subject.label == subject and case.check.id in checks.split()]
    assert len(chosen) == len(checks.split())
    return {case.check.id: run_check(case) for case in chosen}
