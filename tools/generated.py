"""Pages of docs/ that a tool writes from code; with --check it fails if the page is stale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"


@dataclass(frozen=True)
class Generated:
    """The page docs/`name`, whose text `text` returns, and the command line of the tool that writes it."""

    name: str
    text: Callable[[], str]

    def stale(self, path: Path | None = None) -> str:
        """Why the page, or a copy at `path`, must be regenerated; an empty string if it is up to date."""
        path = path or DOCS / self.name
        fresh = path.exists() and path.read_text(encoding="utf-8") == self.text()
        return "" if fresh else f"docs/{path.name} is stale: run `make docs`"

    def main(self, words: Sequence[str]) -> str | int:
        """Run the tool with the words of its command line, the first of which is its file; return its exit status."""
        if words[1:] not in ([], ["--check"]):
            return f"usage: python {words[0]} [--check]"
        if words[1:]:
            return self.stale() or 0
        (DOCS / self.name).write_text(self.text(), encoding="utf-8")
        return 0
