"""Losses against their closed forms, in float64, and for any shape and dtype of logits."""

import math

import pytest
import torch

from aigc_zoo_plugins.losses.adversarial import (
    hinge,
    least_squares,
    minimax,
    non_saturating,
    relativistic,
    wasserstein,
)

LOSSES = {
    "minimax": minimax,
    "non-saturating": non_saturating,
    "least-squares": least_squares,
    "wasserstein": wasserstein,
    "hinge": hinge,
    "relativistic": relativistic,
}
LOGITS = torch.tensor([-3.0, -0.5, 0.0, 0.7, 4.0], dtype=torch.float64)


def naive_log_sigmoid(logits: torch.Tensor) -> torch.Tensor:
    return torch.log(1 / (1 + torch.exp(-logits)))


def naive_log_one_minus_sigmoid(logits: torch.Tensor) -> torch.Tensor:
    return torch.log(1 - 1 / (1 + torch.exp(-logits)))


@pytest.mark.parametrize("name", ["minimax", "non-saturating"])
def test_the_discriminators_loss_is_the_cross_entropy(name: str) -> None:
    real, fake = LOGITS, LOGITS.flip(0) + 0.3
    expected = -(naive_log_sigmoid(real).mean() + naive_log_one_minus_sigmoid(fake).mean())
    torch.testing.assert_close(LOSSES[name]().discriminator(real, fake), expected, rtol=1e-12, atol=0)


def test_generator_losses_equal_their_formulas() -> None:
    saturating = minimax().generator(LOGITS, None)
    torch.testing.assert_close(saturating, naive_log_one_minus_sigmoid(LOGITS).mean(), rtol=1e-12, atol=0)
    non_saturated = non_saturating().generator(LOGITS, None)
    torch.testing.assert_close(non_saturated, -naive_log_sigmoid(LOGITS).mean(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["minimax", "non-saturating"])
def test_zero_logits_give_two_log_two(name: str) -> None:
    zeros = torch.zeros(7, dtype=torch.float64)
    assert LOSSES[name]().discriminator(zeros, zeros).item() == pytest.approx(2 * math.log(2), rel=1e-15)
    sign = -1 if name == "minimax" else 1
    assert LOSSES[name]().generator(zeros, None).item() == pytest.approx(sign * math.log(2), rel=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_logits_are_exact_where_a_sigmoid_would_overflow(dtype: torch.dtype) -> None:
    large = torch.full((3,), 1000.0, dtype=dtype)
    for loss in (minimax(), non_saturating()):
        assert loss.discriminator(large, -large).item() == 0.0  # confident and right
        assert loss.discriminator(-large, large).item() == 2000.0  # confident and wrong
    assert minimax().generator(large, None).item() == -1000.0
    assert non_saturating().generator(-large, None).item() == 1000.0
    # At 30 the loss is e^-30, which 1 - sigmoid rounds to zero in float32.
    smaller = torch.full((3,), 30.0, dtype=dtype)
    assert non_saturating().generator(smaller, None).item() == pytest.approx(math.exp(-30), rel=1e-6)


def test_only_minimax_saturates() -> None:
    """dL_G/dlogit is -d for minimax and -(1 - d) for the other, d = sigmoid(logit): 0 and -1 for a rejected fake."""
    gradients = {}
    for name in ("minimax", "non-saturating"):
        loss = LOSSES[name]
        logit = torch.tensor([-20.0, 0.0, 2.0], dtype=torch.float64, requires_grad=True)
        (gradients[name],) = torch.autograd.grad(loss().generator(logit, None) * 3, logit)
    d = 1 / (1 + torch.exp(-torch.tensor([-20.0, 0.0, 2.0], dtype=torch.float64)))
    torch.testing.assert_close(gradients["minimax"], -d, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients["non-saturating"], -(1 - d), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_equal_finite_differences(name: str) -> None:
    real = torch.tensor([[-2.0, 0.1], [0.5, 25.0]], dtype=torch.float64, requires_grad=True)
    fake = torch.tensor([[1.0, -0.3], [-25.0, 0.0]], dtype=torch.float64, requires_grad=True)
    loss = LOSSES[name]()
    assert torch.autograd.gradcheck(loss.discriminator, (real, fake))
    assert torch.autograd.gradcheck(lambda logits: loss.generator(logits, real), (fake,))
    assert torch.autograd.gradgradcheck(loss.discriminator, (real, fake))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(8,), (8, 1), (8, 1, 3, 3), (2, 4, 1)])
def test_logits_of_any_shape(name: str, shape: tuple[int, ...]) -> None:
    logits = torch.linspace(-2, 2, math.prod(shape), dtype=torch.float64)
    loss = LOSSES[name]()
    shaped = logits.view(shape)
    assert loss.discriminator(shaped, -shaped).shape == ()
    assert loss.discriminator(shaped, -shaped).item() == pytest.approx(loss.discriminator(logits, -logits).item())
    assert loss.generator(shaped, -shaped).item() == pytest.approx(loss.generator(logits, -logits).item())


@pytest.mark.parametrize("name", LOSSES)
def test_means_are_computed_in_float32_or_float64(name: str) -> None:
    loss = LOSSES[name]()
    dtypes = {torch.bfloat16: torch.float32, torch.float16: torch.float32, torch.float32: torch.float32}
    for dtype, expected in (dtypes | {torch.float64: torch.float64}).items():
        logits = LOGITS.to(dtype)
        assert loss.discriminator(logits, logits).dtype == expected
        assert loss.generator(logits, logits).dtype == expected
    # 1,000 terms of e^-9 and one of 9: a mean in half precision would round the small ones away.
    logits = torch.full((1001,), 9.0, dtype=torch.bfloat16)
    logits[0] = -9.0
    exact = (9 + 1001 * math.log1p(math.exp(-9))) / 1001
    assert non_saturating().generator(logits, None).item() == pytest.approx(exact, rel=1e-5)


def test_only_the_relativistic_loss_needs_reals_for_the_generator() -> None:
    assert {name for name, loss in LOSSES.items() if loss().needs_real} == {"relativistic"}


KNOWN = torch.tensor([2.0, 0.5, -1.0], dtype=torch.float64), torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64)
"""Logits of three reals and three fakes."""


@pytest.mark.parametrize(
    ("name", "discriminator", "generator"),
    [
        # (1 + 0.25 + 4) / 6 + (4 + 0 + 9) / 6; (9 + 1 + 4) / 6
        ("least-squares", 5.25 / 6 + 13 / 6, 14 / 6),
        ("wasserstein", 1 / 3 - 1.5 / 3, -1 / 3),
        # max(0, 1 - real) = 0, 0.5, 2; max(0, 1 + fake) = 0, 1, 4
        ("hinge", 2.5 / 3 + 5 / 3, -1 / 3),
        # softplus of fake - real = -4, -0.5, 4, and of its negative
        (
            "relativistic",
            sum(math.log1p(math.exp(d)) for d in (-4, -0.5, 4)) / 3,
            sum(math.log1p(math.exp(d)) for d in (4, 0.5, -4)) / 3,
        ),
    ],
)
def test_values_at_known_logits(name: str, discriminator: float, generator: float) -> None:
    real, fake = KNOWN
    loss = LOSSES[name]()
    assert loss.discriminator(real, fake).item() == pytest.approx(discriminator, rel=1e-12)
    assert loss.generator(fake, real).item() == pytest.approx(generator, rel=1e-12)


def test_hinge_has_no_gradient_beyond_its_margin() -> None:
    real = torch.tensor([1.5, 0.5], dtype=torch.float64, requires_grad=True)
    fake = torch.tensor([-1.5, -0.5], dtype=torch.float64, requires_grad=True)
    gradients = torch.autograd.grad(hinge().discriminator(real, fake), (real, fake))
    assert [one.tolist() for one in gradients] == [[0.0, -0.5], [0.0, 0.5]]


def test_the_relativistic_loss_depends_only_on_differences() -> None:
    real, fake = KNOWN
    loss = relativistic()
    assert loss.discriminator(real + 7, fake + 7).item() == pytest.approx(loss.discriminator(real, fake).item())
    assert loss.generator(fake, real).item() == pytest.approx(loss.discriminator(fake, real).item())
