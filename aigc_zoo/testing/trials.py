"""A recipe on trial: data that can be told apart, trainers of a few steps, and ranks without processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from aigc_zoo import options
from aigc_zoo.data.pool import Pool
from aigc_zoo.engine import fast
from aigc_zoo.engine.networks import build_networks
from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Recipe, Samples, Spec
from aigc_zoo.testing.checks import CheckFailed
from aigc_zoo.testing.probes import CLASSES, SEED, noise, offline, one_hot, spec_of
from aigc_zoo.testing.subjects import Part

BATCH = 4
SHAPES = ((1, 8, 8), (1, 16, 16), (1, 28, 28), (3, 32, 32), (3, 64, 64), (2,))
"""What a recipe is played on where it states no shapes: the first that its networks make. Small is fast."""


@dataclass(frozen=True)
class Trial:
    """A recipe at its defaults, and batches for it."""

    recipe: Recipe
    spec: Spec
    rows: Callable[[int, int], Mapping[str, Tensor]]  # (batch number, size) -> the whole batch

    def trainer(
        self,
        *,
        steps: int = 4,
        seed: int = SEED,
        ranks: Ranks | None = None,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        same_batch: bool = False,
        players: Sequence[str] = (),
        batch_size: int = BATCH,
        precision: str = "fp32",
        engine: str = "eager",
    ) -> Trainer:
        """A trainer at step 0; `players` leaves the others out, `same_batch` gives every step the first batch."""
        recipe = self.recipe
        if players:
            recipe = replace(recipe, players={name: recipe.players[name] for name in players})
        ranks = ranks or Ranks()
        share = ranks.shard(batch_size)

        def source(n: int) -> Mapping[str, Tensor]:
            whole = self.rows(0 if same_batch else n, batch_size)
            return {name: value[share].to(device) for name, value in whole.items()}

        return Trainer(
            recipe,
            self.spec,
            source,
            batch_size=batch_size,
            steps=steps,
            seed=seed,
            ranks=ranks,
            dtype=dtype,
            device=device,
            precision=precision,
            engine=fast.Choice(engine, "a check"),
        )


def trial_of(part: Part, **given: Any) -> Trial:
    """The recipe with these options, on data that it can be played on. Raises CheckFailed where there are none."""
    key = repr(sorted(given.items()))
    if key not in part.cache:
        recipe = options.build(part.catalogue, options.resolve(part.catalogue, part.reference, given=given))
        ours = recipe.imitates == "real" and not recipe.inputs
        part.cache[key] = _synthetic(part, recipe) if ours else _real(part, recipe)
    return part.cache[key]  # type: ignore[return-value]


def _synthetic(part: Part, recipe: Recipe) -> Trial:
    """Labelled samples of the first shape that its networks make, each near the pattern of its class."""
    refused = ""
    for shape in part.entry.component.shapes or SHAPES:
        for classes in (CLASSES, 0):
            spec = spec_of(shape, classes=classes)
            try:
                build_networks(recipe, spec, SEED)
            except ConfigError as error:
                refused = str(error)
                continue
            return Trial(recipe, spec, lambda n, size, spec=spec: _patterned(spec, n, size))  # type: ignore[misc]
    raise CheckFailed(f"its networks refuse every usual shape ({refused}): state those that it serves as shapes=(...)")


def _patterned(spec: Spec, number: int, size: int) -> dict[str, Tensor]:
    """Batch `number`: a class's fixed pattern of signs at half the range, with a little noise."""
    low, high = spec.range or (-1.0, 1.0)
    kinds = max(1, spec.classes)
    labels = torch.randint(kinds, (size,), generator=torch.Generator().manual_seed(number))
    patterns = torch.stack([noise(*spec.shape, seed=label).sign() for label in range(kinds)])
    real = 0.5 * patterns[labels] + 0.1 * noise(size, *spec.shape, seed=SEED + number)
    batch = {"real": (low + (high - low) * (real.clamp(-1, 1) + 1) / 2)}
    if spec.classes:
        batch["label"] = torch.nn.functional.one_hot(labels, spec.classes).float()
    return batch


def _real(part: Part, recipe: Recipe) -> Trial:
    """Of a recipe that reads entries of its own, the dataset that it trains on by default."""
    from aigc_zoo.data import resolve

    with offline():
        samples: Samples = resolve.load(part.catalogue, recipe.dataset)["train"]
    pool = Pool(samples, "cpu")
    return Trial(recipe, samples.spec, lambda n, size: pool.batch(SEED, n, size))


# --- what is in a recipe ----------------------------------------------------------------------------------------------


def batch_of(trainer: Trainer) -> dict[str, Tensor]:
    """The first batch of the next step with everything in it: reals, noise, fakes, detached."""
    with torch.random.fork_rng(devices=[]):
        batch = trainer.batch(0)
        with torch.no_grad():
            made = trainer.recipe.generate(trainer.nets, batch)
    return {**batch, **{key: value.detach() for key, value in made.items()}}


def critics(recipe: Recipe) -> list[str]:
    """The players that move no maker."""
    return [name for name, player in recipe.players.items() if not set(player.controls) & set(recipe.generators)]


def statistics(module: nn.Module) -> set[str]:
    """Names of buffers that a forward pass may move: normalisation's running statistics, spectral norm's vectors.

    A module of one's own says so by the attribute `statistics = True`.
    """
    found = set()
    for name, inner in module.named_modules():
        normal = isinstance(inner, nn.modules.batchnorm._NormBase | torch.nn.utils.parametrizations._SpectralNorm)
        if normal or getattr(inner, "statistics", False) is True:
            found |= {f"{name}.{key}" if name else key for key, _ in inner.named_buffers(recurse=False)}
    return found


def labelled(trainer: Trainer, label: int) -> dict[str, Tensor]:
    """The first batch, with all its labels replaced."""
    batch = trainer.batch(0)
    hot = one_hot(trainer.spec, label, BATCH)
    assert hot is not None
    return {**batch, "label": hot}


# --- ranks without processes ------------------------------------------------------------------------------------------


class _Board:
    """Lets threads run one at a time, from one collective to the next, each with torch's generator as it left it."""

    def __init__(self, world: int) -> None:
        self.world = world
        self.turn = 0
        self.given: list[Any] = [None] * world
        self.ended: set[int] = set()
        self.error: BaseException | None = None
        self.changed = threading.Condition()

    def exchange(self, rank: int, value: Any) -> list[Any]:
        """Waits until every rank has given its value, and returns all of them, in order of rank."""
        random = torch.get_rng_state()
        self.given[rank] = value
        self.hand_over(rank)
        found = list(self.given)  # all have given; in a second round all take, before anyone gives again
        self.hand_over(rank)
        torch.set_rng_state(random)
        return found

    def hand_over(self, rank: int, *, end: bool = False) -> None:
        """Lets the next rank run, and waits for the next turn, unless this rank has come to its end."""
        with self.changed:
            if end:
                self.ended.add(rank)
            self.turn = (rank + 1) % self.world
            self.changed.notify_all()
        if not end:
            self.await_turn(rank)

    def await_turn(self, rank: int) -> None:
        """Waits; raises what another rank raised, and CheckFailed where another has ended without this collective."""
        with self.changed:
            self.changed.wait_for(lambda: self.turn == rank or self.turn in self.ended or self.error is not None)
            if self.error is not None:
                raise self.error
            if self.turn != rank:
                raise CheckFailed("its ranks do not do the same things: one waits where another has come to its end")


@dataclass(frozen=True)
class ThreadRanks(Ranks):
    """Ranks that are threads of this process, which take turns."""

    board: Any = None

    def all_reduce_mean(self, tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
        every = self.board.exchange(self.rank, [None if t is None else t.detach().clone() for t in tensors])
        columns = zip(*every, strict=True)
        return [None if column[0] is None else torch.stack(column).mean(0) for column in columns]

    def copy_from_first(self, tensors: Any) -> None:
        for tensor in tensors:
            tensor.copy_(self.board.exchange(self.rank, tensor.detach().clone())[0])

    def gather(self, tensor: Tensor) -> list[Tensor]:
        return list(self.board.exchange(self.rank, tensor.detach().clone()))

    def any(self, value: bool) -> bool:
        return any(self.board.exchange(self.rank, value))

    def wait(self) -> None:
        self.board.exchange(self.rank, None)


def together(play: Callable[[Ranks], Any], world: int = 2) -> list[Any]:
    """What `play(ranks)` returns on each of `world` ranks; they take turns, so the result does not vary."""
    board = _Board(world)
    found: list[Any] = [None] * world

    def run(rank: int) -> None:
        try:
            board.await_turn(rank)
            found[rank] = play(ThreadRanks(rank, world, board))
        except BaseException as error:
            board.error = board.error or error
        finally:
            board.hand_over(rank, end=True)

    with torch.random.fork_rng(devices=[]):
        threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(world)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if board.error is not None:
        raise board.error
    return found
