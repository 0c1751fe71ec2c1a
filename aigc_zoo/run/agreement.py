"""Ranks agree on whether a run may start, so that all of them end with the same error and exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch

from aigc_zoo.engine.ranks import Ranks
from aigc_zoo.errors import StorageError, ZooError, in_a_line

_BYTES, _LETTERS = 8192, 1000
"""Size of the message of one rank, and the letters of an error that it has room for."""


def agree(ranks: Ranks, device: torch.device, begin: Callable[[], str]) -> str:
    """Calls `begin` on every rank and returns the result of rank 0 on every rank.

    An exception of one rank is raised on all: the same error with the same exit code, that of the first rank with an
    exception. Without this exchange, the other ranks would wait for a rank that has left. Every rank must call it.
    """
    if ranks.world == 1:
        return begin()
    found, own = "", None
    try:
        found = begin()
    except Exception as error:
        own = error
    messages = _exchange(ranks, device, {"result": found, **(_described(own) if own is not None else {})})
    failed = next((rank for rank, message in enumerate(messages) if "code" in message), None)
    if failed is None:
        return str(messages[0]["result"])
    if failed == ranks.rank and own is not None:
        raise own
    raise _error_of(messages[failed]) from own


def _described(error: Exception) -> dict[str, Any]:
    if isinstance(error, ZooError):
        return {"code": error.exit_code, "text": str(error)[:_LETTERS]}
    code = StorageError.exit_code if isinstance(error, OSError) and error.strerror else ZooError.exit_code
    return {"code": code, "text": in_a_line(error)}


def _error_of(message: dict[str, Any]) -> ZooError:
    """The error that another rank described."""
    classes: dict[int, type[ZooError]] = {cls.exit_code: cls for cls in ZooError.__subclasses__()}
    return classes.get(message["code"], ZooError)(message["text"])


def _exchange(ranks: Ranks, device: torch.device, message: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages of all ranks in order of rank."""
    text = json.dumps(message).encode()  # ASCII: at most six bytes for a letter of the Basic Multilingual Plane
    if len(text) > _BYTES:
        text = json.dumps({**message, "text": message["text"].encode("ascii", "replace").decode()}).encode()
    padded = torch.frombuffer(bytearray(text.ljust(_BYTES)), dtype=torch.uint8).to(device)
    return [json.loads(bytes(other.cpu().tolist())) for other in ranks.gather(padded)]
