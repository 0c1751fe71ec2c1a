"""Checkpoints load exactly as they were saved, and damaged or hostile files are refused."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import re
import struct
import time
import tracemalloc
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.errors import DataError, StorageError

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
CARD = {
    "recipe": "zoo/x",
    "options": {"lr": 2e-4, "beta": 0.1 + 0.2, "norm": None},
    "names": ["é", "\udc80"],
    "step": 7,
}


def some(count: int = 40) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randint(0, 100, (count, 3), generator=generator)
    tensors = {f"G.{dtype}".replace("torch.", ""): numbers.to(dtype) for dtype in DTYPES}
    return {**tensors, "G.scalar": torch.tensor(0.1), "G.empty": torch.zeros(0, 3), "é.step": torch.tensor(7)}


def tampered(path: Path, edit) -> Path:
    """The file with another header: `edit` gets its text and returns text or bytes."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = edit(data[8 : 8 + length].decode())
    header = header if isinstance(header, bytes) else header.encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data[8 + length :])
    return path


def test_round_trip(tmp_path):
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, some(), CARD)
    tensors, card = checkpoint.load(path)
    assert card == CARD == checkpoint.read_card(path)
    assert set(tensors) == set(some())
    for name, tensor in some().items():
        assert tensors[name].dtype == tensor.dtype
        assert tensors[name].shape == tensor.shape
        assert torch.equal(tensors[name], tensor)
    tensors["G.float32"].add_(1)  # loaded tensors are writable


def test_no_tensors(tmp_path):
    checkpoint.save(tmp_path / "x", {}, {})
    assert checkpoint.load(tmp_path / "x") == ({}, {})


def test_layout_and_sharing_do_not_change_the_file():
    """Files do not depend on channels last, views, shared memory or gradients."""
    plain = torch.arange(120.0).reshape(2, 3, 4, 5)
    odd = {
        "a": torch.nn.Parameter(plain.to(memory_format=torch.channels_last)),
        "b": plain.mT.contiguous().mT,
        "c": plain,
        "d": plain,
        "e": plain[0],
    }
    even = {"e": plain[0].clone(), "d": plain.clone(), "c": plain.clone(), "b": plain.clone(), "a": plain.clone()}
    assert not odd["b"].is_contiguous()
    card = {"x": 1, "y": 2}
    assert {checkpoint.encode(odd, card) for _ in range(20)} == {checkpoint.encode(even, {"y": 2, "x": 1})}
    assert checkpoint.digest(odd, card) == checkpoint.digest(even, card)


def test_other_tools_read_it(tmp_path):
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, some(), CARD)
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
        assert torch.equal(file.get_tensor("G.bfloat16"), some()["G.bfloat16"])
    assert metadata["format"] == "aigc_zoo 1"
    assert metadata["sha256"] == checkpoint.digest(some(), CARD)
    assert json.loads(metadata["card"]) == CARD


@pytest.mark.parametrize(
    "other",
    [
        {"b": torch.zeros(2, 3)},
        {"a": torch.zeros(3, 2)},
        {"a": torch.zeros(6)},
        {"a": torch.zeros(2, 3, dtype=torch.int32)},
        {"a": torch.full((2, 3), -0.0)},
        {"a": torch.zeros(2, 3), "b": torch.zeros(0)},
    ],
)
def test_the_digest_covers(other):
    base = checkpoint.digest({"a": torch.zeros(2, 3)}, CARD)
    assert checkpoint.digest(other, CARD) != base
    assert checkpoint.digest({"a": torch.zeros(2, 3)}, {**CARD, "step": 8}) != base


@pytest.mark.parametrize("bits", [(0,), (5,), pytest.param(range(8), marks=pytest.mark.slow)], ids=str)
def test_every_flipped_byte_and_every_cut_is_refused(bits, tmp_path):  # R7, every byte of a tiny file
    path = tmp_path / "x"
    whole = checkpoint.encode({"a": torch.tensor([1.0, 2.0])}, {"b": "c"})
    damaged = [whole[:length] for length in range(len(whole))] + [whole + b"\0"]
    for position, bit in itertools.product(range(len(whole)), bits):
        damaged.append(whole[:position] + bytes([whole[position] ^ 1 << bit]) + whole[position + 1 :])
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(DataError):
            checkpoint.load(path)
    path.write_bytes(whole)
    checkpoint.load(path)


@pytest.mark.promise("R7", 260, 2500)
def test_random_damage_is_refused(tmp_path, promise):  # R7, samples of a larger file
    path = tmp_path / "x"
    whole = checkpoint.encode(some(400), CARD)
    rng = random.Random(0)
    cuts = promise.count // 5
    damaged = [whole[: rng.randrange(len(whole))] for _ in range(cuts)]
    for _ in range(promise.count - cuts):
        bit = rng.randrange(8 * len(whole))
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(data))
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(DataError, match=rf"^{re.escape(str(path))} is damaged, or not a file of the zoo \("):
            checkpoint.load(path)
    promise.kept(flips=promise.count - cuts, truncations=cuts, accepted=0)


def entry(header: str) -> dict:
    return json.loads(header)


def with_entry(**changes):
    """Edits the header's entry of the tensor a."""
    return lambda header: json.dumps({**entry(header), "a": {**entry(header)["a"], **changes}})


def with_metadata(**changes):
    def edit(header):
        value = entry(header)
        metadata = {**value["__metadata__"], **changes}
        value["__metadata__"] = {key: inner for key, inner in metadata.items() if inner is not None}
        return json.dumps(value)

    return edit


HOSTILE = {
    "key twice": (lambda header: header.replace('"a":', '"b":'), "appears twice"),
    "metadata twice": (lambda header: header.replace('"card":', '"format":'), "appears twice"),
    "shape twice": (lambda header: header.replace('"shape":', '"dtype":', 1), "appears twice"),
    "overlap": (with_entry(data_offsets=[4, 12]), "Error while deserializing"),
    "beyond the end": (with_entry(data_offsets=[8, 16]), "Error while deserializing"),
    "huge shape": (with_entry(shape=[2**62, 2**62]), "Error while deserializing"),
    "negative shape": (with_entry(shape=[-1]), "Error while deserializing"),
    "fractional offset": (with_entry(data_offsets=[0.0, 8.0]), "Error while deserializing"),
    "unknown type": (with_entry(dtype="F31"), "Error while deserializing"),
    "a type that torch lacks": (with_entry(dtype="F8_E8M0", shape=[8]), "is damaged"),
    "no metadata": (lambda header: json.dumps({**entry(header), "__metadata__": None}), "carries no card"),
    "number in metadata": (with_metadata(card=1), "carries no card"),
    "no digest": (with_metadata(sha256=None), "carries no card"),
    "unknown metadata": (with_metadata(more="x"), "carries no card"),
    "no format": (with_metadata(format=None), "carries no card"),
    "later format": (with_metadata(format="aigc_zoo 2"), "its format is 'aigc_zoo 2', and this version reads"),
    "other card": (with_metadata(card="{}"), "does not match its SHA-256"),
    "upper-case digest": (
        lambda header: re.sub(r'(?<="sha256":")\w+', lambda found: found[0].upper(), header),
        "does not match its SHA-256",
    ),
    "a list": (lambda header: "[1]", "a JSON object is missing"),
    "nesting": (lambda header: "[" * 100_000, "recursion"),
    "NaN": (lambda header: header.replace("[2]", "[NaN]"), "NaN is not JSON"),
    "long number": (lambda header: header.replace("[2]", f"[{'9' * 5000}]"), "is damaged"),
    "UTF-16": (lambda header: header.encode("utf-16"), "is damaged"),
    "empty": (lambda header: "", "ends before its header"),
}


@pytest.mark.parametrize(("edit", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_headers_are_refused(edit, reason, tmp_path):  # R8
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, {"a": torch.ones(2), "b": torch.ones(2)}, CARD)
    tampered(path, edit)
    with pytest.raises(DataError, match=reason) as caught:
        checkpoint.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def many(count: int, shape: list[int]) -> bytes:
    """A header of `count` tensors with equal offsets, followed by as many bytes."""
    end = 4 * shape[0] * shape[1]
    header = json.dumps({f"w{i}": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]} for i in range(count)})
    return struct.pack("<Q", len(header)) + header.encode() + bytes(len(header))


ATTACKS = {  # attacks from the tests of safetensors, with fewer tensors
    "header beyond the file": lambda: struct.pack("<Q", 1000) + safetensors.torch.save({"a": torch.zeros(2, 2)})[8:],
    "a header beyond the limit": lambda: many(300_000, [2, 2]),
    "large tensors with equal offsets": lambda: many(20_000, [200, 200]),
    "one tensor in another": lambda: many(2, [2, 2]),
}


@pytest.mark.promise("R8", 1, 1)
def test_attacks_are_refused_with_little_time_and_memory(tmp_path, promise):  # R8
    path = tmp_path / "x.safetensors"
    for name, make in ATTACKS.items():
        path.write_bytes(make())
        size, before = path.stat().st_size, time.perf_counter()
        tracemalloc.start()
        with pytest.raises(DataError, match="is damaged, or not a file of the zoo"):
            checkpoint.load(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < max(64 << 20, 12 * size), name  # the file, its header as text, and the parsed header
        assert time.perf_counter() - before < 20, name
    promise.kept(refused=len(ATTACKS) + len(HOSTILE) + len(NAMES))


NAMES = ["a\0b", "../a", "a/../../b", "..", "/etc/../x"]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_refused(name, tmp_path):  # R8: safetensors accepts them
    path = tmp_path / "x.safetensors"
    tensors = {name: torch.ones(2)}
    card = json.dumps(CARD, sort_keys=True, separators=(",", ":"))
    metadata = {"card": card, "format": "aigc_zoo 1", "sha256": checkpoint.digest(tensors, CARD)}
    path.write_bytes(safetensors.torch.save(tensors, metadata))
    assert safetensors.torch.load_file(path).keys() == {name}
    for read in (checkpoint.load, checkpoint.read_card):
        with pytest.raises(DataError, match="is not allowed"):
            read(path)
    with pytest.raises(ValueError, match="is not allowed"):
        checkpoint.save(path, tensors, CARD)


@pytest.mark.parametrize(("text", "reason"), [("[]", "object is missing"), ('{"a":NaN}', "NaN"), ("x", "Expecting")])
def test_hostile_cards_are_refused(text, reason, tmp_path):
    """A forged card can have a matching digest, and must still be a JSON object."""
    path = tmp_path / "x.safetensors"
    metadata = {"card": text, "format": "aigc_zoo 1", "sha256": checkpoint._digest({}, text)}
    path.write_bytes(safetensors.torch.save({}, metadata))
    for read in (checkpoint.load, checkpoint.read_card):
        with pytest.raises(DataError, match=reason):
            read(path)


@pytest.mark.parametrize("length", [2**64 - 1, 2**40, checkpoint.HEADER_LIMIT + 1, 1000])
def test_a_header_that_claims_too_much(length, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(struct.pack("<Q", length) + b"{}" + b" " * 100)
    for read in (checkpoint.load, checkpoint.read_card):
        with pytest.raises(DataError, match=r"its header claims|ends before its header"):
            read(path)


def test_files_that_could_not_be_read_back_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "HEADER_LIMIT", 2000)
    with pytest.raises(ValueError, match="more than the 2000 that are read back"):
        checkpoint.save(tmp_path / "x", {}, {"long": "x" * 2000})
    with pytest.raises(ValueError, match="not JSON compliant"):
        checkpoint.save(tmp_path / "x", {}, {"loss": float("inf")})
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused(tmp_path):
    files = {
        "plain.safetensors": safetensors.torch.save({"a": torch.ones(2)}),
        "text": b"hello world, hello",
        "none": b"",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    torch.save({"a": torch.ones(2)}, tmp_path / "pickle.pt")
    os.mkfifo(tmp_path / "pipe")  # opening it would block forever
    (tmp_path / "folder").mkdir()
    for name in (*files, "pickle.pt", "pipe", "folder"):
        for read in (checkpoint.load, checkpoint.read_card):
            with pytest.raises(DataError, match=f"{name} is damaged, or not a file of the zoo"):
                read(tmp_path / name)
    for name in ("missing", "text/below"):
        with pytest.raises(DataError, match=rf"{name} cannot be read: (No such file|Not a directory)"):
            checkpoint.load(tmp_path / name)


@pytest.mark.parametrize(("code", "kind"), [(errno.EIO, DataError), (errno.EACCES, StorageError)])
def test_a_bad_sector_is_damage_and_a_lack_of_permission_is_not(code, kind, tmp_path, monkeypatch):
    def refuse(self):
        raise OSError(code, os.strerror(code))

    path = tmp_path / "x"
    checkpoint.save(path, {}, {})
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(kind, match=f"x cannot be read: {os.strerror(code)}"):
        checkpoint.load(path)


def test_read_card_reads_only_the_header(tmp_path):
    path = tmp_path / "x"
    checkpoint.save(path, some(), CARD)
    path.write_bytes(path.read_bytes()[:-100])
    assert checkpoint.read_card(path) == CARD
