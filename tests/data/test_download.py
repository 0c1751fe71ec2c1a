"""Downloads from a server of our own: whole and right, or a clear error and nothing left behind."""

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
            pass  # the client had enough

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


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))


@pytest.mark.parametrize("checksum", [SHA256, MD5])
def test_a_file_comes_whole_and_once(server: str, tmp_path: Path, checksum: str, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "new" / "file"
    seen: list[tuple[int, int]] = []
    for _ in range(2):
        got = fetch(f"{server}/a", path, checksum, len(CONTENT), local=True, progress=lambda *step: seen.append(step))
        assert got == path
        assert path.read_bytes() == CONTENT
    assert Server.asked == ["/a"]
    assert seen == [(1 << 20, 2 << 20), (2 << 20, 2 << 20)]
    assert left(tmp_path) == ["file"]
    assert capsys.readouterr().err == ""


def test_who_does_not_watch_is_told(server: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    fetch(f"{server}/a", tmp_path / "file", SHA256, len(CONTENT), local=True)
    assert capsys.readouterr().err == f"zoo: downloading {server}/a to {tmp_path}\n"


def test_what_mirrors_packed_anew_is_checked_unpacked(server: str, tmp_path: Path) -> None:
    path = fetch(f"{server}/packed", tmp_path / "file.gz", SHA256, len(CONTENT), gunzip=True, local=True)
    assert gzip.decompress(path.read_bytes()) == CONTENT
    with pytest.raises(DataError, match="is not the file that it should be"):
        fetch(f"{server}/a", tmp_path / "other.gz", SHA256, len(CONTENT), gunzip=True, local=True)


def test_another_content_is_refused(server: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=f"its sha256 is {SHA256[7:]}\nexpected was {'0' * 64}; nothing was kept"
    ) as said:
        fetch(f"{server}/a", tmp_path / "file", f"sha256:{'0' * 64}", len(CONTENT), local=True)
    assert said.value.exit_code == 65
    assert left(tmp_path) == []


@pytest.mark.parametrize("where", ["a", "endless"])
def test_more_than_was_promised_is_refused(server: str, tmp_path: Path, where: str) -> None:
    with pytest.raises(DataError, match=r"is larger than the 1,500,000 bytes"):
        fetch(f"{server}/{where}", tmp_path / "file", SHA256, 1_500_000, local=True)
    assert left(tmp_path) == []


def test_less_than_was_promised_is_refused(server: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot be downloaded: .*\nput the file at .*file, or try again") as said:
        fetch(f"{server}/truncated", tmp_path / "file", SHA256, len(CONTENT), local=True)
    assert said.value.exit_code == 74
    assert left(tmp_path) == []


def test_what_is_not_there_is_said_so(server: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="missing cannot be downloaded: Not Found"):
        fetch(f"{server}/missing", tmp_path / "file", SHA256, len(CONTENT), local=True)
    with pytest.raises(StorageError, match=r"cannot be downloaded: .*refused"):
        fetch("http://127.0.0.1:1/a", tmp_path / "file", SHA256, len(CONTENT), local=True)
    assert left(tmp_path) == []


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a", "http://example.invalid/a"])
def test_redirects_lead_nowhere_else(server: str, tmp_path: Path, target: str) -> None:
    with pytest.raises((DataError, StorageError), match=r"downloads come by https only|is not allowed"):
        fetch(f"{server}/redirect/{target}", tmp_path / "file", SHA256, len(CONTENT), local=True)
    assert left(tmp_path) == []


def test_redirects_within_bounds_are_followed(server: str, tmp_path: Path) -> None:
    path = fetch(f"{server}/redirect/{server}/a", tmp_path / "file", SHA256, len(CONTENT), local=True)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/a", "file:///etc/passwd", "http://example.invalid/a", "/etc/passwd"]
)
def test_only_https_unless_told(tmp_path: Path, url: str) -> None:
    with pytest.raises(DataError, match="downloads come by https only"):
        fetch(url, tmp_path / "file", SHA256, len(CONTENT))


def test_a_disk_that_refuses_is_said_so(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file"):
        fetch(f"{server}/a", tmp_path / "file" / "a", SHA256, len(CONTENT), local=True)


def test_a_piece_of_an_earlier_try_is_not_taken_for_the_file(server: str, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"half")
    assert fetch(f"{server}/a", tmp_path / "file", SHA256, len(CONTENT), local=True).read_bytes() == CONTENT
    assert left(tmp_path) == ["file"]


def test_who_comes_later_waits_and_finds_it(server: str, tmp_path: Path) -> None:
    def one(_: int) -> Path:
        return fetch(f"{server}/a", tmp_path / "file", SHA256, len(CONTENT), local=True)

    with ThreadPoolExecutor(4) as pool:  # locks are of open files: threads exclude each other as processes do
        assert {path.read_bytes() for path in pool.map(one, range(4))} == {CONTENT}
    assert Server.asked == ["/a"]
    assert left(tmp_path) == ["file"]


@pytest.mark.promise("R29", 1, 1)
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_four_processes_at_once_end_with_one_whole_file(server: str, tmp_path: Path, promise: Any) -> None:
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
    assert left(tmp_path) == ["file"]
    promise.kept(processes=4, downloads=1, whole=4)
