"""Ten families with one trainer: all of them train, resume exactly, keep an EMA and sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sketch.components import Family
from sketch.families import FAMILIES
from sketch.training import Saved, difference, snapshot, start, train

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.engine.networks import build_networks
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Schedule

STEPS, BEFORE = 8, 5

UNUSED = {
    "wgan_gp": {"D.head.bias"},
    "video": {"D_frame.head.bias", "D_clip.head.bias"},
    "r3gan": {"D.head.bias"},
}
"""Biases that losses of differences of logits do not depend on (Wasserstein, hinge inside its margin, relativistic)."""


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]()


def resumed(family: Family, saved: Saved) -> Saved:
    """The state after the remaining steps of a new trainer that loads a saved state."""
    a = start(family)
    a.load(*saved)
    train(a, STEPS - a.step)
    return snapshot(a)


def uninterrupted(family: Family) -> Saved:
    """The state after all steps."""
    a = start(family)
    train(a, STEPS)
    return snapshot(a)


def saved_midway(family: Family) -> Saved:
    """The state after some of the steps."""
    a = start(family)
    train(a, BEFORE)
    return snapshot(a)


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_every_controlled_parameter_gets_a_gradient_and_changes(name: str) -> None:
    family = FAMILIES[name]()
    a = start(family)
    controlled = {
        f"{net}.{part}": weight
        for player in family.recipe.players.values()
        for net in player.controls
        for part, weight in a.nets[net].named_parameters()
    }
    with_gradient = set()
    for _ in range(STEPS):
        terms = a.train_step()
        assert all(torch.isfinite(term) for term in terms.values())
        with_gradient |= {part for part, weight in controlled.items() if weight.grad is not None}
    assert a.diverged() is None
    assert with_gradient == controlled.keys()
    initial = build_networks(family.recipe, family.spec, seed=0)
    unchanged = {part for part, weight in initial.named_parameters() if torch.equal(weight, a.nets.get_parameter(part))}
    assert unchanged <= UNUSED.get(name, set())


def test_progress_counts_every_batch_of_every_rank() -> None:
    a = start(FAMILIES["wgan_gp"](), steps=10)  # three discriminator turns per step, each on its own batch
    assert (a.progress, a.images) == (0.0, 0)
    train(a, 5)
    assert (a.progress, a.images) == (0.5, 5 * 3 * 8)
    batch = a.batch(2)
    assert (float(batch["t"]), float(batch["images"])) == (0.5, 120.0)


def test_noise_differs_between_batches_and_is_reproducible() -> None:
    a = start(FAMILIES["wgan_gp"]())
    first, second = a.batch(0), a.batch(1)
    assert torch.equal(first["z"], a.batch(0)["z"])
    train(a, 1)
    later = a.batch(0)
    for key in ("real", "z", "u"):
        assert not torch.equal(first[key], second[key])
        assert not torch.equal(first[key], later[key])


def test_another_seed_trains_differently(family: Family) -> None:
    a, b = start(family, seed=0), start(family, seed=1)
    train(a, 1)
    train(b, 1)
    assert difference(snapshot(a)[0], snapshot(b)[0]) > 0


def test_training_does_not_change_the_global_random_state(family: Family) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(start(family), 2)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(3)  # training does not depend on it either
    assert difference(uninterrupted(family)[0], uninterrupted(family)[0]) == 0.0


# --- resume -----------------------------------------------------------------------------------------------------------


def test_resume_is_exact(family: Family) -> None:
    (tensors, scalars), (again, rest) = uninterrupted(family), resumed(family, saved_midway(family))
    assert difference(tensors, again) == 0.0
    assert scalars == rest
    assert scalars["step"] == STEPS


def test_resume_from_a_file_is_exact(family: Family, tmp_path: Path) -> None:
    path = tmp_path / "5.safetensors"
    tensors, scalars = saved_midway(family)
    checkpoint.save(path, tensors, {"state": scalars})
    loaded, card = checkpoint.load(path)
    assert difference(uninterrupted(family)[0], resumed(family, (loaded, card["state"]))[0]) == 0.0


def test_a_trainer_shares_no_memory_with_the_loaded_state() -> None:
    family = FAMILIES["stylegan2"]()
    saved = saved_midway(family)
    kept = {name: tensor.clone() for name, tensor in saved[0].items()}
    resumed(family, saved)
    assert difference(saved[0], kept) == 0.0


def without(saved: Saved, part: str) -> Saved:
    """The saved state with one part replaced by that of a new trainer, as if it had not been saved."""
    tensors, scalars = saved
    fresh, new = snapshot(start(FAMILIES["stylegan2"]()))
    if part == "optimizers":
        kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("optimizer/")}
        return kept | {k: v for k, v in fresh.items() if k.startswith("optimizer/")}, {
            **scalars,
            "optimizers": new["optimizers"],
        }
    if part == "step":
        return tensors, {**scalars, "step": new["step"]}
    names = {"EMA": "ema/", "state buffer": "nets/ada.p", "sign of ADA": "nets/ada.sign"}
    changed = {name: fresh[name] for name in tensors if name.startswith(names[part])}
    assert changed
    return tensors | changed, scalars


@pytest.mark.promise("R16", 1, 1)
@pytest.mark.parametrize("part", ["optimizers", "EMA", "step", "state buffer", "sign of ADA"])
def test_resume_with_incomplete_state_differs(part: str, promise: Any) -> None:
    """Negative controls (RELIABILITY R16): if any of these parts were not saved, the tests above would fail."""
    family = FAMILIES["stylegan2"]()
    a = start(family)
    a.load(*without(saved_midway(family), part))
    train(a, STEPS - BEFORE)  # counted here, as a trainer that lost its step would train too long
    tensors, _ = snapshot(a)
    expected, _ = uninterrupted(family)
    assert difference(expected, {name: tensors[name] for name in expected}) > 0
    promise.kept(controls=1, noticed=1)


# --- EMA --------------------------------------------------------------------------------------------------------------


def decay_at(family: Family, a: Trainer, name: str) -> float:
    """The decay of the next step by definition: min(d, (1 + n) / (10 + n)), or the value of the schedule."""
    decay: float | Schedule = family.recipe.ema[name]
    if callable(decay):
        return float(decay(a.nets, a.batch(family.recipe.rounds - 1)))
    return min(decay, (1 + a.step) / (10 + a.step))


@pytest.mark.parametrize("name", ["wgan_gp", "stylegan2", "r3gan"])
def test_ema_equals_its_definition(name: str) -> None:
    family = FAMILIES[name]()
    a = start(family, dtype=torch.float64)
    expected = [weight.detach().clone() for weight in a.nets.G.parameters()]
    decays = []
    for _ in range(STEPS):
        decays.append(d := decay_at(family, a, "G"))
        a.train_step()
        expected = [
            d * average + (1 - d) * w.detach() for average, w in zip(expected, a.nets.G.parameters(), strict=True)
        ]
        for average, ours in zip(expected, a.ema.G.parameters(), strict=True):
            torch.testing.assert_close(ours, average, rtol=0, atol=1e-14)
    assert decays == sorted(decays)  # a warm-up, which reduces the weight of the first steps
    assert decays[0] <= 0.1 < decays[-1]


# --- samples ----------------------------------------------------------------------------------------------------------


def test_samples_are_a_function_of_seed_and_index(family: Family) -> None:
    a = start(family)
    train(a, 4)

    def samples(count: int, seed: int = 0, key: str = family.key) -> torch.Tensor:
        return a.sampler(seed=seed, inputs=family.inputs).samples(count, key=key)

    many = samples(130)  # two whole chunks and a part of a third
    assert len(many) == 130
    assert torch.equal(many, samples(130))
    for fewer in (1, 64, 65):
        assert torch.equal(many[:fewer], samples(fewer))
    if family.recipe.draw(family.source(0)):
        assert not torch.equal(many, samples(130, seed=1))
    if family.spec.modality != "text":  # soft tokens are distributions over tokens
        assert many.shape[1:] == family.spec.shape


def test_sampling_does_not_change_the_trainer(family: Family) -> None:
    a = start(family)
    train(a, 2)
    before, _ = snapshot(a)
    modes = [module.training for module in a.nets.modules()]
    torch.manual_seed(3)
    random_state = torch.get_rng_state()
    a.sampler(inputs=family.inputs).samples(65, key=family.key)
    assert torch.equal(random_state, torch.get_rng_state())
    assert modes == [module.training for module in a.nets.modules()]
    assert all(weight.requires_grad for weight in a.nets.parameters())
    assert difference(before, snapshot(a)[0]) == 0.0


def test_samples_use_ema_weights() -> None:
    a = start(FAMILIES["wgan_gp"]())
    train(a, 4)
    ema, raw = a.sampler().samples(8), a.sampler(ema=False).samples(8)
    assert not torch.equal(ema, raw)
    a.ema.G.load_state_dict(a.nets.G.state_dict())
    assert torch.equal(a.sampler().samples(8), raw)
