"""`zoo config`, and the options that it shares with `zoo train`."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import pytest

from aigc_zoo.cli import Globals, main
from aigc_zoo.cli.dynamic import Inputs, RecipeCommand

MINE = """
from typing import Annotated, Any, Literal
from aigc_zoo.game import Player, Recipe
from aigc_zoo.spec import Component, Range, Slot, hookimpl
ZOO_API = 1

@hookimpl
def zoo_components():
    def one(kind, name, **more):
        return Component(kind=kind, name=name, target=f"{__name__}:{name.replace('-', '_')}", summary="s", **more)
    yield one("recipe", "doodle", presets={"squares": {"steps": 40, "pen.width": 9}})
    yield one("generator", "round-pen")
    yield one("generator", "flat")
    yield one("penalty", "smooth", defaults={"weight": 5.0})

def doodle(
    *,
    pen: Annotated[Any, Slot("generator")] = "round-pen",
    penalty: tuple[Annotated[Any, Slot("penalty")], ...] = (),
    sizes: tuple[Annotated[int, Range(1, None)], ...] = (4, 8),
    step_size: Annotated[float, Range(0, 1)] = 2e-4,
    mode: Literal["fast", "slow"] = "fast",
    shaded: bool = False,
) -> Recipe:
    '''Doodles.

    pen: what draws.
    sizes: how large.
    step_size: how far,
        at most.
    shaded: with shadows.
    '''
    player = Player(controls=("G",), loss=None, optimizer=lambda parameters: None)
    return Recipe(networks=lambda spec: {}, players={"only": player}, generate=lambda nets, batch: {}, images=1000)

def round_pen(spec, latent, *, width: Annotated[int, Range(1, 99)] = 3, soft_edge: bool = True):
    '''A pen.

    width: of the line.
    '''

def flat(spec, latent, *, angle: float = 0.5):
    pass

def smooth(*, power: int = 2):
    pass
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def zoo(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call `zoo(...)` with the recipe `doodle` of a plugin file; returns (exit code, stdout, stderr)."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> tuple[int, str, str]:
        code = main(["--plugin", "mine.py", *args])
        return code, *capsys.readouterr()

    return run


def test_the_resolved_card_is_printed(zoo: Run) -> None:
    code, out, err = zoo("config", "doodle", "--pen.width", "7", "--sizes", "1,2", "--penalty", "smooth", "--shaded")
    assert (code, err) == (0, "")
    card = json.loads(out)
    assert card["recipe"] == "local/doodle"
    assert card["slots"] == {"pen": "local/round-pen", "penalty": ["local/smooth"]}
    assert card["options"] == {
        "pen.width": 7,
        "pen.soft_edge": True,
        "penalty.smooth.power": 2,
        "penalty.smooth.weight": 5.0,
        "penalty.smooth.every": 1,
        "sizes": [1, 2],
        "step_size": 2e-4,
        "mode": "fast",
        "shaded": True,
    }
    assert card["set_by"] == {"penalty": "cli", "pen.width": "cli", "sizes": "cli", "shaded": "cli"}
    assert (card["run"]["images"], card["run"]["data"]) == (1000, "zoo/digits")
    assert (card["torch"], list(card["plugins"])) == (metadata.version("torch"), ["mine.py"])


@pytest.mark.parametrize(
    "args",
    [
        ("doodle",),
        ("doodle", "--data", "squares"),
        ("doodle.squares", "--pen", "flat", "--pen.angle=0.1", "--images", "5"),
        ("doodle", "--penalty", "smooth", "--penalty.smooth.weight", "2", "--no-pen.soft-edge", "--seed", "4"),
    ],
)
def test_config_reads_back_what_it_printed(zoo: Run, args: tuple[str, ...]) -> None:
    code, out, _ = zoo("config", *args)
    assert code == 0
    Path("card.json").write_text(out)
    assert zoo("config", "--config", "card.json") == (0, out, "")
    assert zoo("config", "doodle", "--config", "card.json") == (0, out, "")
    assert zoo("config", "--config", ".") == (0, out, "")  # a folder with a card.json, as a run is


def test_first_party_recipes_read_back(zoo: Run) -> None:
    for name in ("dcgan", "primer", "vanilla"):
        code, out, _ = zoo("config", name)
        assert code == 0
        Path("card.json").write_text(out)
        assert zoo("config", "--config", "card.json") == (0, out, "")


def test_wgans_name_of_the_discriminators_updates_is_accepted(zoo: Run) -> None:
    """WGAN's name of the option works on the command line only."""
    code, out, _ = zoo("config", "wgan-gp", "--n-critic", "3")
    assert (code, json.loads(out)["options"]["discriminator_turns"]) == (0, 3)
    assert "--discriminator-turns, --n-critic" in zoo("train", "wgan-gp", "--help")[1]
    code, _, err = zoo("config", "wgan-gp", "--n-critic", "0")
    assert (code, err) == (2, "zoo: --discriminator-turns 0: not in the range 1 to 100\n")


@pytest.mark.parametrize(
    ("args", "slots", "options"),
    [
        (["--augmentation", "flip", "--augmentation", "diffaugment"], ["zoo/flip", "zoo/diffaugment"], {"color": True}),
        (["--augmentation", "diffaugment", "--augmentation=flip"], ["zoo/diffaugment", "zoo/flip"], {"color": True}),
        (
            ["--augmentation", "flip,diffaugment", "--no-augmentation.diffaugment.color"],
            ["zoo/flip", "zoo/diffaugment"],
            {"color": False},
        ),
        (["--augmentation", "diffaugment", "--no-augmentation.color"], ["zoo/diffaugment"], {"color": False}),
        (["--augmentation", "diffaugment", "--augmentation.cutout", "0.25"], ["zoo/diffaugment"], {"cutout": 0.25}),
        (
            ["--augmentation=diffaugment", "--augmentation.diffaugment.cutout=0.25"],
            ["zoo/diffaugment"],
            {"cutout": 0.25},
        ),
        (["--augmentation", "none"], [], {}),
        ([], [], {}),
    ],
)
def test_augmentations_are_taken_in_their_order(
    zoo: Run, args: list[str], slots: list[str], options: dict[str, Any]
) -> None:
    code, out, err = zoo("config", "dcgan.digits", *args)
    assert (code, err) == (0, "")
    card = json.loads(out)
    assert card["slots"]["augmentation"] == slots
    for key, value in options.items():
        assert card["options"][f"augmentation.diffaugment.{key}"] == value
    Path("card.json").write_text(out)
    assert zoo("config", "--config", "card.json") == (0, out, "")


def test_show_says_that_augmentations_are_repeatable(zoo: Run) -> None:
    code, out, _ = zoo("show", "dcgan", "--json")
    (row,) = (row for row in json.loads(out)["options"] if row["key"] == "augmentation")
    assert (code, row["repeated"], row["default"]) == (0, True, [])
    assert "--augmentation AUGMENTATION ..." in zoo("show", "dcgan")[1]
    assert "repeatable" in zoo("train", "dcgan", "--help")[1].partition("--augmentation ")[2].partition("--")[0]


def test_a_penalty_that_is_the_only_one_needs_no_name_in_its_options(zoo: Run) -> None:
    usual = zoo("config", "doodle", "--penalty", "smooth", "--penalty.smooth.weight", "2")
    assert usual[0] == 0
    assert zoo("config", "doodle", "--penalty", "smooth", "--penalty.weight", "2") == usual
    help_text = zoo("config", "doodle", "--penalty", "smooth", "--help")[1]
    assert "--penalty.smooth.weight" in help_text
    assert "--penalty.weight" not in help_text
    code, _, err = zoo("config", "doodle", "--penalty", "smooth", "--penalty.weight", "-1")
    assert (code, err) == (2, "zoo: --penalty.smooth.weight -1: not in the range 0 or more\n")


def test_a_card_with_one_augmentation_as_text_is_read(zoo: Run) -> None:
    """Cards of earlier versions have one augmentation or null."""
    expected = zoo("config", "dcgan.digits", "--augmentation", "diffaugment", "--no-augmentation.color")[1]
    card = json.loads(expected)
    card["slots"]["augmentation"] = "zoo/diffaugment"
    for section in ("options", "set_by"):
        card[section] = {key.replace("n.diffaugment.", "n."): value for key, value in card[section].items()}
    assert "augmentation.color" in card["options"]
    Path("card.json").write_text(json.dumps(card))
    assert zoo("config", "--config", "card.json") == (0, expected, "")
    nothing = zoo("config", "dcgan.digits")[1]
    Path("card.json").write_text(nothing.replace('"augmentation": []', '"augmentation": null'))
    assert "null" in Path("card.json").read_text()
    assert zoo("config", "--config", "card.json") == (0, nothing, "")


def test_a_preset_named_like_the_data_applies_with_a_note(zoo: Run) -> None:
    code, out, err = zoo("config", "doodle", "--data=./squares.zip")
    assert (code, err) == (0, "preset doodle.squares applies (data squares)\n")
    assert json.loads(out)["run"]["steps"] == 40


def test_the_recipe_is_accepted_at_any_position(zoo: Run) -> None:
    expected = zoo("config", "doodle", "--pen", "flat", "--pen.angle", "0.1", "--shaded")
    assert expected[0] == 0
    assert zoo("config", "--pen", "flat", "--pen.angle", "0.1", "doodle", "--shaded") == expected
    assert zoo("config", "--pen.angle", "0.1", "--pen=flat", "--shaded", "doodle") == expected
    assert zoo("config", "--pen=flat", "--pen.angle=0.1", "--shaded", "--", "doodle") == expected


@pytest.mark.parametrize(
    ("args", "code", "expected"),
    [
        (["nosuch"], 3, "unknown recipe 'nosuch'"),
        (["doodel"], 3, "unknown recipe 'doodel'; did you mean 'doodle'?"),
        (["doodle.nosuch"], 3, "recipe local/doodle has no preset 'nosuch'"),
        (["doodle", "--pen", "flt"], 3, "unknown generator 'flt'; did you mean 'flat'?"),
        (["doodle", "--pen.widht", "3"], 2, "no option --pen.widht; did you mean --pen.width?"),
        (["doodle", "--pen", "flat", "--pen.width", "3"], 2, "no option --pen.width with --pen flat: --pen local/"),
        (["doodle", "--pe", "flat"], 2, "no option --pe"),
        (["doodle", "--shade"], 2, "no option --shade; did you mean --shaded?"),
        (["doodle", "--conf", "a"], 2, "no option --conf; did you mean --config?"),
        (["doodle", "--pen.width", "0"], 2, "--pen.width 0: not in the range 1 to 99"),
        (["doodle", "--step-size", "x"], 2, "--step-size x: not a finite number"),
        (["doodle", "--mode", "middling"], 2, "--mode middling: not one of fast, slow"),
        (["doodle", "--steps", "1", "--images", "1"], 2, "--steps and --images exclude one another"),
        (["doodle", "--config", "none.json"], 2, "--config none.json: no such file"),
        (["doodle", "more"], 2, "unexpected extra argument (more)"),
        (["doodle", "--steps"], 2, "'--steps' requires an argument"),
        (["doodle", "-x"], 2, "No such option '-x'"),
        ([], 2, "which recipe? zoo --plugin mine.py list shows"),
        (["--stepz", "3"], 2, "no option --stepz; did you mean --steps?"),
        (["--pen.width", "3"], 2, "no option --pen.width without a recipe"),
        (["--step-size", "doodle"], 2, "which recipe?"),
    ],
)
def test_errors_are_short_and_have_their_code(zoo: Run, args: list[str], code: int, expected: str) -> None:
    exit_code, out, err = zoo("config", *args)
    assert (exit_code, out) == (code, "")
    assert expected in err.splitlines()[0]
    assert len(err.splitlines()) <= 3


def test_an_invalid_card_is_a_configuration_error(zoo: Run) -> None:
    Path("a.json").write_text('{"recipe": "doodle", "options": {"pen.width": 0}}')
    code, _, err = zoo("config", "--config", "a.json")
    assert (code, err) == (3, "zoo: --pen.width 0: not in the range 1 to 99 (configuration file)\n")


def test_help_of_a_recipe_lists_options_in_groups(zoo: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = zoo("config", "doodle.squares", "--penalty", "smooth", "--help")
    assert code == 0
    headings = [line for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == [
        *("Run settings:", "Command:", "Options of local/doodle:", "Pen local/round-pen:", "Penalty local/smooth:")
    ]
    text = " ".join(out.split())
    for part in (
        "--steps N Number of training steps, instead of --images; the recipe's length by default. "
        "[1 or more; default: 40 from preset squares]",
        "--sizes INTEGER,... How large. [1 or more; default: 4,8]",
        "--step-size FLOAT How far, at most. [0 to 1; default: 0.0002]",
        "--mode [fast|slow] [default: fast]",
        "--shaded / --no-shaded With shadows. [default: false]",
        "--pen.width INTEGER Of the line. [1 to 99; default: 9 from preset squares]",
        "--pen.soft-edge / --no-pen.soft-edge [default: true]",
        "repeatable; default: local/smooth]",
        "--penalty.smooth.weight FLOAT Factor of the penalty in the discriminator's loss. "
        "[0 or more; default: 5.0 from local/smooth]",
    ):
        assert part in text
    other = zoo("config", "doodle", "--pen", "flat", "-h")[1]
    assert "--pen.angle FLOAT" in other
    assert "--pen.width" not in other


def test_help_without_a_recipe_refers_to_the_help_of_recipes(zoo: Run) -> None:
    code, out, _ = zoo("config", "--help")
    assert code == 0
    assert "--batch-size N" in out
    assert "zoo config RECIPE --help" in " ".join(out.split())
    assert zoo("config", "nosuch", "--help")[0] == 3


def test_help_works_with_an_invalid_configuration(zoo: Run) -> None:
    Path("a.json").write_text('{"recipe": "doodle", "options": {"sizes": [4]}}')
    out = zoo("config", "--config", "a.json", "--help")[1]
    assert "default: 4 from the file" in " ".join(out.split())
    code, out, _ = zoo("config", "doodle", "--pen.width", "0", "--help")
    assert (code, "--pen.width INTEGER" in out) == (0, True)


def test_a_command_receives_its_inputs_and_its_own_options(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    received: list[tuple[Any, dict[str, Any]]] = []
    command = RecipeCommand(
        "draw",
        lambda obj, **values: received.append((obj, values)),
        extra=[click.Option(["--fresh"], is_flag=True), click.Option(["-o", "--out"], type=click.Path(path_type=Path))],
    )
    obj = Globals([tmp_path / "mine.py"])
    args = ["-o", "there", "--fresh", "doodle", "--data", "squares", "--penalty", "smooth", "--steps", "3"]
    command.main(args, standalone_mode=False, obj=obj)
    inputs = Inputs("doodle", "squares", None, {"steps": "3", "penalty": ("smooth",)})
    assert received == [(obj, {"fresh": True, "out": Path("there"), "inputs": inputs})]
    configuration = inputs.resolve(obj.catalogue())
    assert (configuration.run.steps, configuration.slots["penalty"]) == (3, ("local/smooth",))


def test_completion_suggests_a_recipes_options_and_ignores_errors(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    command = RecipeCommand("draw", lambda obj, **values: None)
    obj = Globals([tmp_path / "mine.py"])
    context = command.make_context("draw", ["doodle"], obj=obj, resilient_parsing=True)
    suggested = [item.value for item in command.shell_complete(context, "--pe")]
    assert suggested == ["--pen", "--pen.width", "--pen.soft-edge", "--penalty"]
    broken = command.make_context("draw", ["nosuch"], obj=obj, resilient_parsing=True)
    assert "--steps" in [item.value for item in command.shell_complete(broken, "--s")]
