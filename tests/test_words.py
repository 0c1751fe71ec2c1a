"""Retired words are found wherever they stand, and quotations are not touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from test_repository import ROOT, tool

WORDS = tool("words")


def found(text: str, *, markdown: bool = False) -> list[str]:
    return [word for _, word, _ in WORDS.words_in(text, markdown=markdown)]


def test_a_planted_word_is_reported_with_file_line_and_replacement(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("# A page\n\nThe loss of the critic.\n")
    (tmp_path / "loss.py").write_text('"""A loss."""\n\n\ncritic_loss = 0\n')
    (tmp_path / "yardstick.txt").write_text("nothing\n")
    (tmp_path / "weights.bin").write_bytes(b"critic\0")
    assert WORDS.retired(tmp_path) == [
        "loss.py:4: critic: say discriminator",
        "yardstick.txt:0: yardstick: say baseline",
        "docs/page.md:3: critic: say discriminator",
    ]


def test_history_and_recorded_results_are_skipped(tmp_path: Path) -> None:
    for name in ("LOG.md", "CHANGELOG.md", "tests/golden/a.json", "benchmarks/results/b.json", ".venv/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("critic\n")
    assert WORDS.retired(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Critics", "Critic"),
        ("def critic_loss(): ...", "critic"),
        ("wasserstein_critic", "critic"),
        ("MultiScaleCritic", "Critic"),
        ("the makers of", "makers"),
        ("class AllMakers", "Makers"),
        ("save_film(x)", "film"),
        ("it is judged", "judged"),
        ("class Judge:", "Judge"),
        ("near-copies", "near-copies"),
        ("the kernel\n# distance", "kernel # distance"),
        ("a moving average", "moving average"),
        ("Of all that is random", "Of all that"),
        ("the rank is told", "is told"),
        ("a norm mends it", "mends"),
        ("trainer.play()", ".play("),
        ("--average 0.9", "--average"),
        ("spread-zoo-grey28", "spread"),
    ],
)
def test_a_retired_word_is_found(text: str, word: str) -> None:
    prefix = "x " if word != "spread" else "`"
    assert found(f"{prefix}{text}") == [word]


@pytest.mark.parametrize(
    "text",
    [
        "critical, critically, criticism, a critique",
        "--n-critic 5 and n_critic=5",
        "actor-critic",
        "FiLM: feature-wise linear modulation",
        "the matchmaker recommends amendments",
        "“the critic is trained to optimality”",
        '{"yardstick": "convolutions 1"}',
        "`benchmarks/results/critic.json`",
        "the spread of the values over seeds",
        "player.plays(",
    ],
)
def test_other_words_and_quotations_are_allowed(text: str) -> None:
    assert found(text) == []


def test_straight_quotes_are_quotations_in_the_prose_of_markdown_alone() -> None:
    text = 'They call it "the critic".\n\n```python\nname = "critic"\n```\n\nAs in "a critic\nof WGAN".\n'
    assert list(WORDS.words_in(text, markdown=True)) == [(4, "critic", "discriminator")]
    assert len(found(text)) == 3


def test_the_command_exits_with_1_and_names_each_place(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    command = [sys.executable, ROOT / "tools" / "words.py", tmp_path]
    for text, code in (("The critic.\n", 1), ("The discriminator.\n", 0)):
        page.write_text(text)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith("page.md:1: critic: say discriminator\n" if code else "")
