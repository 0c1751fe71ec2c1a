"""Command lines that hypothesis draws from the parameters of the click commands, with plausible and hostile values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import click
from hypothesis import strategies as st

from aigc_zoo import cli
from aigc_zoo.spec import KINDS

RECIPES = ("vanilla", "dcgan", "zoo/lsgan", "wgan-gp", "gan", "pix2pix", "dcgan.digits", "vanilla.minimax", "dcgan.no")
DATA = ("ring", "grid", "photos", "photos.zip", "classes", "split", "points.npy", "images.npz", "lines.txt", "digits")
RUNS = ("points-run", "images-run", "images-run/generator.safetensors", "points-run", "images-run", "nowhere", "photos")
PATHS = (
    "empty", "torn", "file", "text.zip", "text.npy", "bad.json", "text.safetensors", "broken.py", "mine.py",
    "list.json", "card.json", "results.json", "points-run", "images-run", "images-run/generator.safetensors", "cells",
    "nowhere", "points-run/card.json", "not a word", ".", "", "photos/0.png", "file/below", "a" * 300, "\udcff\udcfe",
    "~nobody/x", "http://example.org/x", "vanilla@x", "dcgan@", "@", "zoo/zoo/zoo", "-", "--", "-1",
)  # fmt: skip
OUTPUTS = (
    "out/a", "out.png", "out/", "out/b.json", "é ü", "file/x", "/dev/null/x", "/proc/x", "photos", "points-run", "",
    ".", "a" * 300, "out/\n.html", "-x", "out.npy", "results.json/x", "out.gif",
)  # fmt: skip
NUMBERS = (
    "0", "1", "2", "3", "8", "-1", "1.5", "nan", "inf", "-inf", "1e400", "1e-5", "0x10", "²", "\uff11", "1_0", " 1", "",
)  # fmt: skip
HUGE = ("99999999999999999999", "-99999999999999999999", "1" * 5000)
WORDS = (
    "none", "true", "auto", "cpu", "cuda", "cuda:7", "mps", "hinge", "gp", "r1", "diffaugment", "zoo-grey28", "all",
    "fid", "modes", "variance-ratio,duplicates", "fid,,kid", "fid<=5", "median>1.1", "median>", "train", "test",
    "source=photos", "source=", "=x", "a=b=c", "image", "text", "md", "html", "vanilla,dcgan", "cat", "bash",
)  # fmt: skip
COUNTED = ("integer", "float", "n ", "steps", "pixels", "seconds", "value")
"""Parts of the metavar or type of a number."""


def harmless(text: str) -> str:
    """Text that is no path outside of the working directory."""
    return text.replace("\0", "").replace("..", ".").lstrip("/~\\")


anything = st.one_of(
    st.sampled_from((*RECIPES, *DATA, *PATHS, *NUMBERS, *HUGE, *WORDS, *KINDS)), st.text(max_size=12).map(harmless)
)


GOOD: Mapping[str, Sequence[str]] = {
    "--out": OUTPUTS,
    "--to": ("onnx", *OUTPUTS),
    "--into": OUTPUTS,
    "--json": OUTPUTS,
    "--data": DATA,
    "--against": DATA,
    "data": DATA,
    "recipe": RECIPES,
    "recipes": RECIPES,
    "reference": (*RECIPES, "ring", "hinge", "mine.py", "split"),
    "source": RUNS,
    "sources": (*RUNS, *RUNS, "cells", "results.json", ".", "bad.json"),
    "--config": ("card.json", "points-run/card.json", "bad.json", "list.json"),
    "--compare": ("results.json", "results.json", "card.json", "bad.json"),
    "--init": (*RUNS, "points-run/checkpoints/000000001.safetensors"),
    "--class": ("cat", "dog", "0", "1", "Cat"),
    "--input": ("source=photos/0.png", "source=photos", "edges=photos", "source=lines.txt", "source=nowhere"),
    "--tile": ("16", "17", "64", "15"),
    "--size": ("28", "28", "14", "1", "8"),
    "--split": ("train", "test", "nope"),
    "--metrics": ("variance-ratio", "modes", "all", "duplicates,variance-ratio", "fid", "memorization", "fid,,kid"),
    "--extractor": ("zoo-grey28", "zoo-rgb32", "inception-v3-compat", "nope"),
    "--until": ("fid<=5", "variance-ratio>=0", "modes>=1", "fid<="),
    "--modality": ("image", "audio", "video", "text", "points", "array", "nope"),
    "--entry": ("source=photos", "source=photos,real=photos", "real=nowhere", "a=b=c"),
    "--fail-if": ("median>1.1", "median>", "upper>=1", "x<1"),
    "--only": ("nothing", "data and nothing", "data or", "(", "not a word"),
    "--generator": ("dcgan", "vanilla", "all", "dcgan,vanilla", ""),
    "--discriminator": ("dcgan", "dcgan,vanilla", "nope"),
    "--loss": ("hinge", "hinge,wasserstein", "nope"),
    "--penalty": ("gp", "none,gp", "none", "r1"),
    "name": ("chess", "my-gan", "a", "Bad!Name", "class", "torch", "zoo", "dcgan", "a" * 99),
    "pattern": ("*", "dc*", "[", "*/*", "nope", "[a-", "?"),
    "shell": ("bash", "zsh", "fish"),
}  # fmt: skip
"""Values by option or argument."""


def plausible(parameter: click.Parameter) -> st.SearchStrategy[str]:
    """Values that this parameter may take."""
    name, choices = str(parameter.opts[0]), getattr(parameter.type, "choices", ())
    if name in GOOD:
        return st.sampled_from(GOOD[name])
    if choices:
        return st.sampled_from([str(choice) for choice in choices])
    words = f"{parameter.metavar or ''} {parameter.type.name}".lower()
    if words != " text" and any(word in words for word in COUNTED):
        return st.sampled_from(("1", "2", "8", "0.5") * 12 + NUMBERS)
    return st.sampled_from(WORDS)


def values(parameter: click.Parameter) -> st.SearchStrategy[str]:
    """Mostly plausible values; those of outputs are always below the working directory, or cannot be written."""
    likely = plausible(parameter)
    return likely if parameter.opts[0] in ("--out", "--to", "--into", "--json") else st.one_of(*[likely] * 7, anything)


def option_words(parameter: click.Parameter) -> st.SearchStrategy[list[str]]:
    """The words of one option, spelled in one of its ways."""
    spellings = st.sampled_from([*parameter.opts, *parameter.secondary_opts])
    if getattr(parameter, "is_flag", False):
        return st.builds(lambda flag: [flag], spellings)
    separate = st.builds(lambda flag, value: [flag, value], spellings, values(parameter))
    joined = st.builds(lambda flag, value: [f"{flag}={value}"], spellings, values(parameter))
    return st.one_of(separate, separate, joined)


def parameters_of(command: click.Command, words: Sequence[str]) -> tuple[list[click.Parameter], list[click.Parameter]]:
    """Arguments and options of a command, and those that these words bring."""
    ctx = click.Context(command, info_name=command.name, obj=cli.Globals(), resilient_parsing=True)
    command.parse_args(ctx, list(words))
    found = [one for one in command.get_params(ctx) if "--help" not in one.opts and "--full" not in one.opts]
    return ([one for one in found if isinstance(one, click.Argument)],
            [one for one in found if not isinstance(one, click.Argument)])  # fmt: skip


def commands() -> Iterator[tuple[str, click.Command]]:
    """All commands by the words that call them, those of groups included."""
    for name in cli.COMMANDS:
        command = cli.zoo.get_command(click.Context(cli.zoo), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from ((f"{name} {own}", below) for own, below in command.commands.items())
        else:
            yield name, command


BRING: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "train": (("vanilla", "--data", "ring"), ("dcgan",), ("wgan-gp", "--penalty", "r1"), ("pix2pix",)),
    "config": (("vanilla", "--data", "ring"), ("dcgan",), ("wgan-gp", "--penalty", "r1"), ("pix2pix",)),
    "data prepare": (("ring",), ("lines.txt",), ("photos",)),
    "data verify": (("photos",), ("photos.zip",)),
    "eval": (("images-run", "--num", "8"), ("points-run", "--num", "8"), ("photos", "--against", "split")),
    "sample": (("images-run",), ("points-run",)),
    "export": (("points-run", "--to", "out/x"),),
}
"""Words that bring options of recipes, components and datasets."""

ALWAYS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "train": (("--steps", "1", "--batch-size", "4", "--eval-num", "8", "--dry-run"),
              ("--steps", "1", "--batch-size", "4", "--eval-num", "8")),
    "bench speed": (("--seconds", "0.001", "--only", "nothing"),),
    "bench quality": (("--images", "4", "--seeds", "1", "--eval-num", "8", "--data", "points.npy"),),
    "bench matrix": (("--dry-run",),),
    "check": (("--fast",),),
}  # fmt: skip
"""Words that follow all others, so that no example trains or measures for long."""

BIG = ("train", "config")
"""Commands whose options take huge numbers: what these would need is estimated first, or not used at all."""


def lines(name: str, command: click.Command) -> st.SearchStrategy[list[str]]:
    """Command lines: arguments, options of the command and of its recipe or data, and words of any kind."""
    brought = [parameters_of(command, words) for words in BRING.get(name, ((),))]
    drawn = []
    for (arguments, options), start in zip(brought, BRING.get(name, ((),)), strict=True):
        own = st.tuples(*(st.one_of(st.none(), *[values(one)] * 4) for one in arguments)).map(
            lambda words: [word for word in words if word is not None]
        )
        begin = st.one_of(st.just(list(start)), st.just(list(start)), own) if start else own
        some = st.lists(st.one_of(*map(option_words, options)), max_size=3) if options else st.just([])
        stray = st.one_of(*[st.just(list[str]())] * 6, st.lists(anything, max_size=2))
        plugin = st.sampled_from([[]] * 20 + [["--plugin", "mine.py"], ["--plugin", "broken.py"], ["--plugin"]])
        end = st.sampled_from([list(words) for words in ALWAYS.get(name, ((),))])
        drawn.append(
            st.builds(
                lambda first, pairs, more, extra, last: [
                    *name.split(), *first, *(word for pair in pairs for word in pair), *more, *extra, *last
                ],
                begin, some, stray, plugin, end,
            )
        )  # fmt: skip
    return st.one_of(drawn).map(lambda line: tame(line))


def tame(line: list[str]) -> list[str]:
    """The words without `--`, after which the last ones would be arguments, and without --full, which takes seconds."""
    return [word for word in line if word not in ("--", "--full") or word == line[0]]


COMMANDS: Mapping[str, click.Command] = dict(commands())
"""All commands by their words."""
