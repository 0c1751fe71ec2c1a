"""The vocabulary: a GAN is a game of players over networks, and this page is all that a family needs to state one.

A family returns a `Recipe`. Its losses are pure functions of `nets` (all that persists) and `batch` (all that varies);
the trainer owns every gradient, optimiser step, average, random stream and device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Batch = Mapping[str, Tensor]
"""Named tensors that vary: reals, labels (one-hot), noise, `t` (progress, 0 to 1), `images` (samples seen so far)."""

Terms = Mapping[str, Tensor]
"""Named scalars. They are summed and lowered; one whose name starts with `_` is detached and only logged."""

Draw = Callable[..., Tensor]
"""`draw(*shape)`: numbers uniform in [0, 1), of shape (N, *shape), the same for a sample on any number of ranks."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What one sample is, from the dataset: `shape` without the batch, closed `range` of its values or None.

    `classes` counts the labels, 0 where there are none. `modality` says how a person looks at samples: "image"
    (C, H, W), "points" (coordinates), anything else is saved as an array.
    """

    shape: tuple[int, ...]
    range: tuple[float, float] | None = (-1.0, 1.0)
    classes: int = 0
    dtype: str = "float32"
    modality: str = "image"


class Nets(nn.ModuleDict):
    """All that persists, by name: `nets.G` is `nets["G"]`. State other than weights lives in buffers of its modules.

    Float buffers of a module with the attribute `shared = True` are averaged over ranks with each of its gradients.
    """

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(name)


Loss = Callable[[Nets, Batch], Terms]
Schedule = Callable[[Nets, Batch], Tensor | float]
MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Every:
    """`loss` at steps 0, interval, 2 interval, ...; `otherwise` at the rest (lazy regularisation)."""

    interval: int
    loss: Play
    otherwise: Play

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise ValueError(f"Every needs an interval of at least 1, not {self.interval}")

    def at(self, step: int) -> Play:
        return self.otherwise if step % self.interval else self.loss


@dataclass(frozen=True)
class Until:
    """`loss` during the first `steps` steps, `then` afterwards (pre-training, stages)."""

    steps: int
    loss: Play
    then: Play

    def at(self, step: int) -> Play:
        return self.loss if step < self.steps else self.then


Play = Loss | Every | Until | None
"""What a player does in a turn. Choices nest; None sits the turn out."""


def play_at(play: Play, step: int) -> Loss | None:
    """The loss that a play comes down to at this step."""
    while isinstance(play, Every | Until):
        play = play.at(step)
    return play


def all_losses(play: Play) -> list[Loss]:
    """Return every loss that a play can select at some step."""
    if isinstance(play, Every):
        return all_losses(play.loss) + all_losses(play.otherwise)
    if isinstance(play, Until):
        return all_losses(play.loss) + all_losses(play.then)
    return [] if play is None else [play]


@dataclass(frozen=True, kw_only=True)
class Player:
    """Lowers `loss` by the weights of the networks it `controls`, `turns` times a step.

    `lr` replaces the optimiser's: a number, or a schedule that is asked before each of its updates.
    """

    controls: tuple[str, ...]
    loss: Play
    optimizer: MakeOptimizer
    turns: int = 1
    lr: float | Schedule | None = None


def _no_noise(batch: Batch) -> Mapping[str, Tensor]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole game, and the settings it is played with by default.

    networks   builds all networks for a kind of sample, in float32 on the CPU
    players    in order of play
    draw       all noise of a batch: z, codes, one uniform `u` per sample. It sees the shapes of the whole batch of all
               ranks (the values are placeholders), may use torch's global generator, and depends on nothing else
    generate   {"fake": ..., and what belongs to it}; keyword-only parameters are options of `zoo sample`
    generators the networks that `generate` uses
    inputs     real entries that `generate` reads
    imitates   the entry that fakes are compared with
    ema        network -> decay of the EMA of its weights; a number d means min(d, (1 + n) / (10 + n)) at step n, a
               schedule (nets, batch) is used unchanged
    frozen     pretrained helpers, built once, never trained and never saved
    """

    networks: Callable[[Spec], Mapping[str, nn.Module]]
    players: Mapping[str, Player]
    generate: Callable[..., Mapping[str, Tensor]]
    draw: Callable[[Batch], Mapping[str, Tensor]] = _no_noise
    generators: tuple[str, ...] = ("G",)
    inputs: tuple[str, ...] = ()
    imitates: str = "real"
    ema: Mapping[str, float | Schedule] = field(default_factory=dict)
    frozen: Mapping[str, Callable[[], nn.Module]] = field(default_factory=dict)
    dataset: str = "digits"
    batch_size: int = 64
    steps: int | None = None
    images: int | None = None

    def __post_init__(self) -> None:
        if not self.players:
            raise ValueError("a recipe needs at least one player")
        if (self.steps is None) == (self.images is None):
            raise ValueError("a recipe states either steps or images, as its default length")
        for name, player in self.players.items():
            if player.turns < 1:
                raise ValueError(f"player {name} needs at least one turn, not {player.turns}")
            if not player.controls:
                raise ValueError(f"player {name} controls no network")

    @property
    def rounds(self) -> int:
        """Batches a step: the largest number of turns. A player with n turns plays on the last n batches."""
        return max(player.turns for player in self.players.values())


@dataclass(frozen=True, kw_only=True)
class Samples:
    """One split of a dataset, decoded once; a batch is an index.

    fields       name -> (N, ...) tensor of any dtype, as stored: images as uint8 (N, C, H, W), labels as int64 (N,)
    decode       (rows of the fields, draw) -> batch, on the device that the rows are on
    spec         of the entry that fakes imitate
    classes      their names, in the order of the labels; `frequencies` their shares in this split
    groups       fields that are drawn together; unpaired domains are groups of their own
    digest       of the fields' content
    extractor    the feature extractor that judges this data by default, where there is a fitting one
    resize       how the samples came to their size, for the protocol of metrics
    skipped      files that could not be read and were left out, as was asked for
    """

    name: str
    split: str
    spec: Spec
    fields: Mapping[str, Tensor]
    decode: Callable[[Mapping[str, Tensor], Draw], Batch]
    digest: str
    groups: tuple[tuple[str, ...], ...] = (("real", "label"),)
    classes: tuple[str, ...] = ()
    frequencies: tuple[float, ...] = ()
    extractor: str = ""
    resize: str = "none"
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.fields[self.groups[0][0]])


class Adversarial(NamedTuple):
    """A loss between critic and generator, as two pure functions of logits (N, ...), each to a scalar.

    `discriminator(real_logits, fake_logits)` and `generator(fake_logits, real_logits)`; the latter receives None in
    place of the reals unless `needs_real`.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor | None], Tensor]
    needs_real: bool = False


class Noisy(nn.Module):
    """A penalty or an augmentation with noise of its own, which `forward` gets as its last argument.

    The noise arrives in the batch, so that it does not depend on the engine or the number of ranks; reals and fakes of
    a batch share it.
    """

    def __init__(self) -> None:
        super().__init__()  # nn.Module's own takes anything, which cannot be read as options

    def draw(self, real: Tensor) -> Tensor:
        """The noise of a whole batch, (N, ...) in float32; `real` (N, ...) shows its shape, and no values."""
        raise NotImplementedError


class Penalty(NamedTuple):
    """A term of the critic: `weight` times its value; with `every` = n at every n-th step, then n times heavier.

    `make` builds the term, `(critic, batch) -> scalar`: a function, or a module whose buffers join the networks. One
    that is `Noisy` is called with its noise, too. A weight may follow a schedule.
    """

    make: Callable[[], Callable[..., Tensor]]
    weight: float | Schedule = 1.0
    every: int = 1
    name: str = "penalty"


# --- optimisers -------------------------------------------------------------------------------------------------------


def adam(
    lr: float, beta1: float = 0.9, beta2: float = 0.999, *, eps: float = 1e-8, weight_decay: float = 0.0
) -> MakeOptimizer:
    """Fused Adam; with `weight_decay` the decoupled one (AdamW). The rate is a tensor that schedules can move.

    On CUDA the fused kernel reads it as float32; elsewhere it is exact, so that float64 differs from nobody's.
    """
    kind = torch.optim.AdamW if weight_decay else torch.optim.Adam

    def make(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        device = parameters[0].device
        rate = torch.tensor(lr, dtype=torch.float32 if device.type == "cuda" else torch.float64, device=device)
        return kind(parameters, lr=rate, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, fused=True)

    return make


def rmsprop(lr: float, alpha: float = 0.99, *, eps: float = 1e-8) -> MakeOptimizer:
    """RMSprop, as WGAN with clipping wants it."""

    def make(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(parameters, lr=lr, alpha=alpha, eps=eps)

    return make


def clipped(optimizer: MakeOptimizer, bound: float) -> MakeOptimizer:
    """After each of its steps, every weight is clamped to [-bound, bound] (Arjovsky et al., 2017, algorithm 1)."""

    def make(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        made = optimizer(parameters)

        def clip(*_: Any) -> None:
            with torch.no_grad():
                for parameter in parameters:
                    parameter.clamp_(-bound, bound)

        made.register_step_post_hook(clip)
        return made

    return make


# --- schedules of progress --------------------------------------------------------------------------------------------


def linear(start: float, stop: float) -> Schedule:
    """From `start` at the first step to `stop` at the end, in a straight line."""
    return lambda nets, batch: start + (stop - start) * batch["t"]


def cosine(start: float, stop: float) -> Schedule:
    """From `start` to `stop` along half a cosine."""
    return lambda nets, batch: stop + (start - stop) * 0.5 * (1 + torch.cos(math.pi * batch["t"]))


def count_parameters(net: nn.Module) -> int:
    """The number of weights of a network."""
    return sum(weight.numel() for weight in net.parameters())
