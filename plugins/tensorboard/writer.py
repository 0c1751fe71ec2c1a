"""Writes TensorBoard event files with torch.utils.tensorboard."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

DIRECTORY = "tensorboard"

_WRITERS: dict[Path, SummaryWriter] = {}
_WRITTEN: dict[Path, set[str]] = {}


def start(run: Path) -> None:
    """Starts or resumes a run. Older event files of a resumed run already contain its sample grids."""
    end(run)
    _WRITTEN[run] = {path.name for path in _grids(run)} if (run / DIRECTORY).exists() else set()


def log(run: Path, step: int, scalars: Mapping[str, float]) -> None:
    """Writes scalars: terms as "player/term", metrics under their own names."""
    writer = _writer(run, step)
    for name, value in scalars.items():
        writer.add_scalar(name, value, step)


def add_grids(run: Path) -> None:
    """Writes new sample grids, and flushes what was logged."""
    new = [path for path in _grids(run) if path.name not in _WRITTEN.setdefault(run, set())]
    for path in new:
        step = int(path.stem)
        with Image.open(path, formats=["PNG"]) as image:
            _writer(run, step).add_image("samples", np.asarray(image.convert("RGB")), step, dataformats="HWC")
        _WRITTEN[run].add(path.name)
    if run in _WRITERS:
        _WRITERS[run].flush()


def end(run: Path) -> None:
    """Writes the remaining sample grids, and closes the event file."""
    if run in _WRITERS:
        add_grids(run)
        _WRITERS.pop(run).close()
    _WRITTEN.pop(run, None)


def _writer(run: Path, step: int) -> SummaryWriter:
    """The run's writer. For a resumed run, TensorBoard discards events from this step on in older files."""
    if run not in _WRITERS:
        resumed = (run / DIRECTORY).exists()
        writer = SummaryWriter(str(run / DIRECTORY), purge_step=step if resumed else None)
        if not resumed:
            card = run / "card.json"
            text = card.read_text(encoding="utf-8") if card.exists() else ""
            writer.add_text("card", "\n".join(f"    {line}" for line in text.splitlines()), step)
        _WRITERS[run] = writer
    return _WRITERS[run]


def _grids(run: Path) -> list[Path]:
    return sorted((run / "samples").glob("*.png"))
