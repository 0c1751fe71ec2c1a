"""Self-verifying safetensors files: named tensors, a card that describes them, and a SHA-256 over both.

Safetensors alone missed 500 of 500 bit flips in the data. The digest is stored in the metadata and covers the card and,
sorted by name, every tensor's name, dtype, shape and bytes. Equal content gives equal files, byte for byte.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from aigc_zoo.artefacts import migration
from aigc_zoo.artefacts.atomic import write_bytes
from aigc_zoo.errors import DataError, StorageError

FORMAT = "aigc_zoo 1"
HEADER_LIMIT = 16 << 20  # bytes; 10,000 tensors and their card need 2 MB


def save(path: Path, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Writes tensors (any device, layout or shared memory) and their card to `path`, atomically and durably.

    Raises ValueError for a card that is not JSON or has NaN, and StorageError where the system refuses to write; the
    old file is then unchanged.
    """
    write_bytes(path, encode(tensors, card))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, on the CPU, and the card of a file after its SHA-256 was verified. Both have current names.

    Raises DataError for a damaged or foreign file, and StorageError where the system does not let the file be read.
    """
    with explain_damage(path):
        data = _regular(path).read_bytes()
        metadata = _metadata(_header(io.BytesIO(data)))
        tensors = safetensors.torch.load(data)
        if _digest(tensors, metadata["card"]) != metadata["sha256"]:
            raise ValueError("its content does not match its SHA-256")
        card = migration.card(json_object(metadata["card"]), path)
        return migration.tensors(tensors, path), card


def read_card(path: Path) -> dict[str, Any]:
    """The card alone, from the header of the file, whose SHA-256 is not verified. Raises as `load` does."""
    with explain_damage(path), _regular(path).open("rb") as file:
        return migration.card(json_object(_metadata(_header(file))["card"]), path)


def digest(tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> str:
    """The SHA-256 that `save` stores, in hexadecimal."""
    return _digest(_plain(tensors), _canonical(card))


def encode(tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> bytes:
    """The bytes that `save` writes."""
    plain, text = _plain(tensors), _canonical(card)
    body = safetensors.torch.save(plain)
    stream = io.BytesIO(body)
    # Safetensors writes metadata in an order that changes from call to call, so they are added to its header here.
    metadata = {"card": text, "format": FORMAT, "sha256": _digest(plain, text)}
    header = json.dumps({"__metadata__": metadata, **_header(stream)}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    if len(header) > HEADER_LIMIT:
        raise ValueError(f"names and card take {len(header)} bytes, more than the {HEADER_LIMIT} that are read back")
    return b"".join([len(header).to_bytes(8, "little"), header, memoryview(body)[stream.tell() :]])


# --- writing ----------------------------------------------------------------------------------------------------------


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies on the CPU. None shares memory with another, which safetensors would refuse."""
    return {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def _canonical(card: Mapping[str, Any]) -> str:
    return json.dumps(card, sort_keys=True, allow_nan=False, separators=(",", ":"))


def _digest(tensors: Mapping[str, Tensor], card: str) -> str:
    sha = hashlib.sha256(card.encode() + b"\n")
    for name, tensor in sorted(tensors.items()):
        # Each tensor is one line of JSON, so that no two lists of tensors give the same text.
        sha.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode() + b"\n")
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


# --- reading damaged or hostile files ---------------------------------------------------------------------------------


@contextmanager
def explain_damage(path: Path) -> Iterator[None]:
    """Converts what the block raises while it reads the file into a DataError or a StorageError of one sentence."""
    try:
        yield
    except OSError as error:
        # After a missing file or a bad sector, an older file may be used; after a lack of permission, it may not.
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EIO):
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        raise StorageError(f"{path} cannot be read: {error.strerror}: check its permissions and its disk") from error
    except (ValueError, TypeError, KeyError, AssertionError, RecursionError, RuntimeError, SafetensorError) as error:
        # These are the errors that safetensors and torch raised on malformed files.
        raise DataError(f"{path} is damaged, or not a file of the zoo ({error}): use another copy") from error


def _regular(path: Path) -> Path:
    """Refuses a path that would block (a pipe), never end (a device) or has no content (a folder)."""
    path.stat()
    if not path.is_file():
        raise ValueError("it is not a regular file")
    return path


def _header(stream: BinaryIO) -> dict[str, Any]:
    """The header of a safetensors file. Names are checked here, offsets and shapes by safetensors itself."""
    length = int.from_bytes(stream.read(8), "little")
    if length > HEADER_LIMIT:
        raise ValueError(f"its header claims {length} bytes")
    raw = stream.read(length)
    if len(raw) < length or not raw:
        raise ValueError("it ends before its header does")
    header = json_object(raw.decode())
    for name in header:
        if "\0" in name or ".." in name:
            raise ValueError(f"the name {name!r} is not allowed")
    return header


def _metadata(header: dict[str, Any]) -> dict[str, str]:
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("it carries no card")
    if metadata.get("format", FORMAT) != FORMAT:
        raise ValueError(f"its format is {metadata['format']!r}, and this version reads {FORMAT!r}")
    if set(metadata) != {"card", "format", "sha256"}:
        raise ValueError("it carries no card")
    return metadata


def json_object(text: str) -> dict[str, Any]:
    """Parses a JSON object; raises ValueError for NaN and for repeated keys, of which libraries use different ones."""
    value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    if not isinstance(value, dict):
        raise ValueError("a JSON object is missing")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key appears twice")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
