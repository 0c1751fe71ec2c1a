"""The page in a real browser: no request, no error, sorting, filtering, pictures, dark mode and a phone's width."""

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
  const seen = { errors: window.errors, blocked: window.blocked, alerts: window.alerts };
  seen.resources = performance.getEntriesByType("resource").map(entry => entry.name.slice(0, 12));
  seen.pictures = [...document.images].filter(image => !image.closest("[hidden]"));
  await Promise.all(seen.pictures.map(image => image.decode()));
  seen.pictures = seen.pictures.map(image => image.naturalWidth);
  seen.charts = [...document.querySelectorAll("figure svg")].map(svg => svg.getBoundingClientRect().width > 100);
  const board = document.querySelector("section.board"), table = board.querySelector("table");
  const names = () => [...table.tBodies[0].rows].filter(row => !row.hidden).map(row => row.cells[0].textContent);
  const head = title => [...table.tHead.rows[0].cells].find(cell => cell.textContent === title).querySelector("button");
  seen.start = names();
  head("best").click(); seen.best = names();
  head("best").click(); seen.worst = names();
  head("held out, final").click(); seen.missing = names();
  head("run").click(); seen.names = names();
  const input = board.querySelector("input[type=search]");
  input.value = "DCGAN digits"; input.dispatchEvent(new Event("input")); seen.filtered = names();
  input.value = ""; input.dispatchEvent(new Event("input")); seen.all = names();
  const animation = document.querySelector(".animation"), slider = animation.querySelector("input");
  const last = animation.querySelector("img").src;
  slider.value = 0; slider.dispatchEvent(new Event("input"));
  seen.moved = animation.querySelector("img").src !== last;
  seen.step = animation.querySelector(".controls span").textContent;
  seen.wide = document.documentElement.scrollWidth <= innerWidth;
  seen.width = innerWidth;
  const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number);
  seen.dark = r + g + b < 200;
  const mark = document.createElement("pre"); mark.id = "seen"; mark.textContent = JSON.stringify(seen);
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


def chromium(browser: str, home: Path, *words: str) -> str:
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-dev-shm-usage", "--hide-scrollbars", f"--user-data-dir={home}", "--virtual-time-budget=20000"]
    done = subprocess.run([browser, *flags, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def opened(browser: str, tmp_path: Path, sources: list[Path], *words: str) -> dict[str, Any]:
    """What the page does in the browser when somebody clicks."""
    text = page(collect(sources))
    text = text.replace("<style>", f"{WATCH}<style>", 1).replace("</body>", f"{ACT}</body>")
    path = tmp_path / "report.html"
    path.write_text(text)
    dom = chromium(browser, tmp_path / "home", *words, "--dump-dom", path.as_uri())
    found = re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[-2000:]
    seen: dict[str, Any] = json.loads(html.unescape(found[1]))
    return seen


def test_the_page_works_in_a_browser(browser: str, tmp_path: Path, sources: list[Path]) -> None:
    seen = opened(browser, tmp_path, sources, "--window-size=1280,900")
    assert (seen["errors"], seen["blocked"], seen["alerts"]) == ([], [], 0)
    assert all(name.startswith("data:") for name in seen["resources"]), "no request"
    assert len(seen["pictures"]) == 4
    assert all(width == 60 for width in seen["pictures"])
    assert len(seen["charts"]) > 8
    assert all(seen["charts"])
    assert seen["start"] == seen["best"] == ["other", "good", "collapsed"]
    assert seen["worst"] == ["collapsed", "good", "other"]
    assert seen["missing"][0] == "good", "what is missing comes last"
    assert seen["names"] == seen["all"] == ["collapsed", "good", "other"]
    assert seen["filtered"] == ["good", "other"]
    assert seen["moved"]
    assert seen["step"] == "step 0"
    assert seen["wide"]
    assert not seen["dark"]


def test_the_page_fits_a_phone_and_the_dark(browser: str, tmp_path: Path, sources: list[Path]) -> None:
    words = ("--window-size=500,900", "--blink-settings=preferredColorScheme=0")
    seen = opened(browser, tmp_path, sources, *words)
    assert seen["dark"]
    assert seen["width"] <= 500
    assert seen["wide"], "nothing sticks out to the right"
