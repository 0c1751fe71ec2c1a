"""Reads the HTML of samples and refuses what would make a request, run a script or leave its place in a page."""

from __future__ import annotations

from html.parser import HTMLParser

from aigc_zoo.testing.checks import CheckFailed

ADDRESSES = frozenset({
    "src", "srcset", "href", "xlink:href", "poster", "data", "action", "formaction", "background", "cite", "ping",
    "manifest", "longdesc", "profile", "usemap", "codebase", "archive", "classid", "icon", "imagesrcset",
})  # fmt: skip
"""Attributes with an address that a browser may request."""

FORBIDDEN = frozenset({"script", "link", "meta", "base", "iframe", "frame", "object", "embed", "portal", "form"})
VOID = frozenset({"area", "br", "col", "hr", "img", "input", "source", "track", "wbr"})
"""Elements without an end tag."""


def tags_of(html: str) -> list[str]:
    """The start and end tags in their order. Raises CheckFailed for HTML that a report could not show."""
    if not isinstance(html, str):
        raise CheckFailed(f"`html` returns a {type(html).__name__}, not a string")
    reader = _Reader()
    reader.feed(html)
    reader.close()
    if reader.open:
        raise CheckFailed(f"`html` leaves <{reader.open[-1]}> open, which would swallow the rest of the page")
    return reader.tags


class _Reader(HTMLParser):
    """Collects tags."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in FORBIDDEN:
            raise CheckFailed(f"`html` has the element <{tag}>, which may load or run something: leave it out")
        for name, value in attrs:
            _require_harmless(tag, name, (value or "").strip().lower())
        self.tags.append(f"<{tag}>")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            raise CheckFailed(f"`html` closes </{tag}>, which is not open")
        self.tags.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            _require_style(data.lower())

    def handle_comment(self, data: str) -> None:
        raise CheckFailed("`html` has a comment: leave it out, since an open one hides the rest of the page")

    def handle_decl(self, decl: str) -> None:
        raise CheckFailed(f"`html` has a declaration <!{decl[:20]}>: return what belongs inside of a page")

    def unknown_decl(self, data: str) -> None:
        self.handle_decl(data)

    def handle_pi(self, data: str) -> None:
        raise CheckFailed(f"`html` has a processing instruction <?{data[:20]}>: leave it out")


def _require_harmless(tag: str, name: str, value: str) -> None:
    if name.startswith("on"):
        raise CheckFailed(f"`html` has the attribute {name} of <{tag}>, which runs a script: leave it out")
    if name in ADDRESSES and not value.startswith(("data:", "#")):
        raise CheckFailed(f"`html` requests {value[:60]!r} ({name} of <{tag}>): embed it as data:")
    if name == "style":
        _require_style(value)


def _require_style(text: str) -> None:
    if "@import" in text or "url(" in text.replace("url(data:", "").replace("url('data:", "").replace('url("data:', ""):
        raise CheckFailed("`html` has a style that requests a file: leave it out, or embed it as url(data:...)")
