"""Components of the ten families of the sketch: tiny networks, terms of losses, and synthetic data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aigc_zoo.game import Batch, Recipe, Spec
from aigc_zoo.random import generator

SIZE = 8
"""Samples per global batch."""

IMAGE = (3, 8, 8)
CLASSES = 4


@dataclass(frozen=True, kw_only=True)
class Family:
    """A recipe, the source of its batches, and the key of its samples."""

    recipe: Recipe
    spec: Spec
    source: Callable[[int], Mapping[str, Tensor]]  # the n-th whole batch, a function of n alone
    key: str = "fake"

    def inputs(self, rows: Tensor) -> Mapping[str, Tensor]:
        """The real entries that `Recipe.generate` reads, for these rows of the data."""
        rows_of_entries = [{k: v[row % SIZE] for k, v in self.source(row // SIZE).items()} for row in rows.tolist()]
        return {key: torch.stack([one[key] for one in rows_of_entries]) for key in self.recipe.inputs}


# --- data: functions of the batch number ------------------------------------------------------------------------------


def images(n: int) -> dict[str, Tensor]:
    """Images of noise in [-1, 1] with one-hot labels."""
    stream = generator(n, "images")
    real = torch.rand(SIZE, *IMAGE, generator=stream) * 2 - 1
    labels = torch.randint(0, CLASSES, (SIZE,), generator=stream)
    return {"real": real, "label": F.one_hot(labels, CLASSES).float()}


def pairs(n: int) -> dict[str, Tensor]:
    """Images and their negatives."""
    a = images(n)["real"]
    return {"a": a, "b": -a}


def domains(n: int) -> dict[str, Tensor]:
    """Unpaired images of two domains."""
    return {"a": images(n)["real"], "b": -images(n + 10**6)["real"]}


def tokens(n: int) -> dict[str, Tensor]:
    """Texts of 6 tokens out of 12."""
    return {"real": torch.randint(0, 12, (SIZE, 6), generator=generator(n, "tokens"))}


def clips(n: int) -> dict[str, Tensor]:
    """Video clips of 4 frames, (N, C, T, H, W)."""
    return {"real": torch.stack([images(5 * n + frame)["real"] for frame in range(4)], 2)}


def waves(n: int) -> dict[str, Tensor]:
    """Tones (N, 1, 64) and their loudness (N, 1, 8), which stands in for a mel spectrogram."""
    pitch = 1 + torch.arange(SIZE)[:, None] + n % 7
    wave = torch.sin(torch.linspace(0, 9, 64) * pitch)[:, None]
    return {"wave": wave, "mel": loudness(wave)}


def loudness(wave: Tensor) -> Tensor:
    return F.avg_pool1d(wave.abs(), 8)


# --- networks ---------------------------------------------------------------------------------------------------------


class Generator(nn.Module):
    """z -> samples in (-1, 1)."""

    def __init__(self, latent: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.linear = nn.Linear(latent, math.prod(shape))

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.linear(z).view(-1, *self.shape))


class Discriminator(nn.Module):
    """Samples -> a logit, by way of `features` (N, 16)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 16), nn.LeakyReLU(0.2))
        self.head = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def convolutions(before: int, after: int) -> nn.Module:
    """Images to images, or to one logit per pixel."""
    return nn.Sequential(nn.Conv2d(before, 8, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, after, 3, 1, 1))


class Styled(nn.Module):
    """The two networks of StyleGAN: z and label -> w -> image."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.mapping = nn.Linear(latent + CLASSES, 8)
        self.synthesis = Generator(8, IMAGE)


class Augment(nn.Module):
    """ADA in small (Karras et al., 2020): flips with probability p, which follows the sign of the real logits."""

    shared = True

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("p", torch.tensor(0.4))  # the paper's 0 would need more steps than the tests have
        self.register_buffer("sign", torch.tensor(0.0))

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        return torch.where(u.view(-1, 1, 1, 1) < self.p, x.flip(-1), x)

    @torch.no_grad()
    def update(self, real_logits: Tensor) -> None:
        self.sign.lerp_(real_logits.sign().mean(), 0.1)
        self.p.add_((self.sign - 0.6).sign() * 0.01).clamp_(0, 0.8)


class Path(nn.Module):
    """The running mean of path lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(0.0))


class LanguageModel(nn.Module):
    """A recurrent language model over 12 tokens; it generates soft tokens from Gumbel noise (N, 6, 12)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(12, 8)
        self.memory = nn.GRU(8, 16, batch_first=True)
        self.head = nn.Linear(16, 12)

    def forward(self, gumbel: Tensor, temperature: Tensor) -> Tensor:
        token, memory, tokens = self.embedding.weight[0].expand(len(gumbel), 1, 8), None, []
        for noise in gumbel.unbind(1):
            output, memory = self.memory(token, memory)
            soft = ((self.head(output[:, 0]) + noise) / temperature).softmax(1)
            tokens.append(soft)
            token = (soft @ self.embedding.weight)[:, None]
        return torch.stack(tokens, 1)

    def predict(self, text: Tensor) -> Tensor:
        """Logits of each token from those before it."""
        return self.head(self.memory(self.embedding(F.pad(text[:, :-1], (1, 0))))[0])


class Scales(nn.Module):
    """A small image, and a large one refined from it."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.coarse, self.fine = Generator(latent, (3, 4, 4)), convolutions(3, 3)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        low = self.coarse(z)
        return low, torch.tanh(self.fine(F.interpolate(low, scale_factor=2)))


class Balance(nn.Module):
    """The learning rate factor of the discriminator; shared, as it has to be equal on all ranks."""

    shared = True

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rate", torch.tensor(1.0))

    @torch.no_grad()
    def update(self, real_logits: Tensor) -> None:
        self.rate.lerp_((real_logits.mean() < 1).to(self.rate.dtype) + 0.1, 0.1)


# --- terms of losses --------------------------------------------------------------------------------------------------


def noise(latent: int) -> Callable[[Batch], dict[str, Tensor]]:
    """A `draw` of z and one uniform number per sample."""

    def draw(batch: Batch) -> dict[str, Tensor]:
        n = len(next(iter(batch.values())))
        return {"z": torch.randn(n, latent), "u": torch.rand(n)}

    return draw


def logistic(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's -log D(x) - log(1 - D(G(z))), of logits."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def non_saturating(fake: Tensor) -> Tensor:
    """The generator's -log D(G(z))."""
    return F.softplus(-fake).mean()


def squared_error(x: Tensor, target: float) -> Tensor:
    return (x - target).square().mean()


def squared_gradient_norm(discriminator: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """E |grad D(x)|^2, the zero-centered gradient penalty (Mescheder et al., 2018)."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1).mean()
