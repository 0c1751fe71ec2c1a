"""Downloads over https with a size limit and a checksum, which is verified before the file gets its name."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from aigc_zoo.artefacts.atomic import explained, make_folder, sync_folder
from aigc_zoo.artefacts.lock import locked
from aigc_zoo.errors import DataError, StorageError

BLOCK = 1 << 20
TIMEOUT = 60.0

Progress = Callable[[int, int], None]
"""Called from time to time with the number of steps that are done and their total."""


def fetch(
    url: str,
    path: Path,
    checksum: str,
    max_bytes: int,
    *,
    gunzip: bool = False,
    local: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Downloads `url` to `path` unless the file exists, and returns `path`.

    `checksum` is "sha256:HEX", or "md5:HEX" where publishers state no better one; with `gunzip` it is that of the
    unpacked content, for files that mirrors have compressed again. The content is written to PATH.part, verified and
    then renamed; processes that download the same file wait for each other. Without `progress`, a line on stderr names
    the download. `local` permits http from 127.0.0.1.

    Raises DataError for a wrong checksum or more than `max_bytes`, StorageError for errors of the network or the disk.
    """
    if path.exists():  # possibly in a folder without write permission
        return path
    make_folder(path.parent)
    with locked(path.with_name(f".{path.name}.lock")):
        if path.exists():
            return path
        part = path.with_name(f"{path.name}.part")
        try:
            with explained(part), part.open("wb") as file:
                for block in _blocks(url, path, max_bytes, local, progress):
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            _verify(url, part, checksum, gunzip)
            with explained(path):
                os.replace(part, path)
                sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)
    return path


def _blocks(url: str, path: Path, max_bytes: int, local: bool, progress: Progress | None) -> Iterator[bytes]:
    """The content of a URL in blocks."""
    _need_https(url, local)
    if progress is None:
        sys.stderr.write(f"zoo: downloading {url} to {path.parent}\n")
    done = 0
    try:
        request = Request(url, headers={"User-Agent": "aigc-zoo"})
        with build_opener(_CheckedRedirects(local)).open(request, timeout=TIMEOUT) as response:
            length = response.headers.get("Content-Length") or ""
            total = int(length) if length.isdecimal() else 0
            while block := response.read(BLOCK):
                done += len(block)
                if done > max_bytes:
                    raise DataError(f"{url} is larger than the expected {max_bytes:,} bytes: nothing was stored")
                yield block
                if progress is not None:
                    progress(done, total or max_bytes)
            if done < total:
                raise ConnectionError(f"it ended after {done:,} of {total:,} bytes")
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
        reason = error.reason if isinstance(error, URLError) else error or type(error).__name__
        raise StorageError(f"{url} cannot be downloaded: {reason}\nput the file at {path}, or try again") from error


class _CheckedRedirects(HTTPRedirectHandler):
    """Follows redirects only to URLs that `_need_https` permits."""

    def __init__(self, local: bool) -> None:
        self.local = local

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        _need_https(newurl, self.local)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _need_https(url: str, local: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (local and parts.scheme == "http" and parts.hostname == "127.0.0.1"):
        raise DataError(f"{url}: only https downloads are allowed")


def _verify(url: str, part: Path, checksum: str, gunzip: bool) -> None:
    kind, _, expected = checksum.partition(":")
    digest = hashlib.new(kind, usedforsecurity=False)
    try:
        with gzip.open(part, "rb") if gunzip else part.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{url} is not the expected file: {error}\nnothing was stored; try again") from error
    if digest.hexdigest() != expected:
        raise DataError(
            f"{url} is not the expected file: its {kind} is {digest.hexdigest()},\nnot {expected}; nothing was stored"
        )
