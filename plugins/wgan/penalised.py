"""The games of WGAN-GP and WGAN-LP, with every part open to exchange."""

from typing import Annotated, Any

from aigc_zoo.game import Recipe, adam, linear
from aigc_zoo.spec import Range, Slot
from aigc_zoo.two_player import two_player


def wgan_gp(
    *,
    generator: Annotated[Any, Slot("generator")] = "resnet",
    discriminator: Annotated[Any, Slot("discriminator")] = "resnet.mean",
    loss: Annotated[Any, Slot("loss")] = "wasserstein",
    penalty: tuple[Annotated[Any, Slot("penalty")], ...] = ("gp",),
    augmentation: Annotated[Any, Slot("augmentation")] | None = None,
    latent: Annotated[int, Range(1, 4096)] = 128,
    lr: Annotated[float, Range(0, 1)] = 2e-4,
    decay: bool = True,
    discriminator_turns: Annotated[int, Range(1, 100)] = 5,
    conditional: bool = False,
    ema: Annotated[float, Range(0, 0.99999)] = 0.999,
) -> Recipe:
    """WGAN-GP (Gulrajani et al., 2017, algorithm 1, eq. 3), by the settings of the survey's row "WGAN-GP MI".

    lambda 10, five critic turns, Adam at 2e-4 with betas 0 and 0.9, batches of 64, 100,000 steps, the rate falling to
    0; residual networks of width 256 and 128, no normalisation in the critic, mean pool. The generator's batch is as
    large as the critic's (the paper's code: twice), and samples come from its moving average, which neither keeps.
    wgan-lp is the same game with the one-sided penalty of Petzka et al. (2018), which has no row.

    latent: numbers in z.
    lr: Adam's rate, of both players.
    decay: let the rate fall to 0 in a straight line.
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
        optimizer=adam(lr, 0.0, 0.9),
        lr=linear(lr, 0.0) if decay else None,
        discriminator_turns=discriminator_turns,
        ema=ema,
        batch_size=64,
        steps=100_000,
    )
