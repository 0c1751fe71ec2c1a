"""One self-verifying safetensors file: named tensors, a card that says what they are, and a SHA-256 over all of it.

Safetensors alone missed 500 of 500 bit flips in the data; the digest, kept in the metadata, covers the card and, sorted
by name, every tensor's name, dtype, shape and bytes. Equal content makes equal files, byte for byte.
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

    The card is JSON without NaN (ValueError). Raises StorageError where the system refuses; the old file then stands.
    """
    write_bytes(path, encode(tensors, card))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, on the CPU, and the card of a file that proves to be exactly what was saved.

    Raises DataError for anything else, and StorageError where the system does not let the file be read.
    """
    with judged(path):
        data = _regular(path).read_bytes()
        metadata = _metadata(_header(io.BytesIO(data)))
        tensors = safetensors.torch.load(data)
        if _digest(tensors, metadata["card"]) != metadata["sha256"]:
            raise ValueError("its content does not match its SHA-256")
        card = migration.card(json_object(metadata["card"]), path)
        return migration.tensors(tensors, path), card


def read_card(path: Path) -> dict[str, Any]:
    """The card alone, from the head of the file; nothing is verified but its form. Raises as `load` does."""
    with judged(path), _regular(path).open("rb") as file:
        return migration.card(json_object(_metadata(_header(file))["card"]), path)


def digest(tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> str:
    """The SHA-256 that `save` stores, in hexadecimal."""
    return _digest(_plain(tensors), _canonical(card))


def encode(tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> bytes:
    """The bytes that `save` writes."""
    plain, text = _plain(tensors), _canonical(card)
    body = safetensors.torch.save(plain)
    stream = io.BytesIO(body)
    # Safetensors writes metadata in an order that changes from call to call, so they join its header here.
    metadata = {"card": text, "format": FORMAT, "sha256": _digest(plain, text)}
    header = json.dumps({"__metadata__": metadata, **_header(stream)}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    if len(header) > HEADER_LIMIT:
        raise ValueError(f"names and card take {len(header)} bytes, more than the {HEADER_LIMIT} that are read back")
    return b"".join([len(header).to_bytes(8, "little"), header, memoryview(body)[stream.tell() :]])


# --- writing ----------------------------------------------------------------------------------------------------------


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies on the CPU, none of which shares memory with another: safetensors refuses those that do."""
    return {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def _canonical(card: Mapping[str, Any]) -> str:
    return json.dumps(card, sort_keys=True, allow_nan=False, separators=(",", ":"))


def _digest(tensors: Mapping[str, Tensor], card: str) -> str:
    sha = hashlib.sha256(card.encode() + b"\n")
    for name, tensor in sorted(tensors.items()):
        # One line of JSON each, so that no two lists of tensors read the same.
        sha.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode() + b"\n")
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


# --- reading what may be damaged or hostile ---------------------------------------------------------------------------


@contextmanager
def judged(path: Path) -> Iterator[None]:
    """Whatever is wrong with the file that the block reads becomes one sentence, a DataError or StorageError."""
    try:
        yield
    except OSError as error:
        # A missing file or a bad sector is the file's fault, and an older one may serve; permissions are not.
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EIO):
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        raise StorageError(f"{path} cannot be read: {error.strerror}: check its permissions and its disk") from error
    except (ValueError, TypeError, KeyError, AssertionError, RecursionError, RuntimeError, SafetensorError) as error:
        # All that safetensors and torch were seen to raise on files that are not what they claim.
        raise DataError(f"{path} is damaged, or not a file of the zoo ({error}): use another copy") from error


def _regular(path: Path) -> Path:
    """Refuses what would block (a pipe), never end (a device) or has no content (a folder)."""
    path.stat()
    if not path.is_file():
        raise ValueError("it is not a regular file")
    return path


def _header(stream: BinaryIO) -> dict[str, Any]:
    """The header of a safetensors file. Its offsets and shapes are checked by safetensors itself, names here."""
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
    """A JSON object in which no key appears twice (safetensors takes the last, others the first) and no NaN."""
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
