"""`zoo new`: writes a new plugin from templates."""

from __future__ import annotations

from pathlib import Path

import click

from aigc_zoo.cli import Globals
from aigc_zoo.scaffold import LICENCES, write_project
from aigc_zoo.spec import KINDS
from aigc_zoo.text import quoted, zoo_command


@click.command()
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(KINDS), default="recipe", show_default=True, help="Kind of component to write."
)
@click.option(
    "--licence", type=click.Choice(LICENCES), default=LICENCES[0], show_default=True, help="License of the project."
)
@click.option("--author", default="", help="Author of the project. [default: The authors of aigc-zoo-NAME]")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("."),
    show_default=True,
    metavar="DIR",
    help="Directory in which the project's directory is created.",
)
@click.pass_obj
def command(zoo: Globals, name: str, kind: str, licence: str, author: str, into: Path) -> None:
    """Write a new plugin: the distribution aigc-zoo-NAME with one component of KIND.

    It has a manifest, the component's code, tests, a CI workflow, a README and a license; a recipe also has its
    networks. It passes `zoo check` and trains without a change: replace its code with yours.
    """
    directory, train = write_project(zoo.catalogue(), name, kind, into=into, licence=licence, author=author)
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    for path in files:
        click.echo(f"  {path.relative_to(into) if into != Path('.') else path}")
    click.echo(
        f"\nnext\n  python -m pip install -e {quoted(directory)}\n"
        f"  {zoo_command('check', directory.name)}\n  {zoo_command(*train, '--steps', '200')}\n"
        f"  edit {next(path for path in files if path.parent.parent.name == 'src' and path.suffix == '.py')}"
    )
