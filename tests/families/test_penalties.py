"""Every gradient penalty against its closed form, numerically, and on samples of any rank."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from tiny import LOSSES, PENALTIES, small
from torch import Tensor, nn

from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Batch, Noisy, Penalty, Spec
from aigc_zoo.options import bind
from aigc_zoo.plugins import catalogue

N = 6
SHAPES = [(3,), (2, 3), (1, 4, 4), (2, 3, 4, 2)]

CLOSED: dict[str, Callable[[float], float]] = {
    "gp": lambda w: (w - 1) ** 2,
    "lp": lambda w: max(0.0, w - 1) ** 2,
    "dragan": lambda w: (w - 1) ** 2,
    "r1": lambda w: w**2,
    "r2": lambda w: w**2,
    "r1r2": lambda w: 2 * w**2,
    "zero-centered": lambda w: w**2,
}
"""At D(x) = w . x, of |w|."""


def penalty(name: str) -> Penalty:
    made: Penalty = bind(catalogue(), "penalty", name)[1]
    return made


def batch(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(sum(shape))
    real, fake = (torch.randn(N, *shape, generator=g, dtype=torch.float64).to(dtype) for _ in range(2))
    u = torch.rand(N, generator=g, dtype=torch.float64).to(dtype)
    return {"real": real.requires_grad_(), "fake": fake.requires_grad_(), "u": u}


def value(name: str, critic: Callable[[Tensor], Tensor], given: Batch) -> Tensor:
    term = penalty(name).make()
    noise = torch.linspace(-1, 1, given["real"].numel()).view_as(given["real"]).to(given["real"].dtype)
    return term(critic, given, *((noise,) if isinstance(term, Noisy) else ()))


def test_every_penalty_is_here() -> None:
    assert set(PENALTIES) == set(CLOSED)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("length", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("name", CLOSED)
def test_at_a_linear_critic(name: str, length: float, shape: tuple[int, ...]) -> None:
    w = torch.linspace(-1, 2, math.prod(shape), dtype=torch.float64)
    w = length * w / w.norm()
    found = value(name, lambda x: x.flatten(1) @ w, batch(shape))
    assert found.shape == ()
    assert found.item() == pytest.approx(CLOSED[name](length), rel=1e-12, abs=1e-24)


@pytest.mark.parametrize("name", CLOSED)
def test_where_they_look(name: str) -> None:
    """At D(x) = |x|^2 / 2 the slope at x is |x|, so the value tells which x."""
    given = batch((4,))
    real, fake, u = given["real"].detach(), given["fake"].detach(), given["u"]
    noise = torch.linspace(-1, 1, real.numel()).view_as(real)
    line = real + u[:, None] * (fake - real)
    expected = {
        "gp": (line.norm(dim=1) - 1).square().mean(),
        "lp": (line.norm(dim=1) - 1).clamp(min=0).square().mean(),
        "dragan": ((real + 0.25 * noise).norm(dim=1) - 1).square().mean(),
        "r1": real.square().sum(1).mean(),
        "r2": fake.square().sum(1).mean(),
        "r1r2": real.square().sum(1).mean() + fake.square().sum(1).mean(),
        "zero-centered": line.square().sum(1).mean(),
    }
    found = value(name, lambda x: x.square().sum(1) / 2, given)
    torch.testing.assert_close(found, expected[name], rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", CLOSED)
def test_gradients_by_the_critics_weights_numerically(name: str) -> None:
    given = batch((3,))
    g = torch.Generator().manual_seed(7)
    weights = tuple(torch.randn(*s, generator=g, dtype=torch.float64, requires_grad=True) for s in ((3, 5), (5, 1)))

    def of_weights(first: Tensor, second: Tensor) -> Tensor:
        return value(name, lambda x: torch.tanh(x @ first) @ second, given)

    assert torch.autograd.gradcheck(of_weights, weights)


@pytest.mark.parametrize("name", CLOSED)
def test_a_flat_critic_has_finite_gradients(name: str) -> None:
    """Where |grad D| = 0 its root has no derivative; a nan there would end a run."""
    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    found = value(name, lambda x: x @ w, batch((3,)))
    (gradient,) = torch.autograd.grad(found, w)
    assert torch.isfinite(gradient).all()
    assert found.item() == CLOSED[name](0.0)


@pytest.mark.parametrize("name", CLOSED)
def test_half_precision_is_summed_in_float32(name: str) -> None:
    """4,096 squares of 1/64 are 1; in bfloat16, of 8 bits, the sum would stop growing early."""
    w = torch.full((4096,), 1 / 64, dtype=torch.bfloat16)
    found = value(name, lambda x: x @ w, batch((4096,), torch.bfloat16))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(CLOSED[name](1.0), abs=1e-5)


@pytest.mark.parametrize("name", ["r1", "r2", "r1r2"])
def test_logits_that_the_loss_has_are_not_computed_again(name: str) -> None:
    looks: dict[str, int] = {}
    for penalties in ((), (name,)):
        recipe = small("dcgan", apart=True, penalty=penalties)
        nets = Trainer(recipe, SPEC, reals, batch_size=N, steps=2)
        nets.train_step()  # a trainer tries layouts before its first step
        calls = 0

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1

        nets.nets.D.register_forward_hook(count)
        nets.train_step()
        looks["with" if penalties else "without"] = calls
    assert looks["with"] == looks["without"] == 3  # real and fake in the critic's turn, fake in the generator's


SPEC = Spec(shape=(1, 28, 28), classes=10)


def reals(number: int) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(number)
    labels = torch.nn.functional.one_hot(torch.randint(0, 10, (N,), generator=g), 10).float()
    return {"real": torch.rand(N, 1, 28, 28, generator=g) * 2 - 1, "label": labels}


# --- the algebra ------------------------------------------------------------------------------------------------------

NETWORKS = ("dcgan", "resnet", "vanilla")


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_legal_cell_takes_two_steps(loss: str, network: str) -> None:
    for name in (None, *PENALTIES):
        slots = {"generator": network, "discriminator": network, "loss": loss, "penalty": (name,) if name else ()}
        trainer = Trainer(small("dcgan", apart=True, **slots), SPEC, reals, batch_size=N, steps=2)
        before = [p.clone() for p in trainer.nets.parameters()]
        terms = [trainer.train_step() for _ in range(2)][-1]
        assert all(torch.isfinite(term) for term in terms.values()), (loss, name, network)
        assert name is None or f"discriminator/{name}" in terms
        assert trainer.diverged() is None
        moved = [not torch.equal(a, b) for a, b in zip(before, trainer.nets.parameters(), strict=True)]
        assert sum(moved) >= 0.7 * len(moved), (loss, name, network)


@pytest.mark.parametrize("network", ["dcgan", "resnet"])
@pytest.mark.parametrize("name", PENALTIES)
def test_every_illegal_cell_is_refused_in_one_sentence(name: str, network: str) -> None:
    recipe = small("dcgan", discriminator=network, discriminator__norm="batch", penalty=(name,))
    with pytest.raises(ValueError, match=rf"^penalty {name} differentiates .*\(--discriminator.norm none\)$") as caught:
        recipe.networks(SPEC)
    assert "\n" not in str(caught.value)


def test_noise_of_a_penalty_is_that_of_the_whole_batch() -> None:
    recipe = small("dragan")
    shown = {"real": torch.zeros(1, 1, 28, 28).expand(8, -1, -1, -1)}
    drawn = recipe.draw(shown)
    assert drawn["noise_penalty_dragan"].shape == (8, 1, 28, 28)
    assert drawn["noise_penalty_dragan"].std().item() == pytest.approx(1, abs=0.05)
    assert "noise_penalty_dragan" not in small("wgan-gp").draw(shown)


def test_a_weight_may_follow_a_schedule() -> None:
    trainer = Trainer(small("rpgan-r1r2"), SPEC, reals, batch_size=N, steps=4)
    weight = trainer.recipe.players["discriminator"].loss
    assert weight is not None
    values = []
    for _ in range(4):
        shown = dict(trainer.batch(0))
        (penalised,) = (cell.cell_contents for cell in weight.__closure__ if _penalties(cell.cell_contents))
        values.append(float(penalised[0].weight(trainer.nets, shown)))
        trainer.train_step()
    assert values[0] == pytest.approx(0.5)
    assert values == sorted(values, reverse=True)
    assert values[-1] > 0.05


def _penalties(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, Penalty) for one in value)


def test_modules_that_are_no_noise_keep_their_call() -> None:
    class Plain(nn.Module):
        def forward(self, critic: Callable[[Tensor], Tensor], given: Batch) -> Tensor:
            return critic(given["real"]).mean()

    recipe = small("dcgan", apart=True)
    assert set(recipe.draw({"real": torch.zeros(2, 1, 28, 28)})) == {"z", "u"}
    assert not isinstance(Plain(), Noisy)
