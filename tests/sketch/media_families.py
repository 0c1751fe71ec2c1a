"""Small families of sound, video and text whose networks fit any `Spec` of their modality."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from sketch.components import logistic, noise, non_saturating, squared_error, squared_gradient_norm
from torch import Tensor, nn

from aigc_zoo.game import Batch, Every, Nets, Player, Recipe, Spec, Terms, Until, adam, plus

LATENT = 32


# --- sound ------------------------------------------------------------------------------------------------------------


class Wave(nn.Module):
    """z -> waves (N, 1, T) in (-1, 1), by three transposed convolutions of stride 4 (WaveGAN, Donahue et al., 2019)."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.length, self.start = length, math.ceil(length / 64)
        self.linear = nn.Linear(LATENT, 4 * width * self.start)
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.ConvTranspose1d(4 * width, 2 * width, 24, 4, 10),
            nn.ReLU(),
            nn.ConvTranspose1d(2 * width, width, 24, 4, 10),
            nn.ReLU(),
            nn.ConvTranspose1d(width, 1, 24, 4, 10),
        )

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.layers(self.linear(z).view(len(z), -1, self.start)))[..., : self.length]


class Listener(nn.Module):
    """Waves -> a logit, by way of `features`."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(1, width, 24, 4, 10),
            nn.LeakyReLU(0.2),
            nn.Conv1d(width, 2 * width, 24, 4, 10),
            nn.LeakyReLU(0.2),
            nn.Conv1d(2 * width, 4 * width, 24, 4, 10),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
        )
        self.head = nn.Linear(self.features(torch.zeros(1, 1, length)).shape[1], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def tone(*, width: int = 16) -> Recipe:
    """Waves of any length, with the feature matching of HiFi-GAN (Kong et al., 2020).

    width: channels of the widest resolution.
    """

    def networks(spec: Spec) -> dict[str, nn.Module]:
        return {"G": Wave(spec.shape[-1], width), "D": Listener(spec.shape[-1], width)}

    def discriminator(nets: Nets, batch: Batch) -> Terms:
        return {"squared_error": squared_error(nets.D(batch["real"]), 1) + squared_error(nets.D(batch["fake"]), 0)}

    def generator(nets: Nets, batch: Batch) -> Terms:
        matched = (nets.D.features(batch["fake"]).mean(0) - nets.D.features(batch["real"]).mean(0)).abs().mean()
        return {"adversarial": squared_error(nets.D(batch["fake"]), 1), "features": 2 * matched}

    return Recipe(
        networks=networks,
        players={
            "discriminator": Player(controls=("D",), loss=discriminator, optimizer=adam(4e-4, 0.5)),
            "generator": Player(controls=("G",), loss=generator, optimizer=adam(4e-4, 0.5)),
        },
        draw=noise(LATENT),
        generate=lambda nets, batch: {"fake": nets.G(batch["z"])},
        ema={"G": 0.99},
    )


# --- video ------------------------------------------------------------------------------------------------------------


class Clip(nn.Module):
    """z -> clips (N, C, T, H, W) in (-1, 1): transposed convolutions, then frames and pixels as the spec has them."""

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.shape = shape
        self.start = tuple(math.ceil(side / 4) for side in shape[1:])
        self.linear = nn.Linear(LATENT, 2 * width * math.prod(self.start))
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.ConvTranspose3d(2 * width, width, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose3d(width, shape[0], 4, 2, 1),
        )

    def forward(self, z: Tensor) -> Tensor:
        frames, height, width = self.shape[1:]
        clip = self.layers(self.linear(z).view(len(z), -1, *self.start))
        return torch.tanh(clip)[..., :frames, :height, :width]


def watcher(shape: tuple[int, ...], width: int) -> nn.Module:
    """Frames (C, H, W) or clips (C, T, H, W) -> a logit."""
    convolution = nn.Conv3d if len(shape) == 4 else nn.Conv2d
    features = nn.Sequential(
        convolution(shape[0], width, 4, 2, 1),
        nn.LeakyReLU(0.2),
        convolution(width, 2 * width, 3, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
    )
    return nn.Sequential(*features, nn.Linear(features(torch.zeros(1, *shape)).shape[1], 1))


def clip(*, width: int = 16) -> Recipe:
    """Clips as by DVD-GAN (Clark et al., 2019): a discriminator of frames and one of clips.

    width: channels of the widest resolution.
    """

    def draw(batch: Batch) -> dict[str, Tensor]:
        real = next(iter(batch.values()))
        return noise(LATENT)(batch) | {"frame": torch.randint(0, real.shape[2], (len(real),))}

    def frame_of(batch: Batch, key: str) -> Tensor:
        return batch[key][torch.arange(len(batch[key]), device=batch[key].device), :, batch["frame"]]

    def hinge(real: Tensor, fake: Tensor) -> Tensor:
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()

    def hinges(nets: Nets, batch: Batch) -> Terms:
        frames = nets.D_frame(frame_of(batch, "real")), nets.D_frame(frame_of(batch, "fake"))
        return {"frames": hinge(*frames), "clips": hinge(nets.D_clip(batch["real"]), nets.D_clip(batch["fake"]))}

    def r1(nets: Nets, batch: Batch) -> Terms:
        frames = squared_gradient_norm(nets.D_frame, frame_of(batch, "real"))
        return {"r1": 2 * (squared_gradient_norm(nets.D_clip, batch["real"]) + frames)}

    def generator(nets: Nets, batch: Batch) -> Terms:
        return {"frames": -nets.D_frame(frame_of(batch, "fake")).mean(), "clips": -nets.D_clip(batch["fake"]).mean()}

    return Recipe(
        networks=lambda spec: {
            "G": Clip(spec.shape, width),
            "D_frame": watcher((spec.shape[0], *spec.shape[2:]), width),
            "D_clip": watcher(spec.shape, width),
        },
        players={
            "discriminators": Player(
                controls=("D_frame", "D_clip"), loss=plus(hinges, Every(2, r1, None)), optimizer=adam(4e-4, 0.5)
            ),
            "generator": Player(controls=("G",), loss=generator, optimizer=adam(4e-4, 0.5)),
        },
        draw=draw,
        generate=lambda nets, batch: {"fake": nets.G(batch["z"])},
        ema={"G": 0.99},
    )


# --- text -------------------------------------------------------------------------------------------------------------


class Writer(nn.Module):
    """A recurrent language model of characters; it generates soft tokens (N, L, symbols) from Gumbel noise."""

    def __init__(self, symbols: int, width: int) -> None:
        super().__init__()
        self.begin = nn.Parameter(torch.zeros(width))
        self.embedding = nn.Embedding(symbols, width)
        self.memory = nn.GRU(width, 2 * width, batch_first=True)
        self.head = nn.Linear(2 * width, symbols)

    def forward(self, gumbel: Tensor, temperature: float) -> Tensor:
        gumbel = gumbel[..., : self.head.out_features]
        token, memory, tokens = self.begin.expand(len(gumbel), 1, -1), None, []
        for uncertain in gumbel.unbind(1):
            output, memory = self.memory(token, memory)
            soft = ((self.head(output[:, 0]) + uncertain) / temperature).softmax(1)
            tokens.append(soft)
            token = (soft @ self.embedding.weight)[:, None]
        return torch.stack(tokens, 1)

    def predict(self, text: Tensor) -> Tensor:
        """Logits (N, L, symbols) of each token from those before it."""
        before = torch.cat((self.begin.expand(len(text), 1, -1), self.embedding(text[:, :-1])), 1)
        return self.head(self.memory(before)[0])


def sentence(*, width: int = 48, pretraining: int = 300, symbols: int = 64) -> Recipe:
    """Sentences: maximum likelihood first, then adversarial training on soft tokens; samples are the likeliest tokens.

    width: dimension of the embedding of a token.
    pretraining: steps of maximum likelihood.
    symbols: largest number of different characters.
    """

    def networks(spec: Spec) -> dict[str, nn.Module]:
        count = len(spec.symbols)
        if count > symbols:
            raise ValueError(f"the data have {count} characters: use --symbols {count}")
        reader = nn.Sequential(
            nn.Flatten(), nn.Linear(spec.shape[0] * count, 2 * width), nn.LeakyReLU(0.2), nn.Linear(2 * width, 1)
        )
        return {"G": Writer(count, width), "D": reader}

    def draw(batch: Batch) -> dict[str, Tensor]:
        u = torch.rand(*next(iter(batch.values())).shape, symbols).clamp(1e-6, 1 - 1e-6)
        return {"gumbel": -(-u.log()).log()}

    def generate(nets: Nets, batch: Batch) -> dict[str, Tensor]:
        soft = nets.G(batch["gumbel"], 0.5)
        return {"fake": soft.argmax(2), "soft": soft}

    def likelihood(nets: Nets, batch: Batch) -> Terms:
        return {"cross_entropy": F.cross_entropy(nets.G.predict(batch["real"]).flatten(0, 1), batch["real"].flatten())}

    def discriminator(nets: Nets, batch: Batch) -> Terms:
        real = F.one_hot(batch["real"], batch["soft"].shape[2]).to(batch["soft"].dtype)
        return {"logistic": logistic(nets.D(real), nets.D(batch["soft"]))}

    def generator(nets: Nets, batch: Batch) -> Terms:
        return {"adversarial": 0.01 * non_saturating(nets.D(batch["soft"]))}

    return Recipe(
        networks=networks,
        players={
            "discriminator": Player(
                controls=("D",), loss=Until(pretraining, None, discriminator), optimizer=adam(1e-4)
            ),
            "generator": Player(
                controls=("G",),
                loss=Until(pretraining, likelihood, plus(likelihood, generator)),
                optimizer=adam(2e-3),
            ),
        },
        draw=draw,
        generate=generate,
    )
