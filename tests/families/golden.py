"""Golden losses: twenty steps of a recipe in float64 on eight fixed images. Run as a script, it writes them anew."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Recipe, Spec
from aigc_zoo_plugins.dcgan import networks as dcgan_networks
from aigc_zoo_plugins.dcgan.recipe import dcgan
from aigc_zoo_plugins.losses.adversarial import minimax, non_saturating
from aigc_zoo_plugins.primer import networks as primer_networks
from aigc_zoo_plugins.primer.recipe import primer
from aigc_zoo_plugins.vanilla import networks as vanilla_networks
from aigc_zoo_plugins.vanilla.recipe import vanilla

FOLDER = Path(__file__).parent.parent / "golden"
STEPS, BATCH = 20, 4


def recipes() -> Mapping[str, Recipe]:
    """Every recipe with networks of width 4 and z of 8, and without dropout, whose noise is the network's own."""
    tiny: dict[str, Any] = {"latent": 8, "lr": 1e-3}
    pairs = {
        "dcgan": (dcgan, dcgan_networks, {}),
        "primer": (primer, primer_networks, {}),
        "vanilla": (vanilla, vanilla_networks, {"dropout": 0.0, "input_dropout": 0.0}),
    }
    slots = {
        name: {
            "generator": partial(networks.generator, width=4),
            "discriminator": partial(networks.discriminator, width=4, **still),
        }
        for name, (_, networks, still) in pairs.items()
    }
    found = {name: make(**slots[name], loss=non_saturating, **tiny) for name, (make, _, _) in pairs.items()}
    return found | {"vanilla-minimax": vanilla(**slots["vanilla"], loss=minimax, **tiny)}


def samples() -> Tensor:
    """Eight images of one channel and 28x28, in [-1, 1], float64."""
    numbers = torch.randint(0, 256, (8, 1, 28, 28), generator=torch.Generator().manual_seed(2014))
    return numbers.double() / 127.5 - 1


def losses(recipe: Recipe, real: Tensor, steps: int = STEPS) -> dict[str, list[float]]:
    """Each player's loss over `steps` steps in float64; batches walk through `real` in order."""

    def source(number: int) -> Mapping[str, Tensor]:
        return {"real": real[(torch.arange(BATCH) + number * BATCH) % len(real)]}

    spec = Spec(shape=tuple(real.shape[1:]))
    trainer = Trainer(recipe, spec, source, batch_size=BATCH, steps=steps, seed=0, dtype=torch.float64)
    found: dict[str, list[float]] = {f"{player}/loss": [] for player in recipe.players}
    for _ in range(steps):
        terms = trainer.play()
        for name, values in found.items():
            values.append(terms[name].item())
    return found


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, recipe in recipes().items():
        path = FOLDER / f"{name}.json"
        path.write_text(json.dumps(losses(recipe, samples()), indent=1) + "\n")
        print(path)


if __name__ == "__main__":
    main()
