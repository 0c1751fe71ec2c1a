"""Event files, through torch's own writer."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"

_WRITERS: dict[Path, SummaryWriter] = {}
_SHOWN: dict[Path, set[str]] = {}


def begin(run: Path) -> None:
    """A run starts or continues: the grids that it has are in older event files already."""
    end(run)
    _SHOWN[run] = {path.name for path in _grids(run)} if (run / FOLDER).exists() else set()


def log(run: Path, step: int, scalars: Mapping[str, float]) -> None:
    """Terms as "player/term", metrics under their own names."""
    writer = _writer(run, step)
    for name, value in scalars.items():
        writer.add_scalar(name, value, step)


def grids(run: Path) -> None:
    """The sample grids that were not shown yet, and what was logged, on the disk."""
    new = [path for path in _grids(run) if path.name not in _SHOWN.setdefault(run, set())]
    for path in new:
        step = int(path.stem)
        with Image.open(path, formats=["PNG"]) as image:
            _writer(run, step).add_image("samples", np.asarray(image.convert("RGB")), step, dataformats="HWC")
        _SHOWN[run].add(path.name)
    if run in _WRITERS:
        _WRITERS[run].flush()


def end(run: Path) -> None:
    """What is left is written, and the file is closed."""
    if run in _WRITERS:
        grids(run)
        _WRITERS.pop(run).close()
    _SHOWN.pop(run, None)


def _writer(run: Path, step: int) -> SummaryWriter:
    """The run's writer. Steps from the first one on that is written are new: what a stopped run saw of them goes."""
    if run not in _WRITERS:
        continued = (run / FOLDER).exists()
        writer = SummaryWriter(str(run / FOLDER), purge_step=step if continued else None)
        if not continued:
            card = run / "card.json"
            text = card.read_text(encoding="utf-8") if card.exists() else ""
            writer.add_text("card", "\n".join(f"    {line}" for line in text.splitlines()), step)
        _WRITERS[run] = writer
    return _WRITERS[run]


def _grids(run: Path) -> list[Path]:
    return sorted((run / "samples").glob("*.png"))
