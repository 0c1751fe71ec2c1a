"""Families that translate pictures, or make text, clips and waves."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sketch import components
from sketch.components import IMAGE, Family, fooled, logistic, noise, squares, steepness
from torch import Tensor

from aigc_zoo.game import Batch, Every, Nets, Player, Recipe, Spec, Terms, Until, adam


def cyclegan() -> Family:
    """CycleGAN (Zhu et al., 2017): two translators, two discriminators, rates that fall to zero in the second half."""

    def translators(nets: Nets, batch: Batch) -> Terms:
        back_a, back_b = nets.G_ba(batch["fake_b"]), nets.G_ab(batch["fake_a"])
        return {
            "fool": squares(nets.D_b(batch["fake_b"]), 1) + squares(nets.D_a(batch["fake_a"]), 1),
            "cycle": 10 * ((back_a - batch["a"]).abs().mean() + (back_b - batch["b"]).abs().mean()),
        }

    def discriminators(nets: Nets, batch: Batch) -> Terms:
        return {
            "real": squares(nets.D_a(batch["a"]), 1) + squares(nets.D_b(batch["b"]), 1),
            "fake": squares(nets.D_a(batch["fake_a"]), 0) + squares(nets.D_b(batch["fake_b"]), 0),
        }

    def rate(nets: Nets, batch: Batch) -> Tensor:
        return 2e-4 * (2 - 2 * batch["t"]).clamp(0, 1)

    recipe = Recipe(
        networks=lambda spec: {
            "G_ab": components.convolutions(3, 3),
            "G_ba": components.convolutions(3, 3),
            "D_a": components.convolutions(3, 1),
            "D_b": components.convolutions(3, 1),
        },
        players={
            "translators": Player(controls=("G_ab", "G_ba"), loss=translators, optimizer=adam(2e-4, 0.5), lr=rate),
            "discriminators": Player(controls=("D_a", "D_b"), loss=discriminators, optimizer=adam(2e-4, 0.5), lr=rate),
        },
        generate=lambda nets, batch: {"fake_b": nets.G_ab(batch["a"]), "fake_a": nets.G_ba(batch["b"])},
        generators=("G_ab", "G_ba"),
        inputs=("a", "b"),
        imitates="b",
        steps=100,
    )
    return Family(recipe=recipe, spec=Spec(shape=IMAGE), source=components.domains, key="fake_b")


def pix2pix() -> Family:
    """pix2pix (Isola et al., 2017): the discriminator sees picture and translation together; L1 holds them close."""

    def judged(nets: Nets, batch: Batch, key: str) -> Tensor:
        return nets.D(torch.cat([batch["a"], batch[key]], 1))

    def discriminator(nets: Nets, batch: Batch) -> Terms:
        return {"logistic": logistic(judged(nets, batch, "b"), judged(nets, batch, "fake"))}

    def generator(nets: Nets, batch: Batch) -> Terms:
        close = 100 * (batch["fake"] - batch["b"]).abs().mean()
        return {"fool": fooled(judged(nets, batch, "fake")), "close": close}

    recipe = Recipe(
        networks=lambda spec: {"G": components.convolutions(3, 3), "D": components.convolutions(6, 1)},
        players={
            "discriminator": Player(controls=("D",), loss=discriminator, optimizer=adam(2e-4, 0.5)),
            "generator": Player(controls=("G",), loss=generator, optimizer=adam(2e-4, 0.5)),
        },
        generate=lambda nets, batch: {"fake": nets.G(batch["a"])},
        inputs=("a",),
        imitates="b",
        steps=100,
    )
    return Family(recipe=recipe, spec=Spec(shape=IMAGE), source=components.pairs)


def text() -> Family:
    """Text by a recurrent writer: likelihood first, while the discriminator sits out, then the game on soft tokens."""

    def draw(batch: Batch) -> dict[str, Tensor]:
        u = torch.rand(len(batch["real"]), 6, 12).clamp(1e-6, 1 - 1e-6)
        return {"gumbel": -(-u.log()).log()}

    def likelihood(nets: Nets, batch: Batch) -> Terms:
        predicted = nets.G.predict(batch["real"]).flatten(0, 1)
        return {"surprise": F.cross_entropy(predicted, batch["real"].flatten())}

    def discriminator(nets: Nets, batch: Batch) -> Terms:
        real = F.one_hot(batch["real"], 12).to(batch["fake"].dtype)
        return {"logistic": logistic(nets.D(real), nets.D(batch["fake"]))}

    def generator(nets: Nets, batch: Batch) -> Terms:
        return {"fool": fooled(nets.D(batch["fake"]))}

    recipe = Recipe(
        networks=lambda spec: {"G": components.Writer(), "D": components.Discriminator((6, 12))},
        players={
            "discriminator": Player(controls=("D",), loss=Until(3, None, discriminator), optimizer=adam(1e-3)),
            "generator": Player(controls=("G",), loss=Until(3, likelihood, generator), optimizer=adam(1e-3)),
        },
        draw=draw,
        generate=lambda nets, batch: {"fake": nets.G(batch["gumbel"], 1 - 0.9 * batch["t"])},
        steps=100,
    )
    return Family(
        recipe=recipe, spec=Spec(shape=(6,), range=None, dtype="int64", modality="text"), source=components.tokens
    )


def video() -> Family:
    """DVD-GAN's two discriminators (Clark et al., 2019): one of single frames, one of whole clips, which has a lazy R1."""

    def draw(batch: Batch) -> dict[str, Tensor]:
        return noise(8)(batch) | {"frame": torch.randint(0, 4, (len(batch["real"]),))}

    def picked(batch: Batch, key: str) -> Tensor:
        clip = batch[key]
        return clip[torch.arange(len(clip), device=clip.device), :, batch["frame"]]

    def hinge(real: Tensor, fake: Tensor) -> Tensor:
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()

    def frames(nets: Nets, batch: Batch) -> Terms:
        return {"hinge": hinge(nets.D_frame(picked(batch, "real")), nets.D_frame(picked(batch, "fake")))}

    def clips(nets: Nets, batch: Batch) -> Terms:
        return {"hinge": hinge(nets.D_clip(batch["real"]), nets.D_clip(batch["fake"]))}

    def clips_with_r1(nets: Nets, batch: Batch) -> Terms:
        return {**clips(nets, batch), "r1": 2 * steepness(nets.D_clip, batch["real"])}

    def generator(nets: Nets, batch: Batch) -> Terms:
        return {"frames": -nets.D_frame(picked(batch, "fake")).mean(), "clips": -nets.D_clip(batch["fake"]).mean()}

    shape = (3, 4, 8, 8)
    recipe = Recipe(
        networks=lambda spec: {
            "G": components.Generator(8, shape),
            "D_frame": components.Discriminator(IMAGE),
            "D_clip": components.Discriminator(shape),
        },
        players={
            "frames": Player(controls=("D_frame",), loss=frames, optimizer=adam(2e-4)),
            "clips": Player(controls=("D_clip",), loss=Every(2, clips_with_r1, clips), optimizer=adam(2e-4)),
            "generator": Player(controls=("G",), loss=generator, optimizer=adam(2e-4)),
        },
        draw=draw,
        generate=lambda nets, batch: {"fake": nets.G(batch["z"])},
        steps=100,
    )
    return Family(recipe=recipe, spec=Spec(shape=shape, modality="video"), source=components.clips)


def audio() -> Family:
    """HiFi-GAN in small (Kong et al., 2020): wave from mel, matched in the discriminator's features and in mel."""

    def generate(nets: Nets, batch: Batch) -> dict[str, Tensor]:
        return {"fake": torch.tanh(nets.G(F.interpolate(batch["mel"], scale_factor=8)))}

    def discriminator(nets: Nets, batch: Batch) -> Terms:
        return {"squares": squares(nets.D(batch["wave"]), 1) + squares(nets.D(batch["fake"]), 0)}

    def generator(nets: Nets, batch: Batch) -> Terms:
        wave, fake = batch["wave"], batch["fake"]
        return {
            "fool": squares(nets.D(fake), 1),
            "features": 2 * (nets.D.features(fake) - nets.D.features(wave)).abs().mean(),
            "mel": 45 * (components.loudness(fake) - batch["mel"]).abs().mean(),
        }

    recipe = Recipe(
        networks=lambda spec: {"G": torch.nn.Conv1d(1, 1, 9, 1, 4), "D": components.Discriminator((1, 64))},
        players={
            "discriminator": Player(controls=("D",), loss=discriminator, optimizer=adam(2e-4, 0.8, 0.99)),
            "generator": Player(controls=("G",), loss=generator, optimizer=adam(2e-4, 0.8, 0.99)),
        },
        generate=generate,
        inputs=("mel",),
        imitates="wave",
        steps=100,
    )
    return Family(recipe=recipe, spec=Spec(shape=(1, 64), modality="audio"), source=components.waves)
