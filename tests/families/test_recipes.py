"""The general two-player recipe with the defaults of its rows; slots are callables with options bound."""

from collections.abc import Mapping
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Batch, Penalty, Recipe, Spec
from aigc_zoo.options import resolve
from aigc_zoo.plugins import catalogue
from aigc_zoo_plugins.dcgan import networks as dcgan_networks
from aigc_zoo_plugins.gan import zoo_components
from aigc_zoo_plugins.gan.recipe import gan
from aigc_zoo_plugins.losses.adversarial import minimax, non_saturating
from aigc_zoo_plugins.primer import networks as primer_networks
from aigc_zoo_plugins.vanilla import networks as vanilla_networks

RECIPES = ("dcgan", "primer", "vanilla")
DEFAULTS = {component.name: component.defaults for component in zoo_components()}
LENGTH = ("data", "batch_size", "steps", "images")
NETWORKS = {"dcgan": dcgan_networks, "primer": primer_networks, "vanilla": vanilla_networks}
SPEC = Spec(shape=(1, 28, 28))


def built(name: str, other: str | None = None, **options: object) -> Recipe:
    """The recipe with tiny networks; `other` names the plugin of another discriminator."""
    given = {
        "generator": partial(NETWORKS[name].generator, width=4),
        "discriminator": partial(NETWORKS[other or name].discriminator, width=4),
        "loss": non_saturating,
    }
    own = {key: value for key, value in DEFAULTS[name].items() if key not in (*LENGTH, *given)}
    return gan(**own | given | options)


def r1(discriminator, batch: Batch) -> Tensor:  # type: ignore[no-untyped-def]
    """E |grad D(x)|^2 at the reals, with the logits that the loss already has."""
    (gradient,) = torch.autograd.grad(discriminator(batch["real"]).sum(), batch["real"], create_graph=True)
    return gradient.flatten(1).square().sum(1).mean()


def penalised(**fields: float) -> Penalty:
    return Penalty(make=lambda: r1, name="r1", **fields)


def reals(number: int) -> Mapping[str, Tensor]:
    return {"real": torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(number)) * 2 - 1}


def trained(recipe: Recipe, steps: int = 2) -> Trainer:
    trainer = Trainer(recipe, SPEC, reals, batch_size=6, steps=steps)
    for _ in range(steps):
        trainer.train_step()
    assert trainer.diverged() is None
    return trainer


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("other", NETWORKS)
def test_every_pair_of_networks_trains(name: str, other: str) -> None:
    recipe = built(name, other, latent=5)
    before = Trainer(recipe, SPEC, reals, batch_size=6, steps=2).nets.state_dict()
    after = trained(recipe)
    for key, value in after.nets.named_parameters():
        assert not torch.equal(value, before[key]), f"{key} never moved"
    samples = after.sampler().samples(3)
    assert samples.shape == (3, 1, 28, 28)
    assert samples.abs().max() <= 1


@pytest.mark.parametrize("name", RECIPES)
def test_losses_are_exchangeable(name: str) -> None:
    recipe = built(name, loss=minimax)
    terms = Trainer(recipe, SPEC, reals, batch_size=6, steps=1).train_step()
    assert terms["generator/loss"] < 0  # E log(1 - D), below zero where the other loss is above
    assert terms["discriminator/loss"] > 0


@pytest.mark.parametrize("name", RECIPES)
def test_without_ema_samples_use_the_raw_weights(name: str) -> None:
    assert built(name, ema=0.5).ema == {"G": 0.5}
    assert built(name, ema=0.0).ema == {}
    trainer = trained(built(name, ema=0.0))
    raw = trainer.sampler(ema=False).samples(2)
    assert torch.equal(trainer.sampler().samples(2), raw)
    averaging = trained(built(name, ema=0.9))
    assert not torch.equal(averaging.sampler().samples(2), averaging.sampler(ema=False).samples(2))


@pytest.mark.parametrize("name", RECIPES)
def test_latent_and_learning_rates_reach_the_recipe(name: str) -> None:
    recipe = built(name, latent=3, lr=0.5)
    noise = recipe.draw({"real": torch.zeros(4, 1, 28, 28)})
    assert noise["z"].shape == (4, 3)
    weight = [nn.Parameter(torch.zeros(1))]
    assert {float(player.optimizer(weight).param_groups[0]["lr"]) for player in recipe.players.values()} == {0.5}


def test_the_discriminator_can_have_its_own_learning_rate() -> None:
    recipe = built("dcgan", lr=0.25, discriminator_lr=0.125, beta1=0.5)
    weight = [nn.Parameter(torch.zeros(1))]
    groups = {name: player.optimizer(weight).param_groups[0] for name, player in recipe.players.items()}
    assert {name: float(group["lr"]) for name, group in groups.items()} == {"discriminator": 0.125, "generator": 0.25}
    assert all(group["betas"] == (0.5, 0.999) for group in groups.values())
    still = built("dcgan", discriminator_lr=0.0)
    assert float(still.players["discriminator"].optimizer(weight).param_groups[0]["lr"]) == 0.0


def test_defaults_are_those_of_the_sources() -> None:
    weight = [nn.Parameter(torch.zeros(1))]
    group = built("dcgan").players["generator"].optimizer(weight).param_groups[0]
    assert (float(group["lr"]), group["betas"]) == (pytest.approx(2e-4), (0.5, 0.999))
    group = built("primer").players["generator"].optimizer(weight).param_groups[0]
    assert (float(group["lr"]), group["betas"]) == (pytest.approx(1e-4), (0.9, 0.999))
    runs = {name: resolve(catalogue(), name, data="nothing").run.card() for name in RECIPES}
    assert (runs["primer"]["batch_size"], runs["primer"]["images"]) == (128, 100 * 60_000)
    assert {name: run["batch_size"] for name, run in runs.items()} == {"dcgan": 128, "primer": 128, "vanilla": 100}
    assert {resolve(catalogue(), name).run.data for name in RECIPES} == {"zoo/digits"}


@pytest.mark.parametrize("name", ["primer", "vanilla", "dcgan"])
def test_a_penalty_against_batch_normalisation_is_refused(name: str) -> None:
    recipe = built(name, "dcgan", penalty=(penalised(),))
    with pytest.raises(ValueError, match=r"penalty r1 .* batch normalization .*--discriminator\.norm none"):
        recipe.networks(SPEC)


@pytest.mark.parametrize("norm", ["none", "group"])
def test_a_penalty_is_added_to_a_discriminator_without_batch_norm(norm: str) -> None:
    discriminator = partial(dcgan_networks.discriminator, width=4, norm=norm)
    recipe = built("dcgan", discriminator=discriminator, penalty=(penalised(weight=10.0, every=2),))
    trainer = Trainer(recipe, SPEC, reals, batch_size=6, steps=3)
    first, second, third = (trainer.train_step() for _ in range(3))
    assert first["discriminator/r1"] > 0
    assert "discriminator/r1" not in second
    assert third["discriminator/r1"] > 0


@pytest.mark.parametrize("name", RECIPES)
def test_an_augmentation_is_applied_to_reals_and_fakes(name: str) -> None:
    seen: list[bool] = []

    class Negative(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(bool(x.grad_fn))
            return -x

    trainer = Trainer(built(name, augmentation=Negative), SPEC, reals, batch_size=6, steps=2)
    trainer.train_step()  # a trainer tries layouts before its first step
    seen.clear()
    trainer.train_step()
    assert seen == [False, False, True]  # a real and a fake for the discriminator, and a fake with its graph
