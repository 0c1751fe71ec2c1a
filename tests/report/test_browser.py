"""The page in a real browser: no requests or errors, sorting, filtering, images, dark mode and the width of a phone."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aigc_zoo.report.collect import collect
from aigc_zoo.report.page import page

pytestmark = pytest.mark.nightly

ACT = """
<script>
"use strict";
addEventListener("load", async () => {
  const found = { errors: window.errors, blocked: window.blocked, alerts: window.alerts };
  found.resources = performance.getEntriesByType("resource").map(entry => entry.name.slice(0, 12));
  found.images = [...document.images].filter(image => !image.closest("[hidden]"));
  await Promise.all(found.images.map(image => image.decode()));
  found.images = found.images.map(image => image.naturalWidth);
  found.charts = [...document.querySelectorAll("figure svg")].map(svg => svg.getBoundingClientRect().width > 100);
  const board = document.querySelector("section.board"), table = board.querySelector("table");
  const names = () => [...table.tBodies[0].rows].filter(row => !row.hidden).map(row => row.cells[0].textContent);
  const head = title => [...table.tHead.rows[0].cells].find(cell => cell.textContent === title).querySelector("button");
  found.start = names();
  head("best").click(); found.best = names();
  head("best").click(); found.worst = names();
  head("held out, final").click(); found.missing = names();
  head("run").click(); found.names = names();
  const input = board.querySelector("input[type=search]");
  input.value = "DCGAN digits"; input.dispatchEvent(new Event("input")); found.filtered = names();
  input.value = ""; input.dispatchEvent(new Event("input")); found.all = names();
  const animation = document.querySelector(".animation"), slider = animation.querySelector("input");
  const last = animation.querySelector("img").src;
  slider.value = 0; slider.dispatchEvent(new Event("input"));
  found.moved = animation.querySelector("img").src !== last;
  found.step = animation.querySelector(".controls span").textContent;
  found.wide = document.documentElement.scrollWidth <= innerWidth;
  found.width = innerWidth;
  const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number);
  found.dark = r + g + b < 200;
  const mark = document.createElement("pre"); mark.id = "found"; mark.textContent = JSON.stringify(found);
  document.body.append(mark);
});
</script>
"""
WATCH = """
<script>
window.errors = []; window.blocked = []; window.alerts = 0; window.alert = () => { window.alerts += 1; };
addEventListener("error", event => window.errors.push(String(event.message)));
addEventListener("securitypolicyviolation", event => window.blocked.push(event.blockedURI));
</script>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no chromium is installed: apt-get install chromium")


def chromium(browser: str, profile: Path, *words: str) -> str:
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += [
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
        "--virtual-time-budget=20000",
    ]
    done = subprocess.run([browser, *flags, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def opened(browser: str, tmp_path: Path, sources: list[Path], *words: str) -> dict[str, Any]:
    """Open the page in the browser, click through it and return what was observed."""
    text = page(collect(sources))
    text = text.replace("<style>", f"{WATCH}<style>", 1).replace("</body>", f"{ACT}</body>")
    path = tmp_path / "report.html"
    path.write_text(text)
    dom = chromium(browser, tmp_path / "profile", *words, "--dump-dom", path.as_uri())
    found = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[-2000:]
    result: dict[str, Any] = json.loads(html.unescape(found[1]))
    return result


def test_the_page_works_in_a_browser(browser: str, tmp_path: Path, sources: list[Path]) -> None:
    result = opened(browser, tmp_path, sources, "--window-size=1280,900")
    assert (result["errors"], result["blocked"], result["alerts"]) == ([], [], 0)
    assert all(name.startswith("data:") for name in result["resources"]), "no request"
    assert len(result["images"]) == 4
    assert all(width == 60 for width in result["images"])
    assert len(result["charts"]) > 8
    assert all(result["charts"])
    assert result["start"] == result["best"] == ["other", "good", "collapsed"]
    assert result["worst"] == ["collapsed", "good", "other"]
    assert result["missing"][0] == "good", "missing values come last"
    assert result["names"] == result["all"] == ["collapsed", "good", "other"]
    assert result["filtered"] == ["good", "other"]
    assert result["moved"]
    assert result["step"] == "step 0"
    assert result["wide"]
    assert not result["dark"]


def test_the_page_fits_a_phone_and_dark_mode(browser: str, tmp_path: Path, sources: list[Path]) -> None:
    words = ("--window-size=500,900", "--blink-settings=preferredColorScheme=0")
    result = opened(browser, tmp_path, sources, *words)
    assert result["dark"]
    assert result["width"] <= 500
    assert result["wide"], "no horizontal scrolling"
