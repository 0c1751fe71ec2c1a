"""Families that translate images, or generate text, video and audio."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sketch import components
from sketch.components import IMAGE, Family, logistic, noise, non_saturating, squared_error, squared_gradient_norm
from torch import Tensor

from aigc_zoo.game import Batch, Every, Nets, Player, Recipe, Spec, Terms, Until, adam, plus


def cyclegan() -> Family:
    """CycleGAN (Zhu et al., 2017): two generators, two discriminators, a decaying learning rate."""

    def generators(nets: Nets, batch: Batch) -> Terms:
        back_a, back_b = nets.G_ba(batch["fake_b"]), nets.G_ab(batch["fake_a"])
        return {
            "adversarial": squared_error(nets.D_b(batch["fake_b"]), 1) + squared_error(nets.D_a(batch["fake_a"]), 1),
            "cycle": 10 * ((back_a - batch["a"]).abs().mean() + (back_b - batch["b"]).abs().mean()),
        }

    def discriminators(nets: Nets, batch: Batch) -> Terms:
        return {
            "real": squared_error(nets.D_a(batch["a"]), 1) + squared_error(nets.D_b(batch["b"]), 1),
            "fake": squared_error(nets.D_a(batch["fake_a"]), 0) + squared_error(nets.D_b(batch["fake_b"]), 0),
        }

    def lr(nets: Nets, batch: Batch) -> Tensor:
        return 2e-4 * (2 - 2 * batch["t"]).clamp(0, 1)

    recipe = Recipe(
        networks=lambda spec: {
            "G_ab": components.convolutions(3, 3),
            "G_ba": components.convolutions(3, 3),
            "D_a": components.convolutions(3, 1),
            "D_b": components.convolutions(3, 1),
        },
        players={
            "generators": Player(controls=("G_ab", "G_ba"), loss=generators, optimizer=adam(2e-4, 0.5), lr=lr),
            "discriminators": Player(controls=("D_a", "D_b"), loss=discriminators, optimizer=adam(2e-4, 0.5), lr=lr),
        },
        generate=lambda nets, batch: {"fake_b": nets.G_ab(batch["a"]), "fake_a": nets.G_ba(batch["b"])},
        generators=("G_ab", "G_ba"),
        inputs=("a", "b"),
        imitates="b",
        steps=100,
    )
    return Family(recipe=recipe, spec=Spec(shape=IMAGE), source=components.domains, key="fake_b")


def pix2pix() -> Family:
    """pix2pix (Isola et al., 2017): a discriminator of input and output images, and an L1 loss."""

    def logits(nets: Nets, batch: Batch, key: str) -> Tensor:
        return nets.D(torch.cat([batch["a"], batch[key]], 1))

    def discriminator(nets: Nets, batch: Batch) -> Terms:
        return {"logistic": logistic(logits(nets, batch, "b"), logits(nets, batch, "fake"))}

    def generator(nets: Nets, batch: Batch) -> Terms:
        l1 = 100 * (batch["fake"] - batch["b"]).abs().mean()
        return {"adversarial": non_saturating(logits(nets, batch, "fake")), "l1": l1}

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
    """Text by a recurrent generator: maximum likelihood first, then adversarial training on soft tokens."""

    def draw(batch: Batch) -> dict[str, Tensor]:
        u = torch.rand(len(batch["real"]), 6, 12).clamp(1e-6, 1 - 1e-6)
        return {"gumbel": -(-u.log()).log()}

    def likelihood(nets: Nets, batch: Batch) -> Terms:
        predicted = nets.G.predict(batch["real"]).flatten(0, 1)
        return {"cross_entropy": F.cross_entropy(predicted, batch["real"].flatten())}

    def discriminator(nets: Nets, batch: Batch) -> Terms:
        real = F.one_hot(batch["real"], 12).to(batch["fake"].dtype)
        return {"logistic": logistic(nets.D(real), nets.D(batch["fake"]))}

    def generator(nets: Nets, batch: Batch) -> Terms:
        return {"adversarial": non_saturating(nets.D(batch["fake"]))}

    recipe = Recipe(
        networks=lambda spec: {"G": components.LanguageModel(), "D": components.Discriminator((6, 12))},
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
    """DVD-GAN (Clark et al., 2019): a discriminator of frames, and one of clips with a lazy R1 penalty."""

    def draw(batch: Batch) -> dict[str, Tensor]:
        return noise(8)(batch) | {"frame": torch.randint(0, 4, (len(batch["real"]),))}

    def frame_of(batch: Batch, key: str) -> Tensor:
        clip = batch[key]
        return clip[torch.arange(len(clip), device=clip.device), :, batch["frame"]]

    def hinge(real: Tensor, fake: Tensor) -> Tensor:
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()

    def frames(nets: Nets, batch: Batch) -> Terms:
        return {"hinge": hinge(nets.D_frame(frame_of(batch, "real")), nets.D_frame(frame_of(batch, "fake")))}

    def clips(nets: Nets, batch: Batch) -> Terms:
        return {"hinge": hinge(nets.D_clip(batch["real"]), nets.D_clip(batch["fake"]))}

    def r1(nets: Nets, batch: Batch) -> Terms:
        return {"r1": 2 * squared_gradient_norm(nets.D_clip, batch["real"])}

    def generator(nets: Nets, batch: Batch) -> Terms:
        return {"frames": -nets.D_frame(frame_of(batch, "fake")).mean(), "clips": -nets.D_clip(batch["fake"]).mean()}

    shape = (3, 4, 8, 8)
    recipe = Recipe(
        networks=lambda spec: {
            "G": components.Generator(8, shape),
            "D_frame": components.Discriminator(IMAGE),
            "D_clip": components.Discriminator(shape),
        },
        players={
            "frames": Player(controls=("D_frame",), loss=frames, optimizer=adam(2e-4)),
            "clips": Player(controls=("D_clip",), loss=plus(clips, Every(2, r1, None)), optimizer=adam(2e-4)),
            "generator": Player(controls=("G",), loss=generator, optimizer=adam(2e-4)),
        },
        draw=draw,
        generate=lambda nets, batch: {"fake": nets.G(batch["z"])},
        steps=100,
    )
    return Family(recipe=recipe, spec=Spec(shape=shape, modality="video"), source=components.clips)


def audio() -> Family:
    """HiFi-GAN (Kong et al., 2020): waves from mel spectrograms, with feature matching and a mel loss."""

    def generate(nets: Nets, batch: Batch) -> dict[str, Tensor]:
        return {"fake": torch.tanh(nets.G(F.interpolate(batch["mel"], scale_factor=8)))}

    def discriminator(nets: Nets, batch: Batch) -> Terms:
        return {"squared_error": squared_error(nets.D(batch["wave"]), 1) + squared_error(nets.D(batch["fake"]), 0)}

    def generator(nets: Nets, batch: Batch) -> Terms:
        wave, fake = batch["wave"], batch["fake"]
        return {
            "adversarial": squared_error(nets.D(fake), 1),
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
