"""The vocabulary of a GAN family: networks, players with losses, and the recipe that holds them.

A family returns a `Recipe`. Its losses are pure functions of `nets` (everything that persists) and `batch` (everything
that varies); the trainer owns gradients, optimizer steps, EMA weights, random streams and devices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn

from aigc_zoo.optimizers import adam, clipped, cosine, linear, rmsprop
from aigc_zoo.plays import (
    Batch,
    Every,
    Loss,
    MakeOptimizer,
    Nets,
    Play,
    Schedule,
    Terms,
    Until,
    all_losses,
    changed,
    play_at,
    plus,
)

__all__ = [
    "Adversarial",
    "Batch",
    "Draw",
    "Every",
    "Loss",
    "MakeOptimizer",
    "Nets",
    "Noisy",
    "Penalty",
    "Play",
    "Player",
    "Recipe",
    "Samples",
    "Schedule",
    "Spec",
    "Terms",
    "Until",
    "adam",
    "all_losses",
    "changed",
    "clipped",
    "cosine",
    "count_parameters",
    "linear",
    "play_at",
    "plus",
    "rmsprop",
]

Draw = Callable[..., Tensor]
"""`draw(*shape)` returns uniform numbers in [0, 1) of shape (N, *shape), independent of the number of ranks."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One sample of a dataset.

    shape     without the batch dimension
    range     closed interval of its values, or None
    classes   number of labels, 0 for none
    dtype     name of the torch dtype
    modality  id of the component that reads, previews and writes such samples: "image" is (C, H, W), "points" (2,),
              "audio" (1, T), "video" (C, T, H, W), "text" (L,), "array" anything else
    entries   the other entries of a sample by name, such as the source of a translation
    rate      of sound in Hz, of clips in frames per second; 0 for none
    symbols   the text of token i; empty for none
    extra     what only the modality understands, as JSON values
    """

    shape: tuple[int, ...]
    range: tuple[float, float] | None = (-1.0, 1.0)
    classes: int = 0
    dtype: str = "float32"
    modality: str = "image"
    entries: Mapping[str, Spec] = field(default_factory=dict)
    rate: float = 0.0
    symbols: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Player:
    """Minimizes `loss` with respect to the weights of the networks it `controls`.

    controls   names of networks
    loss       a loss, or a choice of losses by step
    optimizer  builds the optimizer from the list of weights
    turns      updates per training step
    lr         a number, or a schedule evaluated before each update, which replaces the optimizer's learning rate
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
    """A GAN as data: networks, players and sampling.

    networks   builds all networks for a `Spec`, in float32 on the CPU
    players    in the order of their updates
    draw       all noise of a batch: z, codes, one uniform `u` per sample. It gets the shapes of the global batch (the
               values are placeholders), may use torch's global generator, and depends on nothing else
    generate   {"fake": ..., and what belongs to it}; keyword-only parameters are options of `zoo sample`
    generators the networks that `generate` uses, frozen ones among them
    inputs     real entries that `generate` reads
    imitates   the entry that fakes are compared with
    paired     rows of all entries belong together; False for two domains without pairs
    ema        network -> decay of the EMA of its weights; a number d means min(d, (1 + n) / (10 + n)) at step n, a
               schedule (nets, batch) is used unchanged
    frozen     pretrained networks of losses or of `generate`, by the functions that build them, such as an extractor
               in a `Slot("extractor")`: in evaluation mode, never trained, without EMA and never saved; the card has
               their digests, and a run resumes with equal ones
    multiple   networks generate samples of other sizes than they were trained on, with sides that are multiples of
               this; 0 if they do not
    dataset, batch_size, steps or images    defaults where the component's `defaults` state none

    Raises ValueError without players, for a player without turns or networks, for both steps and images, and for a
    field of another type.
    """

    networks: Callable[[Spec], Mapping[str, nn.Module]]
    players: Mapping[str, Player]
    generate: Callable[..., Mapping[str, Tensor]]
    draw: Callable[[Batch], Mapping[str, Tensor]] = _no_noise
    generators: tuple[str, ...] = ("G",)
    inputs: tuple[str, ...] = ()
    imitates: str = "real"
    paired: bool = True
    ema: Mapping[str, float | Schedule] = field(default_factory=dict)
    frozen: Mapping[str, Callable[[], nn.Module]] = field(default_factory=dict)
    multiple: int = 0
    dataset: str = "digits"
    batch_size: int = 64
    steps: int | None = None
    images: int | None = None

    def __post_init__(self) -> None:
        for name in ("networks", "generate", "draw"):
            if not callable(getattr(self, name)):
                raise ValueError(f"{name} must be a function, not {getattr(self, name)!r:.60}")
        for name, words in (("generators", self.generators), ("inputs", self.inputs)):
            if not isinstance(words, tuple) or not all(isinstance(word, str) for word in words):
                raise ValueError(f"{name} must be a tuple of names, not {words!r:.60}")
        for name, text in (("dataset", self.dataset), ("imitates", self.imitates)):
            if not isinstance(text, str):
                raise ValueError(f"{name} must be a name, not {text!r:.60}")
        if not self.generators:
            raise ValueError("a recipe needs at least one network in generators")
        if not isinstance(self.players, Mapping) or not all(isinstance(one, Player) for one in self.players.values()):
            raise ValueError(f"players must be a dict of Player by name, not {self.players!r:.60}")
        if not self.players:
            raise ValueError("a recipe needs at least one player")
        if self.steps is not None and self.images is not None:
            raise ValueError("a recipe states either steps or images as its default length, not both")
        for name, player in self.players.items():
            if player.turns < 1:
                raise ValueError(f"player {name} needs at least one turn, not {player.turns}")
            if not player.controls:
                raise ValueError(f"player {name} controls no network")

    @property
    def rounds(self) -> int:
        """Batches per training step: the largest number of turns. A player with n turns uses the last n batches."""
        return max(player.turns for player in self.players.values())


@dataclass(frozen=True, kw_only=True)
class Samples:
    """One split of a dataset in memory; a batch is an index into it.

    fields       name -> (N, ...) tensor of any dtype, as stored: images as uint8 (N, C, H, W), labels as int64 (N,)
    decode       (rows of the fields, draw) -> batch, on the device of the rows
    quantize     samples of a model (N, *spec.shape) -> with the precision of files, as metrics compare them; by default
                 as the modality does it
    spec         of the entry that fakes imitate
    classes      class names in the order of the labels; `frequencies` are their fractions in this split
    groups       fields whose rows belong together; unpaired domains are groups of their own
    digest       of the fields' content
    extractor    default feature extractor for the metrics of this data, "" for none
    resize       how the samples were resized, for the protocol of metrics
    skipped      unreadable files that --skip-bad left out
    notes        sentences for the user on files that were not read, and on labels that were not found
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
    notes: tuple[str, ...] = ()
    quantize: Callable[[Tensor], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.fields[self.groups[0][0]])


class Adversarial(NamedTuple):
    """An adversarial loss: two pure functions of logits (N, ...), each to a scalar.

    `discriminator(real_logits, fake_logits)` and `generator(fake_logits, real_logits)`; the latter receives None in
    place of the reals unless `needs_real`.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor | None], Tensor]
    needs_real: bool = False


class Noisy(nn.Module):
    """A penalty or augmentation with noise of its own, which `forward` gets as its last argument.

    The noise is part of the batch, so it depends neither on the engine nor on the number of ranks; reals and fakes of a
    batch share it.
    """

    def __init__(self) -> None:
        super().__init__()  # a signature without *args: options are read from it

    def draw(self, real: Tensor) -> Tensor:
        """The noise of a batch, (N, ...) in float32; only the shape of `real` (N, ...) is meaningful."""
        raise NotImplementedError


class Penalty(NamedTuple):
    """A penalty term of the discriminator's loss.

    make    builds the term, `(discriminator, batch) -> scalar`: a function, or a module whose buffers join the
            networks; a `Noisy` one gets its noise as a third argument
    weight  factor of the term, a number or a schedule
    every   n adds n times the term at every n-th step (lazy regularization)
    name    key of the term in logs
    """

    make: Callable[[], Callable[..., Tensor]]
    weight: float | Schedule = 1.0
    every: int = 1
    name: str = "penalty"


def count_parameters(net: nn.Module) -> int:
    """The number of weights of a network."""
    return sum(weight.numel() for weight in net.parameters())
