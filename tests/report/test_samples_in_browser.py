"""Samples of a report in a real browser: a sound has a duration, a clip moves, a text is shown, nothing is requested.

The frame of a report runs no script. So the content of its `srcdoc`, with the policy that the report puts before it,
is opened as a page of its own, to which only a script that reads the elements is added.
"""

from __future__ import annotations

import base64
import html
import io
import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import drawn_files
import numpy as np
import pytest
from PIL import Image
from sketch import on_files

from aigc_zoo.cli import main
from aigc_zoo.report.collect import collect
from aigc_zoo.report.page import page

from .test_browser import browser, chromium

__all__ = ["browser"]

pytestmark = pytest.mark.nightly

READ = """
<script nonce="test">
"use strict";
const blocked = [];
addEventListener("securitypolicyviolation", event => blocked.push(event.blockedURI));
addEventListener("load", async () => {
  const found = { texts: [...document.querySelectorAll("pre")].map(pre => pre.textContent) };
  found.durations = [...document.querySelectorAll("audio")].map(audio => audio.duration);
  found.errors = [...document.querySelectorAll("audio")].map(audio => audio.error && audio.error.message);
  await Promise.all([...document.images].map(image => image.decode()));
  found.images = [...document.images].map(image => image.naturalWidth);
  found.requests = performance.getEntriesByType("resource").map(entry => entry.name.slice(0, 5));
  found.blocked = blocked;
  const mark = document.createElement("pre"); mark.id = "found"; mark.textContent = JSON.stringify(found);
  document.body.append(mark);
});
</script>
"""


def shown(name: str, browser: str, tmp_path: Path) -> dict[str, Any]:
    """What the frame of the report on a run of a recipe shows in the browser."""
    data = {
        "tone": lambda: drawn_files.tones(tmp_path / "data", 16),
        "clip": lambda: drawn_files.bars(tmp_path / "data", 16),
        "sentence": lambda: drawn_files.sentences(tmp_path / "data.txt", 16),
    }[name]()
    run = tmp_path / "run"
    words = ["train", name, "--data", data, "--steps", 4, "--batch-size", 8, "--out", run]
    assert main(["--plugin", on_files.__file__, *map(str, words)]) == 0
    report = page(collect([run]))
    frame = re.search(r'<iframe class="samples" sandbox title="[^"]*" srcdoc="(.*?)"></iframe>', report, re.DOTALL)
    assert frame
    content = html.unescape(frame[1])
    policy = re.search(r'content="(default-src [^"]*)"', content)
    assert policy
    assert "script-src" not in policy[1]
    content = content.replace(policy[1], f"{policy[1]}; script-src 'nonce-test'", 1)
    path = tmp_path / "frame.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{content}{READ}")
    dom = chromium(
        browser, tmp_path / "profile", "--autoplay-policy=no-user-gesture-required", "--dump-dom", path.as_uri()
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[-2000:]
    result: dict[str, Any] = json.loads(html.unescape(found[1]))
    assert result["blocked"] == []
    assert set(result["requests"]) <= {"data:"}
    return result


START = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Starts a program with file descriptors 3 and 4, where Chromium speaks the protocol of its developer tools."""


def screenshots(browser: str, profile: Path, url: str, count: int = 12) -> list[bytes]:
    """PNG files of a page, a tenth of a second after each other. In virtual time Chromium animates no GIF file."""
    down, up = os.pipe(), os.pipe()
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"]
    start = [sys.executable, "-c", START, str(down[0]), str(up[1])]
    command = [*start, browser, *flags, f"--user-data-dir={profile}", "about:blank"]
    with (
        subprocess.Popen(command, pass_fds=(down[0], up[1]), stderr=subprocess.DEVNULL) as process,
        os.fdopen(down[1], "wb", buffering=0) as requests,
        os.fdopen(up[0], "rb") as answers,
    ):
        os.close(down[0])
        os.close(up[1])
        numbers = itertools.count(1)

        def call(method: str, session: Mapping[str, str] | None = None, **params: Any) -> dict[str, Any]:
            number = next(numbers)
            message = {"id": number, "method": method, "params": params, **(session or {})}
            requests.write(json.dumps(message).encode() + b"\0")
            while True:
                text = bytearray()
                while (byte := answers.read(1)) != b"\0":
                    assert byte, "the browser ended"
                    text += byte
                answer = json.loads(text)
                if answer.get("id") == number:
                    return dict(answer["result"])

        target = call("Target.createTarget", url=url)["targetId"]
        session = {"sessionId": call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        found = []
        for _ in range(count):
            time.sleep(0.1)
            found.append(base64.b64decode(call("Page.captureScreenshot", session)["data"]))
        call("Browser.close")
        process.wait(30)
    return found


def test_a_sound_can_be_played(browser: str, tmp_path: Path) -> None:
    found = shown("tone", browser, tmp_path)
    assert found["errors"] == [None] * 8
    assert found["durations"] == pytest.approx([1_024 / drawn_files.RATE] * 8, abs=1e-3)


def test_a_clip_moves(browser: str, tmp_path: Path) -> None:
    found = shown("clip", browser, tmp_path)
    assert len(found["images"]) == 8
    assert min(found["images"]) > 0
    seen: list[np.ndarray] = []
    for picture in screenshots(browser, tmp_path / "profile", (tmp_path / "frame.html").as_uri()):
        with Image.open(io.BytesIO(picture)) as image:
            seen.append(np.asarray(image.convert("L"))[:200])  # the clips are above all else
    assert seen[0].std() > 0
    assert len({one.tobytes() for one in seen}) > 3, "frames differ"


def test_a_text_is_shown(browser: str, tmp_path: Path) -> None:
    found = shown("sentence", browser, tmp_path)
    texts = (tmp_path / "run" / "samples" / "000000004.txt").read_text().splitlines()
    assert found["texts"] == texts[:8]
