"""Exceptions whose message is shown to the user, each with its exit code, and helpers to write such messages.

A message has at most three lines: the thing, the cause and the fix.
"""

from collections.abc import Iterable


class ZooError(Exception):
    """Base class of all failures that are explained to the user; `exit_code` is the exit code of the command line."""

    exit_code = 1


class UsageError(ZooError):
    """A command line that cannot be parsed, or options that exclude one another."""

    exit_code = 2


class ConfigError(ZooError):
    """An unknown component, a value out of range, components that do not fit together, or a plugin that fails."""

    exit_code = 3


class MissingPlugin(ConfigError):
    """A component that a card records and that no installed plugin provides; the message names the package."""


class LockedError(ZooError):
    """Another process is writing to the run directory."""

    exit_code = 4


class DataError(ZooError):
    """A dataset or a file that is missing, damaged or of the wrong type."""

    exit_code = 65


class DivergedError(ZooError):
    """Training diverged: losses or gradients are non-finite."""

    exit_code = 70


class StorageError(ZooError):
    """A file could not be read or written because of the system: permissions, a full disk."""

    exit_code = 74


def of_system(error: OSError) -> StorageError:
    """An error of the system that nobody has explained, such as a name that is too long, with the name of its file."""
    name = str(error.filename or "a file")
    return StorageError(f"{name if len(name) < 200 else name[:197] + '...'}: {error.strerror}")


def printable(text: str) -> str:
    """Untrusted text made safe for a terminal: control characters, which could move the cursor, become `?`."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x' or 'y'?` with the known names closest to `word`, or "" if none is close."""
    from difflib import get_close_matches

    close = [repr(match) for match in get_close_matches(word.lower(), list(dict.fromkeys(known)))]
    return f"; did you mean {' or '.join(filter(None, (', '.join(close[:-1]), close[-1])))}?" if close else ""


def in_a_line(error: BaseException) -> str:
    """An error's type and message in one line; of the message, the first 500 characters.

    All lines of the message are joined, as the first line of a PluginValidationError does not state the cause.
    """
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:500]}" if text else type(error).__name__
