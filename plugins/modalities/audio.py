"""Sound: mono waveforms from WAV files, and from FLAC, Ogg and MP3 files where soundfile is installed."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import IO, Annotated, Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aigc_zoo.game import Draw, Spec
from aigc_zoo.modality import Modality, Values, Writer, npy, png
from aigc_zoo.spec import Range

from . import wav

FULL = 32_768
"""The int16 value of 1, which is stored as 32,767: the scale of WAV and FLAC files, so that they are read exactly."""

MOST = 65_536
"""Samples of a recording where no length is given, at most."""

BANDS = 64
TILE = 192
WAVE_HEIGHT = 32
PAUSE = 0.25


class Audio(Modality):
    """Waveforms (1, T) in [-1, 1] at `spec.rate` Hz, stored as int16."""

    noun: ClassVar[str] = "sound"
    units: ClassVar[str] = "sounds"
    suffixes: ClassVar[tuple[str, ...]] = (".wav", ".flac", ".ogg", ".mp3")
    previews: ClassVar[int] = 16
    rank: ClassVar[int] = 4

    def scan(self, file: IO[bytes], name: str) -> Iterator[wav.Header]:
        yield wav.read_header(file) if _is_wav(name) else _soundfile_header(file, name)

    def plan(
        self,
        scans: Sequence[wav.Header],
        *,
        rate: Annotated[int | None, Range(1_000, 192_000)] = None,
        seconds: Annotated[float | None, Range(0.001, 600)] = None,
    ) -> Spec:
        """Rate and length of all sounds.

        rate: sample rate in Hz that recordings are resampled to, by default the most frequent one.
        seconds: length of a sample; longer recordings are cut into several, shorter ones end in silence; by default the
            smallest power of two of samples that 95 % of the recordings fit, at most 65,536.
        """
        if rate is None:
            rate = max(Counter(scan.rate for scan in scans).items(), key=lambda item: (item[1], item[0]))[0]
        if seconds is None:
            lengths = sorted(scan.frames * rate / scan.rate for scan in scans)
            most = max(64.0, lengths[math.ceil(0.95 * len(lengths)) - 1])
            length = min(MOST, 2 ** math.ceil(math.log2(most)))
        else:
            length = max(1, round(seconds * rate))
        return Spec(shape=(1, length), modality="audio", rate=float(rate))

    def whole(self, scans: Sequence[wav.Header], spec: Spec) -> Spec:
        return replace(spec, shape=(1, sum(_frames(scan, spec) for scan in scans)))

    def alike(self, spec: Spec, reference: Spec) -> Spec:
        return replace(spec, shape=reference.shape, rate=reference.rate)

    def conversion(self, scans: Sequence[wav.Header], spec: Spec) -> str:
        rate, length = round(spec.rate), spec.shape[-1]
        done = []
        if any(scan.channels > 1 for scan in scans):
            done.append("mixed down to mono")
        if any(scan.rate != rate for scan in scans):
            done.append(f"resampled to {rate} Hz (polyphase)")
        if any(_frames(scan, spec) != length for scan in scans):
            done.append(f"cut or padded to {length} samples")
        return ", ".join(done) or "none"

    def notes(self, scans: Sequence[wav.Header], spec: Spec) -> Sequence[str]:
        several = sum(scan.channels > 1 for scan in scans)
        faster = sum(scan.rate > round(spec.rate) for scan in scans)
        rate = f"resampled {_recordings(faster)} to {round(spec.rate)} Hz, which loses higher frequencies (--data.rate)"
        mono = f"mixed down {_recordings(several)} with several channels to mono"
        length = spec.shape[-1]
        ends = [rest for scan in scans if (frames := _frames(scan, spec)) > length and (rest := frames % length)]
        lost = f"{_seconds(sum(ends), spec)} s at the end{'s' if len(ends) > 1 else ''} of {_recordings(len(ends))}"
        rest = f"left out {lost}, after the last whole sample of {_seconds(length, spec)} s (--data.seconds)"
        return [sentence for count, sentence in ((several, mono), (faster, rate), (len(ends), rest)) if count]

    def stored(self, spec: Spec) -> tuple[str, tuple[int, ...]]:
        return "int16", spec.shape

    def count(self, scans: Sequence[wav.Header], spec: Spec) -> int:
        return sum(max(1, _frames(scan, spec) // spec.shape[-1]) for scan in scans)

    def read(self, file: IO[bytes], name: str, spec: Spec) -> Iterator[Values]:
        if _is_wav(name):
            header = wav.read_header(file)
            values = wav.read(file)
        else:
            header = _soundfile_header(file, name)
            values = _soundfile(name).read(_rewound(file), dtype="float32", always_2d=True)[0]
        mono = values.mean(1, dtype=np.float64)
        if header.rate != round(spec.rate):
            mono = _resampled(mono, header.rate, round(spec.rate))
        length = spec.shape[-1]
        for number in range(max(1, _frames(header, spec) // length)):
            window = mono[number * length : (number + 1) * length]
            padded = np.zeros(length)
            padded[: len(window)] = window
            yield np.clip(np.rint(padded * FULL), -FULL, FULL - 1).astype(np.int16)[None]

    def example(self) -> tuple[Spec, Values]:
        noise = np.random.default_rng(0).integers(-FULL, FULL, (6, 1, 256), dtype=np.int16)
        return Spec(shape=(1, 256), modality="audio", rate=8_000.0), noise

    def decode(self, rows: Tensor, draw: Draw, spec: Spec) -> Tensor:
        return rows.to(torch.float32).mul_(1 / FULL) if rows.dtype == torch.int16 else rows.to(torch.float32)

    def quantize(self, x: Tensor, spec: Spec) -> Tensor:
        return (x.float() * FULL).round_().clamp_(-FULL, FULL - 1).to(torch.int16)

    @property
    def one(self) -> Mapping[str, Writer]:
        return {".wav": lambda x, spec: wav.written(self.quantize(x.cpu(), spec).numpy()[0], _rate(spec)), ".npy": npy}

    @property
    def many(self) -> Mapping[str, Writer]:
        return {".wav": self._all, ".png": lambda x, spec: png(self.preview(x, spec)), ".npy": npy}

    def _all(self, x: Tensor, spec: Spec) -> bytes:
        """All sounds one after the other, with a pause between them."""
        pause = np.zeros(round(PAUSE * _rate(spec)), np.int16)
        sounds = [part for one in self.quantize(x.cpu(), spec).numpy() for part in (one[0], pause)]
        return wav.written(np.concatenate(sounds[:-1]), _rate(spec))

    def preview(self, x: Tensor, spec: Spec) -> Image.Image:
        """A sheet with four sounds in a row: the waveform, and below it the log-mel spectrogram, low tones at the
        bottom, over the 80 dB below the loudest."""
        tiles = [_tile(one, _rate(spec)) for one in x.detach().cpu().float()[:, 0]]
        columns = min(4, len(tiles))
        rows = math.ceil(len(tiles) / columns)
        height, width, gap = WAVE_HEIGHT + BANDS, TILE, 4
        sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap), 48, np.uint8)
        for number, tile in enumerate(tiles):
            top, left = number // columns * (height + gap) + gap, number % columns * (width + gap) + gap
            sheet[top : top + height, left : left + width] = tile
        return Image.fromarray(sheet).resize((sheet.shape[1], sheet.shape[0]))

    def html(self, x: Tensor, spec: Spec) -> str:
        data = base64.b64encode(self.one[".wav"](x, spec)).decode()
        return f'<audio controls preload="auto" src="data:audio/wav;base64,{data}"></audio>'


def _recordings(count: int) -> str:
    return f"{count:,} recording{'s' if count > 1 else ''}"


def _seconds(frames: int, spec: Spec) -> str:
    """The duration in seconds, to three digits."""
    seconds = frames / spec.rate
    return f"{seconds:,.0f}" if seconds >= 100 else f"{seconds:.3g}"


def _frames(scan: wav.Header, spec: Spec) -> int:
    """Frames of a recording after resampling."""
    return math.ceil(scan.frames * round(spec.rate) / scan.rate)


def _rate(spec: Spec) -> int:
    return round(spec.rate) or 16_000


def _is_wav(name: str) -> bool:
    return name.lower().endswith(".wav")


def _soundfile(name: str) -> Any:
    try:
        import soundfile
    except ImportError as error:
        raise ValueError("this format needs soundfile: python -m pip install 'aigc-zoo[audio]'") from error
    return soundfile


def _resampled(wave: Values, before: int, after: int) -> Values:
    try:
        from scipy.signal import resample_poly
    except ImportError as error:
        text = f"resampling from {before} to {after} Hz needs scipy: python -m pip install 'aigc-zoo[audio]'"
        raise ValueError(text) from error
    result: Values = resample_poly(wave, after, before)
    return result


def _rewound(file: IO[bytes]) -> IO[bytes]:
    file.seek(0)
    return file


def _soundfile_header(file: IO[bytes], name: str) -> wav.Header:
    found = _soundfile(name).info(_rewound(file))
    if not 0 < found.frames <= wav.MOST_SECONDS * found.samplerate:
        raise ValueError(f"it has {found.frames:,} frames; from 1 to {wav.MOST_SECONDS // 3600} hours can be read")
    return wav.Header(int(found.samplerate), int(found.frames), int(found.channels))


def _tile(wave: Tensor, rate: int) -> Values:
    """The waveform above the log-mel spectrogram of one sound, (WAVE_HEIGHT + BANDS, TILE) uint8."""
    wave = torch.nan_to_num(wave, 0.0, 1.0, -1.0)
    parts = torch.nn.functional.adaptive_max_pool1d(torch.stack((wave, -wave))[None], TILE)[0].clamp(-1, 1)
    middle = (WAVE_HEIGHT - 1) / 2
    rows = torch.arange(WAVE_HEIGHT)[:, None]
    inside = (rows >= middle - parts[0] * middle - 0.5) & (rows <= middle + parts[1] * middle + 0.5)
    drawn = torch.where(inside, 230, 20)
    size = min(512, max(32, 2 ** int(math.log2(len(wave)))))
    hop = max(1, len(wave) // TILE)
    padded = torch.nn.functional.pad(wave, (size // 2, size))
    power = torch.stft(padded, size, hop, window=torch.hann_window(size), center=False, return_complex=True).abs() ** 2
    mel = _filters(size, rate) @ power[:, :TILE]
    mel = torch.nn.functional.interpolate(mel[None], TILE)[0]
    decibels = 10 * torch.log10(mel.clamp(min=1e-10))
    loudest = max(float(decibels.max()), -60.0)
    shown = ((decibels - loudest + 80) / 80).clamp(0, 1).flip(0) * 255
    return torch.cat((drawn.float(), shown)).round().to(torch.uint8).numpy()


@cache
def _filters(size: int, rate: int) -> Tensor:
    """Triangular filters (BANDS, size / 2 + 1), equally spaced in mel (2595 log10(1 + f / 700))."""
    frequencies = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64)
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, BANDS + 2, dtype=torch.float64) / 2595) - 1)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0).float()
