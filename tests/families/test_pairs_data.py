"""Paired datasets: sources are functions of the real images, and nothing else can be told from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aigc_zoo.data.pool import Pool, example
from aigc_zoo.data.samples import image_samples, with_entries
from aigc_zoo.errors import DataError
from aigc_zoo.game import Spec
from aigc_zoo_plugins.datasets.edges import digits_edges, edges, grey, striped


def images(count: int, seed: int = 0, channels: int = 1) -> torch.Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, channels, 8, 8), generator=stream, dtype=torch.uint8)


def test_edges_are_where_neighbors_differ() -> None:
    ink = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    ink[..., 2:6, 3:5] = 200
    found = edges(ink)[0, 0] > 0
    assert found[3].tolist() == [False, False, True, False, True, False, False, False]
    assert found.any(1).tolist() == [False, True, True, True, True, True, False, False]


def test_tints_are_independent_of_the_source() -> None:
    splits = digits_edges(Path())
    train = splits["train"]
    assert train.spec.entries["source"] == Spec(shape=(1, 32, 32))
    assert (len(train), len(splits["test"])) == (12_000, 2_000)
    ink = train.fields["real"][:64].float().amax(1, keepdim=True) / 255
    again = striped((ink * 255).to(torch.uint8), seed=9)
    assert torch.equal(edges((ink * 255).to(torch.uint8)), edges((ink * 255).to(torch.uint8)))
    assert (again.float() - train.fields["real"][:64].float()).abs().max() > 100
    mean = train.fields["real"].float().mean((0, 2, 3))
    assert (mean / mean.mean() - 1).abs().max() < 0.02  # no color is preferred, so their mean is grey


def test_luma_is_that_of_pillow() -> None:
    pixels = images(1, channels=3)
    expected = np.asarray(Image.fromarray(pixels[0].permute(1, 2, 0).numpy()).convert("L"))
    assert np.array_equal(grey(pixels)[0, 0].numpy(), expected)


def test_pairs_are_drawn_together_and_domains_apart() -> None:
    real, source = image_samples("p", "train", images(40)), image_samples("p", "train", 255 - images(40))
    paired = Pool(with_entries(real, source=source), "cpu").batch(0, 0, 16)
    torch.testing.assert_close(paired["source"], -paired["real"])
    apart = Pool(with_entries(real, paired=False, source=source), "cpu").batch(0, 0, 16)
    assert not torch.equal(apart["source"], -apart["real"])
    assert with_entries(real, source=source).digest != real.digest


def test_pairs_of_different_lengths_are_refused() -> None:
    real, source = image_samples("p", "train", images(40)), image_samples("p", "train", images(39))
    with pytest.raises(DataError, match="source has 39 samples and real has 40: pairs need as many"):
        with_entries(real, source=source)
    apart = with_entries(real, paired=False, source=source)
    assert example(apart, 40)["source"].shape == (40, 1, 8, 8)
