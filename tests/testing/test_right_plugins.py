"""Conformance checks report nothing where nothing is wrong: unusual plugins that conform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from variants import D_OPTIMIZER, D_PLAY, FOOL, LATE, REAL_AND_FAKE, WAVES, Changes, results, weight

SHAPES = "shapes=((LENGTH, CHANNELS), (16, 3))"
OWN = '("recipe", "own", "own",'
GENERATOR = "G-SHAPE G-RANGE G-SEED C-GRADIENT C-ONE C-SAVE C-LABEL"
DISCRIMINATOR = "D-SEED D-SHAPE D-LOGITS D-TWICE C-GRADIENT C-ONE C-SAVE C-LABEL"
LOSSES = "R-PURE R-RANKS R-LABELS R-MOVES"

# plugin -> (the plugin that it is a copy of, changes, subject, checks that pass)
RIGHT: dict[str, tuple[str, Changes, str, str]] = {
    # --- weights without dimensions, and without elements
    "a generator with a scalar weight": (
        "conforming",
        (weight("scale", "torch.tensor(1.0)", "layer"), ("(self.gain * x)", "(self.scale * self.gain * x)")),
        "generator local/gen",
        GENERATOR,
    ),
    "a generator whose branch is gated by a zero": (
        "conforming",
        (weight("gate", "torch.zeros(())", "layer"), ("(self.gain * x)", "(self.gain * x + self.gate * x.sin())")),
        "generator local/gen",
        GENERATOR,
    ),
    "a discriminator with a temperature": (
        "conforming",
        (
            weight("temperature", "torch.tensor(1.0)", "outer"),
            ("return self.outer(", "return self.temperature * self.outer("),
        ),
        "discriminator local/dis",
        DISCRIMINATOR,
    ),
    "a weight without elements": (
        "conforming",
        (weight("embedding", "torch.zeros(0, 4)", "layer"),),
        "generator local/gen",
        GENERATOR,
    ),
    "a recipe of networks with scalar weights": ("late", (), LATE, "R-LABELS R-MOVES R-SAMPLES R-SAVE"),
    # --- shapes of samples
    "sequences that could be grey images": ("sequences", ((SHAPES, "shapes=((28, 28),)"),), WAVES, "R-RUN R-SAMPLES"),
    "sequences of one channel": ("sequences", ((SHAPES, "shapes=((16, 1),)"),), WAVES, "R-RUN R-SAMPLES"),
    "sequences of three channels": ("sequences", ((SHAPES, "shapes=((32, 3),)"),), WAVES, "R-RUN R-SAMPLES"),
    "sequences whose shape only the dataset states": (
        "sequences",
        ((f"        {SHAPES},\n", ""),),
        WAVES,
        "R-PLAYS R-RUN R-SAMPLES",
    ),
    "vectors": ("conforming", ((OWN, f"{OWN} shapes=((7,),),"),), "recipe local/own", "R-RUN R-SAMPLES"),
    "volumes": ("conforming", ((OWN, f"{OWN} shapes=((1, 4, 4, 4),),"),), "recipe local/own", "R-RUN R-SAMPLES"),
    # --- extractors of other samples than images
    "an extractor of sounds": (
        "conforming",
        (
            ('"extractor", "mean", "mean")', '"extractor", "mean", "mean", modality="audio", shapes=((1, 99),))'),
            (
                "values.float() / 255 if x.dtype == torch.uint8 else (values + 1) / 2",
                "values / 32768 if x.dtype == torch.int16 else values",
            ),
        ),
        "extractor local/mean",
        "E-FEATURES E-GRADIENTS E-CLASSES E-WEIGHTS",
    ),
    "an extractor of tokens, which have no gradient": (
        "conforming",
        (
            ('"extractor", "mean", "mean")', '"extractor", "mean", "mean", modality="text")'),
            ("values.float() / 255 if x.dtype == torch.uint8 else (values + 1) / 2", "values.float()"),
        ),
        "extractor local/mean",
        "E-FEATURES E-GRADIENTS E-CLASSES E-WEIGHTS",
    ),
    # --- discriminators that start later
    "a learning rate that is 0 for the first half": (
        "late",
        ((D_OPTIMIZER, f"{D_OPTIMIZER}, lr=lambda nets, batch: lr * (batch['t'] > 0.5)"),),
        LATE,
        "R-LEARNS",
    ),
    "a learning rate that falls to 0": (
        "late",
        ((D_OPTIMIZER, f"{D_OPTIMIZER}, lr=lambda nets, batch: lr * (batch['t'] < 0.3)"),),
        LATE,
        "R-LEARNS",
    ),
    "a loss whose weight is 0 for the first images": (
        "late",
        (
            (
                REAL_AND_FAKE,
                'on = (batch["images"] > 50_000).float()\n        '
                'return {"loss": on * (softplus(-real).mean() + softplus(fake).mean()), ',
            ),
        ),
        LATE,
        "R-LEARNS",
    ),
    "a discriminator that plays at every third step": (
        "late",
        ((D_PLAY, D_PLAY.replace("changed(plus(", "Every(3, None, changed(plus(").replace("noisy)", "noisy))")),),
        LATE,
        "R-LEARNS",
    ),
    # --- losses that need the graph of the fakes
    "a path length, and labels in a copy of the batch": ("late", (), LATE, LOSSES),
    "a hook on the fakes": (
        "late",
        ((FOOL, f'        batch["fake"].register_hook(lambda gradient: gradient / 2)\n{FOOL}'),),
        LATE,
        LOSSES,
    ),
    "the gradient of a loss with respect to the fakes": (
        "late",
        (
            (
                FOOL,
                '        logits = nets.D(batch["fake"], batch["label"])\n'
                '        (slope,) = torch.autograd.grad(logits.sum(), batch["fake"], create_graph=True)\n'
                '        return {"loss": softplus(-logits).mean(), "slope": slope.square().mean()}\n',
            ),
        ),
        LATE,
        LOSSES,
    ),
}


@pytest.mark.promise("P1", 1, 1)
@pytest.mark.parametrize("plugin", RIGHT)
def test_nothing_is_found_where_nothing_is_wrong(
    plugin: str, tmp_path: Path, clean_plugins: None, promise: Any
) -> None:
    for result in results(tmp_path, *RIGHT[plugin]).values():
        assert result.status == "passed", f"{result.check}: {result.reason}\n{result.traceback}"
    promise.kept(plugins=1, passed=1)
