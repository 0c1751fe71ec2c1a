"""The bare loop: a recipe's own losses and networks with nothing around them, as one would write it by hand for speed.

It has no ranks, seeds of batches, resume, checks or options: indices into images in memory, fakes shared by the two
players, gradients by each player's weights alone, fused Adam, rates and averages as the recipe has them, in place.
What the engine costs is its distance from this. The mathematics is the recipe's, since the losses are; noise and order
of the data are other numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.game import Nets, Recipe, Samples, play_at


class Bare:
    """Every call of `step` plays a recipe of two players, the critic and then the maker, once through."""

    def __init__(
        self, recipe: Recipe, samples: Samples, *, batch_size: int, device: torch.device, precision: str, seed: int = 0
    ) -> None:
        torch.manual_seed(seed)
        self.recipe, self.batch_size, self.device, self.played = recipe, batch_size, device, 0
        self.nets = Nets(recipe.networks(samples.spec)).to(device, memory_format=torch.channels_last).train()
        self.ema = Nets(recipe.networks(samples.spec)).to(device, memory_format=torch.channels_last).eval()
        self.ema.load_state_dict(self.nets.state_dict())
        self.params = {
            name: [w for net in player.controls for w in self.nets[net].parameters()]
            for name, player in recipe.players.items()
        }
        self.optimizers = {name: player.optimizer(self.params[name]) for name, player in recipe.players.items()}
        self.fields = {name: field.to(device) for name, field in samples.fields.items()}
        self.decode = samples.decode
        self.low = precision == "bf16"
        if self.low:  # losses and penalties are float32, as the engine's are
            for net in self.nets.values():
                net.register_forward_hook(lambda net, given, made: made.float())
        self.steps = recipe.steps or recipe.images // (batch_size * recipe.rounds)

    def step(self) -> None:
        recipe, made = self.recipe, {}
        batches = [self.batch() for _ in range(recipe.rounds)]
        for name, player in recipe.players.items():
            loss = play_at(player.loss, self.played)
            if loss is None:
                continue
            makes = not set(player.controls).isdisjoint(recipe.generators)
            self.set_rate(self.optimizers[name], player.lr, batches[-1])
            for number in range(recipe.rounds - player.turns, recipe.rounds):
                with self.precision():
                    if number not in made:
                        # The last fakes keep their graph for the maker.
                        with torch.set_grad_enabled(number == recipe.rounds - 1):
                            made[number] = dict(recipe.generate(self.nets, batches[number]))
                    fakes = made[number] if makes else {key: value.detach() for key, value in made[number].items()}
                    terms = loss(self.nets, {**batches[number], **fakes})
                total = sum(term for key, term in terms.items() if not key.startswith("_"))
                found = torch.autograd.grad(total, self.params[name], allow_unused=True)
                for weight, gradient in zip(self.params[name], found, strict=True):
                    if gradient is not None and gradient.stride() != weight.stride():
                        gradient = torch.empty_like(weight).copy_(gradient)
                    weight.grad = gradient
                self.optimizers[name].step()
        self.move_average()
        self.played += 1

    def precision(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16) if self.low else nullcontext()

    def batch(self) -> Mapping[str, Tensor]:
        rows = torch.randint(len(self.fields["real"]), (self.batch_size,), device=self.device)
        batch = dict(self.decode({name: field[rows] for name, field in self.fields.items()}, self.uniform))
        if batch["real"].ndim == 4:
            batch["real"] = batch["real"].contiguous(memory_format=torch.channels_last)
        with torch.device(self.device):
            noise = self.recipe.draw(batch)
        t = torch.full((), self.played / self.steps, device=self.device)
        return {**batch, **noise, "t": t, "images": t}

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(self.batch_size, *shape, device=self.device)

    @torch.no_grad()
    def move_average(self) -> None:
        for name, decay in self.recipe.ema.items():
            d = min(decay, (1 + self.played) / (10 + self.played)) if isinstance(decay, float) else 0.999
            mine, theirs = self.ema[name], self.nets[name]
            torch._foreach_lerp_(list(mine.parameters()), list(theirs.parameters()), 1 - d)
            for mean, value in zip(mine.buffers(), theirs.buffers(), strict=True):
                if mean.is_floating_point():
                    mean.lerp_(value, 1 - d)
                else:
                    mean.copy_(value)

    def set_rate(self, optimizer: torch.optim.Optimizer, rate: Any, batch: Mapping[str, Tensor]) -> None:
        if rate is not None:
            for group in optimizer.param_groups:
                group["lr"] = rate(self.nets, batch) if callable(rate) else rate
