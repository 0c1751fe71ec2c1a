"""Buffers of an EMA: statistics are averaged, vectors of spectral norms renewed, all others copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sketch.toy import sgd
from sketch.training import difference, snapshot, train
from sketch.two_player import assert_same_steps, taped
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Batch, Nets, Player, Recipe, Spec, Terms
from aigc_zoo.testing.thread_ranks import run_on_ranks

DECAY, SIZE = 0.95, 8
Build = Callable[[], nn.Module]


def regression(build: Build, shape: tuple[int, ...] = (4,), ranks: Ranks | None = None, **settings: Any) -> Trainer:
    """A trainer that fits a network "G" to a constant, quickly, with an EMA of constant decay."""

    def loss(nets: Nets, batch: Batch) -> Terms:
        return {"loss": (nets.G(batch["z"]) - 1).square().mean()}

    recipe = Recipe(
        networks=lambda spec: {"G": build()},
        players={"generator": Player(controls=("G",), loss=loss, optimizer=sgd(0.05))},
        draw=lambda batch: {"z": 1 + torch.randn(len(batch["real"]), *shape)},
        generate=lambda nets, batch: {"fake": nets.G(batch["z"])},
        ema={"G": lambda nets, batch: torch.full_like(batch["t"], DECAY)},
        steps=100,
    )
    spec, rows = Spec(shape=shape, range=None, modality="points"), SIZE // (ranks.world if ranks else 1)

    def source(n: int) -> dict[str, Tensor]:
        return {"real": torch.zeros(rows, *shape)}

    return Trainer(recipe, spec, source, batch_size=SIZE, steps=100, ranks=ranks, **settings)


# --- normalization layers ---------------------------------------------------------------------------------------------

NORMS: dict[str, tuple[Build, tuple[int, ...]]] = {
    f"{kind.__name__}, momentum {momentum}": (
        lambda kind=kind, momentum=momentum: kind(4, momentum=momentum, affine=True, track_running_stats=True),
        shape,
    )
    for momentum in (0.3, None)
    for kind, shape in (
        (nn.BatchNorm1d, (4,)),
        (nn.BatchNorm2d, (4, 2, 2)),
        (nn.BatchNorm3d, (4, 2, 2, 2)),
        (nn.SyncBatchNorm, (4, 2, 2)),
        (nn.InstanceNorm1d, (4, 6)),
        (nn.InstanceNorm2d, (4, 3, 2)),
        (nn.InstanceNorm3d, (4, 2, 2, 2)),
    )
}


class OwnNorm(nn.Module):
    """A normalization that is no class of torch's and has its names: only the variance is tracked."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("running_var", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.running_var.lerp_(x.detach().var(), 0.3)
        return self.scale * x / self.running_var.sqrt()


NORMS["of a plugin"] = (OwnNorm, (4,))


@pytest.mark.promise("E1", 1, 1)
@pytest.mark.parametrize("name", NORMS)
def test_statistics_are_averaged_and_counters_copied(name: str, promise: Any) -> None:
    build, shape = NORMS[name]
    a = regression(build, shape)
    expected = {key: value.clone() for key, value in a.nets.G.named_buffers()}
    for _ in range(4):
        train(a, 1)
        for key, value in a.nets.G.named_buffers():
            expected[key] = torch.lerp(expected[key], value, 1 - DECAY) if value.is_floating_point() else value
    found = dict(a.ema.G.named_buffers())
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=1e-6)
    still = "Instance" in name and "None" in name  # torch updates the statistics of this one by a momentum of zero
    assert still or not torch.equal(found["running_var"], a.nets.G.running_var)
    promise.kept(kinds_of_buffers=1, right=1)


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: nn.LayerNorm(4), (4,)),
        (lambda: nn.GroupNorm(2, 4), (4, 2, 2)),
        (lambda: nn.RMSNorm(4), (4,)),
        (lambda: nn.BatchNorm1d(4, track_running_stats=False), (4,)),
        (lambda: nn.InstanceNorm2d(4, affine=True), (4, 2, 2)),
    ],
)
def test_norms_without_statistics_have_nothing_but_weights(build: Build, shape: tuple[int, ...]) -> None:
    a = regression(build, shape)
    train(a, 3)
    assert not list(a.ema.G.buffers())
    assert not torch.equal(a.ema.G.weight, a.nets.G.weight)


# --- parametrizations -------------------------------------------------------------------------------------------------


def with_head(layer: nn.Module) -> nn.Module:
    """A layer and a free scale behind it, so that constrained weights can turn towards any target."""
    return nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(1))


def headed(build: Build, shape: tuple[int, ...]) -> Build:
    def make() -> nn.Module:
        net = with_head(build())
        net(torch.zeros(2, *shape))
        return net

    return make


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = parametrizations.spectral_norm(nn.GRU(4, 4, batch_first=True), "weight_ih_l0")

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x)[0]


class Twice(nn.Module):
    """A parametrization that is followed by a spectral norm."""

    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight.tanh()


def stacked() -> nn.Module:
    layer = nn.Linear(4, 5)
    parametrize.register_parametrization(layer, "weight", Twice())
    return parametrizations.spectral_norm(layer)


SPECTRAL: dict[str, tuple[Build, tuple[int, ...]]] = {
    "linear": (lambda: parametrizations.spectral_norm(nn.Linear(4, 5)), (4,)),
    "convolution": (lambda: parametrizations.spectral_norm(nn.Conv2d(3, 5, 3)), (3, 4, 4)),
    "transposed convolution": (lambda: parametrizations.spectral_norm(nn.ConvTranspose1d(3, 5, 3)), (3, 4)),
    "two iterations": (lambda: parametrizations.spectral_norm(nn.Linear(4, 5), n_power_iterations=2), (4,)),
    "recurrent": (Recurrent, (3, 4)),
    "stacked": (stacked, (4,)),
    "older hook, linear": (lambda: nn.utils.spectral_norm(nn.Linear(4, 5)), (4,)),
    "older hook, convolution": (lambda: nn.utils.spectral_norm(nn.Conv2d(3, 5, 3)), (3, 4, 4)),
    "older hook, transposed": (lambda: nn.utils.spectral_norm(nn.ConvTranspose1d(3, 5, 3)), (3, 4)),
}


def vectors(net: nn.Module) -> list[Tensor]:
    return [value for name, value in net.named_buffers() if name.endswith(("_u", "_v"))]


def spectral_norms(net: nn.Module) -> list[float]:
    """The largest singular value of each spectrally normalized weight, as the network in evaluation mode uses it."""
    found = []
    for module in net.modules():
        for name in getattr(module, "parametrizations", {}):
            own = module.parametrizations[name][-1]
            found.append(own._reshape_weight_to_matrix(getattr(module, name)))
        for hook in module._forward_pre_hooks.values():
            found.append(hook.reshape_weight_to_matrix(hook.compute_weight(module, False)))
    return [float(torch.linalg.matrix_norm(weight.detach(), 2)) for weight in found]


@pytest.mark.promise("E1", 1, 1)
@pytest.mark.parametrize("name", SPECTRAL)
def test_the_spectral_norm_of_averaged_weights_is_one(name: str, promise: Any) -> None:
    build, shape = SPECTRAL[name]
    a = regression(headed(build, shape), shape)
    train(a, 40)
    sampled = a.sampler().nets.G
    assert vectors(sampled)
    for vector in vectors(sampled):
        assert float(vector.norm()) == pytest.approx(1, abs=1e-5)
    assert spectral_norms(sampled)
    assert spectral_norms(sampled) == pytest.approx([1.0], abs=2e-3 if name.startswith("older") else 3e-4)
    assert any(not torch.equal(*pair) for pair in zip(vectors(a.ema.G), vectors(a.nets.G), strict=True))
    assert not any(module.training for module in a.ema.modules())
    promise.kept(kinds_of_buffers=1, right=1)


def test_vectors_that_are_averaged_or_copied_give_another_norm() -> None:
    """The negative control of the test above: weights that turn quickly, and what became of their vectors before."""
    a = regression(headed(*SPECTRAL["linear"]), (4,))
    norms = []
    average = [vector.clone() for vector in vectors(a.nets.G)]
    for _ in range(6):
        train(a, 1)
        average = [torch.lerp(one, other, 1 - DECAY) for one, other in zip(average, vectors(a.nets.G), strict=True)]
    for wrong in (average, vectors(a.nets.G)):
        sampled = a.sampler().nets.G
        for vector, value in zip(vectors(sampled), wrong, strict=True):
            vector.copy_(value)
        norms += spectral_norms(sampled)
    (right,) = spectral_norms(a.sampler().nets.G)
    assert all(abs(norm - 1) > 2 * abs(right - 1) for norm in norms), (norms, right)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("wrap", [parametrizations.weight_norm, nn.utils.weight_norm], ids=["parametrization", "hook"])
def test_weight_norm_averages_length_and_direction(wrap: Callable[[nn.Module], nn.Module]) -> None:
    a = regression(lambda: nn.Sequential(wrap(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 1)))
    train(a, 5)
    for raw in (False, True):
        net = a.sampler(ema=not raw).nets.G
        net(torch.zeros(1, 4))  # the hook computes the weight
        length, direction = (
            list(net[0].parameters())[1:]
            if wrap is nn.utils.weight_norm
            else net[0].parametrizations.weight.parameters()
        )
        torch.testing.assert_close(net[0].weight, length * direction / direction.norm(dim=1, keepdim=True))
    assert not list(a.ema.G.buffers())


@pytest.mark.promise("E1", 1, 1)
@pytest.mark.parametrize("sides", [(4, 4), (4, 6), (6, 4)])
@pytest.mark.parametrize("orthogonal_map", ["matrix_exp", "cayley", "householder"])
def test_averaged_weights_stay_orthogonal(orthogonal_map: str, sides: tuple[int, int], promise: Any) -> None:
    inputs, outputs = sides

    def build() -> nn.Module:
        layer = parametrizations.orthogonal(nn.Linear(inputs, outputs), orthogonal_map=orthogonal_map)
        return nn.Sequential(layer, nn.Linear(outputs, 1))

    a = regression(build, (inputs,))
    train(a, 5)
    weight, raw = (net[0].weight.detach() for net in (a.sampler().nets.G, a.nets.G))
    product = weight @ weight.mT if outputs < inputs else weight.mT @ weight
    torch.testing.assert_close(product, torch.eye(min(sides)), rtol=0, atol=1e-5)
    assert not torch.equal(weight, raw)
    for one, other in zip(a.ema.G.buffers(), a.nets.G.buffers(), strict=True):
        assert torch.equal(one, other)
    promise.kept(kinds_of_buffers=1, right=1)


# --- modules of plugins -----------------------------------------------------------------------------------------------


class Stateful(nn.Linear):
    """A layer with buffers of many kinds, all of which change in every forward pass."""

    ema_buffers: Any = ("w_avg",)

    def __init__(self) -> None:
        super().__init__(4, 1)
        self.register_buffer("w_avg", torch.zeros(4))
        self.register_buffer("counter", torch.zeros((), dtype=torch.int64))
        self.register_buffer("float_counter", torch.zeros(()))
        self.register_buffer("flag", torch.tensor(False))
        self.register_buffer("float_flag", torch.zeros(()))
        self.register_buffer("indices", torch.arange(4))
        self.register_buffer("pool", torch.zeros(3, 4))
        self.register_buffer("bytes", torch.zeros(3, dtype=torch.uint8))
        self.register_buffer("noise", torch.zeros(4), persistent=False)
        self.register_buffer("replaced", torch.zeros(4))
        self.register_buffer("absent", None)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.w_avg.lerp_(x.detach().mean(0), 0.5)
            self.counter += 1
            self.float_counter += 1
            self.flag.logical_not_()
            self.float_flag.copy_(1 - self.float_flag)
            self.indices.copy_(self.indices.roll(1))
            self.pool.copy_(torch.cat([self.pool[1:], x.detach()[:1]]))
            self.bytes += 1
            self.noise.copy_(x.detach()[0])
            self.replaced = x.detach()[1]
        return super().forward(x)


COPIED = ("counter", "float_counter", "flag", "float_flag", "indices", "pool", "bytes", "noise", "replaced")


def test_buffers_are_copied_unless_the_module_says_that_they_are_averages() -> None:
    a = regression(Stateful)
    expected = torch.zeros(4)
    for step in range(1, 6):
        train(a, 1)
        ours, theirs = a.ema.G, a.nets.G
        for name in COPIED:
            assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
        expected = torch.lerp(expected, theirs.w_avg, 1 - DECAY)
        torch.testing.assert_close(ours.w_avg, expected)
        assert float(ours.float_counter) == float(theirs.counter) >= step
        assert not torch.equal(ours.weight, theirs.weight)
        assert ours.absent is None


class InsideNet(nn.Sequential):
    """The module is found wherever it is, and twice at that."""

    def __init__(self) -> None:
        inner = Stateful()
        super().__init__(nn.Sequential(nn.Linear(4, 4), inner), nn.Linear(1, 4), inner)


def test_a_module_inside_others_declares_its_own_buffers() -> None:
    a = regression(InsideNet)
    train(a, 3)
    ours, theirs = a.ema.G[2], a.nets.G[2]
    assert ours is a.ema.G[0][1]
    assert torch.equal(ours.pool, theirs.pool)
    assert not torch.equal(ours.w_avg, theirs.w_avg)


class OwnSpectral(nn.Linear):
    """A spectral normalization that a plugin wrote, with one vector, which `renew_buffers` computes anew."""

    def __init__(self) -> None:
        super().__init__(4, 5)
        self.register_buffer("u", torch.ones(5) / 5**0.5)

    @torch.no_grad()
    def renew_buffers(self, iterations: int = 10) -> None:
        for _ in range(iterations):
            self.u.copy_(nn.functional.normalize(self.weight @ (self.weight.mT @ self.u), dim=0))

    def divided(self) -> Tensor:
        return self.weight / (self.weight.mT @ self.u.clone()).norm()

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.renew_buffers(1)
        return nn.functional.linear(x, self.divided(), self.bias)


def test_a_module_renews_buffers_that_it_computes_from_its_weights() -> None:
    a = regression(lambda: nn.Sequential(OwnSpectral(), nn.Linear(5, 1)))
    train(a, 30)
    sampled = a.sampler().nets.G[0]
    assert float(torch.linalg.matrix_norm(sampled.divided(), 2)) == pytest.approx(1, abs=1e-4)
    assert not torch.equal(sampled.u, a.nets.G[0].u)


@pytest.mark.parametrize(
    ("declared", "shown"),
    [
        ("w_avg", "'w_avg'"),
        (("w_average",), r"\('w_average',\)"),
        (("w_avg", "counter"), r"\('w_avg', 'counter'\)"),
        (("absent",), r"\('absent',\)"),
        (("weight",), r"\('weight',\)"),
        (None, "None"),
    ],
)
def test_a_declaration_that_fits_no_buffer_is_refused(
    declared: Any, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stateful, "ema_buffers", declared)
    with pytest.raises(
        ConfigError, match=f"ema_buffers of Stateful is {shown}, which is no tuple .*; these are w_avg, float_counter"
    ):
        regression(Stateful)


# --- resume, ranks, graphs --------------------------------------------------------------------------------------------


def mixed() -> nn.Module:
    """Every treatment of buffers in one network, without statistics of the batch."""
    return nn.Sequential(
        parametrizations.spectral_norm(nn.Linear(4, 5)),
        nn.Tanh(),
        nn.utils.spectral_norm(nn.Linear(5, 4)),
        OwnSpectral(),
        parametrizations.orthogonal(nn.Linear(5, 4)),
        nn.Tanh(),
        nn.Linear(4, 1),
    )


@pytest.mark.parametrize("build", [mixed, Stateful])
def test_resume_is_exact(build: Build) -> None:
    uninterrupted = regression(build)
    train(uninterrupted, 5)
    resumed = regression(build)
    resumed.load(*snapshot(uninterrupted))
    assert_same_steps(uninterrupted, resumed, 3)


def test_resume_without_the_vectors_of_the_ema_differs() -> None:
    uninterrupted = regression(mixed)
    train(uninterrupted, 5)
    tensors, scalars = snapshot(uninterrupted)
    fresh = snapshot(regression(mixed))[0]
    for prefix in ("ema/G.0.parametrizations.weight.0._v", "ema/G.2.weight_u"):
        changed = {name: fresh[name] for name in tensors if name.startswith(prefix)}
        assert changed
        resumed = regression(mixed)
        resumed.load(tensors | changed, scalars)
        assert difference(snapshot(uninterrupted)[0], snapshot(resumed)[0]) > 0


def test_two_ranks_equal_one() -> None:
    def state(ranks: Ranks) -> dict[str, Tensor]:
        a = regression(mixed, ranks=ranks, dtype=torch.float64)
        train(a, 4)
        return snapshot(a)[0]

    expected = state(Ranks())
    first, other = run_on_ranks(state)
    assert difference(first, other) == 0.0
    assert difference(first, expected) <= 1e-12


def test_a_graph_equals_eager_bit_for_bit() -> None:
    a, b = regression(mixed), regression(mixed)
    tapes = taped(a)
    assert_same_steps(a, b, 8)
    assert tapes.tapes == 1
    assert a.engine.choice.name == "graph"
