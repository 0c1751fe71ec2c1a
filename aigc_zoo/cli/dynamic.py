"""Commands whose options are those of the recipe on their command line."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aigc_zoo import options
from aigc_zoo.artefacts import migration
from aigc_zoo.errors import UsageError, ZooError
from aigc_zoo.options import RUN_SETTINGS, Configuration, Option, references
from aigc_zoo.options.references import PREFIX
from aigc_zoo.options.values import flag_of, shown, suggestion
from aigc_zoo.text import zoo_command

if TYPE_CHECKING:
    from aigc_zoo.cli import Globals
    from aigc_zoo.plugins import Catalogue

ELSEWHERE = """Recipes and their components have options of their own: see `{command} RECIPE --help`.
`zoo list` lists the recipes."""

ALIASES: Mapping[str, str] = {"discriminator_turns": "--n-critic"}
"""Other flags that people know an option by: WGAN's n_critic."""

_TYPES: Mapping[type, str] = {int: "INTEGER", float: "FLOAT", str: "TEXT", Path: "FILE", bool: ""}


@dataclass(frozen=True)
class Inputs:
    """Recipe, data, configuration file and options of a command line."""

    reference: str | None
    data: str | None = None
    file: Mapping[str, Any] | None = None
    given: Mapping[str, Any] = field(default_factory=dict)

    def resolve(self, catalogue: Catalogue) -> Configuration:
        return options.resolve(catalogue, self.reference, data=self.data, file=self.file, given=self.given)


class RecipeCommand(click.Command):
    """`zoo NAME [RECIPE[.PRESET]] [--data ...] [--config FILE] [the recipe's options]`.

    Calls `callback(obj, inputs, **values of extra)`. click only parses the words; `inputs.resolve(obj.catalogue())`
    validates them. The options depend on recipe, slots, data and file, so a first pass over the words finds these.
    """

    def __init__(
        self, name: str, callback: Callable[..., Any], extra: Sequence[click.Parameter] = (), help: str = ""
    ) -> None:
        self.settings = [parameter_of(option, f"s{number}") for number, option in enumerate(RUN_SETTINGS.values())]
        self.own = [
            click.Option(
                ["config_file", "--config"],
                metavar="FILE",
                type=click.Path(path_type=Path),
                help="Configuration to start from: card.json of a run, or the output of `zoo config`.",
            ),
            *extra,
        ]
        recipe = click.Argument(["reference"], metavar="[RECIPE[.PRESET]]", required=False)
        super().__init__(name, params=[recipe, *self.settings, *self.own], callback=click.pass_obj(callback), help=help)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        found = ctx.meta.get(__name__)
        return [*super().get_params(ctx), *(found.parameters if found else ())]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with suppress(*((Exception,) if ctx.resilient_parsing else ())):  # completing a word must not fail
            ctx.meta[__name__] = _look_ahead(ctx, args, super().get_params(ctx))
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if not error.option_name.startswith("--"):
                raise
            raise UsageError(self._unknown(ctx, error.option_name[2:])) from None
        found: _Found = ctx.meta.get(__name__, _Found(Inputs(None)))
        keys = dict(zip(self.settings, RUN_SETTINGS, strict=True)) | {
            parameter: option.key for parameter, option in zip(found.parameters, found.options, strict=True)
        }
        values = {key: ctx.params.pop(str(parameter.name)) for parameter, key in keys.items()}
        given = {key: value for key, value in values.items() if value not in (None, ())}
        for option in (*RUN_SETTINGS.values(), *found.options):
            if option.repeated and not option.slot and option.key in given:  # a,b and --option a --option b are equal
                given[option.key] = ",".join(given[option.key])
        ctx.params.pop("config_file")
        data = given.pop("data", None)
        ctx.params["inputs"] = Inputs(ctx.params.pop("reference"), data, found.inputs.file, given)
        return rest

    def option_of(self, ctx: click.Context, parameter: click.Parameter) -> Option | None:
        """The run setting or the option of the recipe that a parameter of this command stands for, if any."""
        found: _Found = ctx.meta.get(__name__, _Found(Inputs(None)))
        known = zip((*self.settings, *found.parameters), (*RUN_SETTINGS.values(), *found.options), strict=True)
        return next((option for one, option in known if one is parameter), None)

    def _unknown(self, ctx: click.Context, key: str) -> str:
        """The message for an option that does not exist, and the command that lists those that do."""
        found: _Found = ctx.meta[__name__]
        own = tuple(opt[2:] for parameter in super().get_params(ctx) for opt in parameter.opts if opt[:2] == "--")
        inputs = found.inputs
        if found.catalogue is not None and key == "input":
            text = f"no option --input: {_about_inputs(inputs, found.catalogue)}"
        elif found.catalogue is None:
            text = f"no option {flag_of(key)}{suggestion(key, own) or ' without a recipe'}"
        else:
            text = options.unknown_option(
                found.catalogue, inputs.reference, key, inputs.given, data=inputs.data, file=inputs.file, also=own
            )
        words = [inputs.reference] if found.catalogue is not None and inputs.reference else []
        words += ["--data", inputs.data] if words and inputs.data else []
        return f"{text}\n{zoo_command(str(ctx.info_name), *words, '--help')} shows all"

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        found: _Found = ctx.meta.get(__name__, _Found(Inputs(None)))
        resolved = found.resolved()
        with formatter.section("Run settings"):
            formatter.write_dl([help_row(option, resolved) for option in RUN_SETTINGS.values()])
        with formatter.section("Command"):
            last = [self.get_help_option(ctx)]
            records = [parameter.get_help_record(ctx) for parameter in [*self.own, *last] if parameter is not None]
            formatter.write_dl([record for record in records if record is not None])
        for heading, group in found.groups():
            with formatter.section(heading):
                formatter.write_dl([help_row(option, resolved, found.catalogue) for option in group])
        if not found.options:
            formatter.write_paragraph()
            formatter.write_text(ELSEWHERE.format(command=ctx.command_path))


def _about_inputs(inputs: Inputs, catalogue: Catalogue) -> str:
    """Where the recipe takes its inputs from in training, for the reader of an error message."""
    configuration = inputs.resolve(catalogue)
    entries = ", ".join(options.build(catalogue, configuration).inputs)
    name = _short(configuration.recipe).partition(".")[0]
    return f"in training {name} reads {entries} from --data" if entries else f"{name} reads no inputs"


@dataclass(frozen=True)
class _Found:
    """The result of the first pass: recipe, data, file and slots as inputs, and the options that they bring."""

    inputs: Inputs
    catalogue: Catalogue | None = None
    options: Sequence[Option] = ()
    parameters: Sequence[click.Option] = ()

    def resolved(self) -> Configuration | None:
        """The configuration, whose values help shows as defaults; None where the command line has a fault."""
        if self.catalogue is not None:
            with suppress(ZooError):
                return self.inputs.resolve(self.catalogue)
        return None

    def groups(self) -> Iterable[tuple[str, list[Option]]]:
        """The recipe's own options under its name, then each slot with the options that it brings, and the dataset."""
        slots: dict[str, list[Option]] = {option.key: [option] for option in self.options if option.slot}
        slots |= {"data": []} if any(option.key.startswith(PREFIX) for option in self.options) else {}
        recipe: list[Option] = []
        for option in self.options:
            if not option.slot:
                slots.get(option.key.partition(".")[0], recipe).append(option)
        if recipe:
            yield f"Options of {_short(recipe[0].owner)}", recipe
        for key, group in slots.items():
            holds = dict.fromkeys(_short(option.owner) for option in group if not option.slot)
            yield f"{key.replace('_', ' ').capitalize()} {', '.join(holds)}".strip(), group


def _look_ahead(ctx: click.Context, args: Sequence[str], known: Sequence[click.Parameter]) -> _Found:
    """Find recipe, data, file and slots among words whose options are not known yet."""
    takes_value = {
        opt: not parameter.is_flag and not parameter.count
        for parameter in known
        if isinstance(parameter, click.Option)
        for opt in (*parameter.opts, *parameter.secondary_opts)
    }
    words, doubtful, pairs = _sorted_words(args, takes_value)
    last = dict(pairs)
    config = Path(last["--config"]) if "--config" in last else None
    file = migration.card(options.read_file(config), config) if config is not None else None
    data = last.get("--data")
    in_file = file is not None and "recipe" in file
    if not words and not in_file and not doubtful:
        return _Found(Inputs(None, data, file))
    catalogue: Catalogue = ctx.obj.catalogue()
    if "--out" in takes_value and "--fresh" not in args and not ctx.resilient_parsing:
        catalogue = _remembering(ctx.obj, last, words, file)
    if not words and not in_file:  # `--conditional NAME`: the name may be the recipe's, the option one without a value
        recipes = {entry.name for entry in catalogue.items("recipe")}
        words = [word for word in doubtful if word.rpartition("/")[2].partition(".")[0] in recipes]
        if not words:
            return _Found(Inputs(None, data, file))
    reference = words[0] if words else None
    slots: dict[str, Any] = {}
    automatic = not ctx.resilient_parsing or data is not None  # the data of a recipe may need its code, and so torch
    brought = options.options_of(catalogue, reference, data=data, file=file, automatic=automatic)
    for option in brought:
        values = [value for name, value in pairs if option.slot and name == option.flag]
        if values:
            slots[option.key] = values if option.repeated else values[-1]
    if slots:
        brought = options.options_of(catalogue, reference, slots, data=data, file=file, automatic=automatic)
    parameters = [parameter_of(option, f"o{number}") for number, option in enumerate(brought)]
    return _Found(Inputs(reference, data, file, slots), catalogue, brought, parameters)


def _remembering(
    obj: Globals, last: Mapping[str, str], words: Sequence[str], file: Mapping[str, Any] | None
) -> Catalogue:
    """The catalogue, with the names of the run that this command line resumes."""
    from aigc_zoo.run.recorded import recorded_card

    filed = file or {}
    recipe = words[0] if words else filed.get("recipe")
    run = filed.get("run")
    data = last.get("--data") or (run.get("data") if isinstance(run, Mapping) else None)
    card = recorded_card(obj.catalogue(), last.get("--out"), recipe if isinstance(recipe, str) else None, data)
    obj.recorded = card or {key: value for key, value in filed.items() if key != "run"}
    return obj.catalogue()


def _sorted_words(
    args: Sequence[str], takes_value: Mapping[str, bool]
) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """(arguments, words that are an argument or the value of the unknown option before them, options with values)."""
    words: list[str] = []
    doubtful: list[str] = []
    pairs: list[tuple[str, str]] = []
    queue = deque(args)
    while queue:
        word = queue.popleft()
        name, equals, value = word.partition("=")
        if word == "--":
            words += queue
            break
        if not word.startswith("-"):
            words.append(word)
        elif equals:
            pairs.append((name, value))
        elif queue and takes_value.get(name, not queue[0].startswith("-")):
            value = queue.popleft()
            pairs.append((name, value))
            doubtful += [] if name in takes_value else [value]
    return words, doubtful, pairs


class _AnyChoice(click.Choice[str]):
    """Choices for help and completion; values are validated with all others, when the configuration is resolved."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value


def parameter_of(option: Option, name: str) -> click.Option:
    flags = [option.flag, *filter(None, (flag_of(option.short) if option.short else "", ALIASES.get(option.key)))]
    if option.type is bool and not option.repeated:
        switches = [f"{flag}/--no-{flag[2:]}" for flag in flags]
        return click.Option([name, *switches], default=None, help=option.help)
    return click.Option(
        [name, *flags],
        type=_AnyChoice([str(choice) for choice in option.choices]) if option.choices else str,
        multiple=option.repeated,
        metavar=_metavar(option),
        help=option.help,
    )


def _metavar(option: Option) -> str:
    if option.choices:
        return f"[{'|'.join(option.words)}]"
    one = option.metavar or ("NAME" if option.slot else _TYPES[option.type])
    return f"{one},..." if option.repeated and not option.slot else one


def help_row(option: Option, resolved: Configuration | None, catalogue: Catalogue | None = None) -> tuple[str, str]:
    """An option's row in help: flag and metavar, then text, bounds and default."""
    if option.type is bool and not option.repeated:
        left = f"{option.flag} / --no-{option.flag[2:]}"
    else:
        left = f"{', '.join(filter(None, (option.flag, ALIASES.get(option.key))))} {_metavar(option)}"
    notes = [option.bounds] if option.bounds else []
    if option.slot and catalogue is not None:
        notes.append(", ".join(_short(entry.id) for entry in catalogue.items(option.slot)) or "none is installed")
    notes += ["repeatable"] if option.slot and option.repeated else []
    notes += _default(option, resolved)
    text = option.help[:1].upper() + option.help[1:]
    return left, f"{text}  [{'; '.join(notes)}]".strip() if notes else text


def _default(option: Option, resolved: Configuration | None) -> list[str]:
    value: Any = option.default
    if resolved is not None:
        value = {**resolved.card()["run"], **resolved.options, **resolved.slots}.get(option.key, value)
        value = _short(value) if option.key in references.KINDS and isinstance(value, str) else value
    if value is None and not option.owner:  # the run decides
        return []
    if option.slot:
        value = tuple(map(_short, value)) if isinstance(value, tuple) else _short(value) if value else value
    by = resolved.set_by.get(option.key, "") if resolved is not None else ""
    source = {"preset": f"preset {resolved.preset}" if resolved else "", "file": "the file"}.get(by, option.source)
    return [f"default: {shown(value) or 'none'}" + (f" from {_short(source)}" if source else "")]


def _short(full: str) -> str:
    return full.removeprefix("zoo/")
