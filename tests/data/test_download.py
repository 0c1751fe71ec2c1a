"""Downloads from a local server: a complete, verified file, or an error and no file."""

from __future__ import annotations

import gzip
import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aigc_zoo.data.download import fetch
from aigc_zoo.errors import DataError, StorageError

CONTENT = bytes(range(256)) * 8192
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"


class Server(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/redirect/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/redirect/"))
            self.end_headers()
            return
        if self.path == "/missing":
            self.send_error(404)
            return
        content = gzip.compress(CONTENT) if self.path == "/packed" else CONTENT
        self.send_response(200)
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content[: len(content) // 2] if self.path == "/truncated" else content)
            while self.path == "/endless":
                self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client closed the connection

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Server.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))


@pytest.mark.parametrize("checksum", [SHA256, MD5])
def test_a_file_is_downloaded_once(server: str, tmp_path: Path, checksum: str, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "new" / "file"
    reported: list[tuple[int, int]] = []
    for _ in range(2):
        got = fetch(
            f"{server}/a", path, checksum, len(CONTENT), local=True, progress=lambda *step: reported.append(step)
        )
        assert got == path
        assert path.read_bytes() == CONTENT
    assert Server.asked == ["/a"]
    assert reported == [(1 << 20, 2 << 20), (2 << 20, 2 << 20)]
    assert files_in(tmp_path) == ["file"]
    assert capsys.readouterr().err == ""


def test_a_download_without_progress_is_announced(server: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    fetch(f"{server}/a", tmp_path / "file", SHA256, len(CONTENT), local=True)
    assert capsys.readouterr().err == f"zoo: downloading {server}/a to {tmp_path}\n"


def test_recompressed_files_are_verified_by_their_content(server: str, tmp_path: Path) -> None:
    path = fetch(f"{server}/packed", tmp_path / "file.gz", SHA256, len(CONTENT), gunzip=True, local=True)
    assert gzip.decompress(path.read_bytes()) == CONTENT
    with pytest.raises(DataError, match="is not the expected file"):
        fetch(f"{server}/a", tmp_path / "other.gz", SHA256, len(CONTENT), gunzip=True, local=True)


def test_a_wrong_checksum_is_refused(server: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"its sha256 is {SHA256[7:]},\nnot {'0' * 64}; nothing was stored") as caught:
        fetch(f"{server}/a", tmp_path / "file", f"sha256:{'0' * 64}", len(CONTENT), local=True)
    assert caught.value.exit_code == 65
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("where", ["a", "endless"])
def test_more_bytes_than_allowed_are_refused(server: str, tmp_path: Path, where: str) -> None:
    with pytest.raises(DataError, match=r"is larger than the expected 1,500,000 bytes"):
        fetch(f"{server}/{where}", tmp_path / "file", SHA256, 1_500_000, local=True)
    assert files_in(tmp_path) == []


def test_a_truncated_response_is_refused(server: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot be downloaded: .*\nput the file at .*file, or try again") as caught:
        fetch(f"{server}/truncated", tmp_path / "file", SHA256, len(CONTENT), local=True)
    assert caught.value.exit_code == 74
    assert files_in(tmp_path) == []


def test_missing_files_and_servers_are_reported(server: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="missing cannot be downloaded: Not Found"):
        fetch(f"{server}/missing", tmp_path / "file", SHA256, len(CONTENT), local=True)
    with pytest.raises(StorageError, match=r"cannot be downloaded: .*refused"):
        fetch("http://127.0.0.1:1/a", tmp_path / "file", SHA256, len(CONTENT), local=True)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a", "http://example.invalid/a"])
def test_redirects_to_other_schemes_and_hosts_are_refused(server: str, tmp_path: Path, target: str) -> None:
    with pytest.raises((DataError, StorageError), match=r"only https downloads are allowed|is not allowed"):
        fetch(f"{server}/redirect/{target}", tmp_path / "file", SHA256, len(CONTENT), local=True)
    assert files_in(tmp_path) == []


def test_redirects_to_allowed_urls_are_followed(server: str, tmp_path: Path) -> None:
    path = fetch(f"{server}/redirect/{server}/a", tmp_path / "file", SHA256, len(CONTENT), local=True)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/a", "file:///etc/passwd", "http://example.invalid/a", "/etc/passwd"]
)
def test_only_https_by_default(tmp_path: Path, url: str) -> None:
    with pytest.raises(DataError, match="only https downloads are allowed"):
        fetch(url, tmp_path / "file", SHA256, len(CONTENT))


def test_disk_errors_are_reported(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file"):
        fetch(f"{server}/a", tmp_path / "file" / "a", SHA256, len(CONTENT), local=True)


def test_a_partial_file_is_not_used(server: str, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"half")
    assert fetch(f"{server}/a", tmp_path / "file", SHA256, len(CONTENT), local=True).read_bytes() == CONTENT
    assert files_in(tmp_path) == ["file"]


def test_concurrent_downloads_wait_for_the_first(server: str, tmp_path: Path) -> None:
    def one(_: int) -> Path:
        return fetch(f"{server}/a", tmp_path / "file", SHA256, len(CONTENT), local=True)

    with ThreadPoolExecutor(4) as pool:  # locks belong to open files, so threads exclude each other as processes do
        assert {path.read_bytes() for path in pool.map(one, range(4))} == {CONTENT}
    assert Server.asked == ["/a"]
    assert files_in(tmp_path) == ["file"]


@pytest.mark.promise("R29", 1, 1)
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_four_concurrent_processes_download_once(server: str, tmp_path: Path, promise: Any) -> None:
    def one() -> int:
        fetch(f"{server}/a", tmp_path / "file", SHA256, len(CONTENT), local=True)
        return 0 if (tmp_path / "file").read_bytes() == CONTENT else 1

    children = []
    for _ in range(4):
        child = os.fork()
        if not child:
            code = 1
            try:
                code = one()
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0, 0]
    assert Server.asked == ["/a"]
    assert files_in(tmp_path) == ["file"]
    promise.kept(processes=4, downloads=1, whole=4)
