"""The game of WGAN with clipped weights, with every part open to exchange."""

from typing import Annotated, Any

from aigc_zoo.game import Recipe, clipped, rmsprop
from aigc_zoo.spec import Range, Slot
from aigc_zoo.two_player import two_player


def wgan(
    *,
    generator: Annotated[Any, Slot("generator")] = "dcgan",
    discriminator: Annotated[Any, Slot("discriminator")] = "dcgan",
    loss: Annotated[Any, Slot("loss")] = "wasserstein",
    penalty: tuple[Annotated[Any, Slot("penalty")], ...] = (),
    augmentation: Annotated[Any, Slot("augmentation")] | None = None,
    latent: Annotated[int, Range(1, 4096)] = 100,
    lr: Annotated[float, Range(0, 1)] = 5e-5,
    clip: Annotated[float, Range(1e-6, 1)] = 0.01,
    discriminator_turns: Annotated[int, Range(1, 100)] = 5,
    conditional: bool = False,
    ema: Annotated[float, Range(0, 0.99999)] = 0.999,
) -> Recipe:
    """WGAN (Arjovsky et al., 2017, algorithm 1): the critic's weights are clamped to +-0.01 after each of its steps.

    RMSprop at 5e-5, batches of 64, five critic turns, on DCGAN's networks, as in the paper; the survey's "WGAN clip"
    has numbers but no settings. The authors' code gives the critic 100 turns in each of the first 25 steps; here turns
    are the same in every step. Samples come from the generator's moving average, which the paper does not keep.

    latent: numbers in z.
    lr: RMSprop's rate, of both players.
    clip: the bound of the critic's weights.
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
        optimizer=rmsprop(lr),
        discriminator_optimizer=clipped(rmsprop(lr), clip),
        discriminator_turns=discriminator_turns,
        ema=ema,
        batch_size=64,
        steps=100_000,
    )
