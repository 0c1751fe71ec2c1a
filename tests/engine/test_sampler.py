"""Sampling in chunks of 64: labels, options, inputs from data, and several ranks."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from sketch.components import CLASSES
from sketch.families import FAMILIES
from sketch.toy import Weight, linear_loss, player, toy
from sketch.training import start, train
from torch import Tensor, nn

from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.engine.sampler import CHUNK, Sampler
from aigc_zoo.errors import UsageError
from aigc_zoo.game import Batch, Nets, Player, Recipe, Spec


def sampler(**settings: object) -> Sampler:
    """A sampler whose samples (N, 4) equal their one-hot label times the option `scale`."""

    def generate(nets: Nets, batch: Batch, *, scale: float = 1.0) -> Mapping[str, Tensor]:
        stamp = torch.stack([batch["t"], batch["images"]]).expand(len(batch["z"]), 2)
        return {"fake": nets.G.w * batch["label"] * scale, "z": batch["z"], "stamp": stamp}

    recipe = Recipe(
        networks=lambda spec: {"G": Weight(1.0)},
        players={"generator": player("G", loss=linear_loss("G"))},
        draw=lambda batch: {"z": torch.randn(len(batch["real"]), 2)},
        generate=generate,
        steps=1,
    )
    return Sampler(recipe, Spec(shape=(CLASSES,), classes=CLASSES), Nets({"G": Weight(1.0)}), **settings)


class WithDropout(Weight):
    """A generator with dropout in training mode."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.nn.functional.dropout(self.w * z, training=self.training)


def counts(samples: Tensor) -> list[int]:
    return samples.argmax(1).bincount(minlength=CLASSES).tolist()


def test_labels_follow_the_frequencies() -> None:
    found = counts(sampler(frequencies=(0.5, 0.5, 0.0, 0.0)).samples(640))
    assert found[2:] == [0, 0]
    assert abs(found[0] - 320) < 60
    assert min(counts(sampler().samples(640))) > 100  # without frequencies, uniform


def test_one_class_can_be_selected() -> None:
    assert counts(sampler(label=2).samples(100)) == [0, 0, 100, 0]
    assert torch.equal(sampler(label=2).samples(70, key="z"), sampler().samples(70, key="z"))


def test_options_are_passed_to_generate() -> None:
    assert torch.equal(sampler(options={"scale": 3.0}).samples(10), 3 * sampler().samples(10))


def test_stored_progress_is_used() -> None:
    assert sampler(t=0.25, images=80).samples(2, key="stamp").tolist() == [[0.25, 80.0]] * 2


def test_zero_samples_are_an_empty_tensor() -> None:
    assert sampler().samples(0).shape == (0, CLASSES)


def test_networks_are_in_evaluation_mode() -> None:
    a = toy(
        {"generator": player("G", loss=linear_loss("G"))},
        networks=lambda spec: {"G": WithDropout(), "H": Weight()},
        generate=lambda nets, batch: {"fake": nets.G(batch["z"])},
    )
    assert int((a.nets.G(torch.ones(64, 1, dtype=torch.float64)) == 0).sum()) > 0
    assert int((a.sampler().samples(64) == 0).sum()) == 0


def test_chunks_differ() -> None:
    z = sampler().samples(2 * CHUNK, key="z")
    assert not torch.equal(z[:CHUNK], z[CHUNK:])


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 64, 300])
def test_ranks_share_the_chunks_and_agree_with_one(world: int, count: int) -> None:
    chunks = [list(sampler().chunks(count, key="z", ranks=Ranks(rank, world))) for rank in range(world)]
    order = [chunks[number % world][number // world] for number in range(-(-count // CHUNK))]
    assert sum(map(len, chunks)) == len(order)
    assert torch.equal(torch.cat(order), sampler().samples(count, key="z"))


def test_a_recipe_with_inputs_requires_data() -> None:
    a = start(FAMILIES["pix2pix"]())
    with pytest.raises(UsageError, match="generates samples from a: say --input a=PATH, or --data PATH"):
        a.sampler()


def test_inputs_are_requested_by_row() -> None:
    family, requests = FAMILIES["pix2pix"](), []
    a = start(family)

    def inputs(rows: Tensor) -> Mapping[str, Tensor]:
        requests.append((int(rows[0]), len(rows)))
        return family.inputs(rows)

    a.sampler(inputs=inputs).samples(70)
    assert requests == [(0, CHUNK), (CHUNK, CHUNK)]


@pytest.mark.parametrize("label", range(CLASSES))
@pytest.mark.parametrize("count", [3, 70, 128])
def test_a_selected_class_wins_over_the_labels_of_the_inputs(label: int, count: int) -> None:
    def inputs(rows: Tensor) -> Mapping[str, Tensor]:
        return {"label": nn.functional.one_hot(rows % CLASSES, CLASSES).float()}

    found = counts(sampler(inputs=inputs, label=label).samples(count))
    assert found == [count if number == label else 0 for number in range(CLASSES)]


def test_without_a_selected_class_samples_have_the_labels_of_their_inputs() -> None:
    def inputs(rows: Tensor) -> Mapping[str, Tensor]:
        return {"label": nn.functional.one_hot(rows % CLASSES, CLASSES).float()}

    assert sampler(inputs=inputs).samples(70).argmax(1).tolist() == [row % CLASSES for row in range(70)]
    assert counts(sampler(inputs=lambda rows: {}, label=1).samples(5)) == [0, 5, 0, 0]


def test_other_keys_of_generate_can_be_sampled() -> None:
    a = start(FAMILIES["stylegan2"]())
    train(a, 1)
    assert a.sampler().samples(3, key="w").shape == (3, 8)


class Viewing(nn.Module):
    """A generator that calls `view` on the output of a convolution, as many do."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 6, 4)

    def forward(self, z: Tensor) -> Tensor:
        return self.up(z.view(-1, 4, 1, 1)).view(-1, 96)


def test_a_generator_that_calls_view_is_sampled_with_contiguous_tensors() -> None:
    def sampler() -> Sampler:
        torch.manual_seed(0)
        recipe = Recipe(
            networks=lambda spec: {},
            players={"discriminator": Player(controls=("D",), loss=None, optimizer=lambda weights: None)},
            generate=lambda nets, batch: {"fake": nets.G(batch["z"])},
            draw=lambda batch: {"z": torch.randn(len(batch["real"]), 4)},
            steps=1,
        )
        return Sampler(recipe, Spec(shape=(96,)), Nets({"G": Viewing()}))

    a, b = sampler(), sampler()
    assert a.nets.G.up.weight.is_contiguous(memory_format=torch.channels_last)
    first = a.chunk(0)["fake"]
    assert a.nets.G.up.weight.is_contiguous()
    later = b.chunk(1)["fake"]  # the first chunk of this sampler
    assert torch.equal(a.chunk(1)["fake"], later)
    assert torch.equal(b.chunk(0)["fake"], first)
