"""Families that were written from the guide alone pass every check, and planted faults in them are found.

`late` is conditional, with a discriminator that starts later and a path length penalty; `sequences` has samples (T, C)
and a dataset of its own; `weighted` has a dataset with an entry of its own; `inpaint` generates from inputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from variants import D_OPTIMIZER, FAMILIES, FILES, FOOL, LATE, REAL_AND_FAKE, WAVES, WEIGHTED, Changes, results

from aigc_zoo.testing import Case, list_cases
from aigc_zoo.testing.runner import run_check

CASES = [
    # Static checks import a file, and with it torch, in processes of their own.
    pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.check.needs == "static" else [])
    for name in FAMILIES
    for case in list_cases(FILES[name], tiers=("static", "cpu"))
]


@pytest.mark.parametrize("case", CASES)
def test_the_families_pass(case: Case) -> None:
    result = run_check(case)
    assert result.status == "passed", f"{result.reason}\n{result.traceback}"


CONDITIONAL: Changes = (
    ("    latent: Annotated[int, Range(1, 64)] = 8,\n", "    latent: int = 8,\n    conditional: bool = False,\n"),
    (
        "        latent=latent,\n",
        '        latent=latent,\n        conditional=conditional,\n        dataset="cross",\n',
    ),
)

# fault -> (plugin, changes, subject, failing check, part of its reason)
FAULTS: dict[str, tuple[str, Changes, str, str, str]] = {
    # --- a recipe on its own dataset, and its later stages
    "a raise for the eight classes of its own dataset": (
        "late",
        (
            (
                "        real, fake = nets.D(",
                "        if batch['label'].shape[1] > 3:\n            raise RuntimeError('more than three classes')\n"
                "        real, fake = nets.D(",
            ),
        ),
        LATE,
        "R-DATA",
        "more than three classes",
    ),
    "a raise under --conditional": (
        "conforming",
        (
            *CONDITIONAL,
            (
                "        h = self.inner(",
                "        if label is not None and label.shape[1] == 2:\n            raise RuntimeError('two classes')\n"
                "        h = self.inner(",
            ),
        ),
        "recipe local/game",
        "R-DATA",
        "two classes",
    ),
    "networks that refuse its own dataset": (
        "late",
        (("        if not spec.classes:\n", "        if not spec.classes or len(spec.shape) != 3:\n"),),
        LATE,
        "R-DATA",
        "choose a dataset with classes",
    ),
    "a default dataset that does not exist": (
        "late",
        (('dataset="ring"', 'dataset="rings"'),),
        LATE,
        "R-DATA",
        "did you mean 'zoo/ring'",
    ),
    "a loss that reads an entry which its own dataset lacks": (
        "weighted",
        (('batch["weight"] / 2', 'batch["age"] / 2'),),
        WEIGHTED,
        "R-DATA",
        "'age' is not in this batch",
    ),
    "a value of its own dataset that gives infinity": (
        "weighted",
        (('"weight": rows["weight"].float()', '"weight": 1 / (rows["weight"].float() - 2)'),),
        WEIGHTED,
        "R-DATA",
        "not finite",
    ),
    "a raise in a loss of a later stage": (
        "late",
        ((FOOL, '        raise RuntimeError("stage two")\n'),),
        LATE,
        "R-PLAYS",
        "stage two",
    ),
    "a raise at the end of a run": (
        "weighted",
        (
            (
                "        weight = batch",
                "        if batch['t'] > 0.9:\n            raise RuntimeError('late')\n        weight = batch",
            ),
        ),
        WEIGHTED,
        "R-DATA",
        "RuntimeError: late",
    ),
    "a late update that changes another network": (
        "late",
        (("    def r1(nets, batch):\n", "    def r1(nets, batch):\n        nets.G.gain.data.mul_(0.5)\n"),),
        LATE,
        "R-TURNS",
        "G.gain",
    ),
    # --- what samples have
    "an input that its own dataset lacks": (
        "inpaint",
        (('inputs=("known", "mask")', 'inputs=("known", "mask", "depth")'),),
        "recipe local/inpaint",
        "R-RUN",
        "needs the entry 'depth', but holes has known, label, mask, real",
    ),
    "an input that is not declared": (
        "inpaint",
        (('inputs=("known", "mask")', 'inputs=("known",)'),),
        "recipe local/inpaint",
        "R-SAMPLES",
        "generate reads mask",
    ),
    "a generator that reads real samples": (
        "weighted",
        (('{"fake": nets.G(batch["z"])}', '{"fake": nets.G(batch["z"]) + 0.1 * batch["real"]}'),),
        WEIGHTED,
        "R-SAMPLES",
        "generate reads real, which samples lack",
    ),
    "a generator that takes its shape from real samples": (
        "late",
        (('{"w": w, "fake": nets.G(w)}', '{"w": w, "fake": nets.G(w).view_as(batch["real"])}'),),
        LATE,
        "R-SAMPLES",
        "take shapes from the noise",
    ),
    "a generator that reads an entry of its own dataset": (
        "weighted",
        (('{"fake": nets.G(batch["z"])}', '{"fake": nets.G(batch["z"]) * batch["weight"].mean()}'),),
        WEIGHTED,
        "R-SAMPLES",
        "generate reads weight",
    ),
    "a recipe whose samples are normalized over their batch": (
        "weighted",
        (('{"fake": nets.G(batch["z"])}', '{"fake": (x := nets.G(batch["z"])) - x.mean(0)}'),),
        WEIGHTED,
        "R-SAMPLES",
        "depends on the other samples of its batch",
    ),
    "a recipe whose generator uses the labels of other samples": (
        "late",
        (('batch["z"], batch["label"]), 1)', 'batch["z"], batch["label"] - batch["label"].mean(0)), 1)'),),
        LATE,
        "R-SAMPLES",
        "depends on the other samples of its batch",
    ),
    "a recipe that scales its samples by the spread of their batch": (
        "sequences",
        (('{"fake": nets.G(batch["z"])}', '{"fake": nets.G(batch["z"] / batch["z"].std())}'),),
        WAVES,
        "R-SAMPLES",
        "depends on the other samples of its batch",
    ),
    "a stated shape that the networks refuse": (
        "sequences",
        (("(16, 3))", "(8, 3))"),),
        WAVES,
        "R-PLAYS",
        "it states the shape (8, 3) and refuses it",
    ),
    # --- discriminators that start later
    "a late discriminator that does not learn": (
        "late",
        ((D_OPTIMIZER, D_OPTIMIZER.replace("adam(lr, 0.0, 0.99)", "adam(0.0)")),),
        LATE,
        "R-LEARNS",
        "at the beginning, in the middle or at the end",
    ),
    "a late discriminator with a learning rate of 0": (
        "late",
        ((D_OPTIMIZER, f"{D_OPTIMIZER}, lr=lambda nets, batch: 0 * batch['t']"),),
        LATE,
        "R-LEARNS",
        "does not decrease",
    ),
    "a late discriminator whose loss does not depend on its weights": (
        "late",
        ((REAL_AND_FAKE, 'return {"loss": 0 * real.mean(), '),),
        LATE,
        "R-LEARNS",
        "does not decrease",
    ),
    # --- losses that differentiate the fakes
    "noise in a path length": (
        "late",
        (('(batch["fake"] * batch["direction"])', '(batch["fake"] * torch.randn_like(batch["fake"]))'),),
        LATE,
        "R-PURE",
        "a loss of generator draws its own noise (path vary)",
    ),
    "a late term that is a sum": (
        "late",
        (("(length - nets.path.mean).square().mean()", "(length - nets.path.mean).square().sum()"),),
        LATE,
        "R-RANKS",
        "is a loss a sum",
    ),
    "a running mean that the ranks do not share": (
        "late",
        (
            ("    shared = True\n", "    shared = False\n"),
            ("length.mean().detach(), 0.01", "length.mean().detach(), 0.9"),
        ),
        LATE,
        "R-RANKS",
        "a buffer that a loss changes not `shared`",
    ),
    "labels that only the discriminator uses": (
        "late",
        (('torch.cat((batch["z"], batch["label"]), 1)', 'torch.cat((batch["z"], 0 * batch["label"]), 1)'),),
        LATE,
        "R-LABELS",
        "no difference to its samples",
    ),
    # --- outputs that depend on the rest of the batch
    "minibatch standard deviation in a discriminator": (
        "conforming",
        (("        return self.outer(", "        h = h + h.std(0, keepdim=True).mean()\n        return self.outer("),),
        "discriminator local/dis",
        "C-ONE",
        "depends on the other rows",
    ),
    "a discriminator that subtracts the mean of its batch": (
        "conforming",
        (("        x = x.flatten(1)\n", "        x = x.flatten(1)\n        x = x - x.mean(0)\n"),),
        "discriminator local/dis",
        "C-ONE",
        "use running statistics",
    ),
    "a generator that normalizes over its batch and draws noise": (
        "conforming",
        (
            (
                "        x = (self.gain * x).view",
                "        x = x - x.mean(0, keepdim=True) + 0.1 * torch.randn(len(x), 1)\n"
                "        x = (self.gain * x).view",
            ),
        ),
        "generator local/gen",
        "C-ONE",
        "depends on the other rows",
    ),
    "attention over the samples of a batch": (
        "conforming",
        (("        return self.outer(", "        h = h + (h @ h.T).softmax(1) @ h\n        return self.outer("),),
        "discriminator local/dis",
        "C-ONE",
        "depends on the other rows",
    ),
    "a discriminator that uses the labels of other samples": (
        "conforming",
        (("torch.cat((x, label), 1)", "torch.cat((x, label - label.mean(0)), 1)"),),
        "discriminator local/dis",
        "C-ONE",
        "depends on the other rows",
    ),
}


@pytest.mark.promise("P1", 1, 1)
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found(fault: str, tmp_path: Path, clean_plugins: None, promise: Any) -> None:
    family, changes, subject, check, words = FAULTS[fault]
    (result,) = results(tmp_path, family, changes, subject, check).values()
    assert result.status == "failed", result.reason
    assert words in result.reason
    promise.kept(faults=1, found=1)


def test_a_dataset_that_is_not_here_is_said(
    tmp_path: Path, clean_plugins: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZOO_DATA", raising=False)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    changes = (('("recipe", "own", "own",', '("recipe", "own", "own", defaults={"data": "mnist"},'),)
    (result,) = results(tmp_path, "conforming", changes, "recipe local/own", "R-DATA").values()
    assert result.status == "passed"
    assert "its default dataset is not on this machine" in result.reason
