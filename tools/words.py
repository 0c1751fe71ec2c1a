"""Check that retired words and names do not come back: prints `file:line: word: say replacement` and exits with 1.

The list holds terms for which the field has a better-known word, and names that the code used before 0.1.0. Quotations
are skipped: text within “...” in any file, text within "..." in the prose of Markdown files, the option `n_critic`, and
paths under benchmarks/results. Standard library alone.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SKIPPED_FOLDERS = {
    ".git", ".hypothesis", ".venv", ".benchmarks", "__pycache__", "bench", "build", "dist", "node_modules", "runs",
}  # fmt: skip
"""Folders that hold no source; `bench` and `runs` are the default output folders of `zoo bench` and `zoo train`."""

SKIPPED_FILES = re.compile(
    r"LOG\.md|CHANGELOG\.md"  # history
    r"|tests/golden/.*|benchmarks/results/.*"  # recorded results keep the names that they were recorded with
    # names in files that were stored before they changed
    r"|benchmarks/mode_collapse\.py"
    r"|aigc_zoo/artefacts/migration\.py|tests/(?:artefacts/test_migration|run/test_older_runs)\.py"
    r"|tools/words\.py|tests/test_words\.py"
)


def part(word: str) -> str:
    """A pattern for a word by itself or as a part of an identifier: `makers`, `_makers`, `MAKERS` and `allMakers`."""
    lower, title, upper = word.lower(), word.capitalize(), word.upper()
    return rf"(?:(?<![A-Za-z]){lower}(?![a-z])|(?<![A-Z]){title}(?![a-z])|(?<![A-Za-z]){upper}(?![A-Za-z]))"


def phrase(words: str) -> str:
    """A pattern for several words, also across a line break and with `_` or `-` between them."""
    return r"\b" + r"(?:[ _-]|\s+(?:#\s*)?)".join(words.split()) + r"\b"


WORDS: Mapping[str, str] = {
    r"(?i:critic)(?!al|is|iq)": "discriminator",
    part("maker") + "|" + part("makers"): "generator",
    part("film") + "|" + part("films"): "animation",
    part("judge") + "|" + part("judges") + "|" + part("judged") + "|" + part("judging"): "evaluator, evaluate",
    r"(?i:near[ _-]cop(?:y|ies)\b)": "near-duplicates",
    "(?i:" + phrase("kernel distances?") + ")": "KID",
    part("yardstick") + "|" + part("yardsticks"): "baseline",
    "(?i:" + phrase("moving averages?") + ")": "EMA",
    "(?i:" + phrase("is told") + ")": "a plain verb: is reported, receives",
    r"\b[Mm]end(?:s|ed)?\b": "fixes, prevents",
    "(?i:" + phrase("of all that") + ")": "a full sentence",
    # Names of the code before 0.1.0.
    r"\b[Pp]atience\b": "the names of run/disk_full.py",
    r"\b[Rr]ehears\w*": "dry run",
    r"\bRunFolder\b": "RunDirectory",
    r"\bLook\b(?=[\]\[(.|:`])": "Features",
    r"\.play\(": ".train_step(",
    r"\branks\.average\(": "ranks.all_reduce_mean(",
    r"\b[Rr]ecipe\.make\b": "Recipe.generate",
    r"--average\b": "--ema",
    r"""(?<=["'`,/])spread(?=[-"'`,])""": "variance-ratio",
    r"\baigc_zoo\.engine\.(?:seeds|average)\b": "aigc_zoo.random, aigc_zoo.engine.ema",
    r"\brun[./](?:fitting|weights|rehearsal|screen|publish|evaluation|sampling)\b(?!\()": "the new module name",
}
"""A pattern for each retired word, and what to say instead."""

KEYS = r'"yardstick"'  # a key of the files that `zoo bench speed` writes
ALLOWED = re.compile(
    rf"(?<![A-Za-z])n[_-]critics?\b|[Aa]ctor-[Cc]ritic|benchmarks/results/[\w./-]+|{KEYS}|“[^“”]{{1,800}}”"
    r"|<!-- begin: tables -->.*?<!-- end: tables -->",  # made from recorded results
    re.DOTALL,
)
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
QUOTED = re.compile(r'(?<!\w)"(?:[^"\n]|\n(?!\s*\n)){1,400}"')


def words_in(text: str, *, markdown: bool = False) -> Iterator[tuple[int, str, str]]:
    """Each retired word with its line and its replacement, in the order of the lines."""
    text = ALLOWED.sub(_blank, text)
    if markdown:
        ends = [0, *(at for fence in FENCE.finditer(text) for at in fence.span()), len(text)]
        pieces = [text[start:end] for start, end in itertools.pairwise(ends)]
        text = "".join(QUOTED.sub(_blank, piece) if n % 2 == 0 else piece for n, piece in enumerate(pieces))
    found = [
        (text.count("\n", 0, match.start()) + 1, " ".join(match[0].split()), replacement)
        for pattern, replacement in WORDS.items()
        for match in re.finditer(pattern, text)
    ]
    yield from sorted(found)


def _blank(match: re.Match[str]) -> str:
    """Spaces instead of what is skipped, so that the lines keep their numbers."""
    return re.sub(r"[^\n]", " ", match[0])


def text_files(root: Path) -> Iterator[tuple[Path, str]]:
    """Every text file under `root` with its text, caches and build results left out."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not _skipped(name, Path(folder) == root))
        for name in sorted(names):
            path = Path(folder) / name
            data = path.read_bytes() if path.is_file() else b"\0"
            if name != ".git" and b"\0" not in data[:4096]:  # a file in the work trees of Git
                yield path, data.decode("utf-8", errors="replace")


def _skipped(name: str, top: bool) -> bool:
    """Whether a folder holds no source. Source folders below the top may be called `bench` and the like."""
    return (name in SKIPPED_FOLDERS and (top or name == "__pycache__")) or name.endswith(("_cache", ".egg-info"))


def retired(root: Path = ROOT) -> list[str]:
    """A line for each retired word in the names and texts of the files under `root`."""
    lines = []
    for path, text in text_files(root):
        name = path.relative_to(root).as_posix()
        if not SKIPPED_FILES.fullmatch(name):
            found = [(0, word, say) for _, word, say in words_in(name)]
            found += words_in(text, markdown=path.suffix == ".md")
            lines += [f"{name}:{line}: {word}: say {say}" for line, word, say in found]
    return lines


def main(arguments: Sequence[str]) -> str | int:
    if len(arguments) > 1:
        return "usage: python tools/words.py [FOLDER]"
    found = retired(*map(Path, arguments))
    return "\n".join([*found, f"{len(found)} retired words; tools/words.py lists them"]) if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
