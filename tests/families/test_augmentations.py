"""Augmentations: their effect on pixels, derivatives, and the same random numbers for reals and fakes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import small
from torch import Tensor

from aigc_zoo.engine.networks import build_networks
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Nets, Spec
from aigc_zoo_plugins.augmentation.images import DiffAugment, Flip

ALL = {"flip": Flip, "diffaugment": DiffAugment}


def images(n: int = 4, c: int = 3, h: int = 8, w: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
    return (torch.rand(n, c, h, w, generator=torch.Generator().manual_seed(n), dtype=torch.float64) * 2 - 1).to(dtype)


def only(**on: float) -> DiffAugment:
    return DiffAugment(**({"color": False, "translation": 0.0, "cutout": 0.0} | on))


def uniforms(n: int, **columns: float) -> Tensor:
    """Numbers (n, 7): 0.5 in every column but those given, such as c3=0.9 for column 3."""
    u = torch.full((n, 7), 0.5, dtype=torch.float64)
    for name, number in columns.items():
        u[:, int(name[1:])] = number
    return u


def test_flip_mirrors_images_with_a_number_below_one_half() -> None:
    x = images()
    flipped = Flip()(x, torch.tensor([[0.1], [0.9], [0.49], [0.51]]))
    assert torch.equal(flipped[0], x[0].flip(2))
    assert torch.equal(flipped[1], x[1])
    assert torch.equal(flipped[2], x[2].flip(2))
    assert torch.equal(flipped[3], x[3])


def test_numbers_of_one_half_change_neither_color_nor_position() -> None:
    x = images()
    torch.testing.assert_close(only(color=True, translation=0.25)(x, uniforms(4)), x)


def test_brightness_saturation_and_contrast() -> None:
    x = images()
    color = only(color=True)
    torch.testing.assert_close(color(x, uniforms(4, c0=0.75)), x + 0.25)
    gray = color(x, uniforms(4, c1=0.0))
    torch.testing.assert_close(gray, x.mean(1, keepdim=True).expand_as(x))
    twice = color(x, uniforms(4, c1=1.0))
    torch.testing.assert_close(twice - x.mean(1, keepdim=True), 2 * (x - x.mean(1, keepdim=True)))
    mean = x.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(color(x, uniforms(4, c2=0.0)) - mean, 0.5 * (x - mean))


@pytest.mark.parametrize(("u", "rows"), [(0.0, -2), (0.999, 2), (0.5, 0)])
def test_translation_moves_whole_pixels_and_fills_with_gray(u: float, rows: int) -> None:
    x = images()
    shifted = only(translation=0.25)(x, uniforms(4, c3=u))
    expected = torch.zeros_like(x)
    if rows < 0:
        expected[:, :, -rows:] = x[:, :, :rows]
    elif rows > 0:
        expected[:, :, :-rows] = x[:, :, rows:]
    else:
        expected = x
    assert torch.equal(shifted, expected)


def test_cutout_grays_a_box_of_half_of_each_side() -> None:
    x = torch.ones(2, 3, 8, 6)
    result = only(cutout=0.5)(x, uniforms(2).float())
    assert (result == 0).sum((1, 2, 3)).tolist() == [3 * 4 * 3] * 2
    assert torch.equal(result[:, 0], result[:, 2])


def test_cutout_covers_every_pixel_and_may_cross_the_border() -> None:
    x = torch.ones(4000, 1, 6, 6)
    u = torch.rand(4000, 7, generator=torch.Generator().manual_seed(0))
    result = only(cutout=0.5)(x, u)
    assert ((result == 0).float().mean(0) > 0.05).all()
    areas = set((result == 0).sum((1, 2, 3)).tolist())
    assert max(areas) == 9
    assert min(areas) < 9


@pytest.mark.parametrize("name", ALL)
def test_differentiable_once_and_twice(name: str) -> None:
    augment = ALL[name]()
    noise = torch.rand(2, augment.numbers, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    x = images(2, 2, 4, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment(x, noise), (x,))
    assert torch.autograd.gradgradcheck(lambda x: augment(x, noise).square().sum(), (x,))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 48), (4, 7, 5)])
def test_images_of_any_size(name: str, shape: tuple[int, ...]) -> None:
    augment = ALL[name]()
    x = images(3, *shape, dtype=torch.float32)
    noise = augment.draw(x)
    noise[0] = 0.1
    assert noise.shape == (3, augment.numbers)
    result = augment(x, noise)
    assert result.shape == x.shape
    assert result.dtype == x.dtype
    assert not torch.equal(result, x)


SPEC = Spec(shape=(1, 28, 28))


def reals(number: int) -> dict[str, Tensor]:
    return {"real": images(6, 1, 28, 28, torch.float32)}


@pytest.mark.parametrize("name", ALL)
def test_reals_fakes_and_penalties_use_the_same_numbers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[Tensor] = []
    kind = ALL[name]
    forward = kind.forward

    def recording(self: torch.nn.Module, x: Tensor, noise: Tensor) -> Tensor:
        used.append(noise)
        return forward(self, x, noise)

    monkeypatch.setattr(kind, "forward", recording)
    recipe = small(
        "wgan-gp", apart=True, generator="dcgan", discriminator="dcgan", augmentation=name, discriminator_turns=1
    )
    trainer = Trainer(recipe, SPEC, reals, batch_size=6, steps=3)
    trainer.train_step()  # A trainer tries memory layouts before its first step.
    used.clear()
    trainer.train_step()
    assert len(used) == 4  # Reals, fakes, the penalty's samples, and fakes again for the generator.
    assert all(torch.equal(one, used[0]) for one in used)
    trainer.train_step()
    assert not torch.equal(used[4], used[0])


@pytest.mark.parametrize("order", [("flip", "diffaugment"), ("diffaugment", "flip")])
def test_several_are_applied_in_the_order_given(order: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[str] = []
    for name, kind in (("flip", Flip), ("diffaugment", DiffAugment)):
        forward = kind.forward

        def recording(self: torch.nn.Module, x: Tensor, u: Tensor, name: str = name, forward: Any = forward) -> Tensor:
            applied.append(name)
            return forward(self, x, u)

        monkeypatch.setattr(kind, "forward", recording)
    recipe = small("dcgan", apart=True, augmentation=order, augmentation__diffaugment__cutout=0.0)
    trainer = Trainer(recipe, SPEC, reals, batch_size=6, steps=2)
    trainer.train_step()
    applied.clear()
    trainer.train_step()
    assert applied == [*order] * 3  # reals and fakes of the discriminator, fakes of the generator
    assert {"noise_augmentation", "noise_augmentation_2"} <= trainer.batch(0).keys()


def test_samples_are_not_augmented() -> None:
    plain, augmented = (small("dcgan", apart=True, **more) for more in ({}, {"augmentation": "flip"}))
    nets = [Nets(recipe.networks(SPEC)) for recipe in (plain, augmented)]
    nets[1].G.load_state_dict(nets[0].G.state_dict())
    shapes = {"real": torch.zeros(1, 1, 28, 28).expand(4, -1, -1, -1)}
    generated = []
    for recipe, net in zip((plain, augmented), nets, strict=True):
        torch.manual_seed(0)
        generated.append(recipe.generate(net.eval(), shapes | dict(recipe.draw(shapes)))["fake"])
    assert torch.equal(*generated)


def test_points_are_refused() -> None:
    recipe = small("vanilla", augmentation="diffaugment")
    with pytest.raises(ConfigError, match=r"need \(N, C, H, W\), not samples of shape \(2,\)"):
        build_networks(recipe, Spec(shape=(2,), modality="points"), seed=0)
