"""R3GAN's objective, with every part open to exchange."""

from typing import Annotated, Any

from aigc_zoo.game import Recipe, adam, cosine
from aigc_zoo.spec import Range, Slot
from aigc_zoo.two_player import two_player


def rpgan_r1r2(
    *,
    generator: Annotated[Any, Slot("generator")] = "resnet",
    discriminator: Annotated[Any, Slot("discriminator")] = "resnet.mean",
    loss: Annotated[Any, Slot("loss")] = "relativistic",
    penalty: tuple[Annotated[Any, Slot("penalty")], ...] = ("r1r2",),
    augmentation: Annotated[Any, Slot("augmentation")] | None = None,
    latent: Annotated[int, Range(1, 4096)] = 64,
    lr: Annotated[float, Range(0, 1)] = 2e-4,
    fall: Annotated[float, Range(0, 1)] = 0.1,
    discriminator_turns: Annotated[int, Range(1, 100)] = 1,
    conditional: bool = False,
    ema: Annotated[float, Range(0, 0.99999)] = 0.999,
) -> Recipe:
    """R3GAN's objective (Huang et al., 2024, eq. 2 to 4): paired relativistic loss, R1 and R2, at every step.

    From the paper and the survey's row "R3GAN", with residual networks (mean pool) or DCGAN's in place of R3GAN's own:
    Adam with betas 0 and 0.99 (there beta2 goes from 0.9 to 0.99), the rate falling by half a cosine to a quarter,
    gamma (twice the weight, .05 for CIFAR-10) to a tenth, batches of 512, 20 million images, one critic turn. There the
    generator sees fresh reals, the average's half-life grows to 5 million images, and images are augmented.
    Gamma depends on the data: try --penalty.r1r2.weight at a tenth and at ten times what a preset has.

    latent: numbers in z.
    lr: Adam's rate at the start, of both players.
    fall: what is left of the penalty's weight at the end, as a share.
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
        penalties=[p._replace(weight=cosine(p.weight, fall * p.weight)) for p in penalty],
        augmentation=augmentation,
        optimizer=adam(lr, 0.0, 0.99),
        lr=cosine(lr, lr / 4),
        discriminator_turns=discriminator_turns,
        ema=ema,
        batch_size=512,
        images=20_000_000,
    )
