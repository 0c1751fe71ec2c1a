"""The game of DRAGAN, with every part open to exchange."""

from typing import Annotated, Any

from aigc_zoo.game import Recipe, adam
from aigc_zoo.spec import Range, Slot
from aigc_zoo.two_player import two_player


def dragan(
    *,
    generator: Annotated[Any, Slot("generator")] = "dcgan",
    discriminator: Annotated[Any, Slot("discriminator")] = "dcgan.plain",
    loss: Annotated[Any, Slot("loss")] = "non-saturating",
    penalty: tuple[Annotated[Any, Slot("penalty")], ...] = ("dragan",),
    augmentation: Annotated[Any, Slot("augmentation")] | None = None,
    latent: Annotated[int, Range(1, 4096)] = 100,
    lr: Annotated[float, Range(0, 1)] = 2e-4,
    discriminator_lr: Annotated[float, Range(0, 1)] | None = None,
    discriminator_turns: Annotated[int, Range(1, 100)] = 1,
    conditional: bool = False,
    ema: Annotated[float, Range(0, 0.99999)] = 0.999,
) -> Recipe:
    """DRAGAN (Kodali et al., 2017): the first GAN's loss, with slopes of one kept in a neighbourhood of the reals.

    lambda 10, k 1, on DCGAN's networks without batch normalisation in the critic, by Adam at 2e-4 with 0.5. The survey
    has numbers of it ("DRAGAN") but no row of settings: batches of 64 and one critic turn are the paper's algorithm,
    200,000 steps those of the row "DCGAN SG". Noise is normal, see the penalty. Samples come from the generator's
    moving average, which the paper does not keep.

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
        optimizer=adam(lr, 0.5),
        discriminator_optimizer=adam(lr if discriminator_lr is None else discriminator_lr, 0.5),
        discriminator_turns=discriminator_turns,
        ema=ema,
        batch_size=64,
        steps=200_000,
    )
