"""The one trainer: it plays a recipe step by step and owns all that changes. It knows no GAN and no modality."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from aigc_zoo.engine import fast, state
from aigc_zoo.engine.ema import Follower
from aigc_zoo.engine.guard import guard_for
from aigc_zoo.engine.norm import synchronise
from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.engine.sampler import Sampler
from aigc_zoo.engine.turn import Round, losses_of, split, turn
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Batch, Loss, Nets, Recipe, Spec, play_at
from aigc_zoo.random import reseed, seeded, untouched

FEW = 8
"""Rows on which a loss is tried; some compare samples in groups of four."""

Source = Callable[[int], Mapping[str, Tensor]]
"""The n-th batch of real entries since the start, this rank's rows of it, on the device."""


class Trainer:
    """Plays `recipe` on batches from `source`.

    Networks are built on the CPU from one seed, the same on every rank. `batch_size` counts the samples of all ranks
    together; `source(n)` gives this rank's share. `dtype` is that of weights and batches: noise is drawn and networks
    are initialised in float32 and then cast, so that float64 sees the same numbers. `steps` is the length of the whole
    run, which the progress `t` refers to. `accumulate` parts of a batch are played one after the other, for batches
    that do not fit; the gradients are those of the whole where losses are means over samples. `precision` and `engine`
    are those of `fast.py`.
    """

    def __init__(
        self,
        recipe: Recipe,
        spec: Spec,
        source: Source,
        *,
        batch_size: int,
        steps: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        ranks: Ranks | None = None,
        accumulate: int = 1,
        sync_batch_norm: bool = False,
        precision: str = "fp32",
        engine: fast.Choice = fast.EAGER,
    ) -> None:
        self.recipe, self.spec, self.source = recipe, spec, source
        self.batch_size, self.steps, self.seed = batch_size, steps, seed
        self.device, self.dtype, self.ranks = torch.device(device), dtype, ranks or Ranks()
        self.step, self.accumulate = 0, accumulate
        self._real: tuple[str, ...] = ()
        self.share = self.ranks.shard(batch_size)
        if (batch_size // self.ranks.world) % accumulate:
            raise ValueError(f"a rank's {batch_size // self.ranks.world} samples do not make {accumulate} equal parts")
        self.nets = build_networks(recipe, spec, seed).to(self.device, dtype)
        with seeded(torch.device("cpu"), seed, "frozen"):
            self.frozen = {name: make().to(self.device, dtype) for name, make in recipe.frozen.items()}
        if sync_batch_norm and self.ranks.world > 1:
            synchronise(self.nets)
        self._check()
        self._lay = fast.to_channels_last if dtype == torch.float32 else _as_it_is  # no fast kernels for float64
        self._tried = self._lay is _as_it_is
        self.notes: list[str] = []
        """What a person might want to know of the way it plays."""
        fast.convert_memory_format(self.nets, self._lay)
        self.guard = guard_for(self.device)(tuple(recipe.players), self.nets, self.device, self.ranks.world)
        self.ema = Nets({name: copy.deepcopy(self.nets[name]) for name in recipe.ema})
        self.ema.requires_grad_(False).eval()
        self._followers = {name: Follower(mean, self.nets[name]) for name, mean in self.ema.items()}
        for name, helper in self.frozen.items():
            self.nets[name] = helper.requires_grad_(False)
        self.nets.train()
        for helper in self.frozen.values():
            helper.eval()
        self._params = {
            name: [weight for net in player.controls for weight in _trained(self.nets[net])]
            for name, player in recipe.players.items()
        }
        self._makes = {
            name: not set(player.controls).isdisjoint(recipe.generators) for name, player in recipe.players.items()
        }
        self._optimizers = {name: player.optimizer(self._params[name]) for name, player in recipe.players.items()}
        for optimizer in self._optimizers.values():
            fast.tune(optimizer, self.device)
            self.guard.attach(optimizer)
        self._autocast = fast.Autocast(self.device, self.nets.values()) if precision == "bf16" else nullcontext()
        self._sharing = [module for module in self.nets.modules() if getattr(module, "shared", False)]
        self.engine = fast.Engine(
            engine, self.device, self._optimizers.values(), (self.nets, self.ema), world=self.ranks.world
        )

    def _check(self) -> None:
        for name, player in self.recipe.players.items():
            for net in player.controls:
                if net not in self.nets:
                    raise ConfigError(f"player {name} controls {net}, but the networks are {', '.join(self.nets)}")
            if not any(_trained(self.nets[net]) for net in player.controls):
                raise ConfigError(f"player {name} controls no weights: {', '.join(player.controls)} have none")
        for role, names in (("generators", self.recipe.generators), ("ema", tuple(self.recipe.ema))):
            for net in names:
                if net not in self.nets:
                    raise ConfigError(f"the recipe's {role} name {net}, but the networks are {', '.join(self.nets)}")

    @property
    def images(self) -> int:
        """Samples seen so far, over all ranks: what the field counts in kimg."""
        return self.step * self.batch_size * self.recipe.rounds

    @property
    def progress(self) -> float:
        """`t`: the share of the run that is done."""
        return min(1.0, self.step / self.steps)

    def train_step(self) -> Mapping[str, Tensor]:
        """One step: every player's turns, then the averages. Returns the last terms, as "player/term", unread.

        Whatever comes from the host, noise and seeds among it, is settled here; `_turns` is work for the device alone,
        which a graph can repeat.
        """
        if not self._tried:
            self._try_layout()
        losses = tuple(play_at(player.loss, self.step) for player in self.recipe.players.values())
        with untouched(self.device):
            batches = [self.batch(i) for i in range(self.recipe.rounds)]
            reseed(self.seed, self.step, "turn", self.ranks.rank)
            terms = self.engine.run_step(losses, [*batches, self._clock()], lambda given: self._turns(losses, given))
        self.step += 1
        return terms

    def _try_layout(self) -> None:
        """Takes the plain layout where a network or a loss calls `view`, which works in no other.

        Each loss looks at a few rows beforehand, on copies: a step that fails half-way would have changed something,
        and a lazy loss may come late. So the layout is a function of the recipe, and a run that continues has the same.
        """
        self._tried, rows = True, self.batch_size // self.ranks.world
        nets = copy.deepcopy(self.nets)
        with seeded(self.device, self.seed, "layout"):
            few = {key: value[:FEW] if value.shape[:1] == (rows,) else value for key, value in self.batch(0).items()}
            for loss in {loss for player in self.recipe.players.values() for loss in losses_of(player.loss)}:
                try:
                    loss(nets, Round(few, lambda batch: self.recipe.generate(nets, batch), keep=True).seen(True, 0))
                except RuntimeError as error:
                    if fast.is_view_error(error):
                        self.notes.append(
                            "layout: plain, as a network or a loss calls view; reshape or flatten would be faster"
                        )
                        self._lay_plainly()
                        return
                except Exception:
                    return  # which the step is going to meet, and to tell

    def _lay_plainly(self) -> None:
        self._lay = _as_it_is
        for net in (self.nets, self.ema):
            fast.convert_memory_format(net, Tensor.contiguous)
        for optimizer in self._optimizers.values():
            state.align(optimizer)

    def _clock(self) -> dict[str, Tensor]:
        """What counts steps: the step itself, and the decays that follow from it, filled on the device."""
        decays = {
            name: torch.full((), min(decay, (1 + self.step) / (10 + self.step)), dtype=self.dtype, device=self.device)
            for name, decay in self.recipe.ema.items()
            if not callable(decay)
        }
        return {"step": torch.full((), self.step, dtype=torch.int64, device=self.device), **decays}

    def _turns(self, losses: Sequence[Loss | None], given: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The step on its batches and clock: nothing in it waits for the device."""
        *batches, clock = given
        terms: dict[str, Tensor] = {}
        rounds, version = self._rounds(losses, batches), 0
        last = max((number for number, loss in enumerate(losses) if loss is not None), default=0)
        for number, ((name, player), loss) in enumerate(zip(self.recipe.players.items(), losses, strict=True)):
            if loss is None:
                continue
            makes, optimizer, params = self._makes[name], self._optimizers[name], self._params[name]
            for parts in rounds[len(rounds) - player.turns :]:
                seen = [part.seen(makes, version) for part in parts]
                if player.lr is not None:
                    fast.set_lr(optimizer, player.lr(self.nets, seen[0]) if callable(player.lr) else player.lr)
                entries = [(key, part.entries[key]) for part in parts for key in self._real]
                ends = number == last and parts is rounds[-1]
                guard = self.guard.begin(number, clock["step"], params, entries, ends)
                try:
                    with self._autocast:
                        found = turn(loss, self.nets, seen, params, optimizer, self.ranks, guard, self._shared)
                except ValueError as error:
                    raise ConfigError(f"player {name}, step {self.step}: {error}") from error
                version += makes
            terms |= {f"{name}/{term}": value for term, value in found.items()}
        self._average(batches[-1], clock)
        return terms

    def _rounds(self, losses: Sequence[Loss | None], batches: Sequence[Batch]) -> list[list[Round]]:
        """The batches of this step in their parts. The graph of the fakes is kept where the first player to need it is
        to look; those of several parts are not, as they would take the memory that parts are to save."""
        count = self.recipe.rounds
        needs = [
            count - player.turns
            for (name, player), loss in zip(self.recipe.players.items(), losses, strict=True)
            if loss is not None and self._makes[name]
        ]
        keeps = needs[:1] if self.accumulate == 1 else []
        rows = self.batch_size // self.ranks.world
        return [
            [Round(part, self._make, keep=keeps == [i]) for part in split(batch, rows, self.accumulate)]
            for i, batch in enumerate(batches)
        ]

    def batch(self, i: int) -> dict[str, Tensor]:
        """The i-th batch of this step, this rank's rows: real entries, noise, `t` and `images`."""
        real = {key: self._cast(value) for key, value in self.source(self.step * self.recipe.rounds + i).items()}
        self._real = tuple(real)
        whole = {key: value[:1].expand(self.batch_size, *value.shape[1:]) for key, value in real.items()}
        with self._drawing():
            reseed(self.seed, self.step, i, "draw")
            noise = {
                key: self._cast(value[self.share] if value.shape[:1] == (self.batch_size,) else value)
                for key, value in self.recipe.draw(whole).items()
            }
        return real | noise | progress_entries(self.progress, self.images, self.device, self.dtype)

    def _drawing(self) -> AbstractContextManager[Any]:
        """Where noise is made: on this device, which costs a detour for every call unless it is the default anyway."""
        return nullcontext() if torch.get_default_device() == self.device else self.device

    def _shared(self) -> list[Tensor]:
        """The float buffers that all ranks have in common, looked up anew as a module may replace them."""
        return [
            buffer for module in self._sharing for buffer in module.buffers(recurse=False) if buffer.is_floating_point()
        ]

    def _make(self, batch: Batch) -> Mapping[str, Tensor]:
        return self.recipe.generate(self.nets, batch)

    def _cast(self, value: Tensor) -> Tensor:
        return self._lay(value.to(self.dtype) if value.is_floating_point() else value)

    @torch.no_grad()
    def _average(self, batch: Batch, clock: Mapping[str, Tensor]) -> None:
        if self.guard.closed:
            return
        for name, decay in self.recipe.ema.items():
            d = decay(self.nets, batch) if callable(decay) else clock[name]
            weight = 1 - (d.to(self.dtype) if isinstance(d, Tensor) else d)
            self._followers[name].follow(weight, self.guard.sound)

    def diverged(self) -> str | None:
        """What was found first that is not finite, and when; None while all is well. Waits for the device."""
        found = [int(first) for first in self.ranks.gather(self.guard.first)]
        # What is not finite on one rank stops the others as well: the least is the cause.
        return self.guard.said(min(one for one in found if one >= 0)) if max(found) >= 0 else None

    def sampler(self, *, ema: bool = True, together: bool = False, **keywords: Any) -> Sampler:
        """Copies of the generators, with EMA weights where there are any, to sample from while training goes on.

        `together`: every rank calls this and is to sample the same; otherwise a rank samples by itself.
        """
        generators = {
            name: copy.deepcopy(self.ema[name] if ema and name in self.ema else self.nets[name])
            for name in self.recipe.generators
        }
        nets = Nets(generators).requires_grad_(False)
        if together:  # statistics of normalisation differ between ranks; what is sampled must not
            self.ranks.copy_from_first(nets.buffers())
        nets.update(self.frozen)
        return Sampler(self.recipe, self.spec, nets, t=self.progress, images=self.images, **keywords)

    # --- what is saved: all that a step depends on but the data ------------------------------------------------------

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors by name, and the scalars beside them. Every rank must ask; that of rank 0 is the one to keep."""
        tensors = {f"nets/{key}": value for key, value in self._own().state_dict().items()}
        tensors |= {f"ema/{key}": value for key, value in self.ema.state_dict().items()}
        scalars: dict[str, Any] = {"step": self.step, "images": self.images, "optimizers": {}}
        for name, optimizer in self._optimizers.items():
            found, scalars["optimizers"][name] = state.flatten(optimizer.state_dict(), f"optimizer/{name}")
            tensors |= found
        tensors |= state.per_rank(self._buffers(), self.ranks)
        return tensors, scalars

    def load(self, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
        """Continues from `state()`: the next step equals that of the run it was taken from, bit for bit."""
        self.step = int(scalars["step"])
        self._own().load_state_dict(state.under("nets/", tensors))
        self.ema.load_state_dict(state.under("ema/", tensors))
        own = state.under(f"rank{self.ranks.rank}/", tensors)
        with torch.no_grad():
            for name, buffer in self._buffers().items():
                if name in own:
                    buffer.copy_(own[name])
        for name, optimizer in self._optimizers.items():
            saved = state.restore(scalars["optimizers"][name], tensors)
            optimizer.load_state_dict(state.like(optimizer.state_dict(), saved))
            state.align(optimizer)

    def initialise(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Starts from the weights of another run: networks whose names and shapes fit, averages likewise.

        Returns what was taken over; optimisers, step and all other state stay new.
        """
        given = state.under("nets/", tensors)
        taken = []
        for name, net in self._own().items():
            mine = state.under(f"{name}.", given)
            theirs = net.state_dict()
            if mine and mine.keys() == theirs.keys() and all(mine[k].shape == theirs[k].shape for k in mine):
                net.load_state_dict(mine)
                taken.append(name)
                if name in self.ema:
                    averaged = state.under(f"ema/{name}.", tensors)
                    self.ema[name].load_state_dict(averaged or mine)
        return taken

    def _own(self) -> Nets:
        """The networks but for the frozen helpers."""
        return Nets({name: net for name, net in self.nets.items() if name not in self.frozen})

    def _buffers(self) -> dict[str, Tensor]:
        nets = {f"nets/{name}": buffer for name, buffer in self._own().named_buffers()}
        return nets | {f"ema/{name}": buffer for name, buffer in self.ema.named_buffers()}


def build_networks(recipe: Recipe, spec: Spec, seed: int) -> Nets:
    """The recipe's networks, on the CPU in float32, as a function of the seed alone."""
    with seeded(torch.device("cpu"), seed, "networks"):
        try:
            return Nets(recipe.networks(spec))
        except ValueError as error:
            raise ConfigError(str(error)) from error


def progress_entries(t: float, images: int, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """`t` and `images` as the batch carries them: filled on the device, so that nothing waits."""
    return {
        "t": torch.full((), t, dtype=dtype, device=device),
        "images": torch.full((), float(images), dtype=dtype, device=device),
    }


def steps_for(recipe: Recipe, batch_size: int, steps: int | None, images: int | None) -> int:
    """The run's length in steps: what was asked for, in steps or in images, else the recipe's own."""
    if steps is None and images is None:
        steps, images = recipe.steps, recipe.images
    if steps is None:
        assert images is not None
        steps = math.ceil(images / (batch_size * recipe.rounds))
    return max(1, steps)


def _as_it_is(value: Tensor) -> Tensor:
    return value


def _trained(net: nn.Module) -> list[nn.Parameter]:
    """The weights that a player moves: a network may hold others that it wants left alone."""
    return [weight for weight in net.parameters() if weight.requires_grad]
