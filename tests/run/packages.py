"""Distributions and plugin files of strangers with the same names: recipe, row, datasets, extractor and generator."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import pytest

from aigc_zoo import plugins
from aigc_zoo.cli import main

MANIFEST = """
from aigc_zoo.spec import Component, hookimpl
ZOO_API = 1
@hookimpl
def zoo_components():
    for kind, name in {components!r}:
        yield Component(kind=kind, name=name, target=f"{{__name__}}{module}:{{name}}", summary="s",
                        suffixes=(".pts",) if name == "signs" else ())
    if {row!r}:
        yield Component(kind="recipe", name="row", extends="zoo/dcgan", summary="s",
                        defaults={{"data": "shared", "extractor": "tiny", "generator": "small", "steps": 4}})
"""
CODE = """
from pathlib import Path
from typing import Annotated, Any

from aigc_zoo.spec import Slot


def shared(where):
    import torch
    from aigc_zoo.data.samples import image_samples
    pixels = torch.randint(0, 255, (64, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed({seed}))
    return {{"train": image_samples("shared", "train", pixels, extractor="tiny")}}


def signs(where, *, count: int = 40, table: Path | None = None):
    import torch
    from aigc_zoo.data.samples import image_samples
    seed = {seed} + sum(int(path.read_text()) for path in (where, table) if path is not None and path.is_file())
    pixels = torch.randint(0, 255, (64, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return {{"train": image_samples("signs", "train", pixels[:count])}}


def tiny():
    from torch import nn

    class Pixels(nn.Module):
        def forward(self, images):
            return {{"features": images.flatten(1)[:, :{dimensions}].float()}}
    return Pixels()


def small(spec, latent):
    from torch import nn

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(latent, 64)

        def forward(self, z, label):
            return self.linear(z).tanh().view(-1, *spec.shape)
    return Linear()


def mine(*, generator: Annotated[Any, Slot("generator")] = "small", lr: float = 1e-3, table: Path | None = None):
    from torch import nn
    from aigc_zoo.game import Adversarial, adam
    from aigc_zoo.two_player import two_player

    class Discriminator(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(64, 1)

        def forward(self, x, label):
            return self.linear(x.flatten(1))
    loss = lambda: Adversarial(lambda real, fake: (fake - real).mean(), lambda fake, real: -fake.mean())
    return two_player(generator, lambda spec: Discriminator(), loss, latent=4, optimizer=adam(lr), dataset="shared",
                      batch_size=8, steps=4)
"""
ALL = (("recipe", "mine"), ("dataset", "shared"), ("extractor", "tiny"), ("generator", "small"))


class Packages:
    """Distributions in a folder on the path, which can be installed and removed, and the command with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, name: str, version: str = "0.2", components: tuple[tuple[str, str], ...] = ALL) -> None:
        """Installs the distribution; its dataset and its extractor differ from those of another name."""
        module, seed = name.replace("-", "_"), len(name) + ord(name[-1])
        for former in (module, f"{module}_code"):  # of another test
            sys.modules.pop(former, None)
        info = self.folder / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[aigc_zoo]\n{module} = {module}\n")
        row = ("recipe", "mine") in components
        (self.folder / f"{module}.py").write_text(MANIFEST.format(components=components, module="_code", row=row))
        (self.folder / f"{module}_code.py").write_text(CODE.format(seed=seed, dimensions=seed % 5 + 2))
        self.forget()

    def remove(self, name: str) -> None:
        module = name.replace("-", "_")
        for path in self.folder.glob(f"{module}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.forget()

    def forget(self) -> None:
        """Lets the next command discover the plugins again, as a new process would."""
        plugins._discover.cache_clear()
        importlib.invalidate_caches()
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(self.folder)):
                del sys.modules[name]

    def catalogue(self) -> plugins.Catalogue:
        return plugins.catalogue()


def plugin_file(path: Path, components: tuple[tuple[str, str], ...] = ALL, seed: int = 7, more: str = "") -> Path:
    """Writes a plugin of a single file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    manifest = MANIFEST.format(components=components, module="", row=False)
    path.write_text(manifest + CODE.format(seed=seed, dimensions=3) + more)
    return path


def command(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit code, output and messages of a command."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def interrupted(run: Path) -> None:
    """Turns a finished run of 4 steps with checkpoints every 2 steps into one that was stopped after step 2."""
    for late in ("finished.json", "generator.safetensors", "samples.gif", "checkpoints/000000004.safetensors"):
        (run / late).unlink(missing_ok=True)
