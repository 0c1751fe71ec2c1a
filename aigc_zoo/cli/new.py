"""`zoo new`: a plugin to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from aigc_zoo.cli import Globals
from aigc_zoo.scaffold import LICENCES, write_project
from aigc_zoo.spec import KINDS


@click.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), default="recipe", show_default=True, help="What it brings.")
@click.option(
    "--licence", type=click.Choice(LICENCES), default=LICENCES[0], show_default=True, help="What others may do with it."
)
@click.option("--author", default="", help="Whose name stands in the licence.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("."),
    show_default=True,
    metavar="DIR",
    help="The folder to make the project's in.",
)
@click.pass_obj
def command(zoo: Globals, name: str, kind: str, licence: str, author: str, into: Path) -> None:
    """Write a plugin to begin with: a whole distribution, aigc-zoo-NAME, that passes `zoo check` and trains as it is.

    It has a manifest, the code of one component of KIND, tests, a CI workflow, a README and a licence. A recipe brings
    its networks. Replace what it computes by what you have in mind.
    """
    folder, train = write_project(zoo.catalogue(), name, kind, into=into, licence=licence, author=author)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        click.echo(f"  {path.relative_to(into) if into != Path('.') else path}")
    click.echo(
        f"\nnext\n  python -m pip install -e {folder}\n  zoo check {folder.name}\n  {train} --steps 200\n"
        f"  edit {next(path for path in files if path.parent.parent.name == 'src' and path.suffix == '.py')}"
    )
