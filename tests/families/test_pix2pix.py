"""pix2pix: its losses in closed form, its networks at any size, golden losses, exact resume, graphs and bf16."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pairs import BATCH, PAIRS, SIDE, pairs, pix2pix
from sketch.training import difference, snapshot, train
from sketch.two_player import assert_same_steps, taped

from aigc_zoo.engine.networks import build_networks
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Spec, count_parameters
from aigc_zoo_plugins.translation.networks import patch, reflected, unet

GOLDEN = Path(__file__).parent.parent / "golden" / "pix2pix.json"


def begin(dtype: torch.dtype = torch.float32, *, options: dict[str, Any] | None = None, **settings: Any) -> Trainer:
    recipe = pix2pix(**(options or {}))
    return Trainer(recipe, PAIRS, lambda n: pairs(n, dtype=dtype), batch_size=BATCH, steps=20, dtype=dtype, **settings)


def golden() -> dict[str, list[float]]:
    terms = train(begin(torch.float64, seed=0), 10)
    return {name: [float(one[name]) for one in terms] for name in terms[0] if "/_" not in name}


def test_losses_are_those_of_the_paper() -> None:
    """Equations 1 and 3 with the authors' halved loss of D and the non-saturating loss of G."""
    trainer = begin(torch.float64, options={"l1": 10.0, "adversarial": 0.5})
    nets, batch = trainer.nets, pairs(3, dtype=torch.float64)
    fake = nets.G(batch["source"])
    real_logits, fake_logits = (nets.D(torch.cat((batch["source"], x), 1), None) for x in (batch["real"], fake))
    d_loss = trainer.recipe.players["discriminator"].loss(nets, batch | {"fake": fake.detach()})["loss"]
    g_terms = trainer.recipe.players["generator"].loss(nets, batch | {"fake": fake})
    expected = (F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()) / 2
    torch.testing.assert_close(d_loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(g_terms["loss"], 0.5 * F.softplus(-fake_logits).mean(), rtol=1e-12, atol=0)
    torch.testing.assert_close(g_terms["l1"], 10 * F.l1_loss(fake, batch["real"]), rtol=1e-12, atol=0)


def test_without_an_adversarial_term_there_is_no_discriminator() -> None:
    trainer = begin(options={"adversarial": 0.0})
    assert list(trainer.nets) == ["G"]
    assert set(trainer.train_step()) == {"generator/l1"}


def with_features(dtype: torch.dtype = torch.float32, weight: float = 2.0) -> Trainer:
    spec = Spec(shape=(3, 32, 32), entries={"source": Spec(shape=(1, 32, 32))})
    recipe = pix2pix(features="zoo-rgb32", perceptual=weight)
    return Trainer(recipe, spec, lambda n: pairs(n, dtype=dtype, side=32), batch_size=BATCH, steps=20, dtype=dtype)


def test_the_perceptual_term_is_the_distance_of_features() -> None:
    trainer, batch = with_features(torch.float64), pairs(3, dtype=torch.float64, side=32)
    fake = trainer.nets.G(batch["source"])
    terms = trainer.recipe.players["generator"].loss(trainer.nets, batch | {"fake": fake})
    ours, theirs = (trainer.frozen["features"](x)["features"] for x in (fake, batch["real"]))
    torch.testing.assert_close(terms["perceptual"], 2 * F.mse_loss(ours, theirs), rtol=1e-12, atol=0)
    before = float(with_features(weight=0.0).train_step()["generator/perceptual"])
    assert before == 0.0, "it is off"
    values = [float(one["generator/perceptual"]) for one in train(with_features(weight=100.0), 15)]
    assert values[-1] < 0.9 * values[0], values


def test_by_default_there_is_no_perceptual_term() -> None:
    trainer = begin()
    assert set(trainer.nets) == {"G", "D"}
    assert "generator/perceptual" not in trainer.train_step()


@pytest.mark.parametrize("loss", ["hinge", "least-squares", "relativistic", "wasserstein"])
def test_every_adversarial_loss_fits(loss: str) -> None:
    assert all(value.isfinite() for value in train(begin(options={"loss": loss}), 2)[-1].values())


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("up", ["resize", "transposed"])
@pytest.mark.parametrize("size", [(12, 12), (13, 29), (5, 64), (1, 3)])
def test_the_unet_keeps_any_size(norm: Any, up: Any, size: tuple[int, int]) -> None:
    net = unet(PAIRS, width=4, norm=norm, up=up).eval()
    image = net(torch.rand(2, 1, *size) * 2 - 1)
    assert image.shape == (2, 3, *size)
    assert image.abs().max() <= 1


def test_the_networks_of_the_paper_have_the_published_sizes() -> None:
    """256x256 and width 64: 54.4 million weights in the authors' U-Net, 2.8 million in their 70x70 discriminator."""
    spec = Spec(shape=(3, 256, 256), entries={"source": Spec(shape=(3, 256, 256))})
    net = unet(spec, levels=8, norm="batch", up="transposed")
    assert count_parameters(net) == pytest.approx(54.41e6, rel=1e-3)
    assert count_parameters(patch(Spec(shape=(6, 256, 256)), norm="batch")) == pytest.approx(2.77e6, rel=2e-3)
    assert patch(Spec(shape=(6, 256, 256)), width=1)(torch.rand(1, 6, 256, 256)).shape == (1, 1, 30, 30)


def test_reflection_pads_more_than_the_image_has() -> None:
    x = torch.arange(6.0).view(1, 1, 2, 3)
    padded = reflected(x, 5, 4)
    assert padded.shape == (1, 1, 7, 7)
    assert padded[0, 0, 0].tolist() == [0, 1, 2, 1, 0, 1, 2]
    assert padded[0, 0, :, 0].tolist() == [0, 3, 0, 3, 0, 3, 0]
    assert reflected(torch.ones(1, 1, 1, 1), 2, 1).shape == (1, 1, 3, 2)


def test_data_without_a_source_is_refused() -> None:
    with pytest.raises(ConfigError, match="no such entry"):
        build_networks(pix2pix(), Spec(shape=(3, SIDE, SIDE)), seed=0)
    with pytest.raises(ConfigError, match=r"--discriminator\.depth"):
        build_networks(pix2pix(discriminator__depth=3), PAIRS, seed=0)


def test_golden_losses() -> None:
    expected = json.loads(GOLDEN.read_text())
    found = golden()
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-9), name


@pytest.mark.parametrize("options", [{}, {"ema": 0.9, "generator__dropout": 0.5}, {"adversarial": 0.0}])
def test_resume_is_exact(options: dict[str, Any]) -> None:
    whole = begin(options=options)
    train(whole, 3)
    resumed = begin(options=options)
    resumed.load(*snapshot(whole))
    train(whole, 3)
    train(resumed, 3)
    assert difference(snapshot(whole)[0], snapshot(resumed)[0]) == 0.0


def test_bf16_follows_float32() -> None:
    ours, theirs = train(begin(precision="bf16"), 3), train(begin(), 3)
    for one, other in zip(ours, theirs, strict=True):
        for term, value in one.items():
            torch.testing.assert_close(value, other[term], rtol=0.1, atol=0.2)


def test_recorded_steps_equal_eager_bit_for_bit() -> None:
    ours, theirs = begin(), begin()
    tapes = taped(ours, "auto")
    assert_same_steps(ours, theirs, 6)
    assert ours.engine.choice.name == "graph", ours.engine.choice.why
    assert tapes.tapes >= 1


def test_micro_batches_equal_the_whole_batch() -> None:
    one, other = (begin(torch.float64, accumulate=parts).train_step() for parts in (1, 4))
    for term in one:
        torch.testing.assert_close(one[term], other[term], rtol=0, atol=1e-12)


@pytest.mark.parametrize("tile", [None, 64])
def test_a_photo_is_translated_at_its_size(tile: int | None) -> None:
    from aigc_zoo.data.inputs import Input
    from aigc_zoo.engine.sampler import Sampler
    from aigc_zoo.game import Nets
    from aigc_zoo.run.sizes import generated

    recipe = pix2pix()
    nets = Nets({"G": build_networks(recipe, PAIRS, seed=0)["G"]})
    photo = Input("photo.png", Spec(shape=(1, 333, 500)), lambda: torch.zeros(1, 1, 333, 500))
    sampler = Sampler(recipe, PAIRS, nets, inputs=lambda rows: {})
    sample, spec = generated(sampler, recipe.multiple, 0, {"source": photo}, tile)
    assert sample.shape == (1, *spec.shape) == (1, 3, 333, 500)


def test_the_learning_rate_falls_in_the_second_half() -> None:
    player = pix2pix(lr=4e-4).players["generator"]
    assert callable(player.lr)
    rates = [float(player.lr(None, {"t": torch.tensor(t)})) for t in (0.0, 0.5, 0.75, 1.0)]  # type: ignore[arg-type]
    assert rates == pytest.approx([4e-4, 4e-4, 2e-4, 0.0])


def test_it_learns_to_invert() -> None:
    """Sources and their negatives, which a network of width 8 approximates in 150 steps."""

    def source(number: int) -> dict[str, torch.Tensor]:
        grey = pairs(number)["source"]
        return {"source": grey, "real": -grey.expand(-1, 3, -1, -1)}

    recipe = pix2pix(lr=2e-3, generator__width=8, adversarial=0.0)
    trainer = Trainer(recipe, PAIRS, source, batch_size=BATCH, steps=150)
    losses = [float(one["generator/l1"]) for one in train(trainer, 150)]
    assert max(losses[-10:]) < 0.7 * losses[0], losses


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden(), indent=1) + "\n")
