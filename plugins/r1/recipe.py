"""R1 on DCGAN's networks, with every part open to exchange."""

from typing import Annotated, Any

from aigc_zoo.game import Recipe, adam
from aigc_zoo.spec import Range, Slot
from aigc_zoo.two_player import two_player


def dcgan_r1(
    *,
    generator: Annotated[Any, Slot("generator")] = "dcgan",
    discriminator: Annotated[Any, Slot("discriminator")] = "dcgan.plain",
    loss: Annotated[Any, Slot("loss")] = "non-saturating",
    penalty: tuple[Annotated[Any, Slot("penalty")], ...] = ("r1",),
    augmentation: Annotated[Any, Slot("augmentation")] | None = None,
    latent: Annotated[int, Range(1, 4096)] = 128,
    lr: Annotated[float, Range(0, 1)] = 1e-4,
    discriminator_lr: Annotated[float, Range(0, 1)] | None = None,
    discriminator_turns: Annotated[int, Range(1, 100)] = 1,
    conditional: bool = False,
    ema: Annotated[float, Range(0, 0.99999)] = 0.999,
) -> Recipe:
    """Non-saturating loss with R1 (Mescheder et al., 2018, eq. 9): gamma 10, which is a weight of 5, at every step.

    The penalty proved to converge locally, on DCGAN's networks without batch normalisation in the critic. The survey
    has no row of it: batches of 64, rates of 1e-4 and an average of 0.999 are the paper's; its runs on images use
    RMSprop and residual networks, here Adam has the betas 0 and 0.99 of the row "StyleGAN2".
    --penalty.r1.every 16 makes it lazy, as there.

    latent: numbers in z.
    lr: Adam's rate, of both players.
    discriminator_lr: the discriminator's own rate; none means lr.
    discriminator_turns: turns of the discriminator to each of the generator.
    conditional: make and judge samples by their labels.
    ema: decay of the generator's moving average, which samples are taken from; 0 takes the weights themselves.
    """
    return two_player(
        generator,
        discriminator,
        loss,
        latent=latent,
        conditional=conditional,
        penalties=penalty,
        augmentation=augmentation,
        optimizer=adam(lr, 0.0, 0.99),
        discriminator_optimizer=adam(lr if discriminator_lr is None else discriminator_lr, 0.0, 0.99),
        discriminator_turns=discriminator_turns,
        ema=ema,
        batch_size=64,
        images=12_800_000,
    )
