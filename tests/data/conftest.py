"""Fixtures that write images, and a separate cache for every test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "own-cache"
    monkeypatch.setenv("ZOO_CACHE", str(folder))
    monkeypatch.delenv("ZOO_DATA", raising=False)
    return folder


@pytest.fixture
def write_image(tmp_path: Path):
    """A function that writes an image of seeded random pixels and returns the pixels (H, W[, 3])."""

    def write(name: str, size: tuple[int, int] = (8, 8), mode: str = "RGB", seed: int | None = None) -> np.ndarray:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        width, height = size
        shape = (height, width, 3) if mode == "RGB" else (height, width)
        pixels = np.random.default_rng(seed if seed is not None else len(name)).integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return pixels

    return write
