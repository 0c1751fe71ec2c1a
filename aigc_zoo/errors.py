"""What the zoo raises at people: at most three lines that name the thing and the fix, and an exit code."""


class ZooError(Exception):
    """Any failure that is explained to the user; `exit_code` is what the command line leaves with."""

    exit_code = 1


class UsageError(ZooError):
    """A command line that cannot be understood."""

    exit_code = 2


class ConfigError(ZooError):
    """An unknown component, a value out of range, parts that do not fit, a plugin that fails."""

    exit_code = 3


class LockedError(ZooError):
    """Another process writes this run."""

    exit_code = 4


class DataError(ZooError):
    """A dataset or a file that is missing, damaged or not what it should be."""

    exit_code = 65


class DivergedError(ZooError):
    """Training produced a value that is not finite."""

    exit_code = 70


class StorageError(ZooError):
    """A file could not be written or read for reasons of the system: permissions, a full disk."""

    exit_code = 74


def printable(text: str) -> str:
    """Text that anybody may have written, as a terminal may show it: what would move the cursor becomes a `?`."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
