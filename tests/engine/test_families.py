"""Ten families, one trainer, no branch: all of them train, resume to the bit, average and sample."""

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

UNSEEN = {
    "wgan_gp": {"D.head.bias"},
    "video": {"D_frame.head.bias", "D_clip.head.bias"},
    "r3gan": {"D.head.bias"},
}
"""What losses of differences of logits (Wasserstein, hinge inside its margin, relativistic) do not depend on."""


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]()


def continued(family: Family, saved: Saved) -> Saved:
    """The state at the end, from one that was saved, in a trainer that shares nothing with the one it came from."""
    a = start(family)
    a.load(*saved)
    train(a, STEPS - a.step)
    return snapshot(a)


def straight(family: Family) -> Saved:
    a = start(family)
    train(a, STEPS)
    return snapshot(a)


def saved_midway(family: Family) -> Saved:
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
    reached = set()
    for _ in range(STEPS):
        terms = a.train_step()
        assert all(torch.isfinite(term) for term in terms.values())
        reached |= {part for part, weight in controlled.items() if weight.grad is not None}
    assert a.diverged() is None
    assert reached == controlled.keys()
    begun = build_networks(family.recipe, family.spec, seed=0)
    still = {part for part, weight in begun.named_parameters() if torch.equal(weight, a.nets.get_parameter(part))}
    assert still <= UNSEEN.get(name, set())


def test_progress_counts_every_batch_of_every_rank() -> None:
    a = start(FAMILIES["wgan_gp"](), steps=10)  # three discriminator turns a step, on a batch each
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
    torch.rand(3)  # and does not depend on it
    assert difference(straight(family)[0], straight(family)[0]) == 0.0


# --- resume -----------------------------------------------------------------------------------------------------------


def test_resume_is_exact(family: Family) -> None:
    (tensors, scalars), (again, rest) = straight(family), continued(family, saved_midway(family))
    assert difference(tensors, again) == 0.0
    assert scalars == rest
    assert scalars["step"] == STEPS


def test_resume_from_a_file_is_exact(family: Family, tmp_path: Path) -> None:
    path = tmp_path / "5.safetensors"
    tensors, scalars = saved_midway(family)
    checkpoint.save(path, tensors, {"state": scalars})
    loaded, card = checkpoint.load(path)
    assert difference(straight(family)[0], continued(family, (loaded, card["state"]))[0]) == 0.0


def test_a_trainer_shares_no_memory_with_the_loaded_state() -> None:
    family = FAMILIES["stylegan2"]()
    saved = saved_midway(family)
    kept = {name: tensor.clone() for name, tensor in saved[0].items()}
    continued(family, saved)
    assert difference(saved[0], kept) == 0.0


def without(saved: Saved, what: str) -> Saved:
    """What a trainer would have saved that forgot something: the value is as in a new one."""
    tensors, scalars = saved
    fresh, new = snapshot(start(FAMILIES["stylegan2"]()))
    if what == "optimisers":
        kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("optimizer/")}
        return kept | {k: v for k, v in fresh.items() if k.startswith("optimizer/")}, {
            **scalars,
            "optimizers": new["optimizers"],
        }
    if what == "step":
        return tensors, {**scalars, "step": new["step"]}
    names = {"averages": "ema/", "state buffer": "nets/ada.p", "sign of ADA": "nets/ada.sign"}
    changed = {name: fresh[name] for name in tensors if name.startswith(names[what])}
    assert changed
    return tensors | changed, scalars


@pytest.mark.promise("R16", 1, 1)
@pytest.mark.parametrize("what", ["optimisers", "averages", "step", "state buffer", "sign of ADA"])
def test_resume_with_incomplete_state_differs(what: str, promise: Any) -> None:
    """Negative controls (RELIABILITY R16): were any of these left out, the tests above would fail."""
    family = FAMILIES["stylegan2"]()
    a = start(family)
    a.load(*without(saved_midway(family), what))
    train(a, STEPS - BEFORE)  # counted here, as one that forgot the step would go on too long
    tensors, _ = snapshot(a)
    expected, _ = straight(family)
    assert difference(expected, {name: tensors[name] for name in expected}) > 0
    promise.kept(controls=1, noticed=1)


# --- averages ---------------------------------------------------------------------------------------------------------


def decay_at(family: Family, a: Trainer, name: str) -> float:
    """The decay of the coming step, from the definition: min(d, (1 + n) / (10 + n)), or the schedule itself."""
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
        expected = [d * mean + (1 - d) * w.detach() for mean, w in zip(expected, a.nets.G.parameters(), strict=True)]
        for mean, ours in zip(expected, a.ema.G.parameters(), strict=True):
            torch.testing.assert_close(ours, mean, rtol=0, atol=1e-14)
    assert decays == sorted(decays)  # a warm-up, so that the first steps are soon forgotten
    assert decays[0] <= 0.1 < decays[-1]


# --- samples ----------------------------------------------------------------------------------------------------------


def test_samples_are_a_function_of_seed_and_index(family: Family) -> None:
    a = start(family)
    train(a, 4)

    def samples(count: int, seed: int = 0, key: str = family.key) -> torch.Tensor:
        return a.sampler(seed=seed, inputs=family.inputs).samples(count, key=key)

    many = samples(130)  # two whole chunks and the beginning of a third
    assert len(many) == 130
    assert torch.equal(many, samples(130))
    for fewer in (1, 64, 65):
        assert torch.equal(many[:fewer], samples(fewer))
    if family.recipe.draw(family.source(0)):
        assert not torch.equal(many, samples(130, seed=1))
    if family.spec.modality != "text":  # which is written softly, as distributions over tokens
        assert many.shape[1:] == family.spec.shape


def test_sampling_does_not_change_the_trainer(family: Family) -> None:
    a = start(family)
    train(a, 2)
    before, _ = snapshot(a)
    modes = [module.training for module in a.nets.modules()]
    torch.manual_seed(3)
    dice = torch.get_rng_state()
    a.sampler(inputs=family.inputs).samples(65, key=family.key)
    assert torch.equal(dice, torch.get_rng_state())
    assert modes == [module.training for module in a.nets.modules()]
    assert all(weight.requires_grad for weight in a.nets.parameters())
    assert difference(before, snapshot(a)[0]) == 0.0


def test_samples_use_ema_weights() -> None:
    a = start(FAMILIES["wgan_gp"]())
    train(a, 4)
    averaged, raw = a.sampler().samples(8), a.sampler(ema=False).samples(8)
    assert not torch.equal(averaged, raw)
    a.ema.G.load_state_dict(a.nets.G.state_dict())
    assert torch.equal(a.sampler().samples(8), raw)
