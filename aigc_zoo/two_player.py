"""The two-player game of Goodfellow et al. (2014, algorithm 1), assembled from components: D first, then G."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from aigc_zoo.game import (
    Adversarial,
    Batch,
    Every,
    MakeOptimizer,
    Nets,
    Noisy,
    Penalty,
    Play,
    Player,
    Recipe,
    Schedule,
    Spec,
    Terms,
)

MakeModule = Callable[[], nn.Module]

_BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)


def two_player(
    generator: Callable[[Spec, int], nn.Module],
    discriminator: Callable[[Spec], nn.Module],
    loss: Callable[[], Adversarial],
    *,
    latent: int,
    optimizer: MakeOptimizer,
    discriminator_optimizer: MakeOptimizer | None = None,
    discriminator_turns: int = 1,
    lr: float | Schedule | None = None,
    discriminator_lr: float | Schedule | None = None,
    penalties: Sequence[Penalty] = (),
    augmentation: MakeModule | Sequence[MakeModule] | None = None,
    conditional: bool = False,
    ema: float | Mapping[str, float | Schedule] = 0.0,
    dataset: str = "digits",
    batch_size: int = 64,
    steps: int | None = None,
    images: int | None = None,
) -> Recipe:
    """The standard Recipe: a discriminator update on `loss` and penalties, then a generator update.

    generator                called with (spec, latent); z ~ N(0, I) of shape (N, latent)
    discriminator            called with (spec); returns logits (N, ...)
    discriminator_optimizer  None means `optimizer`, also for its learning rate
    discriminator_turns      discriminator updates per generator update
    lr, discriminator_lr     a number or a schedule, which replaces the optimizer's learning rate
    penalties                terms added to the discriminator's loss; batch normalization in D is refused with them,
                             because they need D(x) of one sample to be independent of the others
    augmentation             one or several, applied in their order to reals and fakes before D, for both players
    conditional              pass the batch's one-hot labels to both networks
    ema                      decay of the EMA of G's weights, 0 for none; or a mapping network -> decay

    Raises ValueError for penalties that share a name, and when networks are built for data that they cannot handle.
    """
    augmentations = (augmentation,) if callable(augmentation) else augmentation or ()
    game = _TwoPlayer(generator, discriminator, loss(), latent, penalties, augmentations, conditional)
    return Recipe(
        networks=game.networks,
        players={
            "discriminator": Player(
                controls=("D",),
                loss=game.discriminator_play((), game.penalties),
                optimizer=discriminator_optimizer or optimizer,
                turns=discriminator_turns,
                lr=discriminator_lr if discriminator_lr is not None else lr,
            ),
            "generator": Player(controls=("G",), loss=game.generator_loss, optimizer=optimizer, lr=lr),
        },
        draw=game.draw,
        generate=game.generate,
        ema=dict(ema) if isinstance(ema, Mapping) else {"G": ema} if ema else {},
        dataset=dataset,
        batch_size=batch_size,
        steps=steps,
        images=images,
    )


class _TwoPlayer:
    """Networks, noise and losses of the game. A component is either a function or a module that joins the networks."""

    def __init__(
        self,
        generator: Callable[[Spec, int], nn.Module],
        discriminator: Callable[[Spec], nn.Module],
        adversarial: Adversarial,
        latent: int,
        penalties: Sequence[Penalty],
        augmentations: Sequence[MakeModule],
        conditional: bool,
    ) -> None:
        self.generator, self.discriminator, self.adversarial = generator, discriminator, adversarial
        self.latent, self.penalties, self.conditional = latent, tuple(penalties), conditional
        names = [penalty.name for penalty in penalties]
        if len({*names, "loss"}) <= len(names):
            raise ValueError(f"penalties need different names other than loss, not {', '.join(names)}")
        self.builders: dict[str, Callable[[], Any]] = {f"penalty_{one.name}": one.make for one in penalties}
        numbered = enumerate(augmentations, 1)
        self.augmentations = {f"augmentation_{n}" if n > 1 else "augmentation": make for n, make in numbered}
        self.builders |= self.augmentations
        self.components = {key: build() for key, build in self.builders.items()}
        self.noisy = {f"noise_{key}": one for key, one in self.components.items() if isinstance(one, Noisy)}

    def networks(self, spec: Spec) -> Mapping[str, nn.Module]:
        """G, D, and the penalties and augmentations that have state (a running mean, say)."""
        if self.conditional and not spec.classes:
            raise ValueError("a conditional game needs labels, and this dataset has none: leave out --conditional")
        if not getattr(torch, spec.dtype).is_floating_point:
            raise ValueError(
                f"its generator makes continuous samples, and those of this dataset are {spec.dtype} tokens: choose a "
                "recipe for tokens"
            )
        known = spec if self.conditional else replace(spec, classes=0)
        nets = {"G": self.generator(known, self.latent), "D": self.discriminator(known)}
        if self.penalties and any(isinstance(module, _BATCH_NORMS) for module in nets["D"].modules()):
            raise ValueError(
                f"penalty {self.penalties[0].name} differentiates D(x) of single samples, which batch normalization in "
                "the discriminator mixes: choose another norm (--discriminator.norm none)"
            )
        for component in self.noisy.values():
            component.draw(torch.zeros(1, *spec.shape))  # one that cannot handle such samples is refused now
        built = {key: build() for key, build in self.builders.items()}
        return nets | {key: component for key, component in built.items() if isinstance(component, nn.Module)}

    def draw(self, batch: Batch) -> Mapping[str, Tensor]:
        """z (N, latent), u (N,) uniform, and the noise of each component that has some."""
        n = len(batch["real"])
        noise = {"z": torch.randn(n, self.latent), "u": torch.rand(n)}
        return noise | {key: component.draw(batch["real"]) for key, component in self.noisy.items()}

    def generate(self, nets: Nets, batch: Batch) -> Mapping[str, Tensor]:
        """The fakes G(z)."""
        return {"fake": nets.G(batch["z"], self._label(batch))}

    def logits(self, nets: Nets, batch: Batch, x: Tensor) -> Tensor:
        """D(T(x)): the discriminator on x, augmented where the game has augmentations."""
        for key in self.augmentations:
            x = self._call(key, nets, batch, x)
        logits: Tensor = nets.D(x, self._label(batch))
        return logits

    def generator_loss(self, nets: Nets, batch: Batch) -> Terms:
        """The generator's term of the adversarial loss."""
        real_logits = self.logits(nets, batch, batch["real"]) if self.adversarial.needs_real else None
        return {"loss": self.adversarial.generator(self.logits(nets, batch, batch["fake"]), real_logits)}

    def discriminator_loss(self, nets: Nets, batch: Batch, penalties: Sequence[Penalty]) -> Terms:
        """The discriminator's term of the adversarial loss, and these penalties."""
        real, fake = batch["real"], batch["fake"]
        if penalties:  # they may differentiate the logits below by their inputs
            real, fake = real.detach().requires_grad_(), fake.detach().requires_grad_()
        real_logits, fake_logits = self.logits(nets, batch, real), self.logits(nets, batch, fake)

        def discriminator(x: Tensor) -> Tensor:
            """D for penalties; the logits of the batch's own reals and fakes are not computed again."""
            return real_logits if x is real else fake_logits if x is fake else self.logits(nets, batch, x)

        terms = {
            "loss": self.adversarial.discriminator(real_logits, fake_logits),
            "_real": real_logits.detach().mean(),
            "_fake": fake_logits.detach().mean(),
        }
        inputs = {**batch, "real": real, "fake": fake}
        for penalty in penalties:
            weight = penalty.weight(nets, batch) if callable(penalty.weight) else penalty.weight
            value = self._call(f"penalty_{penalty.name}", nets, batch, discriminator, inputs)
            terms[penalty.name] = weight * penalty.every * value
        return terms

    def discriminator_play(self, due: tuple[Penalty, ...], rest: tuple[Penalty, ...]) -> Play:
        """The discriminator's loss with `due`, and each of `rest` at its own interval (lazy regularization)."""
        if not rest:
            return lambda nets, batch: self.discriminator_loss(nets, batch, due)
        first, others = rest[0], rest[1:]
        joined = self.discriminator_play((*due, first), others)
        return joined if first.every == 1 else Every(first.every, joined, self.discriminator_play(due, others))

    def _label(self, batch: Batch) -> Tensor | None:
        return batch["label"] if self.conditional else None

    def _call(self, key: str, nets: Nets, batch: Batch, *inputs: Any) -> Tensor:
        """A penalty or augmentation, with its noise where it draws some."""
        component = nets[key] if key in nets else self.components[key]
        result: Tensor = component(*inputs, *(batch[name] for name in (f"noise_{key}",) if name in self.noisy))
        return result
