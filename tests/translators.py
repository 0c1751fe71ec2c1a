"""A plugin of tiny recipes with inputs, and generators of them; the largest batch of pixels that a network got."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aigc_zoo import options, plugins
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.loop import train
from aigc_zoo.run.prepare import prepare

PLUGIN = """
from dataclasses import replace
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from aigc_zoo.data.samples import image_samples, samples_of, with_entries
from aigc_zoo.game import Player, Recipe, Spec
from aigc_zoo.spec import Component, hookimpl
from aigc_zoo_plugins.modalities.audio import Audio
from aigc_zoo_plugins.modalities.text import Text

ZOO_API = 1
RECIPES = {
    "invert": ("pairs", ("source",)), "fixed": ("pairs", ("source",)), "double": ("small", ("source",)),
    "noisy": ("pairs", ("source",)), "half": ("large", ("source",)), "paint": ("captions", ("caption",)),
    "guide": ("guides", ("source", "mask")), "loud": ("sounds", ("source",)), "raise-low": ("derived", ("low",)),
    "raise-unknown": ("underived", ("low",)), "alone": ("pairs", ()),
}
SEEN = []


@hookimpl
def zoo_components():
    for name in RECIPES:
        own = {"target": f"{__name__}:{name.replace('-', '_')}", "defaults": {"data": f"local/{RECIPES[name][0]}"}}
        yield Component(kind="recipe", name=name, summary="s", **own)
    for name in sorted({data for data, _ in RECIPES.values()}):
        yield Component(kind="dataset", name=name, target=f"{__name__}:{name}", summary="s")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(()))

    def forward(self, x):
        SEEN.append(tuple(x.shape))
        return self.w * x


def recipe(name, function, **more):
    def generate(nets, batch):
        return {"fake": nets.G(function(batch))}

    still = lambda parameters: torch.optim.SGD(parameters, lr=0.0)
    player = Player(controls=("G",), loss=lambda nets, batch: {"loss": batch["fake"].mean()}, optimizer=still)
    return Recipe(networks=lambda spec: {"G": Net()}, generate=generate, players={"generator": player},
                  inputs=RECIPES[name][1], dataset=f"local/{RECIPES[name][0]}", steps=1, batch_size=4, **more)


def even(x):
    assert all(side % 4 == 0 for side in x.shape[2:]), x.shape
    return x


def invert(): return recipe("invert", lambda batch: -even(batch["source"]), multiple=4)
def fixed(): return recipe("fixed", lambda batch: -batch["source"])
def double(): return recipe("double", lambda batch: F.interpolate(batch["source"], scale_factor=2.0), multiple=1)
def half(): return recipe("half", lambda batch: F.avg_pool2d(batch["source"], 2), multiple=1)
def loud(): return recipe("loud", lambda batch: batch["source"] / 2, multiple=1)
def raised(batch): return F.interpolate(batch["low"], scale_factor=2.0)
def raise_low(): return recipe("raise-low", raised, multiple=1)
def raise_unknown(): return recipe("raise-unknown", raised, multiple=1)
def alone(): return recipe("alone", lambda batch: batch["z"].tanh(), draw=lambda b: {"z": torch.randn_like(b["real"])})


def noisy():
    return recipe("noisy", lambda batch: (batch["source"] + batch["z"]).clamp(-1, 1), multiple=1,
                  draw=lambda batch: {"z": torch.rand_like(batch["real"]) / 4})


def guide():
    return recipe("guide", lambda batch: torch.where(batch["mask"] > 0, batch["source"], -batch["source"]), multiple=1)


def paint():
    def image(batch):
        level = batch["caption"].float().mean(1) / 10 - 1
        return (level[:, None, None, None] + batch["z"]).clamp(-1, 1)

    return recipe("paint", image, draw=lambda batch: {"z": torch.rand_like(batch["real"]) / 8})


def images(count, seed, size=(12, 16), channels=1):
    stream = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, channels, *size), generator=stream, dtype=torch.uint8)


def of(split, seed, count, name="pairs", size=(12, 16), source=(12, 16), channels=(1, 1)):
    real = image_samples(name, split, images(count, seed, size, channels[1]))
    return with_entries(real, source=image_samples(name, split, images(count, seed + 1, source, channels[0])))


def pairs(where): return {"train": of("train", 0, 12), "test": of("test", 5, 6)}
def small(where): return {"train": of("train", 0, 12, "small", (16, 24), (8, 12))}
def large(where): return {"train": of("train", 0, 12, "large", (8, 12), (16, 24))}


def guides(where):
    found = of("train", 0, 12, "guides")
    return {"train": with_entries(found, mask=image_samples("guides", "train", images(12, 9)))}


def captions(where):
    spec = Spec(shape=(6,), range=None, dtype="int64", modality="text", symbols=("", " ", *"abcdefg"))
    tokens = torch.randint(1, 9, (12, 6), generator=torch.Generator().manual_seed(2))
    texts = samples_of(Text(), "captions", "train", spec, tokens)
    return {"train": with_entries(image_samples("captions", "train", images(12, 0)), caption=texts)}


def sounds(where):
    spec = Spec(shape=(1, 64), modality="audio", rate=8000.0)
    wave = torch.randint(-9000, 9000, (12, 1, 64), generator=torch.Generator().manual_seed(2), dtype=torch.int16)
    real = samples_of(Audio(), "sounds", "train", spec, wave)
    return {"train": with_entries(real, source=real)}


def derived(where):
    found = underived(where)
    entries = {"low": Spec(shape=(1, 6, 8))}
    return {split: replace(samples, spec=replace(samples.spec, entries=entries)) for split, samples in found.items()}


def underived(where):
    real = image_samples("derived", "train", images(12, 0))

    def decode(rows, draw):
        batch = real.decode(rows, draw)
        return {**batch, "low": F.avg_pool2d(batch["real"], 2)}

    return {"train": replace(real, decode=decode)}
"""


def translators(folder: Path) -> Catalogue:
    (folder / "translators.py").write_text(PLUGIN)
    return plugins.catalogue((folder / "translators.py",))


def trained(catalogue: Catalogue, folder: Path, recipe: str, **given: Any) -> Path:
    """The run directory of a recipe that was trained for a step."""
    chosen = options.resolve(catalogue, f"local/{recipe}", given={"steps": 1, **given}, origin="python")
    train(prepare(catalogue, chosen), folder / recipe)
    return folder / recipe
