"""Golden losses: twenty steps of a recipe in float64 on eight fixed images. Run as a script, it writes them anew."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from tiny import RECIPES, small
from torch import Tensor

from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Recipe, Spec

FOLDER = Path(__file__).parent.parent / "golden"
STEPS, BATCH = 20, 4
NAMES = (*(name for name in RECIPES if name != "gan"), "vanilla-minimax")


def recipe(name: str) -> Recipe:
    """A recipe with networks of width 4 and z of 8, and without dropout, whose noise is the network's own."""
    if name == "vanilla-minimax":
        return small("vanilla", loss="minimax")
    # At 1e-3 residual discriminators win within 20 steps, and losses of 1e-22 have no digits to compare.
    return small(name) if name in ("dcgan", "gan", "primer", "vanilla") else small(name, lr=1e-4)


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
        terms = trainer.train_step()
        for name, values in found.items():
            values.append(terms[name].item())
    return found


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in NAMES:
        path = FOLDER / f"{name}.json"
        path.write_text(json.dumps(losses(recipe(name), samples()), indent=1) + "\n")
        print(path)


if __name__ == "__main__":
    main()
