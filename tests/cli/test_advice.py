"""Every command and option that a message advises exists and works when it is typed as it is printed."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.shell_completion import _resolve_context
from PIL import Image

import aigc_zoo
from aigc_zoo import cli, text
from aigc_zoo.cli import COMMANDS, main
from aigc_zoo.errors import UsageError

from .test_wrong_command_lines import WRONG, folder

__all__ = ["folder"]

CORE = Path(aigc_zoo.__file__).parent
PLUGIN = """
from aigc_zoo.spec import Component, hookimpl
ZOO_API = 1
@hookimpl
def zoo_components():
    yield Component(kind="recipe", name="mine", extends="vanilla", summary="s", presets={"ring": {"data": "ring"}})
    yield Component(kind="penalty", name="mine", target=f"{__name__}:penalty", summary="s")
def penalty():
    pass
"""
POINTS = "--data ring --data.count 80 --steps 1 --batch-size 8 --eval-num 40"
MINI = "--steps 1 --generator.width 4 --discriminator.width 4"
TINY = f"{MINI} --batch-size 4"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with data and plugins under names that a shell must not split or expand."""
    monkeypatch.chdir(tmp_path)
    Path("my plugin.py").write_text(PLUGIN)
    Path("plugin.py").write_text(PLUGIN.replace('"mine"', '"other"'))
    np.save("arrays.npy", np.random.default_rng(0).normal(size=(8, 5)))
    for name in ("my pics", "digits", "-x", "it's $HOME"):
        images(name)
    points("p q.npy")
    return tmp_path


def points(path: str, seed: int = 0) -> None:
    np.save(path, np.random.default_rng(seed).uniform(-1, 1, (80, 2)).astype(np.float32))


def images(folder: str, count: int = 4, size: int = 28, mode: str = "L") -> None:
    Path(folder).mkdir()
    channels = (3,) if mode == "RGB" else ()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (size, size, *channels), dtype=np.uint8)
        Image.fromarray(pixels).save(Path(folder) / f"{number}.png")


def zoo(line: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and output of a line that a shell splits into words; `zoo` itself runs in this process."""
    command = f"python() {{ printf '%s\\0' \"$@\"; }}; zoo() {{ printf '%s\\0' \"$@\"; }}; {line}"
    words = subprocess.run(["sh", "-c", command], capture_output=True, check=True).stdout.split(b"\0")[:-1]
    capfd.readouterr()
    code = main([os.fsdecode(word) for word in words])
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    return code, out + err


WORD = r"""(?:'[^']*'|"'"|"\$\(printf '[^']*'\)"|[^\s'"`;,()])+"""
GLOBALS = rf"(?: --plugin {WORD})*"
ADVISED = re.compile(rf"\bzoo{GLOBALS} (?:{'|'.join(COMMANDS)})\b(?: (?!shows\b|lists\b|those\b|or\b){WORD})*")


def advised(message: str) -> list[str]:
    """The commands in a message, without the words around them and without placeholders."""
    return [one for one in ADVISED.findall(message) if "RECIPE" not in one]


# --- commands ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A line that provokes a message, the place of the code that advises a command, and what happens before."""

    line: str
    place: str
    before: tuple[str, ...] = ()
    environment: str = ""
    count: int = 1
    touch: str = ""


PAGE = "run/terminal.py:_next"
CASES = [
    *(
        Case(f"zoo train vanilla {POINTS} --out {text.quoted(Path(name))}", PAGE, count=3)
        for name in ("plain", "r 2", "it's", "$(touch x)", "-r", "v1.0/", "~x", "a\nb", "ü;b", "q\udcff", "a&&b#c")
    ),
    Case(
        "zoo --plugin 'my plugin.py' train mine.ring --data.count 80 --steps 1 --batch-size 8 --eval-num 40",
        PAGE,
        count=3,
    ),
    Case(
        f"zoo train dcgan --data ./digits --extractor zoo-grey28 --metrics duplicates {TINY} --out own", PAGE, count=3
    ),
    Case(f"zoo train dcgan --data 'my pics' {TINY} --out pixels", PAGE, count=3),
    Case(f"zoo train vanilla --data arrays.npy {TINY} --out unmeasured", PAGE, count=2),
    Case("zoo train dcgan --nosuch 1", "cli/dynamic.py:_unknown"),
    Case("zoo train vanilla --data ring --data.nosuch 1", "cli/dynamic.py:_unknown"),
    Case("zoo train dcgan --data './my pics' --nosuch", "cli/dynamic.py:_unknown"),
    Case("zoo config --nosuch 1", "cli/dynamic.py:_unknown"),
    Case("zoo --plugin 'my plugin.py' train local/mine --nosuch 1", "cli/dynamic.py:_unknown"),
    *(
        Case(
            f"zoo sample {run} --psi 1",
            "run/generator.py:explain_options",
            before=(f"zoo train vanilla {POINTS} --out {run}",),
        )
        for run in ("plain", "'a b'", "./-r")
    ),
    *(Case(f"zoo data verify {folder}", "data/files.py:preparing") for folder in ("'my pics'", "digits", "./-x")),
    Case('zoo data verify "it\'s \\$HOME" --size 14', "data/files.py:preparing"),
    Case(
        "zoo data verify digits",
        "data/files.py:preparing",
        before=("zoo data prepare ./digits",),
        touch="digits/0.png",
    ),
    *(
        Case(
            f"zoo eval {run}",
            "run/own_data.py:own_splits",
            before=(f"zoo train vanilla --data './p q.npy' --steps 1 --batch-size 8 --eval-num 40 --out {run}",),
            touch="p q.npy",
        )
        for run in ("plain", "'a b'", "./-r")
    ),
    Case("zoo train nosuch", "plugins.py:_unknown"),
    Case("zoo show nosuch", "plugins.py:_unknown"),
    Case("zoo train dcgan --penalty nosuch", "plugins.py:_unknown"),
    Case("zoo --plugin plugin.py data prepare nosuch", "plugins.py:_unknown"),
    Case("zoo list nosuch", "cli/list_.py:_no_match"),
    Case("zoo --plugin plugin.py list nosuch --kind loss", "cli/list_.py:_no_match"),
    Case("zoo list", "cli/list_.py:_no_match", environment="*"),
    Case("zoo show dcgan", "cli/show.py:_facts"),
    Case("zoo --plugin 'my plugin.py' show mine", "cli/show.py:_facts"),
    Case("zoo train", "options/configuration.py:_recipe"),
    Case("zoo check nosuch", "testing/subjects.py:subjects_of", count=2),
    Case("zoo new acme", "scaffold/__init__.py:_pick", environment="*"),
]
ELSEWHERE = {
    "cli/new.py:command": "test_new.py runs what zoo new prints",
    "api.py:_refuse_unknown": "the test below, in Python",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.line))
@pytest.mark.promise("A1", 1, 1)
def test_an_advised_command_works(
    case: Case, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, promise: Any
) -> None:
    for line in case.before:
        assert zoo(line, capfd)[0] == 0
    if case.touch.endswith(".npy"):
        points(case.touch, seed=1)
    elif case.touch:
        Image.new("L", (28, 28), 7).save(case.touch)
    places: list[str] = []

    def quoted(word: str | Path, real: Callable[..., str] = text.quoted) -> str:
        caller = sys._getframe(2)
        places.append(f"{Path(caller.f_code.co_filename).relative_to(CORE).as_posix()}:{caller.f_code.co_name}")
        return real(word)

    with monkeypatch.context() as patch:
        patch.setattr(text, "quoted", quoted)
        if case.environment:
            patch.setenv("ZOO_DISABLE_PLUGINS", case.environment)
            from aigc_zoo import plugins

            plugins._discover.cache_clear()
            patch.setattr(plugins, "_discover", plugins._discover.__wrapped__)
        _, message = zoo(case.line, capfd)
    assert case.place in places
    commands = advised(message)
    assert len(commands) == case.count, message
    before = {path.name for path in Path().iterdir()}
    for command in commands:
        code, printed = zoo(command, capfd)
        assert code == 0, f"{command}: {printed}"
    if case.place == "data/files.py:preparing":
        assert zoo(case.line, capfd)[0] == 0, "the advised command ends the complaint"
    assert {path.name for path in Path().iterdir()} - before <= {"report.html"}, "no shell expansion made a file"
    promise.kept(messages=1, commands=len(commands))


def test_every_place_that_advises_a_command_has_a_case() -> None:
    found = set()
    for path in CORE.rglob("*.py"):
        for function in _functions(ast.parse(path.read_text())):
            calls = (node for node in ast.walk(function) if isinstance(node, ast.Call))
            if any(isinstance(call.func, ast.Name) and call.func.id == "zoo_command" for call in calls):
                found.add(f"{path.relative_to(CORE).as_posix()}:{function.name}")
    assert found == {case.place for case in CASES} | ELSEWHERE.keys()


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


HELP = {
    "cli/__init__.py": {"zoo list"},
    "cli/bench.py": {"zoo eval"},
    "cli/config.py": {"zoo train"},
    "cli/data.py": {"zoo train"},
    "cli/dynamic.py": {"zoo list", "zoo config"},
    "cli/probe.py": {"zoo train"},
    "cli/show.py": {"zoo sample"},
    "artefacts/runs.py": {"zoo train"},
    "scaffold/__init__.py": {"zoo train"},
}
"""Texts that name a command without words that need quotes: help texts, and the commands that take an option."""


def test_no_other_text_advises_a_command() -> None:
    named = re.compile(
        r"\bzoo (?:list|show|plugins|train|sample|eval|bench|report|export|data|new|check|config|doctor)\b"
    )
    for path in [*CORE.rglob("*.py"), *Path(aigc_zoo.__file__).parents[1].glob("plugins/**/*.py")]:
        tree = ast.parse(path.read_text())
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        found = {match for node in texts if id(node) not in prose for match in named.findall(node.value)}
        name = path.relative_to(CORE).as_posix() if path.is_relative_to(CORE) else str(path)
        assert found <= HELP.get(name, set()), name


@pytest.mark.parametrize("recipe", ["vanilla", "vanilla.ring", "zoo/dcgan"])
def test_the_advice_of_the_python_function_works(recipe: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError) as caught:
        aigc_zoo.train(recipe, "ring", nosuch=1)
    (command,) = advised(str(caught.value))
    assert zoo(command, capfd)[0] == 0


def test_the_advice_of_the_doctor_works(capfd: pytest.CaptureFixture[str]) -> None:
    source = (CORE / "cli" / "probe.py").read_text()
    (command,) = re.findall(r"(zoo train [\w -]+?) shows where", source)
    assert zoo(command, capfd)[0] == 0


# --- options ----------------------------------------------------------------------------------------------------------

OTHERS = r"or (--metrics (?:mixture,)?variance-ratio,duplicates)"
FIXES = [
    # the line that fails, its code, the options that the message advises, those that they replace, and others
    (f"train dcgan --data ./digits --accumulate 7 {MINI}", 3, r"use (--batch-size \d+)", "", ""),
    (f"train dcgan --data odd.npy {TINY}", 3, r"(--size \d+)", "", ""),
    (f"train dcgan --data torn {TINY}", 65, r"(--skip-bad 2)", "", ""),
    (f"train dcgan --data ./digits --penalty gp {TINY}", 3, r"(--discriminator.norm none)", "", ""),
    (f"train vanilla {POINTS} --until 'fid<='", 2, r'for example (--until "modes<=5")', "--until 'fid<='", ""),
    (f"train vanilla {POINTS} --engine graph --device cpu", 3, r"say (--engine eager)", "--engine graph", ""),
    (f"train vanilla {POINTS} --metrics fid,kid", 65, OTHERS, "--metrics fid,kid", ""),
    (f"train vanilla {POINTS} --metrics fid --eval-num 2", 65, r"use a larger (--eval-num)", "--eval-num 2", "3"),
    (f"train dcgan --data 'my pics' --extractor zoo-grey28 --metrics fid {TINY}", 65, OTHERS, "--metrics fid", ""),
    (f"train dcgan --data 'my pics' --metrics prc {TINY}", 3, r"use (--extractor zoo-grey28)", "", ""),
    (f"train dcgan --data empty.npy --conditional {TINY}", 3, r"leave out (?=(--conditional))", "--conditional", "-"),
    ("eval 'my pics' --against ./digits --extractor zoo-grey28", 65, r"or (--allow-few)", "", ""),
    ("eval 'my pics' --against ./digits --metrics prc", 3, r"use (--extractor zoo-grey28)", "", ""),
    ("eval jpegs --against ./digits --extractor zoo-grey28 --metrics duplicates", 65, r"use (--allow-lossy)", "", ""),
    ("list gp --plugin plugin.py", 0, r"add (--kind penalty)", "", ""),
    ("data prepare torn", 65, r"(--skip-bad 2)", "", ""),
]


@pytest.mark.parametrize(("line", "code", "advice", "instead_of", "more"), FIXES, ids=[ascii(one[0]) for one in FIXES])
@pytest.mark.promise("A1", 1, 1)
def test_advised_options_work(
    line: str, code: int, advice: str, instead_of: str, more: str, capfd: pytest.CaptureFixture[str], promise: Any
) -> None:
    np.save("odd.npy", np.zeros((8, 3, 33, 33), np.uint8))
    np.save("empty.npy", np.zeros((8, 28, 28), np.uint8))
    images("torn")
    for name in ("1.png", "2.png"):
        (Path("torn") / name).write_bytes(b"\x89PNG\r\n\x1a\n torn")
    Path("jpegs").mkdir()
    for number in range(5):
        Image.new("L", (28, 28), number).save(Path("jpegs") / f"{number}.jpg")
    found, message = zoo(f"zoo {line}", capfd)
    assert found == code, message
    match = re.search(advice, message)
    assert match is not None, message
    words = "" if more == "-" else f"{' '.join(match.groups())} {more}"  # "-": the option is to be left out
    corrected = f"zoo {line.replace(instead_of, '')} {words}"
    code, message = zoo(corrected, capfd)
    assert code == 0, f"{corrected}: {message}"
    promise.kept(messages=1, options=1)


def test_allow_few_and_num_are_options_of_eval_alone(capfd: pytest.CaptureFixture[str]) -> None:
    few = f"train dcgan --data ./digits --extractor zoo-grey28 --metrics fid {TINY}"
    for line in (f"train vanilla {POINTS} --metrics kid", few):
        code, message = zoo(f"zoo {line}", capfd)
        assert (code, "too few" in message) == (65, True)
        assert "--allow-few" not in message
        assert not re.search(r"--num\b", message)


@pytest.mark.parametrize("line", [line for line, _, _ in WRONG])
@pytest.mark.promise("A1", 1, 1)
def test_messages_name_options_of_their_own_command(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], promise: Any
) -> None:
    """Of the command that was typed, with the options of its recipe and data; or of a command that is named beside."""
    monkeypatch.chdir(folder)
    words = shlex.split(line)
    main(words)
    message = ADVISED.sub("", capfd.readouterr().err)
    flags = {flag for flag in re.findall(r"(?<![\w-])--[a-z][\w.-]*[a-z0-9]", message) if flag not in words}
    ctx = _resolve_context(cli.zoo, {"obj": cli.Globals()}, "zoo", words)
    known = {flag for parameter in ctx.command.get_params(ctx) for flag in parameter.opts}
    assert flags <= known | {"--plugin", "--debug"}
    promise.kept(messages=1)


@pytest.mark.parametrize("out", ["v1.0/", "v2.0", "x.PNG", "x.Png", "folder.d/"])
def test_names_of_outputs_are_taken_as_they_are(out: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert zoo(f"zoo train vanilla {POINTS} --out run", capfd)[0] == 0
    assert zoo(f"zoo sample run -n 4 --out {out}", capfd)[0] == 0
    assert Path(out).is_dir() == (not out.lower().endswith(".png"))


# --- quotation --------------------------------------------------------------------------------------------------------


WORDS = ["a", "a b", "'", '"', "$x", "`x`", "a\tb", "a\nb", "é", "\udce9", "%s", "\\n", "!", "*", "%s\x1b", "'\x7f"]


@pytest.mark.parametrize("word", WORDS)
def test_a_shell_reads_a_quoted_word_back(word: str) -> None:
    done = subprocess.run(["sh", "-c", f"printf '%s' {text.quoted(word)}x"], capture_output=True, check=True)
    assert os.fsdecode(done.stdout) == f"{word}x"
    assert text.quoted(word).isprintable()


def test_commands_have_the_plugin_files_of_the_command_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert text.zoo_command("list") == "zoo list"
    _, message = zoo("zoo train nosuch --plugin 'my plugin.py' --plugin=plugin.py", capfd)
    assert "zoo --plugin 'my plugin.py' --plugin plugin.py list --kind recipe shows" in message
    assert text.zoo_command("list") == "zoo list", "the next command does not have them"


def test_paths_with_hyphens_are_no_options() -> None:
    words: list[Any] = [Path("-x"), Path("a/-x"), Path("--help"), "-n"]
    assert shlex.split(text.zoo_command("sample", *words)) == ["zoo", "sample", "./-x", "a/-x", "./--help", "-n"]
