"""The command line itself (errors, exit codes, global options) and the commands list, plugins and show."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

import aigc_zoo
from aigc_zoo import cli
from aigc_zoo.cli import main
from aigc_zoo.errors import ConfigError, DataError, LockedError, ZooError
from aigc_zoo.plugins import catalogue

MINE = """
from typing import Annotated, Literal
from aigc_zoo.spec import Component, Range, hookimpl
ZOO_API = 1

@hookimpl
def zoo_components():
    yield Component(
        kind="penalty", name="mine", target=f"{__name__}:mine", summary="A penalty " + "of many words " * 12,
        paper="arXiv:0000.00000", tags=("one", "two"), defaults={"weight": 10.0}, presets={"soft": {"slope": 0.5}},
    )

def mine(*, slope: Annotated[float, Range(0, 1)] = 0.25, mode: Literal["mean", "sum"] = "mean"):
    '''Nothing but options.

    slope: How steep it is.
    mode: how it is reduced.
    '''
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return str(path)


Output = pytest.CaptureFixture[str]


def test_list_shows_recipes_for_people(capsys: Output) -> None:
    assert main(["list"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    names = [entry.name for entry in catalogue().items("recipe", "zoo/*")]
    assert [line.split()[0] for line in lines[: len(names)]] == names
    assert "dcgan" in names
    assert max(map(len, lines)) <= 100
    assert err == ""


def test_list_for_programs(capsys: Output) -> None:
    assert main(["list", "dcga[n]", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == {"schema", "items", "problems"}
    assert (found["schema"], found["problems"]) == (1, [])
    (item,) = [item for item in found["items"] if item["distribution"] == "aigc-zoo"]
    assert (item["id"], item["name"], item["kind"], item["version"]) == ("zoo/dcgan", "dcgan", "recipe", "0.1.0")
    assert isinstance(item["tags"], list)


def test_one_kind_or_all_kinds_are_listed(capsys: Output) -> None:
    assert main(["list", "--kind", "generator", "--json"]) == 0
    assert {item["kind"] for item in json.loads(capsys.readouterr().out)["items"]} == {"generator"}
    assert main(["list", "--kind", "all", "dcgan"]) == 0
    titles = [line for line in capsys.readouterr().out.splitlines() if line and not line.startswith(" ")]
    assert titles[:2] == ["recipe", "generator"]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["dcgam"], "zoo: no recipe matches 'dcgam'; did you mean 'dcgan' or 'dcgan-r1'?"),
        (["qqqq"], "zoo: no recipe matches 'qqqq'; {zoo} list shows all of them"),
        (["mine"], "zoo: no recipe matches 'mine', but a penalty does: add --kind penalty"),
        (["--kind", "all", "qqqq"], "zoo: no component matches 'qqqq'; {zoo} list --kind all shows all of them"),
    ],
)
def test_an_empty_list_is_explained_and_no_error(mine: str, args: list[str], expected: str, capsys: Output) -> None:
    expected = expected.format(zoo=f"zoo --plugin {mine}")
    assert main(["--plugin", mine, "list", *args]) == 0
    assert capsys.readouterr() == ("", f"{expected}\n")
    assert main(["--plugin", mine, "list", *args, "--json"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["items"], err) == ([], f"{expected}\n")


def test_long_lines_are_cut_to_the_width(mine: str, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    for columns, width in [("300", 100), ("80", 80), ("10", 60)]:
        monkeypatch.setenv("COLUMNS", columns)
        assert main(["--plugin", mine, "list", "--kind", "penalty", "local/*"]) == 0
        line = capsys.readouterr().out.rstrip("\n")
        assert len(line) == width
        assert line.startswith("local/mine  A penalty of")
        assert line.endswith(" arXiv:0000.00000")
        assert line.count("...") == 1


# --- plugins ----------------------------------------------------------------------------------------------------------


def test_plugins_for_people_and_programs(mine: str, capsys: Output) -> None:
    assert main(["plugins", "--plugin", mine]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["distribution", "version", "plugin", "status", "ms"]
    assert ["aigc-zoo", "0.1.0", "dcgan", "ok"] in [line[:4] for line in lines]
    assert lines[-1][:1] + lines[-1][2:4] == ["mine.py", "mine", "ok"]
    assert main(["plugins", "--json", "--plugin", mine]) == 0
    found = json.loads(capsys.readouterr().out)
    keys = {"distribution", "version", "entry_point", "status", "reason", "milliseconds", "heavy"}
    assert all(item.keys() == keys for item in found["items"])
    assert found["schema"] == 1


def test_requirements_pin_plugins_that_are_ok(mine: str, capsys: Output) -> None:
    assert main(["plugins", "--requirements", "--plugin", mine]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("aigc-zoo==0.1.0") == 1
    assert not any("mine" in line for line in lines)
    assert main(["plugins", "--requirements", "--json"]) == 2


# --- show -------------------------------------------------------------------------------------------------------------


def test_show_prints_all_about_a_component(mine: str, capsys: Output) -> None:
    assert main(["show", "local/mine", "--plugin", mine]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for expected in ("penalty local/mine", "arXiv:0000.00000", "one, two", "mine.py", "zoo_local_mine", "soft"):
        assert expected in out
    slope = next(line for line in out.splitlines() if "--slope" in line)
    assert "0.25" in slope
    assert "How steep it is" in out
    assert max(map(len, out.splitlines())) <= 100


def test_show_for_programs(mine: str, capsys: Output) -> None:
    assert main(["show", "mine.soft", "--json", "--plugin", mine]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["schema"], shown["id"], shown["kind"], shown["other_kinds"]) == (1, "local/mine", "penalty", [])
    assert (shown["defaults"], shown["presets"]) == ({"weight": 10.0}, {"soft": {"slope": 0.5}})
    assert shown["target"].startswith("zoo_local_mine")
    options = {option["key"]: option for option in shown["options"]}
    assert (options["slope"]["type"], options["slope"]["default"]) == ("float", 0.5)
    assert (options["slope"]["low"], options["slope"]["high"]) == (0, 1)
    assert options["mode"]["choices"] == ["mean", "sum"]
    assert options["weight"]["default"] == 10.0


def test_show_states_the_modality_of_an_extractor(capsys: Output) -> None:
    assert main(["show", "zoo-rgb32"]) == 0
    assert re.search(r"^modality +image$", capsys.readouterr().out, re.MULTILINE)
    for name, modality in (("zoo-rgb32", "image"), ("pix2pix", "")):
        assert main(["show", name, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["modality"] == modality


def test_show_applies_the_preset(mine: str, capsys: Output) -> None:
    for reference, default in [("mine", 0.25), ("mine.soft", 0.5)]:
        assert main(["show", reference, "--json", "--plugin", mine]) == 0
        options = json.loads(capsys.readouterr().out)["options"]
        assert next(option["default"] for option in options if option["key"] == "slope") == default


@pytest.mark.parametrize(
    ("modality", "expected"),
    [
        ("image", ("reads        .png, .jpg", "one sample   .png, .npy", "--size INT", "become squares of 64.")),
        ("audio", ("reads        .wav", "--data.seconds FLOAT", "95 % of the recordings fit, at most 65,536.")),
        ("text", ("all samples  .txt, .jsonl", "--data.length INT", "gives the length, at most 256.")),
        ("points", ("reads        arrays alone",)),
    ],
)
def test_show_states_the_files_of_a_modality(modality: str, expected: tuple[str, ...], capsys: Output) -> None:
    assert main(["show", modality, "--kind", "modality"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for words in expected:
        assert words in " ".join(out.split()) or words in out, words
    assert max(map(len, out.splitlines())) <= 100
    assert main(["show", modality, "--kind", "modality", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["files"]) == {"reads", "one sample", "all samples"}


def test_show_says_why_the_files_of_a_modality_are_not_known(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "odd.py").write_text(
        "from aigc_zoo.spec import Component, hookimpl\nZOO_API = 1\n\n@hookimpl\ndef zoo_components():\n"
        '    return [Component(kind="modality", name="odd", target=f"{__name__}:odd", summary="No class")]\n\n'
        "def odd():\n    return 1\n"
    )
    assert main(["show", "odd", "--plugin", str(tmp_path / "odd.py")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("modality local/odd")
    assert "its files cannot be listed: modality local/odd returned a int, not a Modality" in err


def test_show_prefers_recipes_and_names_other_kinds(capsys: Output) -> None:
    assert main(["show", "dcgan"]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("recipe zoo/dcgan\n")
    assert "of the same name: generator, discriminator" in " ".join(out.split())
    assert main(["show", "dcgan", "--kind", "generator", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["kind"], shown["other_kinds"]) == ("generator", ["recipe", "discriminator"])


def test_show_of_an_unknown_name(capsys: Output) -> None:
    assert main(["show", "dcgam"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("zoo: unknown component 'dcgam'; did you mean 'dcgan' or 'dcgan-r1'?")
    assert main(["show", "dcgan", "--kind", "penalty"]) == 3
    assert "of that name there is a recipe" in capsys.readouterr().err


# --- the command line itself ------------------------------------------------------------------------------------------


def test_help_and_version(capsys: Output) -> None:
    assert main([]) == 0
    bare = capsys.readouterr().out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == bare
    assert all(f"\n  {name} " in bare for name in cli.COMMANDS)
    assert max(map(len, bare.splitlines())) <= 100
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"aigc-zoo {aigc_zoo.__version__}\n"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["lst"], ["Error: No such command 'lst'. Did you mean 'list'?", "Try 'zoo --help' for help."]),
        (["list", "--knid", "x"], ["Error: No such option '--knid'.", "Try 'zoo list --help' for help."]),
        (["list", "a", "b"], ["Error: Got unexpected extra argument (b)", "Try 'zoo list --help' for help."]),
        (["list", "--plugin"], ["Error: Option '--plugin' requires an argument.", "Try 'zoo --help' for help."]),
    ],
)
def test_a_wrong_command_line_has_a_message_of_two_lines(args: list[str], expected: list[str], capsys: Output) -> None:
    assert main(args) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0].startswith(expected[0].rstrip("."))
    assert lines[1:] == expected[1:]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Add the command `zoo fail`, which raises the error."""

    def install(error: BaseException) -> None:
        def callback() -> None:
            raise error

        module = SimpleNamespace(command=click.Command("fail", callback=callback))
        monkeypatch.setitem(sys.modules, "zoo_test_fail", module)
        monkeypatch.setitem(cli.COMMANDS, "fail", ("zoo_test_fail", "Fails."))

    return install


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (ConfigError("one\ntwo\nthree\nfour"), 3, "zoo: one\ntwo\nthree\n"),
        (LockedError("busy"), 4, "zoo: busy\n"),
        (DataError("bad"), 65, "zoo: bad\n"),
        (ZooError("x"), 1, "zoo: x\n"),
        (KeyboardInterrupt(), 130, "\nzoo: interrupted\n"),
        (ValueError("a\nb"), 1, "zoo: ValueError: a b\nrun again with --debug for the traceback\n"),
        (KeyError(), 1, "zoo: KeyError\nrun again with --debug for the traceback\n"),
        (click.ClickException("no"), 1, "Error: no\n"),
        (click.exceptions.Exit(7), 7, ""),
    ],
)
def test_errors_become_messages_and_exit_codes(
    error: BaseException, code: int, expected: str, capsys: Output, fail: Callable[[BaseException], None]
) -> None:
    fail(error)
    assert main(["fail"]) == code
    assert capsys.readouterr() == ("", expected)


@pytest.mark.parametrize("args", [["--debug", "fail"], ["fail", "--debug"]])
@pytest.mark.parametrize(("error", "code"), [(ConfigError("one"), 3), (ValueError("a"), 1)])
def test_debug_shows_the_traceback(
    args: list[str], error: Exception, code: int, capsys: Output, fail: Callable[[BaseException], None]
) -> None:
    fail(error)
    assert main(args) == code
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):")
    assert err.splitlines()[-1].startswith("zoo: ")
    assert "run again" not in err


def test_global_options_are_accepted_anywhere_before_two_dashes(mine: str, capsys: Output) -> None:
    for args in (["--plugin", mine, "list"], ["list", "--plugin", mine], ["list", f"--plugin={mine}"]):
        assert main([*args, "--kind", "penalty", "local/*", "--json"]) == 0
        assert [item["id"] for item in json.loads(capsys.readouterr().out)["items"]] == ["local/mine"]
    assert main(["list", "--", "--plugin"]) == 0
    assert "no recipe matches '--plugin'" in capsys.readouterr().err


def test_a_bad_plugin_file_is_an_error(tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "bad.py"
    path.write_text("import nosuchmodule\n")
    assert main(["list", "--plugin", str(path)]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err == ("zoo: plugin file bad.py is broken: line 1: ModuleNotFoundError: No module named 'nosuchmodule'\n")


def test_plugin_problems_are_reported_once(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aigc_zoo.plugins.describe_problems", lambda found: ["zoo: plugin x is broken: y"])
    options = cli.Globals()
    assert options.catalogue() is options.catalogue()
    assert capsys.readouterr().err == "zoo: plugin x is broken: y\n"
    cli.Globals().catalogue(quiet=True)
    assert capsys.readouterr().err == ""


def test_a_closed_pipe_is_no_error() -> None:
    """`zoo list | head -0` prints no traceback and no ignored exception."""
    command = [
        sys.executable,
        "-c",
        "import time; time.sleep(0.2); from aigc_zoo.cli import main; exit(main(['list']))",
    ]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    assert child.stderr.read() == ""
    child.stderr.close()
    assert child.wait(timeout=60) == 0
