"""Gradient penalties against their closed forms and finite differences, and in combination with networks and losses."""

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
"""The penalty for D(x) = w . x, as a function of |w|."""


def penalty(name: str) -> Penalty:
    result: Penalty = bind(catalogue(), "penalty", name)[1]
    return result


def batch(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(sum(shape))
    real, fake = (torch.randn(N, *shape, generator=g, dtype=torch.float64).to(dtype) for _ in range(2))
    u = torch.rand(N, generator=g, dtype=torch.float64).to(dtype)
    return {"real": real.requires_grad_(), "fake": fake.requires_grad_(), "u": u}


def value(name: str, discriminator: Callable[[Tensor], Tensor], inputs: Batch) -> Tensor:
    term = penalty(name).make()
    noise = torch.linspace(-1, 1, inputs["real"].numel()).view_as(inputs["real"]).to(inputs["real"].dtype)
    return term(discriminator, inputs, *((noise,) if isinstance(term, Noisy) else ()))


def test_every_penalty_has_a_closed_form() -> None:
    assert set(PENALTIES) == set(CLOSED)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("length", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("name", CLOSED)
def test_a_linear_discriminator_gives_the_closed_form(name: str, length: float, shape: tuple[int, ...]) -> None:
    w = torch.linspace(-1, 2, math.prod(shape), dtype=torch.float64)
    w = length * w / w.norm()
    result = value(name, lambda x: x.flatten(1) @ w, batch(shape))
    assert result.shape == ()
    assert result.item() == pytest.approx(CLOSED[name](length), rel=1e-12, abs=1e-24)


@pytest.mark.parametrize("name", CLOSED)
def test_gradients_are_taken_at_the_right_samples(name: str) -> None:
    """For D(x) = |x|^2 / 2 the gradient norm at x is |x|, so that the penalty shows which x were used."""
    inputs = batch((4,))
    real, fake, u = inputs["real"].detach(), inputs["fake"].detach(), inputs["u"]
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
    result = value(name, lambda x: x.square().sum(1) / 2, inputs)
    torch.testing.assert_close(result, expected[name], rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", CLOSED)
def test_gradients_of_weights_equal_finite_differences(name: str) -> None:
    inputs = batch((3,))
    g = torch.Generator().manual_seed(7)
    weights = tuple(torch.randn(*s, generator=g, dtype=torch.float64, requires_grad=True) for s in ((3, 5), (5, 1)))

    def penalty_of(first: Tensor, second: Tensor) -> Tensor:
        return value(name, lambda x: torch.tanh(x @ first) @ second, inputs)

    assert torch.autograd.gradcheck(penalty_of, weights)


@pytest.mark.parametrize("name", CLOSED)
def test_a_constant_discriminator_has_finite_gradients(name: str) -> None:
    """At |grad D| = 0 the square root has no derivative; a NaN there would end a run."""
    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    result = value(name, lambda x: x @ w, batch((3,)))
    (gradient,) = torch.autograd.grad(result, w)
    assert torch.isfinite(gradient).all()
    assert result.item() == CLOSED[name](0.0)


@pytest.mark.parametrize("name", CLOSED)
def test_half_precision_gradients_are_summed_in_float32(name: str) -> None:
    """4,096 squares of 1/64 sum to 1; in bfloat16, with 8 bits of precision, the sum would stop growing early."""
    w = torch.full((4096,), 1 / 64, dtype=torch.bfloat16)
    result = value(name, lambda x: x @ w, batch((4096,), torch.bfloat16))
    assert result.dtype == torch.float32
    assert result.item() == pytest.approx(CLOSED[name](1.0), abs=1e-5)


@pytest.mark.parametrize("name", ["r1", "r2", "r1r2"])
def test_the_logits_of_the_loss_are_not_computed_again(name: str) -> None:
    calls_of_d: dict[str, int] = {}
    for penalties in ((), (name,)):
        recipe = small("dcgan", apart=True, penalty=penalties)
        trainer = Trainer(recipe, SPEC, reals, batch_size=N, steps=2)
        trainer.train_step()  # A trainer tries memory layouts before its first step.
        calls = 0

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1

        trainer.nets.D.register_forward_hook(count)
        trainer.train_step()
        calls_of_d["with" if penalties else "without"] = calls
    # Reals and fakes in the discriminator's update, fakes in the generator's.
    assert calls_of_d["with"] == calls_of_d["without"] == 3


SPEC = Spec(shape=(1, 28, 28), classes=10)


def reals(number: int) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(number)
    labels = torch.nn.functional.one_hot(torch.randint(0, 10, (N,), generator=g), 10).float()
    return {"real": torch.rand(N, 1, 28, 28, generator=g) * 2 - 1, "label": labels}


# --- combinations -----------------------------------------------------------------------------------------------------

NETWORKS = ("dcgan", "resnet", "vanilla")


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_compatible_combination_trains(loss: str, network: str) -> None:
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
def test_every_incompatible_combination_is_refused_in_one_sentence(name: str, network: str) -> None:
    recipe = small("dcgan", discriminator=network, discriminator__norm="batch", penalty=(name,))
    with pytest.raises(ValueError, match=rf"^penalty {name} differentiates .*\(--discriminator.norm none\)$") as caught:
        recipe.networks(SPEC)
    assert "\n" not in str(caught.value)


def test_noise_of_a_penalty_is_drawn_for_the_whole_batch() -> None:
    recipe = small("dragan")
    batch_shapes = {"real": torch.zeros(1, 1, 28, 28).expand(8, -1, -1, -1)}
    drawn = recipe.draw(batch_shapes)
    assert drawn["noise_penalty_dragan"].shape == (8, 1, 28, 28)
    assert drawn["noise_penalty_dragan"].std().item() == pytest.approx(1, abs=0.05)
    assert "noise_penalty_dragan" not in small("wgan-gp").draw(batch_shapes)


def test_a_weight_can_be_a_schedule() -> None:
    trainer = Trainer(small("rpgan-r1r2"), SPEC, reals, batch_size=N, steps=4)
    weight = trainer.recipe.players["discriminator"].loss
    assert weight is not None
    values = []
    for _ in range(4):
        current = dict(trainer.batch(0))
        (penalized,) = (cell.cell_contents for cell in weight.__closure__ if _penalties(cell.cell_contents))
        values.append(float(penalized[0].weight(trainer.nets, current)))
        trainer.train_step()
    assert values[0] == pytest.approx(0.5)
    assert values == sorted(values, reverse=True)
    assert values[-1] > 0.05


def _penalties(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, Penalty) for one in value)


def test_a_module_that_is_not_noisy_gets_no_noise() -> None:
    class Plain(nn.Module):
        def forward(self, discriminator: Callable[[Tensor], Tensor], inputs: Batch) -> Tensor:
            return discriminator(inputs["real"]).mean()

    recipe = small("dcgan", apart=True)
    assert set(recipe.draw({"real": torch.zeros(2, 1, 28, 28)})) == {"z", "u"}
    assert not isinstance(Plain(), Noisy)
