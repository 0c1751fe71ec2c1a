"""The progress of a training run on a terminal and without one."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aigc_zoo.run.terminal import TerminalProgress, _Eta

CARD = {
    "recipe": "zoo/dcgan",
    "data": {"name": "digits", "samples": 12_000, "spec": {"shape": [1, 28, 28]}},
    "steps": 20_000,
    "batch_size": 64,
    "threads": 1,
    "world": 1,
    "device": "cpu",
    "precision": "fp32",
    "engine": "eager",
    "why": {"precision": "", "engine": ""},
}
SCRIPT = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_progress
test_progress.report()
"""


def report() -> None:
    """A run that evaluates at step 0, trains and evaluates again, without any training."""
    progress = TerminalProgress()
    progress.start(Path("runs/x"), CARD, 0, {"G": 10, "D": 20})
    progress.evaluating(0, "digits train", 12_000, 12_000)
    progress._bar and progress._bar.refresh()
    progress.evaluating(0, "samples", 1_024, 2_048)
    progress._bar and progress._bar.refresh()
    progress.metric({"step": 0, "name": "fid-zoo-grey28", "value": 300.0})
    for step in range(1, 101):
        progress.step(step, 64 * step, 0.5 * step)
    terms = {"discriminator/loss": 1.38629, "discriminator/_real": 0.1, "generator/loss": 0.7123}
    progress.log({"step": 100, "images": 6_400, "images_per_second": 1_234.5, "terms": terms})
    progress.close()


def on_a_terminal(columns: int) -> str:
    """What `report` writes to a terminal of so many columns, without escape sequences."""
    terminal, other = pty.openpty()
    env = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=other, stderr=other, env=env)
    os.close(other)
    written = b""
    while True:
        try:
            block = os.read(terminal, 65_536)
        except OSError:  # the terminal is closed when the process ends
            break
        written += block
    os.close(terminal)
    assert process.wait(timeout=60) == 0, written
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode())


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_terminal_shows_losses_speed_and_evaluation_at_any_width(columns: int) -> None:
    text = on_a_terminal(columns)
    assert "evaluating at step 0: 12,000/12,000 of digits train" in text
    assert "evaluating at step 0: 1,024/2,048 samples" in text
    bar = next(line for line in text.splitlines() if "step 100/20,000" in line and "images/s" in line)
    assert "2:45:50 left" in bar, "19,900 steps of half a second"
    assert "1,234 images/s" in bar
    assert text.rstrip().endswith("discriminator 1.386, generator 0.712")
    assert all(len(line) <= columns for line in text.splitlines() if "━" in line)


def test_without_a_terminal_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    report()
    text = capsys.readouterr().err
    assert "\x1b" not in text
    assert "━" not in text
    assert text.splitlines()[-2:] == [
        "step 0: fid-zoo-grey28 300",
        "step 100/20,000, 6,400 images, 1,234 images/s, discriminator 1.386, generator 0.712, 2:45:50 left",
    ]


def test_the_remaining_time_follows_the_speed_of_the_last_steps() -> None:
    eta = _Eta()
    assert eta.seconds_left(0, 100) == 0
    for step in range(1, 101):
        eta.update(step, 10.0 * step)
    for step in range(101, 201):
        eta.update(step, 1_000 + 1.0 * (step - 100))
    assert eta.seconds_left(200, 300) == pytest.approx(100)
