"""The baseline: a training loop as in a tutorial, with the networks and settings of a dcgan preset.

    python benchmarks/reference_dcgan.py --steps 200

It uses float32, a DataLoader over decoded tensors, BCEWithLogits against ones and zeros, `zero_grad` and `backward`,
and reads the losses with `.item()` at every step. Only networks and data are those of the zoo, so that a comparison
measures the loop alone.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from aigc_zoo.data import resolve
from aigc_zoo.game import Spec
from aigc_zoo.plugins import catalogue
from aigc_zoo_plugins import dcgan, gan
from aigc_zoo_plugins.dcgan import networks

COMPONENTS = {one.kind: one for one in dcgan.zoo_components()}
PRESETS = next(one for one in gan.zoo_components() if one.name == "dcgan").presets
LATENT = 100
WARM_UP = 2


class Reference:
    """A plain DCGAN trainer. Each call of `step` trains both networks on one batch and returns their two losses."""

    def __init__(
        self,
        images: Tensor,
        preset: str = "digits",
        device: str = "cpu",
        seed: int = 0,
        batch_size: int | None = None,
        on_device: bool = False,
    ) -> None:
        """`images` are (N, C, H, W) in [-1, 1], float32; `on_device` keeps them on the device, without a loader."""
        torch.manual_seed(seed)
        settings = PRESETS[preset]
        spec = Spec(shape=tuple(images.shape[1:]))
        lr, beta = float(settings.get("lr", 2e-4)), float(settings.get("beta1", 0.5))
        discriminator_lr = float(settings.get("discriminator_lr", lr))
        self.device = torch.device(device)
        self.netG = networks.generator(spec, LATENT, **_options(settings, "generator")).to(self.device)
        self.netD = networks.discriminator(spec, **_options(settings, "discriminator")).to(self.device)
        self.optG = torch.optim.Adam(self.netG.parameters(), lr=lr, betas=(beta, 0.999))
        self.optD = torch.optim.Adam(self.netD.parameters(), lr=discriminator_lr, betas=(beta, 0.999))
        self.criterion = nn.BCEWithLogitsLoss()
        self.batch_size = batch_size or int(settings.get("batch_size", 128))
        self.images = images.to(self.device) if on_device else None
        self.loader = DataLoader(TensorDataset(images), batch_size=self.batch_size, shuffle=True, drop_last=True)
        self._batches = self._endless()

    def _endless(self) -> Iterator[Tensor]:
        while self.images is not None:
            for rows in torch.randperm(len(self.images), device=self.device).split(self.batch_size):
                if len(rows) == self.batch_size:
                    yield self.images[rows]
        while True:
            for (images,) in self.loader:
                yield images

    def step(self) -> tuple[float, float]:
        real = next(self._batches).to(self.device)
        ones = torch.ones(len(real), 1, device=self.device)
        zeros = torch.zeros(len(real), 1, device=self.device)
        noise = torch.randn(len(real), LATENT, device=self.device)

        # Train D to distinguish real from fake.
        self.optD.zero_grad()
        loss_real = self.criterion(self.netD(real), ones)
        loss_real.backward()
        fake = self.netG(noise)
        loss_fake = self.criterion(self.netD(fake.detach()), zeros)
        loss_fake.backward()
        self.optD.step()

        # Train G to fool D.
        self.optG.zero_grad()
        loss_g = self.criterion(self.netD(fake), ones)
        loss_g.backward()
        self.optG.step()
        return loss_real.item() + loss_fake.item(), loss_g.item()


def _options(settings: Mapping[str, Any], side: str) -> dict[str, Any]:
    """The options of a network in a preset, from the network's own preset ("dcgan.small") or one by one."""
    named = str(settings.get(side, "")).partition(".")[2]
    own = COMPONENTS[side].presets[named] if named else {}
    return dict(own) | {
        key.removeprefix(f"{side}."): value for key, value in settings.items() if key.startswith(f"{side}.")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Train with a tutorial's DCGAN loop and print images per second.")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--data", default="digits", help="dataset, and the preset of that name if there is one")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="file for the seconds since the start, a JSON line for each step")
    given = parser.parse_args()
    pixels = resolve.load(catalogue(), given.data)["train"].fields["real"]
    preset = given.data if given.data in PRESETS else "cifar10"
    reference = Reference(pixels.float() / 127.5 - 1, preset, given.device, given.seed, given.batch_size)
    for _ in range(WARM_UP):
        reference.step()
    start = time.perf_counter()
    for step in range(given.steps):
        loss_d, loss_g = reference.step()
        if given.log:
            with given.log.open("a", encoding="utf-8") as log:
                log.write(json.dumps({"step": step + 1, "seconds": time.perf_counter() - start}) + "\n")
        if step % 50 == 0 or step == given.steps - 1:
            print(f"step {step}  D {loss_d:.3f}  G {loss_g:.3f}")
    seconds = time.perf_counter() - start
    print(f"{given.steps * reference.batch_size / seconds:.1f} images/s ({given.steps} steps in {seconds:.2f} s)")


if __name__ == "__main__":
    main()
