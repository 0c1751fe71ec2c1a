"""The game of pix2pix: D scores pairs of source and image, G translates the source (Isola et al., 2017, section 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from aigc_zoo.game import Batch, Nets, Player, Recipe, Spec, Terms, adam, linear
from aigc_zoo.spec import Range, Slot


def pix2pix(
    *,
    generator: Annotated[Any, Slot("network", like="translator")] = "unet",
    discriminator: Annotated[Any, Slot("discriminator")] = "patch",
    loss: Annotated[Any, Slot("loss")] = "non-saturating",
    adversarial: Annotated[float, Range(0, 1000)] = 1.0,
    l1: Annotated[float, Range(0, 10_000)] = 100.0,
    features: Annotated[Any, Slot("extractor")] | None = None,
    perceptual: Annotated[float, Range(0, 10_000)] = 1.0,
    lr: Annotated[float, Range(0, 1)] = 2e-4,
    lr_schedule: Literal["constant", "linear"] = "linear",
    beta1: Annotated[float, Range(0, 0.999)] = 0.5,
    beta2: Annotated[float, Range(0, 0.99999)] = 0.999,
    ema: Annotated[float, Range(0, 0.99999)] = 0.0,
) -> Recipe:
    """D minimizes half of the adversarial loss of (source, real) and (source, G(source)); G minimizes its own + L1.

    The entry `source` is translated; `real` is its counterpart (equations 1 to 4).

    generator: network from source to image.
    discriminator: network on source and image, one above the other in channels.
    loss: adversarial loss of both networks.
    adversarial: weight of the adversarial term of G; 0 trains G on L1 alone, without a discriminator.
    l1: weight of the mean absolute difference between G(source) and real.
    features: extractor of the perceptual term of G; none for no such term, as in the paper.
    perceptual: weight of the mean squared difference between the features of G(source) and real, with --features.
    lr: learning rate of both networks.
    lr_schedule: linear keeps lr for the first half of training, then falls to 0, as in the authors' code.
    beta1: Adam's decay of the first moment.
    beta2: Adam's decay of the second moment.
    ema: decay of the EMA of G's weights, 0 for none as in the paper.
    """
    terms = loss()
    rate = _second_half(lr) if lr_schedule == "linear" else None

    def discriminator_loss(nets: Nets, batch: Batch) -> Terms:
        real, fake = (_logits(nets, batch, batch[name]) for name in ("real", "fake"))
        found = {"loss": terms.discriminator(real, fake) / 2}
        return found | {"_real": real.detach().mean(), "_fake": fake.detach().mean()}

    def generator_loss(nets: Nets, batch: Batch) -> Terms:
        found = {"l1": l1 * (batch["fake"] - batch["real"]).abs().mean()}
        if adversarial:
            real = _logits(nets, batch, batch["real"]) if terms.needs_real else None
            found["loss"] = adversarial * terms.generator(_logits(nets, batch, batch["fake"]), real)
        if features is not None:
            found["perceptual"] = perceptual * _distance_of_features(nets, batch)
        return found

    def player(name: str, loss: Callable[[Nets, Batch], Terms]) -> Player:
        return Player(controls=(name,), loss=loss, optimizer=adam(lr, beta1, beta2), lr=rate)

    def networks(spec: Spec) -> dict[str, nn.Module]:
        nets: dict[str, nn.Module] = {"G": generator(spec)}
        if adversarial:
            nets["D"] = discriminator(_of_pairs(spec))
        return nets

    return Recipe(
        networks=networks,
        players=({"discriminator": player("D", discriminator_loss)} if adversarial else {})
        | {"generator": player("G", generator_loss)},
        generate=_generate,
        inputs=("source",),
        ema={"G": ema} if ema else {},
        frozen={"features": features} if features is not None else {},
        dataset="digits-edges",
        batch_size=1,
        multiple=1,
    )


def _of_pairs(spec: Spec) -> Spec:
    """A source and an image, one above the other in channels."""
    channels = spec.entries["source"].shape[0] + spec.shape[0]
    return replace(spec, shape=(channels, *spec.shape[1:]), classes=0, entries={})


def _logits(nets: Nets, batch: Batch, image: Tensor) -> Tensor:
    """D of the batch's sources with these images."""
    found: Tensor = nets.D(torch.cat((batch["source"], image), 1), None)
    return found


def _distance_of_features(nets: Nets, batch: Batch) -> Tensor:
    """The mean squared difference between the pooled features of fakes and of their counterparts.

    The feature reconstruction loss of Johnson, Alahi and Fei-Fei (2016, arXiv:1603.08155, section 3.2), which compares
    maps of features.
    """
    fake, real = (nets.features(batch[name])["features"] for name in ("fake", "real"))
    found: Tensor = (fake - real).square().mean()
    return found


def _generate(nets: Nets, batch: Batch) -> dict[str, Tensor]:
    return {"fake": nets.G(batch["source"])}


def _second_half(lr: float) -> Callable[[Nets, Batch], Tensor]:
    """lr during the first half of training, then linear to 0."""
    fall = linear(2 * lr, 0.0)
    return lambda nets, batch: torch.as_tensor(fall(nets, batch)).clamp(max=lr)
