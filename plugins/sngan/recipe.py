"""The game of SNGAN, with every part open to exchange."""

from typing import Annotated, Any

from aigc_zoo.game import Recipe, adam, linear
from aigc_zoo.spec import Range, Slot
from aigc_zoo.two_player import two_player


def sngan(
    *,
    generator: Annotated[Any, Slot("generator")] = "resnet",
    discriminator: Annotated[Any, Slot("discriminator")] = "resnet.spectral",
    loss: Annotated[Any, Slot("loss")] = "hinge",
    penalty: tuple[Annotated[Any, Slot("penalty")], ...] = (),
    augmentation: Annotated[Any, Slot("augmentation")] | None = None,
    latent: Annotated[int, Range(1, 4096)] = 128,
    lr: Annotated[float, Range(0, 1)] = 2e-4,
    discriminator_lr: Annotated[float, Range(0, 1)] | None = None,
    decay: bool = True,
    discriminator_turns: Annotated[int, Range(1, 100)] = 5,
    conditional: bool = False,
    ema: Annotated[float, Range(0, 0.99999)] = 0.999,
) -> Recipe:
    """SNGAN (Miyato et al., 2018, eq. 16 and 17): every layer of the critic is divided by its spectral norm.

    By the survey's row "SNGAN MI": Adam at 2e-4 with betas 0 and 0.9, five critic turns, batches of 64, 100,000 steps,
    the rate falling to 0; residual networks of width 256 and 128, sum pool. Samples come from the generator's moving
    average, which the row does not keep. With labels: class-conditional norm and projection (row "SNGAN SG").

    latent: numbers in z.
    lr: Adam's rate, of both players.
    discriminator_lr: the discriminator's own rate; none means lr.
    decay: let rates fall to 0 in a straight line.
    discriminator_turns: turns of the discriminator to each of the generator.
    conditional: make and judge samples by their labels.
    ema: decay of the generator's moving average, which samples are taken from; 0 takes the weights themselves.
    """
    critic = lr if discriminator_lr is None else discriminator_lr
    return two_player(
        generator,
        discriminator,
        loss,
        latent=latent,
        conditional=conditional,
        penalties=penalty,
        augmentation=augmentation,
        optimizer=adam(lr, 0.0, 0.9),
        discriminator_optimizer=adam(critic, 0.0, 0.9),
        lr=linear(lr, 0.0) if decay else None,
        discriminator_lr=linear(critic, 0.0) if decay else None,
        discriminator_turns=discriminator_turns,
        ema=ema,
        batch_size=64,
        steps=100_000,
    )
