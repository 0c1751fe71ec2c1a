"""Print one of the README's commands by the name in its markers: `run` or `test`.

.ci/run executes the printed command, so the README's command is tested. Standard library alone, as the script runs
before anything is installed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def command(name: str, readme: str) -> str:
    """The shell text of the block between `<!-- begin: NAME command -->` and `<!-- end: NAME command -->`."""
    block = rf"<!-- begin: {name} command -->\s*```\w*\n(.*?)\n```\s*<!-- end: {name} command -->"
    found = re.findall(block, readme, re.DOTALL)
    if len(found) != 1:
        raise ValueError(f"README.md has {len(found)} blocks named {name!r} instead of one")
    return str(found[0]).strip()


def main(arguments: Sequence[str]) -> str | int:
    if len(arguments) != 1:
        return "usage: python tools/readme_command.py run|test"
    try:
        sys.stdout.write(command(arguments[0], README.read_text(encoding="utf-8")) + "\n")
    except ValueError as error:
        return str(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
