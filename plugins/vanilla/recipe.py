"""The game of the first GAN, with every part open to exchange."""

from typing import Annotated, Any

from aigc_zoo.game import Recipe, adam
from aigc_zoo.spec import Range, Slot
from aigc_zoo.two_player import two_player


def vanilla(
    *,
    generator: Annotated[Any, Slot("generator")] = "vanilla",
    discriminator: Annotated[Any, Slot("discriminator")] = "vanilla",
    loss: Annotated[Any, Slot("loss")] = "non-saturating",
    penalty: tuple[Annotated[Any, Slot("penalty")], ...] = (),
    augmentation: Annotated[Any, Slot("augmentation")] | None = None,
    latent: Annotated[int, Range(1, 4096)] = 100,
    lr: Annotated[float, Range(0, 1)] = 2e-4,
    beta1: Annotated[float, Range(0, 0.999)] = 0.5,
    conditional: bool = False,
    ema: Annotated[float, Range(0, 0.99999)] = 0.999,
) -> Recipe:
    """The GAN of Goodfellow et al. (2014, algorithm 1, one critic turn a step) in the setting of its MNIST experiment.

    The critic raises log D(x) + log(1 - D(G(z))), then the generator raises log D(G(z)), as section 3 advises and the
    published code does; --loss minimax lowers log(1 - D(G(z))), equation 1. No row of the survey's table: the source is
    the published code (z of 100, batches of 100). Here z is normal (uniform there), both players step with Adam (there:
    gradient descent at 0.1 with momentum 0.5 to 0.7), one after the other (there: at once), and samples come from a
    moving average.

    latent: numbers in z.
    lr: Adam's rate, of both players.
    beta1: decay of Adam's first moment.
    conditional: make and judge samples by their labels.
    ema: decay of the generator's moving average, which samples are taken from; 0 takes the weights themselves.
    """
    return two_player(
        generator,
        discriminator,
        loss,
        latent=latent,
        optimizer=adam(lr, beta1),
        penalties=penalty,
        augmentation=augmentation,
        conditional=conditional,
        ema=ema,
        batch_size=100,
        images=1_000_000,
    )
