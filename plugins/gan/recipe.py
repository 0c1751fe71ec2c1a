"""The general two-player game: every recipe of the table in this plugin is a row of its options."""

from typing import Annotated, Any, Literal

from aigc_zoo.game import MakeOptimizer, Recipe, Schedule, adam, clipped, cosine, linear, rmsprop
from aigc_zoo.spec import Range, Slot
from aigc_zoo.two_player import two_player


def gan(
    *,
    generator: Annotated[Any, Slot("generator")] = "dcgan",
    discriminator: Annotated[Any, Slot("discriminator")] = "dcgan",
    loss: Annotated[Any, Slot("loss")] = "non-saturating",
    penalty: tuple[Annotated[Any, Slot("penalty")], ...] = (),
    penalty_final: Annotated[float, Range(0, 1)] = 1.0,
    augmentation: tuple[Annotated[Any, Slot("augmentation")], ...] = (),
    latent: Annotated[int, Range(1, 4096)] = 100,
    conditional: bool = False,
    discriminator_turns: Annotated[int, Range(1, 100)] = 1,
    optimizer: Literal["adam", "rmsprop"] = "adam",
    lr: Annotated[float, Range(0, 1)] = 2e-4,
    discriminator_lr: Annotated[float, Range(0, 1)] | None = None,
    lr_schedule: Literal["constant", "linear", "cosine"] = "constant",
    lr_final: Annotated[float, Range(0, 1)] = 0.0,
    beta1: Annotated[float, Range(0, 0.999)] = 0.5,
    beta2: Annotated[float, Range(0, 0.99999)] = 0.999,
    clip: Annotated[float, Range(1e-6, 1)] | None = None,
    ema: Annotated[float, Range(0, 0.99999)] = 0.999,
) -> Recipe:
    """The game of Goodfellow et al. (2014, algorithm 1) with exchangeable networks, loss, penalties and optimizer.

    A step is `discriminator_turns` updates of D, then one of G. z ~ N(0, I), shape (N, latent).

    penalty: terms added to the discriminator's loss; they exclude batch normalization in the discriminator.
    penalty_final: fraction of each penalty's weight at the end of training, reached along half a cosine.
    augmentation: differentiable augmentations of reals and fakes before the discriminator, in the order of application.
    latent: dimensions of z.
    conditional: train generator and discriminator on class labels.
    discriminator_turns: discriminator updates per generator update.
    optimizer: optimizer of both networks.
    lr: learning rate of the generator, and of the discriminator unless it has its own.
    discriminator_lr: learning rate of the discriminator; none means lr.
    lr_schedule: how both learning rates fall to lr_final of their start by the end of training.
    lr_final: fraction of the learning rate at the end of training, for a linear or cosine schedule.
    beta1: Adam's decay of the first moment.
    beta2: Adam's decay of the second moment.
    clip: clamp the discriminator's weights to [-clip, clip] after each of its updates; none does not.
    ema: decay of the EMA of the generator's weights, which samples are drawn from; 0 samples the raw weights.
    """
    d_lr = lr if discriminator_lr is None else discriminator_lr

    def make(rate: float) -> MakeOptimizer:
        return adam(rate, beta1, beta2) if optimizer == "adam" else rmsprop(rate)

    def schedule(rate: float) -> Schedule | None:
        curve = {"linear": linear, "cosine": cosine}.get(lr_schedule)
        return curve(rate, lr_final * rate) if curve else None

    if penalty_final < 1:
        penalty = tuple(p._replace(weight=cosine(p.weight, penalty_final * p.weight)) for p in penalty)
    return two_player(
        generator,
        discriminator,
        loss,
        latent=latent,
        optimizer=make(lr),
        discriminator_optimizer=clipped(make(d_lr), clip) if clip else make(d_lr),
        discriminator_turns=discriminator_turns,
        lr=schedule(lr),
        discriminator_lr=schedule(d_lr),
        penalties=penalty,
        augmentation=augmentation,
        conditional=conditional,
        ema=ema,
    )
