"""Previews of a run: an image of samples at a step, the samples in the format of their modality, and an HTML page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from aigc_zoo.artefacts.atomic import write_text
from aigc_zoo.data import writers
from aigc_zoo.engine.sampler import Sampler
from aigc_zoo.game import Spec
from aigc_zoo.modality import Modality

BESIDE = 24
"""Samples in the preview of a recipe with inputs, each beside its inputs and its real counterpart."""

WIDTH, GAP, BACKGROUND = 960, 6, 48
"""Width in pixels that such a preview is filled up to, and the space between its samples."""

SHOWN = 8
"""Samples on the HTML page."""

Find = Callable[[str], Modality]
"""The modality with an id."""


def count(modality: Modality, sampler: Sampler) -> int:
    """The number of samples in a preview."""
    return min(modality.previews, BESIDE) if sampler.recipe.inputs else modality.previews


def draw(sampler: Sampler, find: Find, samples: Tensor) -> Image.Image:
    """The preview of samples: those of a recipe with inputs lie between their inputs and their real counterparts."""
    spec = sampler.spec
    modality = find(spec.modality)
    if not sampler.recipe.inputs or sampler.inputs is None:
        return modality.preview(samples, spec)
    entries = sampler.inputs(torch.arange(len(samples)))
    names = [name for name in sampler.recipe.inputs if name != sampler.recipe.imitates]
    shown = [(*_described(find, spec, name, entries[name]), entries[name]) for name in names]
    shown.append((modality, spec, samples))
    if sampler.recipe.imitates in entries:
        shown.append((modality, spec, entries[sampler.recipe.imitates]))
    return _tiled([side_by_side([m.preview(x[n : n + 1].cpu(), s) for m, s, x in shown]) for n in range(len(samples))])


def _described(find: Find, spec: Spec, name: str, values: Tensor) -> tuple[Modality, Spec]:
    """The modality and the spec of an entry. One that `spec.entries` does not describe is taken for a sample where it
    has the shape of one, and for plain numbers otherwise.
    """
    if name in spec.entries:
        return find(spec.entries[name].modality), spec.entries[name]
    shape = tuple(values.shape[1:])
    return (find(spec.modality), spec) if shape == spec.shape else (Modality(), replace(spec, shape=shape, range=None))


def page(samples: Tensor, spec: Spec, modality: Modality) -> str:
    """The first samples as HTML that makes no request; the report shows it in a frame without scripts."""
    parts = "\n".join(f"<div>{modality.html(sample, spec)}</div>" for sample in samples[:SHOWN])
    return f"<!doctype html>\n<meta charset=utf-8>\n{parts}\n"


def save(sampler: Sampler, find: Find, preview: Path, html: Path) -> None:
    """Writes the preview, beside it all samples in the default format of their modality, and the page.

    Raises StorageError.
    """
    modality = find(sampler.spec.modality)
    samples = sampler.samples(count(modality, sampler))
    native = writers.suffix(modality)
    if native != preview.suffix:
        writers.save_all(samples, sampler.spec, modality, preview.with_suffix(native))
    write_text(html, page(samples, sampler.spec, modality))
    writers.save_image(draw(sampler, find, samples), preview)  # last: a preview that exists is not drawn again


def in_rows(rows: Sequence[Tensor], spec: Spec, modality: Modality) -> Image.Image:
    """Samples (N, *spec.shape) in rows, one below the other."""
    lines = [side_by_side([modality.preview(sample[None], spec) for sample in row.cpu()]) for row in rows]
    width, height = max(line.width for line in lines), sum(line.height for line in lines)
    sheet, top = Image.new(lines[0].mode, (width, height), _background(lines[0].mode)), 0
    for line in lines:
        sheet.paste(line, (0, top))
        top += line.height
    return sheet


def side_by_side(images: Sequence[Image.Image]) -> Image.Image:
    """Images from left to right."""
    mode = "RGB" if any(image.mode != "L" for image in images) else "L"
    height = max(image.height for image in images)
    row = Image.new(mode, (sum(image.width for image in images), height), _background(mode))
    left = 0
    for image in images:
        row.paste(image.convert(mode), (left, 0))
        left += image.width
    return row


def _tiled(rows: Sequence[Image.Image]) -> Image.Image:
    """Rows below and beside each other."""
    width, height = max(row.width for row in rows) + GAP, max(row.height for row in rows) + GAP
    columns = max(1, min(len(rows), WIDTH // width))
    lines = -(-len(rows) // columns)
    sheet = Image.new(rows[0].mode, (columns * width + GAP, lines * height + GAP), _background(rows[0].mode))
    for number, row in enumerate(rows):
        sheet.paste(row, (number % columns * width + GAP, number // columns * height + GAP))
    return sheet


def _background(mode: str) -> int | tuple[int, int, int]:
    return BACKGROUND if mode == "L" else (BACKGROUND,) * 3
