"""Files of sounds, clips and texts, drawn deterministically."""

from __future__ import annotations

import io
import random
import wave
from pathlib import Path

import numpy as np
from PIL import Image

RATE = 4_000
"""Hz of the tones."""

PITCHES = (220, 330, 440, 550, 660)
SUBJECTS = ("a cat", "the dog", "one bird", "my fish")
VERBS = ("sees", "likes", "hears")


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    """A WAV file of samples in [-1, 1], (T,) or (T, channels)."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((1 if samples.ndim == 1 else samples.shape[1], 2, rate, 0, "NONE", ""))
        file.writeframes(np.rint(samples * 32_767).astype("<i2").tobytes())
    return target.getvalue()


def tones(folder: Path, count: int = 128, length: int = 1_024, channels: int = 1) -> Path:
    """Decaying tones of five pitches and any phase."""
    draw = np.random.default_rng(0)
    folder.mkdir(parents=True)
    seconds = np.arange(length) / RATE
    for number in range(count):
        pitch, phase = PITCHES[number % len(PITCHES)], draw.uniform(0, 2 * np.pi)
        tone = 0.8 * np.exp(-6 * seconds) * np.sin(2 * np.pi * pitch * seconds + phase)
        (folder / f"{number:03d}.wav").write_bytes(wav(tone if channels == 1 else np.stack([tone] * channels, 1)))
    return folder


def bars(folder: Path, count: int = 128, frames: int = 8, side: int = 16) -> Path:
    """Clips of a bar that moves by two pixels a frame, to the right or downwards, from any start."""
    folder.mkdir(parents=True)
    for number in range(count):
        clip = np.zeros((frames, side, side), np.uint8)
        for frame in range(frames):
            clip[frame, :, (number + 2 * frame + np.arange(3)) % side] = 255
        images = [Image.fromarray(one if number % 2 else one.T) for one in clip]
        images[0].save(folder / f"{number:03d}.gif", save_all=True, append_images=images[1:], duration=100, loop=0)
    return folder


def sentences(file: Path, count: int = 512) -> Path:
    """Lines of a grammar with 48 sentences."""
    draw = random.Random(0)
    lines = [f"{draw.choice(SUBJECTS)} {draw.choice(VERBS)} {draw.choice(SUBJECTS)}." for _ in range(count)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    return file


def pictures(folder: Path, count: int = 8) -> Path:
    """Grey images of 16x16 pixels."""
    draw = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(draw.integers(0, 256, (16, 16), np.uint8)).save(folder / f"{number}.png")
    return folder
