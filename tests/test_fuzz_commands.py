"""Fuzz tests of commands and of public functions: a result, or an error in one to three lines with its exit code.

Words come from the parameters of the click commands, with values that are plausible, of the wrong type or hostile. The
commands run in this process, in a folder of small inputs that is put back after each example. Hypothesis draws the
examples from a fixed seed, or from ZOO_FUZZ_SEED; inputs that failed have regression tests beside the fixed code.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from drawn_commands import COMMANDS, DATA, NUMBERS, OUTPUTS, PATHS, RECIPES, RUNS, WORDS, harmless, lines
from guarded import QUICK, Place, action
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import aigc_zoo
from aigc_zoo import cli, game, metric, modality, spec, two_player
from aigc_zoo.api import Run
from aigc_zoo.cli.completion import _COMPLETERS as COMPLETERS
from aigc_zoo.cli.completion import SHELLS
from aigc_zoo.data import download, samples
from aigc_zoo.errors import ZooError
from aigc_zoo.spec import KINDS

FULL = os.environ.get("ZOO_COUNTS") == "full"
SEED = os.environ.get("ZOO_FUZZ_SEED")

EXIT_CODES = {0, 1, 2, 3, 4, 65, 70, 74}
"""Documented exit codes of commands that no signal stops."""

CODE_ONE = ("check", "doctor", "bench")
"""Commands that also exit with 1 without an error: a check failed."""


FEW = {"train": 3, "bench quality": 2, "bench speed": 6, "check": 6, "export": 6, "recipe": 4}
"""Examples of tests in which one takes longer than a twentieth of a second, unless ZOO_COUNTS=full."""


def examples(promise: Any, name: str = "") -> int:
    """The number of examples of a test."""
    return int(promise.count if FULL else FEW.get(name, promise.count))


def profile(count: int) -> Callable[[Any], Any]:
    """Settings of a test with `count` examples."""

    def apply(test: Any) -> Any:
        how = settings(
            max_examples=count,
            derandomize=SEED is None,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        return how(test if SEED is None else seed(int(SEED))(test))

    return apply


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    base = tmp_path_factory.mktemp("fuzz")
    before, kept = Path.cwd(), tempfile.tempdir
    with pytest.MonkeyPatch.context() as patch:
        for name in ("cache", "temporary", "home"):
            (base / name).mkdir()
        patch.setenv("ZOO_CACHE", str(base / "cache"))
        patch.setenv("HOME", str(base / "home"))
        patch.setenv("COLUMNS", "100")
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(base / "temporary"))  # which torch.export makes
        patch.delenv("ZOO_DATA", raising=False)
        tempfile.tempdir = str(base / "temporary")
        try:
            yield Place(base)
        finally:
            tempfile.tempdir = kept
            os.chdir(before)


class Called:
    """Runs command lines, and notes the error of each and its message."""

    def __init__(self, patch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]) -> None:
        self.error: BaseException | None = None
        self.message = ""
        report = cli._report_error

        def noted(error: BaseException, debug: bool) -> int:
            output.readouterr()
            code = report(error, False)
            self.error, self.message = error, output.readouterr().err
            return code

        patch.setattr(cli, "_report_error", noted)
        self._output = output

    def __call__(self, line: Sequence[str]) -> int:
        self.error, self.message = None, ""
        code = cli.main(list(line))
        self._output.readouterr()
        return code

    def explained(self, line: Sequence[str], code: int) -> None:
        """The command ended with a documented exit code, and an error in one to three lines that states its cause."""
        where = f"zoo {line}: exit code {code}, {self.error!r}\n{self.message}"
        assert code in EXIT_CODES, where
        if self.error is None:
            assert code in ((0, 1) if line[0] in CODE_ONE else (0,)), where
            return
        known = isinstance(self.error, ZooError | click.ClickException)
        assert known or (isinstance(self.error, OSError) and self.error.strerror), where
        assert code == getattr(self.error, "exit_code", 74), where
        assert 0 < len(self.message.strip().splitlines()) <= 3, where
        assert self.message.isprintable() or set(self.message) - {"\n"}, where


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Called:
    return Called(monkeypatch, capsys)


@pytest.mark.promise("C", 20, 300)
@pytest.mark.parametrize("name", COMMANDS)
def test_command_lines(name: str, place: Place, called: Called, promise: Any) -> None:
    count = examples(promise, name)

    @profile(count)
    @given(lines(name, COMMANDS[name]))
    def run(line: list[str]) -> None:
        code = place.use(f"zoo {line}", lambda: called(line))
        called.explained(line, code)

    run()
    promise.kept(examples_at_most=count, tracebacks=0)


# --- completion -------------------------------------------------------------------------------------------------------


@pytest.mark.promise("C", 20, 300)
@pytest.mark.parametrize("shell", SHELLS)
def test_completed_lines(shell: str, place: Place, monkeypatch: pytest.MonkeyPatch, promise: Any) -> None:
    """Completion of a line that is cut anywhere: words, and no error, which `answer` would hide."""

    count = examples(promise)

    @profile(count)
    @given(st.sampled_from(sorted(COMMANDS)).flatmap(lambda name: lines(name, COMMANDS[name])), st.data())
    def run(line: list[str], data: st.DataObject) -> None:
        words = line[: data.draw(st.integers(0, len(line)))]
        word = words.pop() if words else ""
        last = word[: data.draw(st.integers(0, len(word)))]
        completer = COMPLETERS[shell](cli.zoo, {}, "zoo", cli.COMPLETE)
        found = place.use(f"complete {words} {last}", lambda: completer.get_completions(words, last))
        for item in found:
            assert isinstance(completer.format_completion(item), str)

    run()
    promise.kept(examples_at_most=count, tracebacks=0)


# --- functions of the package -----------------------------------------------------------------------------------------

numbers = st.one_of(
    st.integers(-2, 9), st.floats(), st.sampled_from([10**20, -(10**20), np.int64(2), np.float32(1), True])
)
texts = st.one_of(
    st.sampled_from((*RECIPES, *DATA, *PATHS, *NUMBERS, *WORDS, *KINDS, "a\0b")), st.text(max_size=8).map(harmless)
)
paths = st.sampled_from((*PATHS, *OUTPUTS, *RUNS)).map(Path)
arrays = st.sampled_from(
    (torch.zeros(8, 1, 28, 28), torch.zeros(0), torch.zeros(()), torch.full((8, 1, 8, 8), float("nan")),
     torch.zeros(8, 2), torch.zeros(8, 1, 8, 8, dtype=torch.complex64), np.zeros((8, 28, 28), np.uint8),
     np.array(["a", "b"]), np.array(None), np.zeros((2, 2), dtype=[("a", int)]))
)  # fmt: skip
plain = st.one_of(
    st.none(), st.booleans(), numbers, texts, paths, arrays, st.binary(max_size=4),
    st.sampled_from((object, len, object(), ..., 1j, range(3), torch.float32)),
)  # fmt: skip
junk = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(texts, numbers), inner, max_size=2),
    ),
    max_leaves=4,
)
"""Values of any type."""


def mostly(*good: Any) -> st.SearchStrategy[Any]:
    """These values, in one of six cases a value of any type."""
    return st.integers(0, 5).flatmap(lambda number: st.sampled_from(good) if number else junk)


keys = st.sampled_from(
    ("lr", "steps", "seed", "data", "penalty", "generator.width", "loss", "ema", "device", "metrics", "until",
     "eval_every", "conditional", "accumulate", "size", "no_such", "", "a b", "init")
)  # fmt: skip
outputs = mostly("out/a", Path("out/b"), None).filter(lambda one: not isinstance(one, str | Path) or inside(one))


def inside(path: str | Path) -> bool:
    """Whether a function may be told to write to this path."""
    return "\0" in str(path) or not os.path.isabs(path)


def outcome(work: Callable[[], Any], called: str) -> None:
    """Check that the call returns, or raises a ZooError with a message of one to three lines.

    A TypeError of Python is allowed for arguments that the function does not have, or lacks.
    """
    message = "no error"
    try:
        work()
    except ZooError as error:
        message = str(error).strip()
    except TypeError as error:
        if not re.match(r"\w[\w.]*\(\) (got|missing|takes) ", str(error)):
            raise
    assert 0 < len(message.splitlines()) <= 3, f"{called}: {message}"


def keywords(**strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=strategies)


Arguments = st.SearchStrategy[tuple[list[Any], dict[str, Any]]]
"""Positional arguments and keywords."""

created = st.tuples(
    st.lists(mostly("dcgan", "hinge", "vanilla", "gp"), min_size=1, max_size=3),
    st.builds(dict.__or__, keywords(kind=mostly(*KINDS)), st.dictionaries(keys, junk, max_size=2)),
)
trained = st.tuples(
    st.tuples(
        mostly("vanilla", "dcgan"), mostly("ring", "points.npy", "photos", Path("classes"), torch.zeros(8, 2), None)
    ).map(list),
    st.builds(
        lambda given, settings: {"out": "out/run", "eval_every": 9, **given, **settings, **QUICK},
        keywords(
            out=outputs, fresh=mostly(True, False), allow_inexact_resume=mostly(True, False),
            extend=mostly(True, False), allow_low_memory=mostly(False),
        ),
        st.dictionaries(keys, mostly(1, 0.5, "none", "auto"), max_size=2),
    ),
)  # fmt: skip
FUNCTIONS: Mapping[str, tuple[Callable[..., Any], Arguments]] = {
    "list_models": (
        aigc_zoo.list_models,
        st.tuples(st.lists(mostly("*", "dc*", "["), max_size=1), keywords(kind=mostly(*KINDS, "all"))),
    ),
    "create": (aigc_zoo.create, created),
    "load_run": (aigc_zoo.load_run, st.tuples(mostly(*RUNS).map(lambda run: [run]), keywords(device=mostly("cpu")))),
    "train": (aigc_zoo.train, trained),
}
METHODS: Mapping[str, Arguments] = {
    "sample": st.tuples(
        st.lists(mostly(1, 2), max_size=1),
        keywords(seed=mostly(0, 1), label=mostly("cat", 0, 1, None), inputs=mostly(None, {}), data=mostly(None),
                 tile=mostly(None, 16), other=junk),
    ),
    "grid": st.tuples(
        st.lists(mostly(1, 2), max_size=1), keywords(seed=mostly(0), label=mostly("cat", None), other=junk)
    ),
    "evaluate": st.tuples(
        st.lists(mostly("ring", "photos", None), max_size=1),
        keywords(split=mostly("train", "test"), metrics=mostly("variance-ratio", ("modes",), "all", ()),
                 num=mostly(8, None), size=mostly(None, 28), seed=mostly(0), extractor=mostly("", "zoo-grey28"),
                 extractor_weights=mostly(None, "file"), allow_few=mostly(True, False), best=mostly(False, True),
                 progress=mostly(False)).map(lambda given: {"num": 8, **given}),
    ),
    "report": st.tuples(st.lists(outputs, max_size=1), keywords(format=mostly("html", "md"), title=mostly("", "A"))),
    "export": st.tuples(st.lists(outputs, max_size=1), keywords(onnx=mostly(False), licence=mostly("", "CC0"))),
}  # fmt: skip


def test_all_public_functions_are_called() -> None:
    snapshot = json.loads((Path(__file__).parent / "api_snapshot.json").read_text(encoding="utf-8"))["names"]
    assert {name for name in aigc_zoo.__all__ if name != "__version__"} == set(FUNCTIONS)
    prefix = "aigc_zoo.api.Run."
    assert {name.removeprefix(prefix) for name in snapshot if name.startswith(prefix)} == set(METHODS)


@pytest.mark.promise("C", 20, 300)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str, place: Place, promise: Any) -> None:
    function, drawn = FUNCTIONS[name]

    count = examples(promise, name)

    @profile(count)
    @given(drawn)
    def run(given: tuple[list[Any], dict[str, Any]]) -> None:
        text = f"{name} {given}"
        place.use(text, lambda: outcome(lambda: function(*given[0], **given[1]), text))

    run()
    promise.kept(examples_at_most=count, tracebacks=0)


@pytest.mark.promise("C", 20, 300)
@pytest.mark.parametrize("name", METHODS)
def test_methods_of_runs(name: str, place: Place, promise: Any) -> None:
    count = examples(promise, name)

    @profile(count)
    @given(st.sampled_from(RUNS), METHODS[name])
    def run(source: str, given: tuple[list[Any], dict[str, Any]]) -> None:
        text = f"Run({source!r}).{name} {given}"
        place.use(text, lambda: outcome(lambda: getattr(Run(source), name)(*given[0], **given[1]), text))

    run()
    promise.kept(examples_at_most=count, tracebacks=0)


@pytest.mark.promise("C", 20, 300)
@pytest.mark.parametrize("name", ["card", "log", "metrics", "generator"])
def test_properties_of_runs(name: str, place: Place, promise: Any) -> None:
    count = examples(promise, name)

    @profile(count)
    @given(st.one_of(st.sampled_from((*RUNS, *PATHS)), junk), mostly("cpu", "auto"))
    def run(source: Any, device: Any) -> None:
        text = f"Run({source!r}, device={device!r}).{name}"
        place.use(text, lambda: outcome(lambda: getattr(Run(source, device=device), name), text))

    run()
    promise.kept(examples_at_most=count, tracebacks=0)


# --- functions for plugins --------------------------------------------------------------------------------------------


def vocabulary() -> dict[str, Callable[..., Any]]:
    """The functions and classes that plugins build their components with."""
    return {
        f"{module.__name__}.{name}".removeprefix("aigc_zoo."): getattr(module, name)
        for module, names in MODULES.items()
        for name in names
    }


MODULES: Mapping[Any, Sequence[str]] = {
    game: [name for name in game.__all__ if inspect.isroutine(value := getattr(game, name)) or inspect.isclass(value)],
    metric: ["Measured", "Metric", "Value"],
    modality: ["Adopted", "npy", "png", "to_uint8", "from_uint8", "distributions"],
    samples: ["array_samples", "class_frequencies", "digest_of", "image_samples", "one_hot", "point_samples",
              "samples_of", "spec_from", "with_entries"],
    spec: ["Component", "Range", "Slot", "Weights"],
    two_player: ["two_player"],
    download: ["fetch"],
}  # fmt: skip
VOCABULARY = vocabulary()


def arguments_of(function: Callable[..., Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Values of any type for the parameters of a function, in one of four cases with a part of them missing."""
    parameters = inspect.signature(function).parameters.values()
    names = [one.name for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    given = st.one_of(junk, st.sampled_from((game.Spec(shape=(2,)), game.Spec(shape=(1, 8, 8), classes=2), {"G": len})))
    return st.one_of(
        st.fixed_dictionaries(dict.fromkeys(names, given)),
        st.fixed_dictionaries({}, optional=dict.fromkeys(names, given)),
    )


CALLERS = (
    ("data", "prepare", "calls", "--plugin", "mine.py"),
    ("config", "calls", "--plugin", "mine.py"),
    ("train", "calls", "--plugin", "mine.py", "--steps", "1", "--batch-size", "4", "--eval-num", "8"),
    ("train", "vanilla", "--data", "calls", "--plugin", "mine.py", "--steps", "1", "--batch-size", "4"),
)
"""Commands that call components of a plugin."""


@pytest.mark.promise("C", 20, 300)
@pytest.mark.parametrize("line", CALLERS, ids=[" ".join(line[:2]) for line in CALLERS])
def test_functions_in_a_plugin(line: tuple[str, ...], place: Place, called: Called, promise: Any) -> None:
    """A plugin that calls a public function with any arguments, and returns the result."""

    count = examples(promise)

    @profile(count)
    @given(
        st.sampled_from(sorted(VOCABULARY)).flatmap(
            lambda name: st.tuples(st.just(name), arguments_of(VOCABULARY[name]))
        )
    )
    def run(drawn: tuple[str, dict[str, Any]]) -> None:
        name, given = drawn
        action[:] = [lambda: VOCABULARY[name](**given)]
        code = place.use(f"{name} {given} in zoo {line}", lambda: called(line))
        called.explained(line, code)

    run()
    promise.kept(examples_at_most=count, tracebacks=0)


SOUND: Mapping[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "recipe": (lambda: aigc_zoo.create("vanilla"), CALLERS[2]),
    "points": (lambda: samples.point_samples("dots", "train", torch.rand(16, 2)), CALLERS[3]),
    "images": (lambda: samples.image_samples("x", "train", torch.zeros(8, 1, 28, 28, dtype=torch.uint8)), CALLERS[3]),
}
"""What a plugin returns, and the command that reads it."""


@pytest.mark.promise("C", 20, 300)
@pytest.mark.parametrize("kind", SOUND)
def test_one_wrong_field_in_a_plugin(kind: str, place: Place, called: Called, promise: Any) -> None:
    """A recipe or a dataset with one field, or one field of its Spec, of any type."""
    make, line = SOUND[kind]
    sound = make()
    names = [(field.name, "") for field in fields(sound)]
    names += [("spec", field.name) for field in fields(sound.spec)] if kind != "recipe" else []

    count = examples(promise, kind)

    @profile(count)
    @given(st.sampled_from(names), junk)
    def run(where: tuple[str, str], value: Any) -> None:
        name, below = where
        action[:] = [
            lambda: replace(sound, **{name: replace(getattr(sound, name), **{below: value}) if below else value})
        ]
        code = place.use(f"{kind} with {where} {value} in zoo {line}", lambda: called(line))
        called.explained(line, code)

    run()
    promise.kept(examples_at_most=count, tracebacks=0)
