"""Sound: WAV files of every layout, common rates and lengths, playable samples."""

from __future__ import annotations

import base64
import io
import re
import struct
import sys
import wave

import numpy as np
import pytest
import torch

from aigc_zoo_plugins.modalities import wav
from aigc_zoo_plugins.modalities.audio import Audio, _resampled

RATE = 8_000
AUDIO = Audio()


def tone(seconds: float, pitch: float = 440.0, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)


def encoded(values: np.ndarray, layout: str = "<i2", rate: int = RATE, code: int = 1, channels: int = 1) -> bytes:
    """A WAV file of values in [-1, 1] in one of the layouts that programs write."""
    scale = {"u1": 127, "<i2": 32767, "<i4": 2**31 - 1}.get(layout)
    if layout == "24":
        whole = np.rint(values * (2**23 - 1)).astype("<i4").tobytes()
        data = b"".join(whole[start : start + 3] for start in range(0, len(whole), 4))
    elif scale:
        data = (np.rint(values * scale) + (128 if layout == "u1" else 0)).astype(layout).tobytes()
    else:
        data = values.astype(layout).tobytes()
    width = 3 if layout == "24" else np.dtype(layout).itemsize
    about = struct.pack("<HHIIHH", code, channels, rate, rate * width * channels, width * channels, 8 * width)
    if code == 0xFFFE:
        about += struct.pack("<HHI", 22, 8 * width, 0) + struct.pack("<H", 1) + b"\0" * 14
    chunks = b"fmt " + struct.pack("<I", len(about)) + about
    chunks += b"LIST" + struct.pack("<I", 3) + b"abc\0"  # of odd length, padded
    chunks += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def read(*files: bytes, **options: float) -> tuple[torch.Tensor, object]:
    scans = [scan for file in files for scan in AUDIO.scan(io.BytesIO(file), "a.wav")]
    spec = AUDIO.plan(scans, **options)
    rows = [row for file in files for row in AUDIO.read(io.BytesIO(file), "a.wav", spec)]
    assert len(rows) == AUDIO.count(scans, spec)
    assert {(row.dtype.name, row.shape) for row in rows} == {AUDIO.stored(spec)}
    return AUDIO.decode(torch.from_numpy(np.stack(rows)), torch.rand, spec), spec


@pytest.mark.parametrize(
    ("layout", "code", "error"),
    [
        ("u1", 1, 9e-3),
        ("<i2", 1, 4e-5),
        ("24", 1, 2e-5),
        ("<i4", 1, 2e-5),
        ("<f4", 3, 2e-5),
        ("<f8", 3, 2e-5),
        ("<i2", 0xFFFE, 4e-5),
    ],
)
def test_every_layout_of_wav_is_read(layout: str, code: int, error: float) -> None:
    values = tone(0.064)
    found, spec = read(encoded(values, layout, code=code))
    assert spec.rate == RATE
    assert np.abs(found[0, 0, : len(values)].numpy() - values).max() < error


def test_stereo_is_mixed_down_and_the_protocol_says_so() -> None:
    both = np.stack((tone(0.1), -tone(0.1) / 2), 1)
    file = encoded(both.reshape(-1), channels=2)
    found, spec = read(file)
    assert np.abs(found[0, 0, :800].numpy() - tone(0.1) / 4).max() < 1e-4
    assert "mixed down to mono" in AUDIO.conversion([*AUDIO.scan(io.BytesIO(file), "a.wav")], spec)


def test_other_rates_are_resampled_to_the_most_frequent_one() -> None:
    files = [encoded(tone(0.5)), encoded(tone(0.5)), encoded(tone(0.5, rate=16_000), rate=16_000)]
    found, spec = read(*files)
    assert spec.rate == RATE
    inner = slice(200, 3_800)
    assert np.abs(found[2, 0, inner].numpy() - tone(0.5)[inner]).max() < 5e-3
    found, spec = read(*files, rate=16_000)
    assert spec.rate == 16_000


def test_the_default_length_fits_nearly_all_recordings() -> None:
    short = [encoded(tone(0.1))] * 30
    _, spec = read(*short, encoded(tone(3.0)))
    assert spec.shape == (1, 1024)


def test_long_recordings_are_cut_into_several_samples() -> None:
    found, spec = read(encoded(tone(1.0)), encoded(tone(0.1)), seconds=0.25)
    assert spec.shape == (1, 2_000)
    assert len(found) == 4 + 1
    whole = found[:4].flatten().numpy()
    assert np.abs(whole - tone(1.0)).max() < 1e-4
    assert not found[4, 0, 800:].any()  # silence after a short one


def test_what_follows_the_last_whole_sample_is_noted() -> None:
    def notes(*seconds: float, length: float = 0.25) -> list[str]:
        scans = [wav.Header(RATE, round(one * RATE), 1) for one in seconds]
        return [*AUDIO.notes(scans, AUDIO.plan(scans, seconds=length))]

    assert notes(1.0, 0.1, 0.25) == [], "whole samples, and shorter ones, which are padded"
    (one,) = notes(1.1, 0.1)
    assert one == "left out 0.1 s at the end of 1 recording, after the last whole sample of 0.25 s (--data.seconds)"
    (two,) = notes(0.3, 1_000.2)
    assert two.startswith("left out 0.25 s at the ends of 2 recordings")
    (long,) = notes(3_599.0, length=300.0)
    assert long.startswith("left out 299 s at the end")
    scans = [wav.Header(RATE, 800, 1)] * 30 + [wav.Header(RATE, 1_500, 1)]
    (default,) = AUDIO.notes(scans, AUDIO.plan(scans))
    assert default.startswith("left out 0.0595 s"), "also where the length is chosen by the data"


def test_samples_survive_a_file() -> None:
    found, spec = read(encoded(tone(0.128)))
    again, _ = read(AUDIO.one[".wav"](found[0], spec), seconds=spec.shape[1] / RATE)
    assert torch.equal(found, again)


def test_all_samples_are_one_file_with_pauses() -> None:
    found, spec = read(*[encoded(tone(0.128))] * 3)
    with wave.open(io.BytesIO(AUDIO.many[".wav"](found, spec))) as file:
        assert (file.getnchannels(), file.getframerate()) == (1, RATE)
        assert file.getnframes() == 3 * 1024 + 2 * 2_000


def test_html_plays_the_sound_without_a_request() -> None:
    found, spec = read(encoded(tone(0.128)))
    (data,) = re.findall(r'<audio controls [^>]*src="data:audio/wav;base64,([^"]+)"', AUDIO.html(found[0], spec))
    assert wav.read_header(io.BytesIO(base64.b64decode(data))).frames == 1024


def test_a_sheet_shows_high_tones_above_low_ones() -> None:
    found, spec = read(encoded(tone(0.5, 300)), encoded(tone(0.5, 3_000)), seconds=0.5)
    sheet = np.asarray(AUDIO.preview(found, spec)).astype(int)
    low, high = (sheet[4 + 32 : 4 + 96, left + 20 : left + 170].sum(1).argmax() for left in (4, 200))
    assert high < 20 < 40 < low


def test_a_preview_of_silence_and_of_nan_is_drawn() -> None:
    spec = AUDIO.plan([wav.Header(RATE, 1_000, 1)])
    for values in (torch.zeros(5, 1, 1024), torch.full((2, 1, 1024), float("nan")), torch.zeros(1, 1, 1024) + 9):
        assert AUDIO.preview(values, spec).mode == "L"


def test_flac_is_read_like_wav() -> None:
    soundfile = pytest.importorskip("soundfile", reason="the extra [audio] is not installed")
    target = io.BytesIO()
    soundfile.write(target, tone(0.128), RATE, format="FLAC")
    scans = [*AUDIO.scan(target, "a.flac")]
    assert scans == [wav.Header(RATE, 1024, 1)]
    spec = AUDIO.plan(scans)
    (row,) = AUDIO.read(target, "a.flac", spec)
    assert np.abs(row[0] / 32767 - tone(0.128)).max() < 1e-4


def test_resampling_without_scipy_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.signal", None)
    with pytest.raises(ValueError, match=r"resampling from 8000 to 4000 Hz needs scipy: .*aigc-zoo\[audio\]"):
        _resampled(np.zeros(8), 8_000, 4_000)
