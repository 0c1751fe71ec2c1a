"""The two-player game: the loss of each player, its inputs, and penalties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aigc_zoo.game import Adversarial, Batch, Nets, Noisy, Penalty, Recipe, Spec, adam, play_at, rmsprop
from aigc_zoo.two_player import two_player


class Generator(nn.Module):
    """z (and label) -> (N, 3); keeps the arguments of its constructor."""

    def __init__(self, spec: Spec, latent: int) -> None:
        super().__init__()
        self.spec, self.latent = spec, latent
        self.linear = nn.Linear(latent + spec.classes, 3)

    def forward(self, z: Tensor, label: Tensor | None) -> Tensor:
        return self.linear(z if label is None else torch.cat([z, label], 1))


class Discriminator(nn.Module):
    """x (and label) -> logits (N, 1); records its inputs."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.linear = nn.Linear(3 + spec.classes, 1)
        self.inputs: list[Tensor] = []

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        self.inputs.append(x)
        return self.linear(x if label is None else torch.cat([x, label], 1))


class Shift(nn.Module):
    """An augmentation whose effect is easy to recognize."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 100


def difference(needs_real: bool = False) -> Callable[[], Adversarial]:
    return lambda: Adversarial(
        discriminator=lambda real, fake: (fake - real).mean(),
        generator=lambda fake, real: ((0 if real is None else real) - fake).mean(),
        needs_real=needs_real,
    )


SPEC = Spec(shape=(3,), classes=2, modality="points")


def standard(**settings: Any) -> Recipe:
    defaults = {
        "generator": Generator,
        "discriminator": Discriminator,
        "loss": difference(),
        "latent": 4,
        "optimizer": adam(1e-3),
    }
    return two_player(**{**defaults, "steps": 1, **settings})


def batch_of(game: Recipe, nets: Nets) -> dict[str, Tensor]:
    """A batch as the trainer builds it, with noise and fakes."""
    rng = torch.Generator().manual_seed(0)
    batch = {"real": torch.randn(6, 3, generator=rng), "label": torch.eye(2)[torch.arange(6) % 2]}
    batch |= game.draw(batch)
    return batch | {key: value.detach() for key, value in game.generate(nets, batch).items()}


def terms_of(
    game: Recipe, name: str, step: int = 0, *, nets: Nets | None = None, batch: Batch | None = None
) -> Mapping[str, Tensor]:
    nets = nets or Nets(game.networks(SPEC))
    loss = play_at(game.players[name].loss, step)
    assert loss is not None
    return loss(nets, batch or batch_of(game, nets))


def test_the_discriminator_is_updated_first_and_draw_provides_the_noise() -> None:
    game = standard(discriminator_turns=3)
    assert list(game.players) == ["discriminator", "generator"]
    assert (game.players["discriminator"].turns, game.players["generator"].turns) == (3, 1)
    noise = game.draw({"real": torch.zeros(5, 3)})
    assert {key: value.shape for key, value in noise.items()} == {"z": (5, 4), "u": (5,)}


def test_players_may_have_different_learning_rates_and_optimizers() -> None:
    first, second = adam(1e-3), rmsprop(1e-3)
    game = standard(optimizer=first, discriminator_optimizer=second, lr=0.1, discriminator_lr=0.2)
    assert (game.players["generator"].optimizer, game.players["discriminator"].optimizer) == (first, second)
    assert (game.players["generator"].lr, game.players["discriminator"].lr) == (0.1, 0.2)
    assert standard(lr=0.1).players["discriminator"].lr == 0.1


def test_only_a_conditional_game_uses_labels() -> None:
    plain = Nets(standard().networks(SPEC))
    assert (plain.G.spec.classes, plain.D.spec.classes) == (0, 0)
    conditional = standard(conditional=True)
    nets = Nets(conditional.networks(SPEC))
    assert (nets.G.spec.classes, nets.D.spec.classes) == (2, 2)
    assert set(terms_of(conditional, "discriminator", nets=nets)) == {"loss", "_real", "_fake"}


def test_a_conditional_game_without_labels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs labels, and this dataset has none: leave out --conditional"):
        standard(conditional=True).networks(Spec(shape=(3,)))


def test_the_loss_is_computed_from_the_logits() -> None:
    game = standard()
    nets = Nets(game.networks(SPEC))
    batch = batch_of(game, nets)
    real, fake = nets.D(batch["real"], None), nets.D(batch["fake"], None)
    discriminator = terms_of(game, "discriminator", nets=nets, batch=batch)
    assert discriminator["loss"].item() == pytest.approx((fake - real).mean().item(), abs=1e-6)
    assert discriminator["_real"].item() == pytest.approx(real.mean().item(), abs=1e-6)
    assert discriminator["_fake"].item() == pytest.approx(fake.mean().item(), abs=1e-6)
    generator = terms_of(game, "generator", nets=nets, batch=batch)
    assert generator["loss"].item() == pytest.approx(-fake.mean().item(), abs=1e-6)


def test_the_generator_evaluates_reals_only_if_its_loss_needs_them() -> None:
    for needs, calls in ((False, 1), (True, 2)):
        game = standard(loss=difference(needs))
        nets = Nets(game.networks(SPEC))
        terms_of(game, "generator", nets=nets)
        assert len(nets.D.inputs) == calls


def test_reals_and_fakes_are_augmented_alike_for_both_players() -> None:
    game = standard(augmentation=Shift)
    nets = Nets(game.networks(SPEC))
    assert "augmentation" in nets
    terms_of(game, "discriminator", nets=nets)
    terms_of(game, "generator", nets=nets)
    assert len(nets.D.inputs) == 3
    assert all(float(x.detach().mean()) > 90 for x in nets.D.inputs)


class Offset(Noisy):
    """An augmentation with noise: one number per sample."""

    def draw(self, real: Tensor) -> Tensor:
        return torch.rand(len(real), 1) + 50

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return x + noise


def test_the_noise_of_an_augmentation_is_part_of_the_batch() -> None:
    game = standard(augmentation=Offset)
    template = {"real": torch.zeros(1, 3).expand(6, 3)}
    torch.manual_seed(0)
    drawn = dict(game.draw(template))
    torch.manual_seed(0)
    plain = dict(standard().draw(template))
    assert all(torch.equal(drawn[key], plain[key]) for key in plain)  # the other noise does not change
    assert drawn["noise_augmentation"].shape == (6, 1)
    nets = Nets(game.networks(SPEC))
    terms_of(game, "discriminator", nets=nets)
    first, second = nets.D.inputs
    assert float(first.detach().mean()) > 40
    assert float(second.detach().mean()) > 40


class Double(nn.Module):
    """An augmentation with state that does not commute with `Shift` and `Offset`."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


@pytest.mark.parametrize(
    ("augmentations", "expected"),
    [
        ((), 0),
        ((Double, Shift), 100),
        ([Shift, Double], 200),
        ((Shift, Double, Double), 400),
        (Shift, 100),
        (None, 0),
    ],
)
def test_several_augmentations_are_applied_in_their_order(augmentations: Any, expected: float) -> None:
    nets = Nets((game := standard(augmentation=augmentations)).networks(SPEC))
    terms_of(game, "discriminator", nets=nets)
    terms_of(game, "generator", nets=nets)
    assert [round(float(x.detach().mean()), -2) for x in nets.D.inputs] == [expected] * 3


def test_each_augmentation_has_its_own_state_and_noise() -> None:
    game = standard(augmentation=(Offset, Double, Offset))
    nets = Nets(game.networks(SPEC))
    assert [name for name in nets if name not in "GD"] == ["augmentation", "augmentation_2", "augmentation_3"]
    batch = {"real": torch.zeros(6, 3), "fake": torch.zeros(6, 3)}
    batch |= dict(game.draw(batch))
    first, third = batch["noise_augmentation"], batch["noise_augmentation_3"]
    assert "noise_augmentation_2" not in batch
    assert not torch.equal(first, third)
    terms_of(game, "discriminator", nets=nets, batch=batch)
    torch.testing.assert_close(nets.D.inputs[0], (2 * first + third).expand(6, 3))


def test_ema_may_be_a_number() -> None:
    assert standard(ema=0.9).ema == {"G": 0.9}
    assert standard(ema=0.0).ema == standard().ema == {}
    assert standard(ema={"D": 0.5}).ema == {"D": 0.5}


# --- penalties --------------------------------------------------------------------------------------------------------


def constant(value: float) -> Callable[[], Callable[..., Tensor]]:
    return lambda: lambda discriminator, batch: torch.tensor(value)


def test_lazy_penalties_are_weighted_by_their_interval() -> None:
    game = standard(
        penalties=(
            Penalty(constant(1.0), weight=0.5, every=2, name="a"),
            Penalty(constant(1.0), weight=2.0, name="b"),
            Penalty(constant(1.0), weight=1.0, every=3, name="c"),
        )
    )
    expected = {
        0: {"a": 1.0, "b": 2.0, "c": 3.0},
        1: {"b": 2.0},
        2: {"a": 1.0, "b": 2.0},
        3: {"b": 2.0, "c": 3.0},
        4: {"a": 1.0, "b": 2.0},
        5: {"b": 2.0},
        6: {"a": 1.0, "b": 2.0, "c": 3.0},
    }
    for step, due in expected.items():
        found = terms_of(game, "discriminator", step)
        assert {name: float(value) for name, value in found.items() if name in "abc"} == due
        assert set(found) == {"loss", "_real", "_fake", *due}


def test_a_penalty_calls_the_discriminator_and_reuses_known_logits() -> None:
    results: dict[str, Tensor] = {}

    def term(discriminator: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
        results["real"], results["fake"] = discriminator(batch["real"]), discriminator(batch["fake"])
        (gradient,) = torch.autograd.grad(discriminator(batch["real"]).sum(), batch["real"], create_graph=True)
        results["gradient"] = gradient
        return discriminator(batch["real"].detach() * 2).mean()

    game = standard(penalties=(Penalty(lambda: term, name="p"),), augmentation=Shift)
    nets = Nets(game.networks(SPEC))
    found = terms_of(game, "discriminator", nets=nets)
    assert len(nets.D.inputs) == 3  # reals, fakes, and the inputs of the penalty alone
    assert float(nets.D.inputs[-1].mean()) > 90  # which are augmented, too
    assert float(results["real"].detach().mean()) == pytest.approx(float(found["_real"]), abs=1e-5)
    torch.testing.assert_close(results["gradient"], nets.D.linear.weight.expand(6, 3), rtol=0, atol=1e-6)


class Counter(nn.Module):
    """A penalty with state."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, discriminator: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
        self.count.add_(1)
        return discriminator(batch["real"]).mean()


def test_each_set_of_networks_has_its_own_penalty_state() -> None:
    game = standard(penalties=(Penalty(Counter, name="drift"),))
    nets, others = Nets(game.networks(SPEC)), Nets(game.networks(SPEC))
    for _ in range(2):
        terms_of(game, "discriminator", nets=nets)
    assert float(nets.state_dict()["penalty_drift.count"]) == 2.0
    assert float(others.state_dict()["penalty_drift.count"]) == 0.0


def test_penalties_need_different_names() -> None:
    with pytest.raises(ValueError, match="different names other than loss, not gp, gp"):
        standard(penalties=(Penalty(constant(1.0), name="gp"), Penalty(constant(2.0), name="gp")))
    with pytest.raises(ValueError, match="other than loss, not loss"):
        standard(penalties=(Penalty(constant(1.0), name="loss"),))


def test_penalties_refuse_batch_normalization() -> None:
    game = standard(
        discriminator=lambda spec: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)),
        penalties=(Penalty(constant(1.0), name="gp"),),
    )
    with pytest.raises(ValueError, match=r"penalty gp .*batch normalization.*--discriminator.norm none"):
        game.networks(SPEC)
    standard(
        discriminator=lambda spec: nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 1)),
        penalties=(Penalty(constant(1.0), name="gp"),),
    ).networks(SPEC)
