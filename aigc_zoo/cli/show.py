"""`zoo show`: all about one component."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from aigc_zoo.cli import Globals
from aigc_zoo.cli.text import item, print_json, short, width
from aigc_zoo.errors import printable
from aigc_zoo.spec import KINDS

if TYPE_CHECKING:
    from aigc_zoo.options import Option
    from aigc_zoo.plugins import Entry


@click.command()
@click.argument("reference")
@click.option("--kind", type=click.Choice(KINDS), help="Of components with the same name, this one.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def command(zoo: Globals, reference: str, kind: str | None, as_json: bool) -> None:
    """All about one component: presets, options, origin.

    REFERENCE reads [namespace/]name[.preset]. Where several kinds have the name, the recipe is shown.
    """
    from aigc_zoo import options
    from aigc_zoo.options.sketch import SketchedEntry

    catalogue = zoo.catalogue().with_entries(SketchedEntry)  # signatures are read, not imported: no torch
    found = catalogue.find(kind, reference) if kind else catalogue.find_any(reference)
    entry = found.entry
    if found.note:
        click.echo(found.note, err=True)
    others = [other.kind for other in catalogue.items() if other.id == entry.id and other.kind != entry.kind]
    full = f"{entry.id}.{found.preset}" if found.preset else entry.id
    if entry.kind == "recipe":
        its_options = options.options_of(catalogue, full, {})
    else:
        its_options = options.component_options(catalogue, entry.kind, full)
    if as_json:
        component = entry.component
        presets = {name: dict(values) for name, values in component.presets.items()}
        more: dict[str, Any] = {
            "target": component.target,
            "extra": component.extra,
            "shapes": [*map(list, component.shapes)],
        }
        more |= {"weights": {name: asdict(one) for name, one in component.weights.items()}}
        more |= {"presets": presets, "other_kinds": others}
        print_json(
            {
                "schema": 1,
                **item(entry),
                "preset": found.preset,
                **more,
                "options": [_row(option) for option in its_options],
            }
        )
    else:
        click.echo(printable(_page(entry, full, others, its_options)))


def _row(option: Option) -> dict[str, Any]:
    return {
        "key": option.key,
        "type": option.type.__name__.lower(),
        "default": option.default,
        "choices": list(option.choices),
        "low": option.low,
        "high": option.high,
        "optional": option.optional,
        "repeated": option.repeated,
        "slot": option.slot,
        "owner": option.owner,
        "help": option.help,
    }


def _page(entry: Entry, full: str, others: list[str], its_options: list[Option]) -> str:
    """The component as a person reads it."""
    component = entry.component
    page = click.HelpFormatter(width=width())
    page.write(f"{entry.kind} {full}\n")
    page.write(f"{click.wrap_text(component.summary, width())}\n\n")
    extra = f' (python -m pip install "{entry.distribution}[{component.extra}]")' if component.extra else ""
    facts = [
        ("paper", component.paper),
        ("tags", ", ".join(component.tags)),
        ("from", f"{entry.distribution} {entry.version}{extra}"),
        ("target", component.target),
        ("shapes", ", ".join("x".join(map(str, shape)) for shape in component.shapes)),
    ]
    if others:
        hint = f"zoo show {short(entry)} --kind {others[0]}"
        facts.append(("also", f"of the same name: {', '.join(others)} ({hint})"))
    page.write_dl([fact for fact in facts if fact[1]])
    if component.presets:
        with page.section("presets"):
            page.write_dl([(name, _values(values) or "as it is") for name, values in component.presets.items()])
    if component.weights:
        with page.section("weights"):
            rows = []
            for name, one in component.weights.items():
                found = [f"{record['name']} {record['value']:.4g}" for record in one.metrics]
                rows.append(
                    (f"{short(entry)}@{name}", ", ".join([f"{one.bytes / 2**20:.1f} MiB", one.licence, *found]))
                )
            page.write_dl(rows)
    if its_options:
        with page.section("options"):
            page.write_dl([(_left(option), _right(option)) for option in its_options], col_max=36)
    return page.getvalue().rstrip("\n")


def _left(option: Option) -> str:
    """`--width INT`, as it is typed."""
    if option.type is bool:
        return option.flag
    word = option.slot.upper() or "|".join(map(str, option.choices)) or option.type.__name__.upper()
    return f"{option.flag} {word}{' ...' if option.repeated else ''}"


def _right(option: Option) -> str:
    """Help, default and bounds."""
    facts = "; ".join(filter(None, (f"default: {_value(option.default)}", option.bounds)))
    return f"{option.help} [{facts}]".lstrip()


def _values(values: Any) -> str:
    return ", ".join(f"{key} {_value(value)}" for key, value in values.items())


def _value(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, tuple | list):
        return ",".join(map(_value, value)) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
