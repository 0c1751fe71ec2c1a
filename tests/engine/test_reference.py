"""The trainer equals handwritten training loops on the same batches, in float64 to 1e-12."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pytest
import torch
import torch.nn.functional as F
from sketch.conv import Discriminator, Generator, conv_trainer, logistic, wasserstein
from sketch.training import difference
from torch import Tensor, nn

from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Batch, Penalty, adam, clipped, linear, play_at, rmsprop


def copies(a: Trainer) -> tuple[Generator, Discriminator]:
    """Copies of the trainer's networks for the handwritten loop."""
    nets = Generator(isinstance(a.nets.G[2], nn.BatchNorm2d)), Discriminator(isinstance(a.nets.D[1], nn.BatchNorm2d))
    for ours, theirs in zip(nets, (a.nets.G, a.nets.D), strict=True):
        ours.double().load_state_dict(theirs.state_dict())
    return nets


def assert_same(ours: Iterable[nn.Module], a: Trainer) -> None:
    for net, theirs in zip(ours, (a.nets.G, a.nets.D), strict=True):
        assert difference(net.state_dict(), theirs.state_dict()) <= 1e-12


def test_dcgan_equals_a_handwritten_loop() -> None:
    """The usual loop: zero_grad, backward, step; the fakes are detached for the discriminator."""
    a = conv_trainer(True, logistic, optimizer=adam(2e-4, 0.5))
    G, D = copies(a)
    optimizer_g = torch.optim.Adam(G.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(D.parameters(), lr=2e-4, betas=(0.5, 0.999))
    for _ in range(6):
        batch = a.batch(0)
        fake = G(batch["z"])

        optimizer_d.zero_grad()
        (F.softplus(-D(batch["real"])).mean() + F.softplus(D(fake.detach())).mean()).backward()
        optimizer_d.step()

        optimizer_g.zero_grad()
        F.softplus(-D(fake)).mean().backward()
        optimizer_g.step()

        a.train_step()
        assert_same((G, D), a)
    assert not torch.equal(a.nets.G[2].running_mean, torch.zeros(8))  # batch statistics are compared too


def test_wgan_with_clipping_equals_a_handwritten_loop() -> None:
    """Algorithm 1 of Arjovsky et al. (2017): n discriminator steps by RMSprop, each clipped, then one of the generator.

    The generator uses the noise of the last discriminator turn, where the paper draws new noise.
    """
    turns, bound = 3, 0.02
    a = conv_trainer(
        False,
        wasserstein,
        optimizer=rmsprop(5e-4),
        discriminator_optimizer=clipped(rmsprop(5e-3), bound),
        discriminator_turns=turns,
    )
    G, D = copies(a)
    optimizer_g = torch.optim.RMSprop(G.parameters(), lr=5e-4)
    optimizer_d = torch.optim.RMSprop(D.parameters(), lr=5e-3)
    for _ in range(4):
        for i in range(turns):
            batch = a.batch(i)
            with torch.no_grad():
                fake = G(batch["z"])
            optimizer_d.zero_grad()
            (D(fake).mean() - D(batch["real"]).mean()).backward()
            optimizer_d.step()
            for weight in D.parameters():
                weight.data.clamp_(-bound, bound)
        optimizer_g.zero_grad()
        (-D(G(batch["z"])).mean()).backward()
        optimizer_g.step()

        a.train_step()
        assert_same((G, D), a)
        assert max(weight.abs().max().item() for weight in D.parameters()) == bound


def test_a_schedule_equals_learning_rates_set_by_hand() -> None:
    a = conv_trainer(False, logistic, optimizer=adam(9.0, 0.0, 0.9), lr=linear(1e-3, 0.0))
    G, D = copies(a)
    optimizer_g = torch.optim.Adam(G.parameters(), betas=(0.0, 0.9))
    optimizer_d = torch.optim.Adam(D.parameters(), betas=(0.0, 0.9))
    for step in range(5):
        for optimizer in (optimizer_g, optimizer_d):
            optimizer.param_groups[0]["lr"] = 1e-3 * (1 - step / 10)
        batch = a.batch(0)
        fake = G(batch["z"])
        optimizer_d.zero_grad()
        (F.softplus(-D(batch["real"])).mean() + F.softplus(D(fake.detach())).mean()).backward()
        optimizer_d.step()
        optimizer_g.zero_grad()
        F.softplus(-D(fake)).mean().backward()
        optimizer_g.step()
        a.train_step()
        assert_same((G, D), a)


# --- penalties --------------------------------------------------------------------------------------------------------

Term = Callable[[Callable[[Tensor], Tensor], Batch], Tensor]


def squared_gradient_norm(discriminator: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1)


def r1() -> Term:
    return lambda discriminator, batch: squared_gradient_norm(discriminator, batch["real"]).mean()


def r2() -> Term:
    return lambda discriminator, batch: squared_gradient_norm(discriminator, batch["fake"]).mean()


def gp() -> Term:
    def term(discriminator: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
        x = batch["real"].lerp(batch["fake"], batch["u"].view(-1, 1, 1, 1)).detach().requires_grad_()
        return (squared_gradient_norm(discriminator, x).sqrt() - 1).square().mean()

    return term


PENALTIES = (
    Penalty(r1, weight=0.5, every=2, name="r1"),
    Penalty(r2, weight=0.25, every=3, name="r2"),
    Penalty(gp, weight=10.0, name="gp"),
)


def factors_at(step: int) -> dict[str, float]:
    """The penalties of a step and their factors: n times the weight at every n-th step."""
    factors = {"r1": 2 * 0.5, "r2": 3 * 0.25, "gp": 10.0}
    intervals = {"r1": 2, "r2": 3, "gp": 1}
    return {name: factor for name, factor in factors.items() if step % intervals[name] == 0}


def separately(D: nn.Module, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
    """Loss and penalties with one forward pass each, on separate copies of the inputs."""
    real, fake = batch["real"].clone(), batch["fake"].clone()
    terms = {"loss": F.softplus(-D(real)).mean() + F.softplus(D(fake)).mean()}
    for name, factor in factors_at(step).items():
        x = {"r1": real, "r2": fake, "gp": real + batch["u"].view(-1, 1, 1, 1) * (fake - real)}[name]
        x = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(D(x), x, torch.ones(len(x), 1, dtype=x.dtype), create_graph=True)
        squared = gradient.square().sum((1, 2, 3))
        terms[name] = factor * ((squared.sqrt() - 1) ** 2 if name == "gp" else squared).mean()
    return terms


@pytest.mark.parametrize("step", range(7))
def test_lazy_penalties_on_shared_logits_have_the_gradient_of_separate_ones(step: int) -> None:
    a = conv_trainer(False, logistic, optimizer=adam(2e-4), penalties=PENALTIES)
    weights = list(a.nets.D.parameters())
    batch = a.batch(0)
    batch["fake"] = a.nets.G(batch["z"]).detach()
    loss = play_at(a.recipe.players["discriminator"].loss, step)
    assert loss is not None
    ours = {name: term for name, term in loss(a.nets, batch).items() if not name.startswith("_")}
    theirs = separately(a.nets.D, batch, step)
    assert ours.keys() == theirs.keys() == {"loss", *factors_at(step)}
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-12, atol=1e-12)
    found = torch.autograd.grad(sum(ours.values()), weights)
    expected = torch.autograd.grad(sum(theirs.values()), weights)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_lazy_penalties_equal_a_handwritten_loop() -> None:
    a = conv_trainer(False, logistic, optimizer=adam(1e-3, 0.0, 0.9), penalties=PENALTIES)
    G, D = copies(a)
    optimizer_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.0, 0.9))
    optimizer_d = torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.0, 0.9))
    for step in range(7):
        batch = a.batch(0)
        fake = G(batch["z"])
        optimizer_d.zero_grad()
        sum(separately(D, {**batch, "fake": fake.detach()}, step).values()).backward()
        optimizer_d.step()
        optimizer_g.zero_grad()
        F.softplus(-D(fake)).mean().backward()
        optimizer_g.step()
        a.train_step()
        assert_same((G, D), a)


def test_penalties_on_real_and_fake_need_no_further_forward_pass() -> None:
    calls: list[int] = []
    a = conv_trainer(False, logistic, optimizer=adam(2e-4), penalties=PENALTIES[:2])
    a.nets.D.register_forward_hook(lambda *_: calls.append(1))
    a.train_step()
    assert len(calls) == 3  # real and fake for the discriminator, fake for the generator
