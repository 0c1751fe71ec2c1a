"""The trainer: runs a recipe step by step and owns everything that changes. It knows no GAN and no modality.

To follow one training step, read `Trainer.train_step` and `Trainer._run_turns` here, `turn` in turn.py, `StepBatch` in
batch.py, and the loss of the recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.engine import fast, state
from aigc_zoo.engine.batch import StepBatch, split_batch
from aigc_zoo.engine.ema import EmaUpdater
from aigc_zoo.engine.guard import guard_for
from aigc_zoo.engine.memory_format import NOTE, needs_contiguous
from aigc_zoo.engine.networks import build_networks, check_names, copied, float_buffers, place, trainable
from aigc_zoo.engine.norm import convert_sync_batch_norm
from aigc_zoo.engine.progress_watch import ProgressWatch
from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.engine.sampler import Sampler
from aigc_zoo.engine.turn import turn
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Batch, Loss, Nets, Recipe, Spec, play_at
from aigc_zoo.random import reseed, seeded, untouched

Source = Callable[[int], Mapping[str, Tensor]]
"""`source(n)`: the real entries of the n-th batch since step 0, the rows of this rank, on the device."""


class Trainer:
    """Trains the networks of a recipe on batches from `source`.

    One training step runs the turns of every player, in the order of `recipe.players`, and then updates the EMA. A turn
    computes the gradients of the player's loss with respect to that player's parameters only (`torch.autograd.grad`),
    averages them over the ranks in one flat all-reduce, and takes one fused optimizer step. A step draws as many
    batches as the largest number of turns; a player with n turns uses the last n, and all players share the fakes.

    batch_size       samples per batch over all ranks; `source` returns the shard of this rank
    steps            length of the whole run, which the progress `t` refers to
    seed             controls weights, noise and data order; initial weights are the same on every rank
    dtype            of weights and batches. Weights and noise are drawn in float32 and then cast, so that float64
                     trains on the same numbers
    accumulate       micro-batches per batch (gradient accumulation); the gradients are those of the whole batch if
                     losses are means over samples
    sync_batch_norm  batch normalization uses the statistics of all ranks
    precision        "fp32", or "bf16" for autocast inside networks
    engine           eager or CUDA graphs, see `fast.Engine`

    Raises ConfigError if the recipe names networks that it does not have or its networks refuse `spec`, ValueError if
    the batch does not divide into equal shards and micro-batches.
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
        self.notes: list[str] = []  # automatic decisions to tell the user about
        self.watch = ProgressWatch()
        self.shard = self.ranks.shard(batch_size)
        self._rows = batch_size // self.ranks.world
        if self._rows % accumulate:
            raise ValueError(f"a shard of {self._rows} samples does not divide into {accumulate} equal micro-batches")
        self._real_keys: tuple[str, ...] = ()
        self._build_networks(sync_batch_norm)
        self._build_optimizers()
        self._autocast = fast.Autocast(self.device, self.nets.values()) if precision == "bf16" else nullcontext()
        changed, optimizers = (self.nets, self.ema), self.optimizers.values()
        self.engine = fast.Engine(engine, self.device, optimizers, changed, world=self.ranks.world)

    def _build_networks(self, sync_batch_norm: bool) -> None:
        """Build the networks, their EMA and the frozen helpers."""
        recipe, world = self.recipe, self.ranks.world
        self.nets = build_networks(recipe, self.spec, self.seed)
        with seeded(torch.device("cpu"), self.seed, "frozen"):
            self.frozen = {name: build() for name, build in recipe.frozen.items()}
        for net in (self.nets, *self.frozen.values()):
            place(net, self.device, self.dtype)
        if sync_batch_norm and world > 1:
            convert_sync_batch_norm(self.nets)
        check_names(recipe, self.nets)
        self._convert = fast.to_channels_last if self.dtype == torch.float32 else fast.unchanged  # no gain in float64
        self.format_is_checked = self._convert is fast.unchanged
        fast.convert_memory_format(self.nets, self._convert)
        self.guard = guard_for(self.device)(tuple(recipe.players), self.nets, self.device, world)
        self.ema = Nets({name: copied(self.nets[name]) for name in recipe.ema})
        self.ema.requires_grad_(False).eval()
        self._ema_updater = EmaUpdater(self.ema, self.nets, recipe.ema)
        self.nets.train()
        for name, helper in self.frozen.items():
            self.nets[name] = helper.requires_grad_(False).eval()
        modules = [module for module in self.nets.modules() if getattr(module, "shared", False)]
        self._shared_buffers = partial(float_buffers, modules)

    def _build_optimizers(self) -> None:
        """Build one optimizer per player, for the parameters of the networks that it controls."""
        players = self.recipe.players
        self._parameters = {
            name: [parameter for net in player.controls for parameter in trainable(self.nets[net])]
            for name, player in players.items()
        }
        generators = set(self.recipe.generators)
        self._controls_generator = {name: bool(generators & set(player.controls)) for name, player in players.items()}
        self.optimizers = {name: player.optimizer(self._parameters[name]) for name, player in players.items()}
        for optimizer in self.optimizers.values():
            fast.tune(optimizer, self.device)
            self.guard.attach(optimizer)

    @property
    def images(self) -> int:
        """Real samples drawn so far over all ranks; the field reports it in thousands, as kimg."""
        return self.step * self.batch_size * self.recipe.rounds

    @property
    def progress(self) -> float:
        """`t`, the fraction of the run that is done, from 0 to 1."""
        return min(1.0, self.step / self.steps)

    # --- one training step --------------------------------------------------------------------------------------------

    def train_step(self) -> Mapping[str, Tensor]:
        """Run one training step. Returns each player's last terms as "player/term", scalars on the device.

        Everything that comes from the host, such as noise and seeds, is prepared here; `_run_turns` works on the device
        alone, so that a CUDA graph can replay it. Raises ConfigError for a term that cannot be minimized.
        """
        if not self.format_is_checked:
            self._check_memory_format()
        losses = tuple(play_at(player.loss, self.step) for player in self.recipe.players.values())
        with untouched(self.device):
            batches = [self.batch(i) for i in range(self.recipe.rounds)]
            reseed(self.seed, self.step, "turn", self.ranks.rank)
            counters = {"step": torch.full((), self.step, dtype=torch.int64, device=self.device)}
            counters |= self._ema_updater.constant_decays(self.step, self.dtype, self.device)
            terms = self.engine.run_step(losses, [*batches, counters], lambda given: self._run_turns(losses, given))
        self.step += 1
        return terms

    def batch(self, i: int) -> dict[str, Tensor]:
        """The i-th batch of this step, the rows of this rank: real entries, noise, and the scalars `t` and `images`."""
        real = {key: self._cast(value) for key, value in self.source(self.step * self.recipe.rounds + i).items()}
        self._real_keys = tuple(real)
        noise = {} if self.recipe.draw is Recipe.draw else self._noise(i, real)  # the default draws nothing
        # Filled on the device, as a copy from the host would wait for it.
        t = torch.full((), self.progress, dtype=self.dtype, device=self.device)
        images = torch.full((), float(self.images), dtype=self.dtype, device=self.device)
        return real | noise | {"t": t, "images": images}

    def _noise(self, i: int, real: Batch) -> dict[str, Tensor]:
        """The noise of the i-th batch of this step, the rows of this rank."""
        global_batch = {key: value[:1].expand(self.batch_size, *value.shape[1:]) for key, value in real.items()}
        # Noise is drawn for the global batch, on this device: the context slows down every call, so only if needed.
        on_device = nullcontext() if torch.get_default_device() == self.device else self.device
        with on_device:
            reseed(self.seed, self.step, i, "draw")
            return {
                key: self._cast(value[self.shard] if value.shape[:1] == (self.batch_size,) else value)
                for key, value in self.recipe.draw(global_batch).items()
            }

    def _run_turns(self, losses: Sequence[Loss | None], inputs: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """All turns of a step and the EMA update. `inputs` are batches and counters; nothing waits for the device."""
        *batches, counters = *(self.watch.watched(batch) for batch in inputs[:-1]), inputs[-1]
        terms: dict[str, Tensor] = {}
        step_batches, version = self._step_batches(losses, batches), 0
        last = max((number for number, loss in enumerate(losses) if loss is not None), default=0)
        for number, ((name, player), loss) in enumerate(zip(self.recipe.players.items(), losses, strict=True)):
            if loss is None:
                continue
            optimizer, params = self.optimizers[name], self._parameters[name]
            for micro_batches in step_batches[len(step_batches) - player.turns :]:
                views = [batch.view(self._controls_generator[name], version) for batch in micro_batches]
                if player.lr is not None:
                    with self.watch.part(f"lr of {name}"):
                        fast.set_lr(optimizer, player.lr(self.nets, views[0]) if callable(player.lr) else player.lr)
                real = [(key, batch.entries[key]) for batch in micro_batches for key in self._real_keys]
                is_last = number == last and micro_batches is step_batches[-1]
                guard = self.guard.begin_turn(number, counters["step"], params, real, is_last)
                try:
                    with self._autocast, self.watch.part(f"loss of {name}"):
                        found = turn(loss, self.nets, views, params, optimizer, self.ranks, guard, self._shared_buffers)
                except ValueError as error:
                    raise ConfigError(f"player {name}, step {self.step}: {error}") from error
                version += self._controls_generator[name]
            terms |= {f"{name}/{term}": value for term, value in found.items()}
        if not self.guard.tripped:
            with self.watch.part("ema"):
                self._ema_updater.update(batches[-1], counters, self.dtype, self.guard.buffer_target)
        return terms

    def _step_batches(self, losses: Sequence[Loss | None], batches: Sequence[Batch]) -> list[list[StepBatch]]:
        """The micro-batches of each batch. The first batch of the first player that controls a generator keeps the
        graph of its fakes for that player; not with gradient accumulation, as it takes the memory that this saves."""
        with_graph = [
            self.recipe.rounds - player.turns
            for (name, player), loss in zip(self.recipe.players.items(), losses, strict=True)
            if loss is not None and self._controls_generator[name]
        ]
        keep = with_graph[:1] if self.accumulate == 1 else []
        generate = self.watch.part("generate")(partial(self.recipe.generate, self.nets))
        return [
            [StepBatch(micro, generate, keep == [i]) for micro in split_batch(batch, self._rows, self.accumulate)]
            for i, batch in enumerate(batches)
        ]

    def _cast(self, value: Tensor) -> Tensor:
        return self._convert(value.to(self.dtype) if value.is_floating_point() else value)

    def _check_memory_format(self) -> None:
        """Before the first step, switch to contiguous tensors if a network or a loss calls `view`.

        A failing step would leave changes behind, and a lazy loss would fail much later. So the format depends on the
        recipe alone and is the same after a resume.
        """
        self.format_is_checked = True
        with seeded(self.device, self.seed, "layout"):
            if not needs_contiguous(self.recipe, self.nets, self.batch(0), self._rows):
                return
        self.notes.append(NOTE)
        self.use_contiguous()

    def use_contiguous(self) -> None:
        """Switch from the channels-last memory format to contiguous tensors."""
        self._convert, self.format_is_checked = fast.unchanged, True
        for net in (self.nets, self.ema):
            fast.convert_memory_format(net, Tensor.contiguous)
        for optimizer in self.optimizers.values():
            state.match_optimizer_strides(optimizer)

    # --- results and state --------------------------------------------------------------------------------------------

    def diverged(self) -> str | None:
        """A sentence on the first non-finite value and its step, None if there was none: call it on every rank.
        Waits for the device. A non-finite value of one rank stops all; the smallest finding is the cause."""
        findings = [int(first) for first in self.ranks.gather(self.guard.first)]
        return self.guard.describe(min(one for one in findings if one >= 0)) if max(findings) >= 0 else None

    def sampler(self, *, ema: bool = True, synchronize: bool = False, **keywords: Any) -> Sampler:
        """A sampler of copies of the generators, with EMA weights where there are any; training can continue meanwhile.

        `synchronize`, on every rank, copies buffers from rank 0, so that all ranks draw the same samples: batch
        statistics differ between ranks. `keywords` are those of `Sampler`.
        """
        generators = {
            name: copied(self.ema[name] if ema and name in self.ema else self.nets[name])
            for name in self.recipe.generators
            if name not in self.frozen
        }
        nets = Nets(generators).requires_grad_(False)
        if synchronize:
            self.ranks.copy_from_first(nets.buffers())
        nets.update({name: self.frozen[name] for name in self.recipe.generators if name in self.frozen})
        return Sampler(self.recipe, self.spec, nets, t=self.progress, images=self.images, watch=self.watch, **keywords)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The whole state but the data, as tensors by name and scalars: call it on every rank, save that of rank 0."""
        tensors, optimizers = state.collect(self._saved_nets(), self.ema, self.optimizers, self.ranks)
        progress = {"step": self.step, "images": self.images, "uses_t": sorted(self.watch.users)}
        return tensors, progress | {"optimizers": optimizers}

    def load(self, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
        """Resume from `state()`: the next step equals that of the run it was saved from, bit for bit."""
        self.step = int(scalars["step"])
        self.watch.load(scalars.get("uses_t"))
        state.load(self._saved_nets(), self.ema, self.optimizers, self.ranks, tensors, scalars["optimizers"])

    def initialize_from(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Load weights and EMA of another run into every network whose names and shapes match; return their names.

        Optimizers, step and all other state stay new.
        """
        return state.load_matching(self._saved_nets(), self.ema, tensors)

    def _saved_nets(self) -> Nets:
        """All networks but the frozen helpers."""
        return Nets({name: net for name, net in self.nets.items() if name not in self.frozen})
