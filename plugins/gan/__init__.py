"""The two-player recipes: one general game (recipe.py), and a row of data for each recipe that extends it."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1
Values = Mapping[str, Any]

# Small networks for minutes on two cores. Batch normalization in D wants a learning rate three times below G's; without
# it, 1e-3 for both halved FID at 64,000 images of MNIST.
SMALL = {"lr": 1e-3, "generator": "dcgan.small", "discriminator": "dcgan.small"}
TTUR = SMALL | {"discriminator_lr": 3e-4}
PLAIN = SMALL | {"discriminator": "dcgan.small-plain"}
# Points have coordinates of size one, which want weaker penalties.
MLP = {"precision": "fp32", "lr": 1e-3, "generator": "vanilla.points", "discriminator": "vanilla.points"}
POINTS = MLP | {"images": 600_000, "batch_size": 100}
STUDIO = {"latent": 128, "discriminator_turns": 2, "batch_size": 64, "steps": 200_000}
RESNET = {"generator": "resnet", "discriminator": "resnet.mean", "latent": 128, "discriminator_turns": 5}
MIMICRY = RESNET | {"beta1": 0.0, "beta2": 0.9, "lr_schedule": "linear", "batch_size": 64, "steps": 100_000}

row = partial(Component, kind="recipe", extends="gan", tags=("image", "labels"))


def scaled(images: Values, points: Values, digits: int = 256_000, mnist: int = 1_200_000, **both: Any) -> Values:
    """Presets by dataset: small networks for digits, perceptrons for points, the row's defaults for CIFAR-10."""
    sizes = {"digits": digits, "mnist": mnist}
    presets: dict[str, Values] = {name: {**images, **both, "images": count} for name, count in sizes.items()}
    return presets | {"cifar10": {}, "ring": {**points, **both}, "grid": {**points, **both}}


@hookimpl
def zoo_components() -> Iterable[Component]:
    yield Component(
        kind="recipe",
        name="gan",
        target=f"{__name__}.recipe:gan",
        summary="The general two-player game, which the other two-player recipes extend",
        paper="arXiv:1406.2661",
        tags=("image", "labels"),
        notes="The defaults are those of dcgan. Samples use EMA weights; of the sources only R1 and R3GAN keep an EMA.",
        defaults={"data": "digits", "batch_size": 128, "images": 1_000_000},
    )
    short = {"images": 600_000}
    yield row(
        name="vanilla",
        summary="The first GAN: two multilayer perceptrons",
        paper="arXiv:1406.2661",
        tags=("any-shape", "labels"),
        notes="Goodfellow et al. (2014), algorithm 1 with one update of D, in the setting of its MNIST experiment "
        "(goodfeli/adversarial, mnist.yaml: z of 100, batches of 100). --loss minimax is equation 1; the default loss "
        "of G is the one that section 3 advises. Departures: z is normal (uniform there), Adam (gradient descent at "
        "0.1 with momentum 0.5 to 0.7 there), alternating updates (simultaneous there).",
        defaults={"generator": "vanilla", "discriminator": "vanilla", "batch_size": 100},
        presets={"mnist": {}} | dict.fromkeys(("ring", "grid"), MLP | short) | {"digits": short},
    )
    narrow = {"ema": 0.999, "generator.width": 32}  # a quarter of the width: minutes on two cores instead of days
    fast = {"lr": 2e-4, "discriminator_lr": 1e-4, "images": 256_000}  # on MNIST every sample is black within 500 steps
    yield row(
        name="primer",
        summary="Introductory GAN for digits: a convolutional generator against a small perceptron",
        notes="A tutorial's model for MNIST: Adam at 1e-4, batches of 128, 100 epochs. Departures: alternating "
        "updates, where such tutorials update both networks from one forward pass; z is normal. The presets are "
        "narrower and shorter.",
        defaults={"generator": "primer", "discriminator": "primer"}
        | {"lr": 1e-4, "beta1": 0.9, "ema": 0.0, "images": 6_000_000},
        presets={"digits": narrow | fast, "mnist": narrow | {"images": 512_000}},
    )
    fast = TTUR | {"batch_size": 64}
    yield row(
        name="dcgan",
        summary="DCGAN, the convolutional GAN that most others start from; the place to begin",
        paper="arXiv:1511.06434",
        notes="Radford, Metz and Chintala (2015), section 4: Adam at 2e-4 with beta1 0.5, batches of 128, z of 100; D "
        "gets reals and fakes in separate batches, as in the authors' code (soumith/dcgan.torch, main.lua). "
        "Departures: z is normal (uniform there), no weight decay (1e-5 in Newmu/dcgan_code), a million images (25 "
        "epochs of 350,000 faces there).",
        defaults={},
        presets={
            "digits": fast | {"images": 256_000},
            "mnist": fast | {"images": 1_200_000},
            "cifar10": {"images": 12_800_000},
            # With labels, a generator without a hidden layer learns faster than one with (LOG).
            "conditional": fast | {"conditional": True, "generator": "dcgan.narrow", "images": 1_200_000},
        },
    )
    yield row(
        name="lsgan",
        summary="Least-squares loss: fakes that D already accepts are still pulled towards the data",
        paper="arXiv:1611.04076",
        notes="Mao et al. (2017), eq. 9, with the settings of POSTECH-CVLab/PyTorch-StudioGAN, "
        "src/configs/CIFAR10/LSGAN.yaml. Departures: its networks have 3x3 convolutions between those of stride two, "
        "here they are DCGAN's; the paper's own runs, on LSUN, use Adam at 1e-3.",
        defaults=STUDIO | {"loss": "least-squares"},
        presets=scaled(
            TTUR | {"generator": "dcgan.narrow", "discriminator": "dcgan.narrow"}, POINTS, discriminator_turns=1
        ),
    )
    yield row(
        name="hinge",
        summary="Geometric GAN: hinge loss on DCGAN's networks",
        paper="arXiv:1705.02894",
        notes="Lim and Ye (2017), eq. 22, with the settings of POSTECH-CVLab/PyTorch-StudioGAN, "
        "src/configs/CIFAR10/GGAN.yaml. Departure: its networks have 3x3 convolutions between those of stride two, "
        "here they are DCGAN's.",
        defaults=STUDIO | {"loss": "hinge"},
        presets=scaled(TTUR, POINTS, discriminator_turns=1),
    )
    spectral = {"lr": 1e-3, "generator": "dcgan.narrow", "discriminator": "dcgan.narrow-spectral"}
    yield row(
        name="sngan",
        summary="Hinge loss, every layer of D with spectral norm one",
        paper="arXiv:1802.05957",
        notes="Miyato et al. (2018), eq. 16 and 17, with the CIFAR-10 settings of kwotsin/mimicry, README.md; "
        "residual networks of width 256 and 128, sum pooling. With labels: class-conditional normalization in G and "
        "projection in D, as in POSTECH-CVLab/PyTorch-StudioGAN, src/configs/CIFAR10/SNGAN.yaml.",
        defaults=MIMICRY | {"discriminator": "resnet.spectral", "loss": "hinge"},
        presets=scaled(spectral, POINTS | {"discriminator": "vanilla.points-spectral"}, discriminator_turns=1),
    )
    points = POINTS | {"images": 1_200_000, "discriminator_turns": 2, "clip": 0.1}
    yield row(
        name="wgan",
        summary="Wasserstein loss, D made Lipschitz by clipping its weights",
        paper="arXiv:1701.07875",
        notes="Arjovsky et al. (2017), algorithm 1: RMSprop at 5e-5, batches of 64, five updates of D, each followed "
        "by clamping its weights to [-0.01, 0.01]; DCGAN's networks. Departure: the authors' code "
        "(martinarjovsky/WassersteinGAN, main.py) updates D 100 times in each of the first 25 steps.",
        defaults={"loss": "wasserstein", "optimizer": "rmsprop", "lr": 5e-5, "clip": 0.01}
        | {"discriminator_turns": 5, "batch_size": 64, "steps": 100_000},
        presets=scaled(SMALL | {"lr": 5e-4}, points, digits=1_280_000, mnist=3_000_000),
    )
    points = POINTS | {"images": 1_800_000, "lr_schedule": "constant"}
    for name, penalty, paper, source, norm in (
        ("wgan-gp", "gp", "arXiv:1704.00028", "Gulrajani et al. (2017), eq. 3", "one"),
        ("wgan-lp", "lp", "arXiv:1709.08894", "Petzka et al. (2018), eq. 7", "at most one"),
    ):
        yield row(
            name=name,
            summary=f"Wasserstein loss, gradient norm of {norm} between reals and fakes",
            paper=paper,
            notes=f"{source}, lambda 10, in the game of Gulrajani et al. (2017, algorithm 1) with the CIFAR-10 "
            "settings of kwotsin/mimicry, README.md; residual networks of width 256 and 128, no normalization in D, "
            "mean pooling. Departure: G's batch is as large as D's (twice in igul222/improved_wgan_training, whose "
            "lambda for points is 0.1, as here).",
            defaults=MIMICRY | {"loss": "wasserstein", "penalty": penalty},
            presets=scaled(PLAIN, points | {f"penalty.{penalty}.weight": 0.1}, digits=512_000, discriminator_turns=3),
        )
    yield row(
        name="dragan",
        summary="Non-saturating loss, gradient norm of one around the reals",
        paper="arXiv:1705.07215",
        notes="Kodali et al. (2017): lambda 10, k 1, batches of 64, one update of D, Adam at 2e-4 with beta1 0.5, "
        "DCGAN's networks without batch normalization in D; 200,000 steps as in POSTECH-CVLab/PyTorch-StudioGAN, "
        "src/configs/CIFAR10/DCGAN.yaml. Departure: normal noise around the reals.",
        defaults={"discriminator": "dcgan.plain", "penalty": "dragan", "batch_size": 64, "steps": 200_000},
        presets=scaled(TTUR | {"generator": "dcgan.narrow", "discriminator": "dcgan.small-plain"}, POINTS),
    )
    yield row(
        name="dcgan-r1",
        summary="DCGAN without batch normalization in D, zero gradient at the reals (R1)",
        paper="arXiv:1801.04406",
        notes="Mescheder et al. (2018), eq. 9: non-saturating loss, R1 with gamma 10 (a weight of 5) at every step, "
        "batches of 64, learning rate 1e-4, EMA 0.999. Departures: DCGAN's networks (residual there), Adam with betas "
        "0 and 0.99 as in StyleGAN2 (Karras et al., 2020; RMSprop there). --penalty.r1.every 16 is StyleGAN2's lazy "
        "regularization.",
        defaults={"discriminator": "dcgan.plain", "penalty": "r1", "latent": 128, "lr": 1e-4}
        | {"beta1": 0.0, "beta2": 0.99, "batch_size": 64, "images": 12_800_000},
        presets=scaled(PLAIN, POINTS | {"penalty.r1.weight": 0.5}),
    )
    yield row(
        name="rpgan-r1r2",
        summary="R3GAN's objective on residual networks: paired relativistic loss, R1 and R2",
        paper="arXiv:2501.05441",
        notes="Huang et al. (2024), eq. 2 to 4, with the paper's settings for CIFAR-10: Adam at 2e-4, learning rate "
        "falling along half a cosine to a quarter, gamma (twice the weight) to a tenth, batches of 512, 20 million "
        "images, penalties at every step. Departures: residual networks with mean pooling instead of R3GAN's own; "
        "beta2 0.99 (0.9 to 0.99 there); G gets the reals of D's batch (fresh ones there); EMA 0.999 (a half-life "
        "growing to 5 million images there); no augmentation. Gamma depends on the data: try --penalty.r1r2.weight at "
        "a tenth and at ten times a preset's.",
        defaults={"generator": "resnet", "discriminator": "resnet.mean", "loss": "relativistic"}
        | {"penalty": "r1r2", "penalty_final": 0.1, "latent": 64, "beta1": 0.0, "beta2": 0.99}
        | {"lr_schedule": "cosine", "lr_final": 0.25, "batch_size": 512, "images": 20_000_000},
        presets=scaled(PLAIN | {"batch_size": 64}, POINTS | {"penalty.r1r2.weight": 0.05}),
    )
