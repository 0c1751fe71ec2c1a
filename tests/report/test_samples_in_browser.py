"""Samples of a report in a real browser: a sound has a duration, a clip moves, a text is shown, nothing is requested.

The frame of a report runs no script. So the content of its `srcdoc`, with the policy that the report puts before it,
is opened as a page of its own, to which only a script that reads the elements is added.
"""

from __future__ import annotations

import html
import json
import re
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


def test_a_sound_can_be_played(browser: str, tmp_path: Path) -> None:
    found = shown("tone", browser, tmp_path)
    assert found["errors"] == [None] * 8
    assert found["durations"] == pytest.approx([1_024 / drawn_files.RATE] * 8, abs=1e-3)


def test_a_clip_moves(browser: str, tmp_path: Path) -> None:
    found = shown("clip", browser, tmp_path)
    assert len(found["images"]) == 8
    assert min(found["images"]) > 0
    seen = []
    for milliseconds in (1_000, 1_250):  # a frame takes 100
        picture = tmp_path / f"{milliseconds}.png"
        words = [f"--virtual-time-budget={milliseconds}", f"--screenshot={picture}", (tmp_path / "frame.html").as_uri()]
        chromium(browser, tmp_path / "profile", *words)
        with Image.open(picture) as image:
            seen.append(np.asarray(image.convert("L"))[:200].astype(int))
    assert seen[0].std() > 0
    assert (seen[0] != seen[1]).any(), "frames differ"


def test_a_text_is_shown(browser: str, tmp_path: Path) -> None:
    found = shown("sentence", browser, tmp_path)
    texts = (tmp_path / "run" / "samples" / "000000004.txt").read_text().splitlines()
    assert found["texts"] == texts[:8]
