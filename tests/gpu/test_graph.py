"""Training steps as CUDA graphs: bit-equal to eager, with new noise at every replay, without synchronization."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from sketch import components
from sketch.conv import LATENT, SPEC, Discriminator, Generator, logistic
from sketch.training import difference, snapshot, train
from sketch.two_player import LAZY
from torch import nn

from aigc_zoo.data.pool import Pool
from aigc_zoo.data.samples import image_samples
from aigc_zoo.engine import fast
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Batch, Nets, Player, Recipe, Spec, Terms, adam, linear
from aigc_zoo.two_player import two_player

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _deterministic_kernels() -> Iterator[None]:
    """Select deterministic kernels, as the tests compare bits."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def trainer_on_cuda(
    engine: str, norm: bool = False, dropout: float = 0.0, precision: str = "fp32", **settings: Any
) -> Trainer:
    def discriminator(spec: Spec) -> nn.Module:
        net = Discriminator(norm)
        net.insert(3, nn.Dropout(dropout))
        return net

    recipe = two_player(
        lambda spec, latent: Generator(norm),
        discriminator,
        logistic,
        latent=LATENT,
        steps=40,
        **{
            "optimizer": adam(1e-3, 0.5),
            "discriminator_turns": 2,
            "penalties": () if norm else LAZY,
            "lr": linear(1e-3, 0.0),
            "ema": {"G": 0.9},
            **settings,
        },
    )

    def source(n: int) -> dict[str, torch.Tensor]:
        return {key: value.to(CUDA) for key, value in components.images(n).items()}

    choice = fast.Choice(engine, "asked for")
    return Trainer(
        recipe, SPEC, source, batch_size=components.SIZE, steps=40, device=CUDA, precision=precision, engine=choice
    )


CASES: dict[str, dict[str, Any]] = {
    "penalties, turns, schedules": {},
    "batch statistics": {"norm": True},
    "dropout": {"dropout": 0.5},
    "bf16": {"precision": "bf16"},
}


@pytest.mark.parametrize("case", CASES)
def test_a_graph_equals_eager_bit_for_bit(case: str) -> None:
    graph, eager = trainer_on_cuda("graph", **CASES[case]), trainer_on_cuda("eager", **CASES[case])
    for _ in range(20):
        ours, theirs = graph.train_step(), eager.train_step()
        for name in theirs:
            assert torch.equal(ours[name], theirs[name]), name
    assert difference(snapshot(graph)[0], snapshot(eager)[0]) == 0.0
    assert graph.engine.choice.name == "graph"
    assert len(graph.engine._graphs) == (1 if CASES[case].get("norm") else 2)


def test_replays_use_new_noise() -> None:
    """The random seed is set outside of the graph; otherwise dropout would be the same at every replay."""
    sums: list[float] = []

    def loss(nets: Nets, batch: Batch) -> Terms:
        dropped = nn.functional.dropout(torch.ones(4096, device=CUDA), 0.5)
        return {"loss": nets.D.weight.square().sum(), "_noise": dropped.sum(), "_z": batch["z"].sum()}

    def trainer(engine: str) -> Trainer:
        recipe = Recipe(
            networks=lambda spec: {"G": nn.Linear(1, 1), "D": nn.Linear(1, 1)},
            players={"discriminator": Player(controls=("D",), loss=loss, optimizer=adam(1e-3))},
            generate=lambda nets, batch: {},
            draw=lambda batch: {"z": torch.randn(len(batch["real"]), 3)},
            steps=20,
        )
        choice = fast.Choice(engine, "asked for")
        source = lambda n: {"real": torch.zeros(8, 1, device=CUDA)}  # noqa: E731
        return Trainer(recipe, Spec(shape=(1,)), source, batch_size=8, steps=20, device=CUDA, engine=choice)

    graph, eager = trainer("graph"), trainer("eager")
    for _ in range(12):
        ours, theirs = graph.train_step(), eager.train_step()
        sums += [float(ours["discriminator/_noise"]), float(ours["discriminator/_z"])]
        assert torch.equal(ours["discriminator/_noise"], theirs["discriminator/_noise"])
        assert torch.equal(ours["discriminator/_z"], theirs["discriminator/_z"])
    assert len(set(sums)) > 20


@pytest.mark.parametrize("engine", ["eager", "graph"])
@pytest.mark.parametrize("budget", [None, 0])
def test_a_step_does_not_wait_for_the_device(engine: str, budget: int | None) -> None:
    """With rows on the device and with prefetched rows."""
    images = torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8)
    pool = Pool(image_samples("noise", "train", images, torch.arange(64) % 3), CUDA, budget)
    a = trainer_on_cuda(engine)
    a.source = lambda n: pool.batch(0, n, components.SIZE)
    train(a, 9)  # recording a graph synchronizes once
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        train(a, 6)  # within an epoch
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_prefetched_rows_equal_rows_on_the_device() -> None:
    images = torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8)
    samples = image_samples("noise", "train", images, torch.arange(50) % 3)
    on_device, prefetched = Pool(samples, CUDA), Pool(samples, CUDA, budget=0)
    for index in range(12):
        ours, theirs = prefetched.batch(0, index, 16), on_device.batch(0, index, 16)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_step_that_cannot_be_recorded_falls_back_to_eager() -> None:
    def reads(nets: Nets, batch: Batch) -> Terms:
        return {"loss": nets.D.weight.sum() * float(nets.D.weight.sum() > -1e9)}

    def trainer(engine: str) -> Trainer:
        recipe = Recipe(
            networks=lambda spec: {"G": nn.Linear(1, 1), "D": nn.Linear(1, 1)},
            players={"discriminator": Player(controls=("D",), loss=reads, optimizer=adam(1e-3))},
            generate=lambda nets, batch: {},
            steps=20,
        )
        source = lambda n: {"real": torch.zeros(8, 1, device=CUDA)}  # noqa: E731
        choice = fast.Choice(engine, "asked for")
        return Trainer(recipe, Spec(shape=(1,)), source, batch_size=8, steps=20, device=CUDA, engine=choice)

    a, b = trainer("auto"), trainer("eager")
    train(a, 8)
    train(b, 8)
    assert a.engine.choice.name == "eager"
    assert difference(snapshot(a)[0], snapshot(b)[0]) == 0.0
    with pytest.raises(ConfigError, match="cannot be recorded"):
        train(trainer("graph"), 8)


def test_a_resumed_graph_equals_an_uninterrupted_one() -> None:
    a = trainer_on_cuda("graph")
    train(a, 8)
    b = trainer_on_cuda("graph")
    b.load(*snapshot(a))
    train(a, 8)
    train(b, 8)
    assert difference(snapshot(a)[0], snapshot(b)[0]) == 0.0


def test_out_of_memory_errors_are_recognized() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50, dtype=torch.uint8, device=CUDA)
    assert fast.out_of_memory(caught.value)
