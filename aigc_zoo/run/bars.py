"""Progress bars on a terminal and in a notebook.

IPython is imported only where it runs already; it is no dependency.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from html import escape
from typing import Any, Protocol

import click
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from aigc_zoo.errors import printable

REFRESH_SECONDS = 0.1
"""Seconds between updates of a bar. Bars are refreshed by the program itself, without a thread of their own."""


class Bar(Protocol):
    """A bar, made from a text such as "step {done}/{total}" and the total."""

    def show(self, done: int, facts: str = "", below: str = "", *, now: bool = False) -> None:
        """Updates the bar, not too often unless `now`."""

    def say(self, text: str) -> None:
        """Prints a line of its own."""

    def stop(self) -> None:
        """Ends the bar."""


def bars() -> Callable[..., Bar] | None:
    """The kind of bar that the user sees here: in a notebook, on a terminal, or none."""
    if in_notebook():
        return NotebookBar
    return TerminalBar if sys.stderr.isatty() else None


def tell(text: str) -> None:
    """Prints a line on stderr; in a notebook on stdout, since notebooks show stderr as an error."""
    click.echo(printable(text), err=not in_notebook())


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = getattr(ipython, "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class TerminalBar(Progress):
    """A bar with a count, facts beside it and a text below it, on the terminal that stderr is."""

    def __init__(self, count: str, total: int, *, transient: bool = False) -> None:
        self._count, self._total = count, total
        self._below, self._shown = "", 0.0
        super().__init__(
            BarColumn(bar_width=None),
            TextColumn("{task.fields[count]}", markup=False),
            TextColumn("{task.fields[facts]}", markup=False),
            console=Console(stderr=True),
            auto_refresh=False,
            transient=transient,
            redirect_stdout=False,
            expand=True,
        )
        self._task: TaskID = self.add_task("", total=total, count="", facts="")
        self.start()

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self._below:
            yield Text(self._below)

    def show(self, done: int, facts: str = "", below: str = "", *, now: bool = False) -> None:
        """Updates the bar, at most every REFRESH_SECONDS unless `now`."""
        self._below = below
        count = self._count.format(done=f"{done:,}", total=f"{self._total:,}")
        self.update(self._task, completed=done, count=count, facts=facts)
        if now or time.monotonic() - self._shown >= REFRESH_SECONDS or done >= self._total:
            self._shown = time.monotonic()
            self.refresh()

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        self.console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


class NotebookBar:
    """A bar in the output of a cell, which is updated in place: a count and facts beside it, and a text below it."""

    def __init__(self, count: str, total: int, *, transient: bool = False) -> None:
        from IPython.display import display  # type: ignore[import-not-found]  # there is one in a notebook

        self._count, self._total, self._transient = count, total, transient
        self._done, self._facts, self._below, self._hidden = 0, "", "", False
        self._shown = 0.0
        self._handle: Any = display(self, display_id=True)

    def __repr__(self) -> str:
        """The text for a notebook that shows no HTML."""
        return "" if self._hidden else "  ".join(filter(None, (self._counted(), self._facts, self._below)))

    def _repr_html_(self) -> str:
        if self._hidden:
            return ""
        beside = escape("  ".join(filter(None, (self._counted(), self._facts))))
        below = f"<div>{escape(self._below)}</div>" if self._below else ""
        return f'<div><progress value="{self._done}" max="{self._total}"></progress> {beside}</div>{below}'

    def show(self, done: int, facts: str = "", below: str = "", *, now: bool = False) -> None:
        """Updates the bar, at most every REFRESH_SECONDS unless `now`."""
        self._done, self._facts, self._below = done, facts, below
        if now or time.monotonic() - self._shown >= REFRESH_SECONDS or done >= self._total:
            self._shown = time.monotonic()
            self._handle.update(self)

    def say(self, text: str) -> None:
        """Prints a line below the bar."""
        click.echo(text)

    def stop(self) -> None:
        """Ends the bar, and hides it if it is transient."""
        self._hidden = self._transient
        self._handle.update(self)

    def _counted(self) -> str:
        return self._count.format(done=f"{self._done:,}", total=f"{self._total:,}")
