"""Writes TensorBoard event files with torch.utils.tensorboard."""

from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
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
    """Writes new previews and samples that can be heard, watched or read, and flushes what was logged."""
    new = [path for path in _grids(run) if path.name not in _WRITTEN.setdefault(run, set())]
    for path in new:
        step = int(path.stem)
        _ADD[path.suffix](_writer(run, step), path, step)
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
    return sorted(path for path in (run / "samples").glob("*") if path.suffix in _ADD)


# --- files by suffix --------------------------------------------------------------------------------------------------


def _add_image(writer: SummaryWriter, path: Path, step: int) -> None:
    with Image.open(path, formats=["PNG"]) as image:
        writer.add_image("samples", np.asarray(image.convert("RGB")), step, dataformats="HWC")


def _add_animation(writer: SummaryWriter, path: Path, step: int) -> None:
    """The file as it is, since TensorBoard plays an animated GIF; torch's own function would need moviepy."""
    data = path.read_bytes()
    with Image.open(BytesIO(data), formats=["GIF"]) as image:
        shown = Summary.Image(height=image.height, width=image.width, colorspace=3, encoded_image_string=data)
    writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag="clips", image=shown)]), step)


def _add_sound(writer: SummaryWriter, path: Path, step: int) -> None:
    data = path.read_bytes()
    rate, frames = int.from_bytes(data[24:28], "little"), (len(data) - 44) // 2  # as the zoo writes it: 16 bits, mono
    sound = Summary.Audio(
        sample_rate=rate, num_channels=1, length_frames=frames, encoded_audio_string=data, content_type="audio/wav"
    )
    writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag="sounds", audio=sound)]), step)


def _add_text(writer: SummaryWriter, path: Path, step: int) -> None:
    text = path.read_text(encoding="utf-8")
    writer.add_text("texts", "\n".join(f"    {line}" for line in text.splitlines()), step)


_ADD: Mapping[str, Callable[[SummaryWriter, Path, int], None]] = {
    ".png": _add_image,
    ".gif": _add_animation,
    ".wav": _add_sound,
    ".txt": _add_text,
}
