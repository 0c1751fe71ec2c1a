"""Clips: animations and containers, common sizes and lengths, playable samples."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from aigc_zoo.game import Spec
from aigc_zoo_plugins.modalities.video import Header, Video

VIDEO = Video()


def frames(count: int, side: int = 16, color: bool = False) -> list[Image.Image]:
    """A bright column that moves by a pixel per frame."""
    found = []
    for number in range(count):
        values = np.zeros((side, side), np.uint8)
        values[:, number % side] = 250
        image = Image.fromarray(values)
        found.append(Image.merge("RGB", (image, image.point(lambda v: v // 2), image)) if color else image)
    return found


def encoded(images: list[Image.Image], kind: str = "GIF", duration: int = 100) -> bytes:
    target = io.BytesIO()
    images[0].save(target, kind, save_all=True, append_images=images[1:], duration=duration, loop=0)
    return target.getvalue()


def read(*files: bytes, name: str = "a.gif", **options: int) -> tuple[torch.Tensor, Spec]:
    scans = [scan for file in files for scan in VIDEO.scan(io.BytesIO(file), name)]
    spec = VIDEO.plan(scans, **options)
    rows = [row for file in files for row in VIDEO.read(io.BytesIO(file), name, spec)]
    assert len(rows) == VIDEO.count(scans, spec)
    assert {(row.dtype.name, row.shape) for row in rows} == {VIDEO.stored(spec)}
    return torch.from_numpy(np.stack(rows)), spec


@pytest.mark.parametrize(("kind", "name"), [("GIF", "a.gif"), ("PNG", "a.apng"), ("PNG", "a.png")])
def test_animations_are_read_frame_by_frame(kind: str, name: str) -> None:
    rows, spec = read(encoded(frames(6), kind), name=name)
    assert (spec.shape, spec.rate) == ((1, 6, 16, 16), 10.0)
    for number, image in enumerate(frames(6)):
        assert np.abs(rows[0, 0, number].numpy().astype(int) - np.asarray(image)).max() <= 1


def test_color_stays_color() -> None:
    rows, spec = read(encoded(frames(4, color=True)))
    assert spec.shape[0] == 3
    assert rows[0, :, 1, 3, 1].tolist() == pytest.approx([250, 125, 250], abs=4)


def test_clips_are_cut_or_extended_to_a_common_length() -> None:
    rows, spec = read(encoded(frames(9)), encoded(frames(3)), frames=4)
    assert (len(rows), spec.shape[1]) == (3, 4)
    assert torch.equal(rows[2, :, 2], rows[2, :, 3])  # the short one repeats its last frame
    scans = [Header(16, 16, 9, 10.0, True), Header(16, 16, 3, 10.0, True)]
    assert VIDEO.conversion(scans, spec) == "cut or extended to 4 frames"
    assert VIDEO.plan(scans).shape[1] == 3
    assert VIDEO.notes(scans, spec) == ["left out 1 frame after the last whole clip of 4 (--data.frames)"]
    assert VIDEO.notes(scans[1:], spec) == [], "a short clip loses nothing"


def test_clips_of_several_sizes_become_squares() -> None:
    _, spec = read(encoded(frames(3, 16)), encoded(frames(3, 24)))
    assert spec.shape[2:] == (64, 64)
    rows, spec = read(encoded(frames(3, 16)), encoded(frames(3, 24)), size=8)
    assert spec.shape[2:] == (8, 8)
    assert rows.any()


@pytest.mark.parametrize("suffix", [".gif", ".apng"])
def test_a_written_clip_moves_as_the_sample_does(suffix: str) -> None:
    rows, spec = read(encoded(frames(5)))
    samples = VIDEO.decode(rows, torch.rand, spec)
    assert torch.equal(VIDEO.quantize(samples, spec), rows)
    with Image.open(io.BytesIO(VIDEO.one[suffix](samples[0], spec))) as file:
        assert file.n_frames == 5
        brightest = []
        for number in range(5):
            file.seek(number)
            shown = np.asarray(file.convert("L"))
            assert shown.shape == spec.shape[2:], "a file of one clip has its size"
            brightest.append(int(shown.max(0).argmax()))
    assert brightest == [0, 1, 2, 3, 4]


def test_all_clips_are_one_animation_and_a_filmstrip() -> None:
    rows, spec = read(*[encoded(frames(12))] * 5)
    samples = VIDEO.decode(rows, torch.rand, spec)
    with Image.open(io.BytesIO(VIDEO.many[".gif"](samples, spec))) as file:
        assert (file.n_frames, file.size) == (12, (3 * 50 + 2, 2 * 50 + 2))
    assert VIDEO.preview(samples, spec).size == (8 * 50 + 2, 5 * 50 + 2)
    (data,) = re.findall(r'src="data:image/gif;base64,([^"]+)"', VIDEO.html(samples[0], spec))
    assert Image.open(io.BytesIO(base64.b64decode(data))).n_frames == 12


def test_containers_are_read() -> None:
    av = pytest.importorskip("av", reason="the extra [video] is not installed")
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=12)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for image in frames(8, 32):
            container.mux(stream.encode(av.VideoFrame.from_image(image.convert("RGB"))))
        container.mux(stream.encode())
    rows, spec = read(target.getvalue(), name="a.mp4")
    assert (spec.shape, spec.rate) == ((3, 8, 32, 32), 12.0)
    assert int(rows[0, 1, 5, 10].argmax()) == 5
