"""The bare loop: a recipe's losses and networks in a training loop as one would write it by hand for speed.

It has no ranks, seeded batches, resume, checks or options: only indices into images in memory, fakes shared by both
players, gradients by each player's weights alone, fused Adam, and the recipe's learning rates and EMA, in place. The
overhead of the engine is measured against it. The mathematics is that of the recipe; noise and data order differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.game import Nets, Recipe, Samples, play_at


class Bare:
    """Bare training loop of a two-player recipe; each call of `step` is a train step of discriminator and generator."""

    def __init__(
        self,
        recipe: Recipe,
        samples: Samples,
        *,
        steps: int,
        batch_size: int,
        device: torch.device,
        precision: str,
        seed: int = 0,
    ) -> None:
        torch.manual_seed(seed)
        self.recipe, self.batch_size, self.device, self.steps_done = recipe, batch_size, device, 0
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
        self.bf16 = precision == "bf16"
        if self.bf16:  # losses and penalties are float32, as in the engine
            for net in self.nets.values():
                net.register_forward_hook(lambda net, inputs, output: output.float())
        self.steps = steps  # of the whole training, which schedules refer to

    def step(self) -> None:
        recipe, fakes = self.recipe, {}
        batches = [self.batch() for _ in range(recipe.rounds)]
        for name, player in recipe.players.items():
            loss = play_at(player.loss, self.steps_done)
            if loss is None:
                continue
            generates = not set(player.controls).isdisjoint(recipe.generators)
            self.set_lr(self.optimizers[name], player.lr, batches[-1])
            for number in range(recipe.rounds - player.turns, recipe.rounds):
                with self.precision():
                    if number not in fakes:
                        # The last fakes keep their graph for the generator.
                        with torch.set_grad_enabled(number == recipe.rounds - 1):
                            fakes[number] = dict(recipe.generate(self.nets, batches[number]))
                    own = fakes[number]
                    own = own if generates else {key: value.detach() for key, value in own.items()}
                    terms = loss(self.nets, {**batches[number], **own})
                total = sum(term for key, term in terms.items() if not key.startswith("_"))
                gradients = torch.autograd.grad(total, self.params[name], allow_unused=True)
                for weight, gradient in zip(self.params[name], gradients, strict=True):
                    if gradient is not None and gradient.stride() != weight.stride():
                        gradient = torch.empty_like(weight).copy_(gradient)
                    weight.grad = gradient
                self.optimizers[name].step()
        self.update_ema()
        self.steps_done += 1

    def precision(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def batch(self) -> Mapping[str, Tensor]:
        rows = torch.randint(len(self.fields["real"]), (self.batch_size,), device=self.device)
        batch = dict(self.decode({name: field[rows] for name, field in self.fields.items()}, self.uniform))
        for name, value in batch.items():
            if value.ndim == 4:
                batch[name] = value.to(memory_format=torch.channels_last)
        with torch.device(self.device):
            noise = self.recipe.draw(batch)
        t = torch.full((), self.steps_done / self.steps, device=self.device)
        return {**batch, **noise, "t": t, "images": t}

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(self.batch_size, *shape, device=self.device)

    @torch.no_grad()
    def update_ema(self) -> None:
        for network, decay in self.recipe.ema.items():
            d = min(decay, (1 + self.steps_done) / (10 + self.steps_done)) if isinstance(decay, float) else 0.999
            ema, net = self.ema[network], self.nets[network]
            torch._foreach_lerp_(list(ema.parameters()), list(net.parameters()), 1 - d)
            for (name, mean), value in zip(ema.named_buffers(), net.buffers(), strict=True):
                if name.endswith(("running_mean", "running_var")):
                    mean.lerp_(value, 1 - d)
                else:
                    mean.copy_(value)

    def set_lr(self, optimizer: torch.optim.Optimizer, lr: Any, batch: Mapping[str, Tensor]) -> None:
        if lr is not None:
            for group in optimizer.param_groups:
                group["lr"] = lr(self.nets, batch) if callable(lr) else lr
