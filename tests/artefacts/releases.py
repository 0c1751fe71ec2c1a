"""One checkpoint of each release and the pixels of its generator. As a script, writes those of this version."""

import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import aigc_zoo
from aigc_zoo.api import Run
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.modality import to_uint8

FOLDER = Path(__file__).parent.parent / "golden" / "releases"
LIMIT = 200_000  # bytes
SETTINGS: dict[str, Any] = {
    "generator.width": 4,
    "discriminator.width": 4,
    "generator.dense": 8,
    "discriminator.dense": 8,
    "latent": 8,
    "batch_size": 32,
    "steps": 3_000,
    "sample_every": 3_000,
    "eval_every": 3_000,
    "eval_num": 192,
}


def pixels(run: Run) -> np.ndarray:
    """Sixteen samples side by side, (H, 16 W) uint8."""
    images = to_uint8(run.sample(16, seed=0), run.generator.spec)
    return torch.cat(list(images[:, 0]), dim=1).numpy()


def machine() -> str:
    """Version and processor features that determine the bits that torch computes."""
    return f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()} {platform.machine()}"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run = aigc_zoo.train("dcgan", "digits", out=Path(folder) / "run", **SETTINGS)
        newest = RunDirectory(run.path).checkpoints()[-1][1]
        stem = FOLDER / aigc_zoo.__version__
        target = stem.with_name(f"{stem.name}.safetensors")
        target.write_bytes(newest.read_bytes())
        Image.fromarray(pixels(aigc_zoo.load_run(target))).save(f"{stem}.png")
        Path(f"{stem}.json").write_text(json.dumps({"machine": machine()}, indent=1) + "\n")
    sys.stdout.write(f"{target}: {target.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
