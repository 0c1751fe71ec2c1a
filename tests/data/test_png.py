"""What Pillow does not tell of a PNG or TIFF: orientation in late or raw EXIF, transparent colors, bits in use."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from opened import open_path
from PIL import Image

from aigc_zoo.data import pixels
from aigc_zoo.data.png import MAGIC, read_png
from aigc_zoo.errors import DataError

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (4, 6, 3), dtype=np.uint16)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values: np.ndarray, color: int, depth: int, early: bytes = b"", late: bytes = b"") -> bytes:
    """A PNG of values (H, W, C), or of packed rows (H, bytes) where `depth` is less than 8."""
    width = values.shape[1] * (8 // depth if depth < 8 else 1)
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in values)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(values), depth, color, 0, 0, 0))
    packed = zlib.compress(rows)
    data = chunk(b"IDAT", packed[:20]) + chunk(b"IDAT", packed[20:])
    return MAGIC + head + early + data + late + chunk(b"IEND", b"")


def tiff(data: bytes, width: int, height: int, bits: tuple[int, ...]) -> bytes:
    """An uncompressed TIFF, for depths that Pillow does not write."""
    count = len(bits)
    tags = [
        (256, width),
        (257, height),
        (259, 1),
        (262, 2 if count > 1 else 1),
        (273, 200),
        (277, count),
        (278, height),
    ]
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in [*tags, (279, len(data))]]
    where = struct.pack("<HH", bits[0], 0) if count == 1 else struct.pack("<I", 180)
    entries.append(struct.pack("<HHI", 258, 3, count) + where)
    entries.sort(key=lambda entry: entry[:2][::-1])
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return head.ljust(180, b"\0") + struct.pack(f"<{count}H", *bits).ljust(20, b"\0") + data


def decoded(data: bytes, channels: int) -> np.ndarray:
    with pixels.strict():
        return pixels.decode(io.BytesIO(data), channels)


def exif(orientation: int) -> bytes:
    made = Image.Exif()
    made[0x0112] = orientation
    return made.tobytes()


def raw(kind: bytes, name: bytes, data: bytes) -> bytes:
    """A text chunk as ImageMagick and ExifTool write it."""
    text = f"\n{name.decode()}\n{len(data):8}\n".encode() + data.hex().encode() + b"\n"
    key = b"Raw profile type " + name + b"\0"
    if kind == b"zTXt":
        return chunk(kind, key + b"\0" + zlib.compress(text))
    if kind == b"iTXt":
        return chunk(kind, key + b"\1\0en\0\0" + zlib.compress(text))
    return chunk(kind, key + text)


ORIENTED = {
    "exif after the pixels": (b"", chunk(b"eXIf", exif(6)[6:])),
    "exif after text": (b"", chunk(b"tEXt", b"Comment\0none") + chunk(b"eXIf", exif(6)[6:])),
    "exif with its prefix": (chunk(b"eXIf", exif(6)), b""),
    "raw profile": (raw(b"tEXt", b"exif", exif(6)), b""),
    "late raw profile": (b"", raw(b"tEXt", b"exif", exif(6)[6:])),
    "compressed raw profile": (raw(b"zTXt", b"exif", exif(6)), b""),
    "APP1 profile": (raw(b"zTXt", b"APP1", exif(6)), b""),
    "international text": (b"", raw(b"iTXt", b"APP1", exif(6))),
    "after a damaged one": (raw(b"tEXt", b"exif", b"nonsense") + raw(b"zTXt", b"exif", exif(6)), b""),
}


@pytest.mark.parametrize("name", ORIENTED)
def test_images_are_upright_wherever_the_orientation_is(name: str, tmp_path: Path) -> None:
    early, late = ORIENTED[name]
    data = png(COLOR, 2, 8, early, late)
    with pixels.strict():
        assert pixels.read_header(io.BytesIO(data))[:2] == (4, 6)
    assert np.array_equal(decoded(data, 3).transpose(1, 2, 0), np.rot90(COLOR, -1))
    (tmp_path / "a.png").write_bytes(data)
    assert open_path(tmp_path)["train"].spec.shape == (3, 6, 4)


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"eXIf", b"nonsense"),
        chunk(b"eXIf", b""),
        chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 8\nxyz"),
        chunk(b"tEXt", b"Raw profile type exif"),
        chunk(b"zTXt", b"Raw profile type exif\0\0not compressed"),
        chunk(b"iTXt", b"Raw profile type exif\0\0\0"),
        raw(b"tEXt", b"exif", exif(1)),
        raw(b"tEXt", b"iptc", exif(6)),
    ],
)
def test_damaged_and_other_profiles_are_ignored(extra: bytes) -> None:
    assert np.array_equal(decoded(png(COLOR, 2, 8, late=extra), 3).transpose(1, 2, 0), COLOR)


def test_a_profile_that_unpacks_to_too_much_is_cut_off() -> None:
    bomb = chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"0" * (50 << 20)))
    found = read_png(io.BytesIO(png(COLOR, 2, 8, bomb)))
    assert found is not None
    assert found.orientation is None


def test_damaged_files_have_no_effect_on_the_reader_of_chunks() -> None:
    data = png(COLOR, 2, 8, *ORIENTED["late raw profile"])
    for at in range(len(data)):
        read_png(io.BytesIO(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]))
        read_png(io.BytesIO(data[:at]))


def trns(*levels: int) -> bytes:
    return chunk(b"tRNS", struct.pack(f">{len(levels)}H", *levels))


def test_a_transparent_color_of_any_depth_becomes_black() -> None:
    grey = np.array([[[1000], [40000], [40001]]])
    assert decoded(png(grey, 0, 16, trns(40000)), 1).tolist() == [[[4, 0, 156]]]
    color = np.array([[(40000, 50000, 60000), (40000, 50000, 60001), (300, 200, 100)]])
    found = decoded(png(color, 2, 16, trns(40000, 50000, 60000)), 3)
    assert found[:, 0].T.tolist() == [[0, 0, 0], [156, 195, 234], [1, 0, 0]]
    assert decoded(png(np.array([[0x1B]]), 0, 2, trns(2)), 1).tolist() == [[[0, 85, 0, 255]]]
    assert decoded(png(np.array([[0x5F]]), 0, 4, trns(15)), 1).tolist() == [[[85, 0]]]
    assert decoded(png(np.array([[0x0F]]), 0, 1, trns(0)), 1).tolist() == [[[0] * 4 + [255] * 4]]
    assert decoded(png(np.array([[[9], [8]]]), 0, 8, trns(9)), 1).tolist() == [[[0, 8]]]


def test_sixteen_bits_of_alpha_are_composited_on_black() -> None:
    grey = np.array([[(40000, 65535), (40000, 0), (40000, 32768)]])
    assert decoded(png(grey, 4, 16), 1).tolist() == [[[156, 0, 78]]]
    with pixels.strict():
        assert pixels.read_header(io.BytesIO(png(grey, 4, 16))).grey
    color = np.array([[(60000, 50000, 40000, 65535), (60000, 50000, 40000, 0)]])
    assert decoded(png(color, 6, 16), 3)[:, 0].T.tolist() == [[234, 195, 156], [0, 0, 0]]


@pytest.mark.parametrize(("high", "bits"), [(255, 8), (200, 8), (1023, 10), (4095, 12)])
@pytest.mark.parametrize("color", [0, 2, 4, 6])
def test_sixteen_bit_files_with_fewer_bits_in_use_are_refused(tmp_path: Path, color: int, high: int, bits: int) -> None:
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[color]
    values = DEEP[..., :1].repeat(channels, 2) % high
    values[1, 1] = high
    if color in (4, 6):
        values[..., -1] = 65535
    (tmp_path / "a.png").write_bytes(png(values, color, 16))
    with pytest.raises(DataError, match=rf"16-bit values are at most {high:,}, as if white had {bits} bits") as caught:
        open_path(tmp_path)
    assert len(str(caught.value).splitlines()) <= 3
    values[..., : 3 if color in (2, 6) else 1] *= 65535 // high  # as the message advises
    (tmp_path / "a.png").write_bytes(png(values, color, 16))
    assert int(open_path(tmp_path)["train"].fields["real"].max()) >= 250


@pytest.mark.parametrize("color", [0, 2, 4, 6])
def test_black_and_dark_files_of_sixteen_bits_are_read(color: int) -> None:
    shape = (2, 2, {0: 1, 2: 3, 4: 2, 6: 4}[color])
    assert not decoded(png(np.zeros(shape, int), color, 16), 1).any()
    dark = np.full(shape, 5000)
    if color in (4, 6):
        dark[..., -1] = 65535
    assert set(decoded(png(dark, color, 16), 1).ravel().tolist()) == {19}


def test_tiff_files_of_twelve_and_sixteen_bits() -> None:
    packed = bytes([0xFF, 0xF0, 0x00, 0x80, 0x08, 0x01])  # 4095, 0, 2048, 2049
    assert decoded(tiff(packed, 4, 1, (12,)), 1).tolist() == [[[255, 0, 128, 128]]]
    deep = DEEP.astype("<u2")
    found = decoded(tiff(deep.tobytes(), 6, 4, (16, 16, 16)), 3)
    assert np.array_equal(found.transpose(1, 2, 0), (deep >> 8).astype(np.uint8))
    for divisor, most in ((16, "4,095"), (256, "255")):
        with pytest.raises(ValueError, match=f"16-bit values are at most {most}"):
            decoded(tiff((deep // divisor).tobytes(), 6, 4, (16, 16, 16)), 3)
        with pytest.raises(ValueError, match="16-bit values are at most"):
            decoded(tiff((deep[..., 0] // divisor).tobytes(), 6, 4, (16,)), 1)
