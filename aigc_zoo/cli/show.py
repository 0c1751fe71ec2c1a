"""`zoo show`: everything about one component."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from aigc_zoo.cli import Globals
from aigc_zoo.cli.text import item, print_json, short, width
from aigc_zoo.errors import ZooError, printable
from aigc_zoo.spec import KINDS
from aigc_zoo.text import zoo_command

if TYPE_CHECKING:
    from aigc_zoo.options import Option
    from aigc_zoo.plugins import Catalogue, Entry


@click.command()
@click.argument("reference")
@click.option("--kind", type=click.Choice(KINDS), help="Kind of the component, where several kinds have the name.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(zoo: Globals, reference: str, kind: str | None, as_json: bool) -> None:
    """Show one component: origin, notes, defaults and where each comes from, presets, options.

    REFERENCE is [namespace/]name[.preset]. Where several kinds have the name, the recipe is shown.
    """
    from aigc_zoo.options.static_signatures import StaticEntry

    catalogue = zoo.catalogue().with_entries(StaticEntry)  # signatures are read from source: no torch
    found = catalogue.find(kind, reference) if kind else catalogue.find_any(reference)
    entry = found.entry
    if found.note:
        click.echo(found.note, err=True)
    full = f"{entry.id}.{found.preset}" if found.preset else entry.id
    others = [other.kind for other in catalogue.items() if other.id == entry.id and other.kind != entry.kind]
    settings, options = _options(catalogue, entry, full)
    sampling, problem = _sampling(zoo, entry, full)
    files: dict[str, list[str]] = {}
    if entry.kind == "modality":
        files, options, problem = _of_modality(zoo, entry)
    if as_json:
        about = _json(entry, others, settings, options) | ({"files": files} if files else {})
        about["sampling_options"] = [_row(option) for option in sampling]
        print_json({"schema": 1, **item(entry), "preset": found.preset, **about})
    else:
        click.echo(printable(_page(entry, full, others, settings, options, sampling, files)))
    if problem:
        what = "files" if entry.kind == "modality" else "sampling options"
        click.echo(printable(f"its {what} cannot be listed: {problem}"), err=True)


def _options(catalogue: Catalogue, entry: Entry, full: str) -> tuple[list[Option], list[Option]]:
    """The run settings that a recipe states, and the component's options, both with defaults and their sources."""
    from aigc_zoo import options

    if entry.kind == "modality":
        return [], []  # the target has none; those of its files are read from the class, see `_of_modality`
    if entry.kind == "recipe":
        return options.settings_of(catalogue, full), options.options_of(catalogue, full, {})
    return [], options.component_options(catalogue, entry.kind, full)


def _sampling(zoo: Globals, entry: Entry, full: str) -> tuple[list[Option], str]:
    """The sampling options of a recipe, or why they are not known. The recipe is built only if source does not say."""
    from aigc_zoo.options import call_options
    from aigc_zoo.options.static_signatures import static_generate
    from aigc_zoo.spec import GENERATE

    if entry.kind != "recipe":
        return [], ""
    try:
        generate = static_generate(entry.target)
        if generate is not None:
            return call_options(generate, GENERATE), ""
        from aigc_zoo.run.sampling_help import recipe_sampling_options

        return recipe_sampling_options(zoo.catalogue(), full), ""
    except ZooError as error:
        return [], str(error).splitlines()[0]


def _of_modality(zoo: Globals, entry: Entry) -> tuple[dict[str, list[str]], list[Option], str]:
    """The suffixes that a modality reads and writes, and the options of its files, or why they are not known.

    The class is imported: its suffixes are no part of the manifest.
    """
    from aigc_zoo.data.modalities import modality
    from aigc_zoo.options import RUN_SETTINGS
    from aigc_zoo.options.signatures import signature_options

    try:
        found = modality(zoo.catalogue(), entry.id)
        options = signature_options(found.plan, ("scans",))
        files = {"reads": list(found.suffixes), "one sample": list(found.one), "all samples": list(found.many)}
    except (ZooError, ValueError) as error:
        return {}, [], str(error).splitlines()[0]
    named = (one if one.key in RUN_SETTINGS else replace(one, key=f"data.{one.key}") for one in options)
    return files, list(named), ""


# --- JSON -------------------------------------------------------------------------------------------------------------


def _json(entry: Entry, others: list[str], settings: list[Option], options: list[Option]) -> dict[str, Any]:
    component = entry.component
    return {
        "target": entry.target,
        "extends": component.extends,
        "notes": component.notes,
        "extra": component.extra,
        "shapes": [list(shape) for shape in component.shapes],
        "suffixes": list(component.suffixes),
        "classes": list(component.classes),
        "modality": component.modality,
        "weights": {name: asdict(one) for name, one in component.weights.items()},
        "defaults": dict(component.defaults),
        "presets": {name: dict(values) for name, values in component.presets.items()},
        "other_kinds": others,
        "settings": {option.key: {"value": option.default, "from": option.source} for option in settings},
        "options": [_row(option) for option in options],
    }


def _row(option: Option) -> dict[str, Any]:
    return {
        "key": option.key,
        "type": option.type.__name__.lower(),
        "default": option.default,
        "from": option.source,
        "choices": list(option.choices),
        "low": option.low,
        "high": option.high,
        "optional": option.optional,
        "repeated": option.repeated,
        "slot": option.slot,
        "owner": option.owner,
        "help": option.help,
    }


# --- text -------------------------------------------------------------------------------------------------------------


def _page(
    entry: Entry,
    full: str,
    others: list[str],
    settings: list[Option],
    options: list[Option],
    sampling: list[Option],
    files: Mapping[str, list[str]],
) -> str:
    component = entry.component
    page = click.HelpFormatter(width=width())
    page.write(f"{entry.kind} {full}\n")
    page.write(f"{click.wrap_text(component.summary, width())}\n\n")
    read = [(what, ", ".join(suffixes) or "arrays alone") for what, suffixes in files.items()]
    page.write_dl([*(fact for fact in _facts(entry, others) if fact[1]), *read])
    if component.notes:
        with page.section("notes"):
            page.write_text(component.notes)
    if settings:
        with page.section("run settings of the recipe"):
            page.write_dl([(option.flag, f"{_value(option.default)}{_from(option)}") for option in settings])
    if component.presets:
        with page.section("presets"):
            page.write_dl([(name, _values(values) or "the defaults") for name, values in component.presets.items()])
    if component.weights:
        with page.section("weights"):
            page.write_dl(_weights(entry))
    if entry.kind == "dataset":  # as `zoo train --data` takes them
        options = [replace(option, key=f"data.{option.key}") for option in options]
    for title, group in (("options", options), ("sampling options, of zoo sample", sampling)):
        if group:
            with page.section(title):
                page.write_dl([(_left(option), _right(option)) for option in group], col_max=36)
    return page.getvalue().rstrip("\n")


def _some(names: tuple[str, ...], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def _facts(entry: Entry, others: list[str]) -> list[tuple[str, str]]:
    component = entry.component
    extra = ""
    if component.extra and entry.file is None:  # a plugin file has no extras
        extra = f' (python -m pip install "{entry.distribution}[{component.extra}]")'
    also = ""
    if others:
        # The command comes first, so that lines do not break within it.
        command = zoo_command("show", short(entry), "--kind", others[0])
        also = f"{command} (of the same name: {', '.join(others)})"
    return [
        ("paper", component.paper),
        ("tags", ", ".join(component.tags)),
        ("classes", _some(component.classes)),
        ("modality", component.modality),
        ("from", f"{entry.distribution} {entry.version}{extra}"),
        ("extends", " extends ".join(base.id for base in reversed(entry.lineage[:-1]))),
        ("target", entry.target),
        ("shapes", ", ".join("x".join(map(str, shape)) for shape in component.shapes)),
        ("reads", ", ".join(f"FILE{suffix}" for suffix in component.suffixes)),
        ("also", also),
    ]


def _weights(entry: Entry) -> list[tuple[str, str]]:
    rows = []
    for name, one in entry.component.weights.items():
        metrics = [f"{record['name']} {record['value']:.4g}" for record in one.metrics]
        rows.append((f"{short(entry)}@{name}", ", ".join([f"{one.bytes / 2**20:.1f} MiB", one.licence, *metrics])))
    return rows


def _left(option: Option) -> str:
    """`--width INT`, as it is typed."""
    if option.type is bool:
        return option.flag
    word = option.slot.upper() or "|".join(map(str, option.choices)) or option.type.__name__.upper()
    return f"{option.flag} {word}{' ...' if option.repeated else ''}"


def _right(option: Option) -> str:
    """Help, default with its source, and bounds."""
    facts = "; ".join(filter(None, (f"default: {_value(option.default)}{_from(option)}", option.bounds)))
    return f"{option.help[:1].upper()}{option.help[1:]} [{facts}]".lstrip()


def _from(option: Option) -> str:
    return f" (from {option.source.removeprefix('zoo/')})" if option.source else ""


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_value(value)}" for key, value in values.items())


def _value(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, tuple | list):
        return ",".join(map(_value, value)) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
