"""The recipe `hello`: its own generator, and an installed discriminator and loss."""

from typing import Annotated, Any

from aigc_zoo.game import Recipe, adam
from aigc_zoo.spec import Range, Slot
from aigc_zoo.two_player import two_player


def hello(
    *,
    generator: Annotated[Any, Slot("generator")] = "tiny",
    discriminator: Annotated[Any, Slot("discriminator")] = "vanilla",
    loss: Annotated[Any, Slot("loss")] = "non-saturating",
    latent: Annotated[int, Range(1, 512)] = 16,
    lr: Annotated[float, Range(0, 1)] = 1e-3,
) -> Recipe:
    """Two-player GAN trained with Adam on batches of 32.

    generator: generator network.
    discriminator: discriminator network.
    loss: adversarial loss.
    latent: dimension of z.
    lr: Adam's learning rate.
    """
    return two_player(
        generator,
        discriminator,
        loss,
        latent=latent,
        optimizer=adam(lr, 0.5),
        batch_size=32,
        steps=200,
    )
