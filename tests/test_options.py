"""Signatures as options, one validator, layers over one another, and what the targets receive."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import numpy as np
import pytest
import torch

from aigc_zoo import options
from aigc_zoo.discovery import Entry, Manager
from aigc_zoo.errors import ConfigError, UsageError
from aigc_zoo.game import Penalty, Player, Recipe
from aigc_zoo.options import RUN_SETTINGS, bind, build, component_options, options_of, parse_call, read_file, resolve
from aigc_zoo.options.signatures import signature_options
from aigc_zoo.options.values import Option, convert, suggestion
from aigc_zoo.plugins import Catalogue
from aigc_zoo.spec import Component, Range, Scalar, Slot

if TYPE_CHECKING:
    from decimal import Decimal

# --- a small zoo: targets that keep what they were called with --------------------------------------------------------


def game(*, dataset: str = "dots", **received: Any) -> Recipe:
    player = Player(controls=("G",), loss=None, optimizer=lambda parameters: None)  # type: ignore[arg-type, return-value]
    made = Recipe(
        networks=lambda spec: {},
        players={"only": player},
        generate=lambda nets, batch: {},
        dataset=dataset,
        images=1000,
    )
    object.__setattr__(made, "received", received)
    return made


def recipe(
    *,
    generator: Annotated[Any, Slot("generator")] = "wide",
    loss: Annotated[Any, Slot("loss")] = "plain",
    penalty: tuple[Annotated[Any, Slot("penalty")], ...] = (),
    augmentation: Annotated[Any, Slot("augmentation")] | None = None,
    lr: Annotated[float, Range(0, 1)] = 2e-4,
    discriminator_lr: Annotated[float, Range(0, 1)] | None = None,
    levels: tuple[Annotated[int, Range(1, None)], ...] = (8, 16),
    conditional: bool = False,
    mode: Literal["fast", "slow"] = "fast",
    weights: Path | None = None,
) -> Recipe:
    """A game.

    lr: the rate,
        of both.
    generator: who draws.
    nothing: is no parameter.
    """
    return game(
        generator=generator,
        loss=loss,
        penalty=penalty,
        augmentation=augmentation,
        lr=lr,
        levels=levels,
        weights=weights,
    )


def other_data(*, data_of: str = "rings") -> Recipe:
    return game(dataset=data_of)


def wide(spec: Any, latent: int, *, width: Annotated[int, Range(1, 512)] = 64, norm: str = "batch") -> Any:
    """Wide.

    width: how wide.
    """
    return ("wide", spec, latent, width, norm)


def flat(spec: Any, latent: int, *, width: int = 7, max_out: bool = True) -> Any:
    return ("flat", spec, latent, width, max_out)


class Module:
    """A class as a target. scale: is not a column here."""

    annotated: str

    def __init__(self, *, scale: float = 2.0) -> None:
        """Scales.

        scale: by how much.
        """
        self.scale = scale


def plain() -> str:
    return "plain"


def picky(*, margin: Annotated[float, Range(None, 5)] = 1.0) -> str:
    if margin < 0:
        raise ValueError("margin is negative,\n turn it round")
    return ["a", "b"][5 if margin == 4 else 0]


def gp(*, centre: float = 1.0) -> Any:
    return lambda discriminator, batch: centre


def returns_nothing(*, lr: float = 1.0) -> Any:
    return None


def fails(*, how: str = "value") -> Recipe:
    if how == "value":
        raise ValueError("there is no\nbalance")
    raise KeyError(how)


def clashes(*, batch_size: int = 3) -> Recipe:
    return game()


def weighs(*, weight: float = 1.0) -> Any:
    return None


def component(kind: str, name: str, target: str = "", space: str = "zoo", **presets: Mapping[str, Scalar]) -> Entry:
    path = f"{__name__}:{target or name}"
    distribution = "aigc-zoo" if space == "zoo" else f"aigc-zoo-{space}"
    defaults = presets.pop("default", {})
    made = Component(kind=kind, name=name, target=path, summary="s", defaults=defaults, presets=presets)
    return Entry(made, space, distribution, "0.3")


@pytest.fixture
def zoo() -> Catalogue:
    entries = [
        component(
            "recipe",
            "game",
            "recipe",
            default={"levels": "4,8"},
            dots={"steps": 50, "generator.width": 32, "lr": 0.5},
            strong={"penalty": "gp,r1", "penalty.gp.weight": 3.0, "loss": "picky", "loss.margin": 2, "data": "cifar"},
            slim={"generator": "wide.small"},
            wrong={"lr": 7},
            unknown={"rate": 7},
        ),
        component("recipe", "other", "other_data", rings={"data_of": "x"}),
        component("recipe", "fails"),
        component("recipe", "nothing", "returns_nothing"),
        component("recipe", "clashes"),
        component("recipe", "game", "recipe", "acme", dots={"generator": "wide"}),
        component("generator", "wide", small={"width": 4, "norm": "none"}, thin={"width": 8}),
        component("generator", "flat"),
        component("generator", "wide", "flat", "acme"),
        component("loss", "plain"),
        component("loss", "picky"),
        component("penalty", "gp", default={"weight": 10.0}),
        component("penalty", "r1", "gp", default={"every": 16}),
        component("penalty", "gp", "gp", "acme"),
        component("augmentation", "scale", "Module"),
        component("penalty", "heavy", "weighs"),
    ]
    assert sys.modules[__name__].recipe is recipe  # targets are found by this module's name
    manager = Manager()
    manager.entries = {(entry.kind, entry.id): entry for entry in entries}
    return Catalogue(manager)


# --- signatures -------------------------------------------------------------------------------------------------------


def test_options_of_a_recipe_are_its_own_and_those_of_its_slots(zoo: Catalogue) -> None:
    found = {option.key: option for option in options_of(zoo, "game", {"penalty": ["r1"]})}
    assert list(found) == [
        *("generator", "generator.width", "generator.norm", "loss", "penalty", "penalty.r1.centre"),
        *("penalty.r1.weight", "penalty.r1.every", "augmentation", "lr", "discriminator_lr", "levels", "conditional"),
        *("mode", "weights"),
    ]
    assert found["generator"] == Option("generator", str, "wide", help="who draws.", owner="zoo/game", slot="generator")
    assert found["generator.width"] == Option(
        "generator.width", int, 64, low=1, high=512, help="how wide.", owner="zoo/wide"
    )
    assert found["lr"].help == "the rate, of both."
    assert found["levels"] == Option("levels", int, (4, 8), low=1, repeated=True, owner="zoo/game", source="zoo/game")
    assert found["discriminator_lr"].optional
    assert found["discriminator_lr"].default is None
    assert found["mode"].choices == ("fast", "slow")
    assert (found["weights"].type, found["weights"].flag) == (Path, "--weights")
    assert (found["penalty"].repeated, found["penalty"].default) == (True, ("r1",))
    assert (found["penalty.r1.every"].default, found["penalty.r1.weight"].default) == (16, 1.0)


def test_options_of_one_component(zoo: Catalogue) -> None:
    (scale,) = component_options(zoo, "augmentation", "scale")
    assert scale == Option("scale", float, 2.0, help="by how much.", owner="zoo/scale")
    small = {option.key: option.default for option in component_options(zoo, "generator", "wide.small")}
    assert small == {"width": 4, "norm": "none"}


def no_type(*, a=1): ...  # type: ignore[no-untyped-def]
def no_default(*, a: int): ...  # type: ignore[no-untyped-def]
def not_imported(*, a: Decimal | None = None): ...  # type: ignore[no-untyped-def]
def strange_type(*, a: Fraction = Fraction(1)): ...  # type: ignore[no-untyped-def]
def bad_default(*, a: Annotated[int, Range(1, 3)] = 4): ...  # type: ignore[no-untyped-def]
def mixed(*, a: Literal["x", 1] = 1): ...  # type: ignore[no-untyped-def]
def mixed_tuple(*, a: tuple[int, str] = (1, "x")): ...  # type: ignore[no-untyped-def]
def bounded_text(*, a: Annotated[str, Range(1, 2)] = "x"): ...  # type: ignore[no-untyped-def]
def slot_inside(*, a: Annotated[Any, Slot("loss")] = "x"): ...  # type: ignore[no-untyped-def]
def positional(a: int = 1): ...  # type: ignore[no-untyped-def]
def keywords(**a: int): ...  # type: ignore[no-untyped-def]
def arguments(*a: int): ...  # type: ignore[no-untyped-def]
def unknown_slot(*, a: Annotated[Any, Slot("loser")] = "x"): ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (no_type, "parameter a: its type is missing"),
        (no_default, "parameter a: an option needs a default"),
        (not_imported, "type 'Decimal' in its signature is not known at run time"),
        (strange_type, "parameter a: type fractions.Fraction is none of bool, int"),
        (bad_default, "parameter a: its default 4 does not fit: not in the range 1 to 3"),
        (mixed, "parameter a: the choices of a Literal need to be of one type"),
        (mixed_tuple, "parameter a: type tuple[int, str] is none of"),
        (bounded_text, "parameter a: a Range bounds numbers only"),
        (slot_inside, "parameter a: only recipes have slots"),
        (positional, "parameter a: options are keyword-only"),
        (keywords, "parameter **a"),
        (arguments, "parameter *a"),
    ],
)
def test_what_cannot_be_an_option_is_refused_by_name(target: Any, reason: str) -> None:
    manager = Manager()
    entry = component("loss", "bad", target.__name__, "acme")
    manager.entries = {("loss", entry.id): entry}
    with pytest.raises(ConfigError) as caught:
        component_options(Catalogue(manager), "loss", "bad")
    assert str(caught.value).startswith("loss acme/bad of aigc-zoo-acme 0.3: ")
    assert reason in str(caught.value)


def test_a_target_takes_exactly_what_its_kind_is_called_with() -> None:
    with pytest.raises(ValueError, match=r"called with \(spec, latent\) and takes \(spec\)"):
        signature_options(lambda spec: None, ("spec", "latent"))
    with pytest.raises(ValueError, match="slot of unknown kind 'loser'"):
        signature_options(unknown_slot, slots=True)


def test_names_of_the_command_line_and_of_penalties_are_taken(zoo: Catalogue) -> None:
    with pytest.raises(ConfigError, match="recipe zoo/clashes of aigc-zoo: parameter batch_size"):
        resolve(zoo, "clashes")
    with pytest.raises(ConfigError, match=r"penalty zoo/heavy .*parameter weight: every penalty"):
        component_options(zoo, "penalty", "heavy")


def test_old_spellings_of_optional_are_understood() -> None:
    def target(*, a: Optional[Annotated[int, Range(1)]] = None, b: Annotated[int | None, Range(1)] = 2) -> None: ...  # noqa: UP045

    found = signature_options(target)
    assert [(option.optional, option.low) for option in found] == [(True, 1), (True, 1)]


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (int, "12", 12),
        (int, np.int64(3), 3),
        (float, "2e-4", 2e-4),
        (float, 1, 1.0),
        (float, np.float32(0.5), 0.5),
        (bool, "True", True),
        (bool, False, False),
        (str, "none", "none"),
        (Path, "a/b", "a/b"),
        (Path, Path("a/b"), "a/b"),
    ],
)
def test_values_are_read_by_type(kind: type, raw: Any, value: Scalar) -> None:
    found = convert(Option("x", kind, None), raw)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "raw", "reason"),
    [
        (int, "1.5", "not a whole number"),
        (int, 1.0, "not a whole number"),
        (int, True, "not a whole number"),
        (int, "", "not a whole number"),
        (float, "nan", "not a finite number"),
        (float, float("inf"), "not a finite number"),
        (float, 10**400, "not a finite number"),
        (float, False, "not a finite number"),
        (float, [1], "not a finite number"),
        (bool, "yes", "not true or false"),
        (bool, 1, "not true or false"),
        (str, 3, "not text"),
        (Path, 3, "not a path"),
        (int, None, "a value is needed"),
    ],
)
def test_values_of_another_type_are_refused(kind: type, raw: Any, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        convert(Option("x", kind, None), raw)
    assert str(caught.value) == reason


def test_ranges_include_their_ends() -> None:
    both, low, high = (Option("x", float, None, low=a, high=b) for a, b in ((0, 1), (1, None), (None, 5)))
    assert [convert(both, "0"), convert(both, 1)] == [0.0, 1.0]
    for option, raw, text in ((both, 1.01, "0 to 1"), (low, "0.5", "1 or more"), (high, 6, "5 or less")):
        with pytest.raises(ValueError, match=f"^not in the range {text}$"):
            convert(option, raw)


def test_choices_tuples_and_none() -> None:
    many = Option("x", int, (), repeated=True, choices=(1, 2), optional=True)
    assert convert(many, "1, 2") == convert(many, [1, "2"]) == (1, 2)
    assert convert(many, 2) == (2,)
    assert convert(many, "") == ()
    assert convert(many, "none") is None
    with pytest.raises(ValueError, match=r"^not one of 1, 2$"):
        convert(many, "1,3")


def test_suggestions() -> None:
    keys = ["lr", "generator.channels", "generator.width", "discriminator.width", "batch_size"]
    assert suggestion("generator.chanels", keys) == "; did you mean --generator.channels?"
    assert suggestion("batch-sise", keys) == "; did you mean --batch-size?"
    assert suggestion("width", keys) == "; did you mean --generator.width or --discriminator.width?"
    assert suggestion("gnerator.width", keys).startswith("; did you mean --generator.width")
    assert suggestion("zebra", keys) == ""


# --- layers -----------------------------------------------------------------------------------------------------------


def test_precedence(zoo: Catalogue) -> None:
    first = resolve(zoo, "game.dots")
    assert first.options["lr"] == 0.5
    assert first.options["levels"] == (4, 8)  # of the component's defaults, beneath everything
    assert first.set_by == {"steps": "preset", "generator.width": "preset", "lr": "preset"}
    file = {"options": {"lr": 0.25, "generator.width": 16, "discriminator-lr": 0.1}}
    second = resolve(zoo, "game.dots", file=file, given={"generator.width": "8", "seed": "3"})
    assert [second.options[key] for key in ("lr", "generator.width", "discriminator_lr")] == [0.25, 8, 0.1]
    assert second.run.seed == 3
    assert second.set_by == {
        "seed": "cli",
        "steps": "preset",
        "generator.width": "cli",
        "lr": "file",
        "discriminator_lr": "file",
    }


def test_the_recipe_fills_what_nobody_set(zoo: Catalogue) -> None:
    run = resolve(zoo, "game").run.card()
    assert {key: run[key] for key in ("data", "steps", "images", "batch_size", "seed", "size")} == {
        "data": "zoo/dots",
        "steps": 50,
        "images": None,
        "batch_size": 64,
        "seed": 0,
        "size": None,
    }
    assert list(run) == list(RUN_SETTINGS)
    assert resolve(zoo, "game", data="mnist").run.images == 1000


@pytest.mark.parametrize("data", ["dots", "zoo/dots", "dots.small", "some/dots.zip", Path("some/dots")])
def test_a_preset_named_like_the_data_applies_and_says_so(zoo: Catalogue, data: str | Path) -> None:
    found = resolve(zoo, "game", data=data)
    assert (found.recipe, found.preset) == ("zoo/game.dots", "dots")
    assert "preset game.dots applies (data dots)" in found.notes
    # No dataset is installed here; a name that means nothing stays as it is, for the error when it is used.
    assert found.run.data == (str(Path(data).absolute()) if str(data).endswith(".zip") else str(data))


def test_no_preset_applies_to_other_data_or_beside_an_explicit_one(zoo: Catalogue) -> None:
    assert resolve(zoo, "zoo/game", data="mnist").recipe == "zoo/game"
    strong = resolve(zoo, "zoo/game.strong", data="dots")
    assert (strong.recipe, strong.notes, strong.options["lr"]) == ("zoo/game.strong", (), 2e-4)
    assert resolve(zoo, "zoo/game.strong").run.data == "zoo/cifar"  # nowhere else, as the preset of a recipe says it
    assert resolve(zoo, "other").preset == "rings"  # the recipe's own dataset


def test_steps_and_images_exclude_one_another(zoo: Catalogue) -> None:
    assert resolve(zoo, "game.dots", given={"images": 7}).run.steps is None
    kept = resolve(zoo, "game.dots", file={"run": {"images": 7}}, given={"steps": 9}).run
    assert (kept.steps, kept.images) == (9, None)
    with pytest.raises(UsageError, match="--steps and --images exclude"):
        resolve(zoo, "game", given={"steps": 1, "images": 2})
    with pytest.raises(ConfigError, match=r"exclude one another.*\(configuration file\)"):
        resolve(zoo, "game", file={"run": {"steps": 1, "images": 2}})


def test_a_new_choice_for_a_slot_ends_what_was_said_of_the_former(zoo: Catalogue) -> None:
    swapped = resolve(zoo, "game.dots", given={"generator": "flat"})
    assert swapped.options["generator.width"] == 7  # not the 32 of the preset, which meant another network
    assert swapped.slots["generator"] == "zoo/flat"
    assert resolve(zoo, "game.dots", given={"generator": "wide"}).options["generator.width"] == 32
    fewer = resolve(zoo, "zoo/game.strong", given={"penalty": ["gp"]})
    assert {key: value for key, value in fewer.options.items() if key.startswith("penalty")} == {
        "penalty.gp.centre": 1.0,
        "penalty.gp.weight": 3.0,
        "penalty.gp.every": 1,
    }
    assert resolve(zoo, "zoo/game.strong", given={"penalty": ("none",)}).slots["penalty"] == ()
    assert resolve(zoo, "zoo/game.strong", given={"penalty": "r1,gp"}).slots["penalty"] == ("zoo/r1", "zoo/gp")


@pytest.mark.parametrize(
    ("layers", "value", "origin"),
    [
        ({"given": {"penalty": "r1", "penalty.weight": 4}}, 4.0, "cli"),
        ({"given": {"penalty": ["r1"], "penalty.r1.weight": 4}}, 4.0, "cli"),
        ({"file": {"slots": {"penalty": "zoo/r1"}, "options": {"penalty.weight": 4}}}, 4.0, "file"),
        ({"file": {"slots": {"penalty": ["r1"]}}, "given": {"penalty.weight": "4"}}, 4.0, "cli"),
        (
            {
                "file": {"slots": {"penalty": ["r1"]}, "options": {"penalty.weight": 3}},
                "given": {"penalty.r1.weight": 4},
            },
            4.0,
            "cli",
        ),
        (
            {
                "file": {
                    "slots": {"penalty": "r1"},
                    "options": {"penalty.weight": 4},
                    "set_by": {"penalty.weight": "cli"},
                }
            },
            4.0,
            "cli",
        ),
    ],
)
def test_a_slot_that_holds_one_component_needs_no_name_in_its_options(
    zoo: Catalogue, layers: dict[str, Any], value: float, origin: str
) -> None:
    found = resolve(zoo, "zoo/game", **layers)
    assert found.slots["penalty"] == ("zoo/r1",)
    assert found.options["penalty.r1.weight"] == value
    assert found.set_by["penalty.r1.weight"] == origin
    assert "penalty.weight" not in found.card()["options"]


def test_only_options_of_a_slot_that_holds_one_have_a_short_key(zoo: Catalogue) -> None:
    def short(penalties: list[str]) -> dict[str, str]:
        return {option.key: option.short for option in options_of(zoo, "zoo/game", {"penalty": penalties})}

    one = {
        "penalty.r1.centre": "penalty.centre",
        "penalty.r1.weight": "penalty.weight",
        "penalty.r1.every": "penalty.every",
    }
    assert {key: value for key, value in short(["r1"]).items() if value} == one
    assert not any(short(["r1", "gp"]).values())
    assert not any(short([]).values())


def test_presets_of_a_slots_component(zoo: Catalogue) -> None:
    found = resolve(zoo, "zoo/game.dots", given={"generator": "wide.small", "generator.norm": "group"})
    assert found.slots["generator"] == "zoo/wide"
    assert (found.options["generator.width"], found.options["generator.norm"]) == (4, "group")
    assert (found.set_by["generator.width"], found.set_by["generator.norm"]) == ("preset", "cli")


@pytest.mark.parametrize(("chosen", "width"), [("wide.thin", 8), ("wide", 64)])
def test_another_preset_of_the_same_component_leaves_nothing_of_the_former(
    zoo: Catalogue, chosen: str, width: int
) -> None:
    usual = resolve(zoo, "zoo/game.slim")
    assert (usual.options["generator.width"], usual.options["generator.norm"]) == (4, "none")
    found = resolve(zoo, "zoo/game.slim", given={"generator": chosen})
    assert (found.options["generator.width"], found.options["generator.norm"]) == (width, "batch")


def test_a_recipes_references_mean_its_own_namespace_and_a_users_mean_ours(zoo: Catalogue) -> None:
    theirs = resolve(zoo, "acme/game.dots", given={"penalty": "gp"})
    assert (theirs.slots["generator"], theirs.slots["loss"]) == ("acme/wide", "zoo/plain")
    assert theirs.slots["penalty"] == ("zoo/gp",)
    assert any("acme/gp" in note for note in theirs.notes)
    assert theirs.plugins == {
        "aigc-zoo": {"version": "0.3", "api": 1},
        "aigc-zoo-acme": {"version": "0.3", "api": 1},
    }
    assert resolve(zoo, "acme/game", given={"generator": "wide"}).slots["generator"] == "zoo/wide"


def test_the_origin_decides_the_kind_of_error(zoo: Catalogue) -> None:
    bad = {"generator.width": 0}
    with pytest.raises(UsageError) as flag:
        resolve(zoo, "game", given=bad)
    assert str(flag.value) == "--generator.width 0: not in the range 1 to 512"
    with pytest.raises(UsageError) as python:
        resolve(zoo, "game", given=bad, origin="python")
    assert str(python.value) == str(flag.value)
    with pytest.raises(ConfigError) as file:
        resolve(zoo, "game", file={"options": bad})
    assert str(file.value) == str(flag.value) + " (configuration file)"
    with pytest.raises(ConfigError, match=r"^--lr 7: not in the range 0 to 1 \(preset game.wrong\)$"):
        resolve(zoo, "zoo/game.wrong")
    with pytest.raises(ConfigError, match=r"^no option --rate.*\(preset game.unknown\)$"):
        resolve(zoo, "zoo/game.unknown")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"generator.widht": 3}, "no option --generator.widht; did you mean --generator.width?"),
        (
            {"generator.max_out": True},
            "no option --generator.max-out with --generator wide: --generator flat or --generator acme/wide brings it",
        ),
        ({"penalty.r1.weight": 3}, "no option --penalty.r1.weight with --penalty none: --penalty r1 brings it"),
        (
            {"penalty.every": 3},
            "no option --penalty.every with --penalty none: "
            "--penalty gp or --penalty r1 or --penalty acme/gp brings it",
        ),
        (
            {"penalty": "r1,gp", "penalty.every": 3},
            "no option --penalty.every; did you mean --penalty.r1.every or --penalty.gp.every?",
        ),
        (
            {"penalty": "r1", "penalty.evry": 3},
            "no option --penalty.r1.evry; did you mean --penalty.r1.every?",
        ),
        (
            {"penalty": "r1", "penalty.gp.every": 3},
            "no option --penalty.gp.every with --penalty r1: --penalty gp or --penalty acme/gp brings it",
        ),
        ({"batchsize": 3}, "no option --batchsize; did you mean --batch-size?"),
        ({"penalty": ["gp", "acme/gp"]}, "--penalty gp is given twice: their options would have the same names"),
        ({"generator": 3}, "--generator 3: not the name of a generator"),
        ({"mode": "medium"}, "--mode medium: not one of fast, slow"),
        ({"levels": "4,0"}, "--levels 4,0: not in the range 1 or more"),
        ({"device": "tpu"}, "--device tpu: not one of auto, cpu, cuda, cuda:N, mps, xpu, xpu:N"),
    ],
)
def test_what_is_said_of_wrong_flags(zoo: Catalogue, given: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(zoo, "zoo/game", given=given)
    assert str(caught.value) == text


def test_unknown_components_are_a_matter_of_configuration(zoo: Catalogue) -> None:
    with pytest.raises(ConfigError, match="unknown recipe 'gaem'; did you mean 'game'"):
        resolve(zoo, "gaem")
    with pytest.raises(ConfigError, match="unknown loss 'plane'; did you mean 'plain'"):
        resolve(zoo, "game", given={"loss": "plane"})
    with pytest.raises(UsageError, match="which recipe"):
        resolve(zoo, None)


# --- cards ------------------------------------------------------------------------------------------------------------

GIVEN: list[tuple[str, dict[str, Any]]] = [
    ("game", {}),
    ("game", {"data": "mnist", "generator.width": "16"}),
    ("game.dots", {"images": 12, "discriminator_lr": "none", "augmentation": "scale", "augmentation.scale": 1.5}),
    ("game.strong", {"penalty": ["r1"], "penalty.r1.every": 4, "levels": "1,2,3", "weights": "w.pt"}),
    ("game.strong", {"generator": "wide.small", "loss": "plain", "steps": 3, "until": "fid<=2"}),
    ("acme/game", {"penalty": "acme/gp", "conditional": "true"}),
]


@pytest.mark.parametrize(("reference", "given"), GIVEN)
def test_a_card_reads_back_unchanged(zoo: Catalogue, reference: str, given: dict[str, Any]) -> None:
    card = resolve(zoo, reference, given=given).card()
    text = json.dumps(card)
    assert json.dumps(resolve(zoo, None, file=json.loads(text)).card()) == text
    again = resolve(zoo, reference.partition(".")[0], file=json.loads(text))
    assert json.dumps(again.card()) == text


def test_flags_come_on_top_of_a_card(zoo: Catalogue) -> None:
    card = resolve(zoo, "game.strong", given={"lr": 0.1}).card()
    changed = resolve(zoo, None, file=card, given={"loss": "plain", "steps": 5})
    assert (changed.options["lr"], changed.slots["loss"], changed.run.steps) == (0.1, "zoo/plain", 5)
    assert (changed.set_by["loss"], changed.set_by["lr"]) == ("cli", "cli")
    card["options"]["lr"], card["options"]["discriminator_lr"] = 0.2, 0.3  # edited by hand
    assert resolve(zoo, None, file=card).set_by["discriminator_lr"] == "file"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ({"recipe": "game", "option": {}}, "unknown key 'option': known are schema, recipe,"),
        ({"recipe": "game", "steps": 3}, """unknown key 'steps': put it under "run": {"steps": ...}"""),
        ({"recipe": "game", "options": {"lrr": 1}}, "no option --lrr; did you mean --lr?"),
        ({"recipe": "game", "run": {"seeds": 1}}, "no option --seeds; did you mean --seed?"),
        ({"recipe": "game", "options": [1]}, "options is not an object"),
        ({"recipe": "game", "schema": 2}, "schema 2: this version reads schema 1"),
        ({"recipe": ["game"]}, "not the name of a recipe"),
        ({"recipe": "acme/game"}, "the configuration file is for acme/game, not for zoo/game"),
    ],
)
def test_files_that_are_refused(zoo: Catalogue, file: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(zoo, "zoo/game", file=file)
    assert text in str(caught.value)


def test_a_runs_record_beside_its_card_is_no_configuration(zoo: Catalogue) -> None:
    card = resolve(zoo, "game").card()
    assert resolve(zoo, None, file=card | {"steps": 9, "device": "cpu", "versions": {}, "torch": "2"}).card() == card


def test_files_are_read_or_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text('{"recipe": "game"}')
    assert read_file(tmp_path) == read_file(tmp_path / "card.json") == {"recipe": "game"}
    with pytest.raises(UsageError, match=r"none\.json: no such file"):
        read_file(tmp_path / "none.json")
    for content in ("[1]", "{", "\udcff"):
        (tmp_path / "bad.json").write_bytes(content.encode(errors="surrogateescape"))
        with pytest.raises(ConfigError, match=r"bad\.json: not a card"):
            read_file(tmp_path / "bad.json")


# --- what targets receive ---------------------------------------------------------------------------------------------


def test_slots_receive_targets_with_options_bound(zoo: Catalogue) -> None:
    given = {
        "generator.width": 5,
        "penalty": ["r1", "gp"],
        "penalty.gp.centre": 0,
        "augmentation": "scale",
        "weights": "w",
    }
    configuration = resolve(zoo, "game", data="mnist", given=given)
    received = build(zoo, configuration).received  # type: ignore[attr-defined]
    assert received["generator"]("a spec", 9) == ("wide", "a spec", 9, 5, "batch")
    assert received["loss"]() == "plain"
    assert received["augmentation"]().scale == 2.0
    r1, gp = received["penalty"]
    assert isinstance(gp, Penalty)
    assert [(one.name, one.weight, one.every) for one in (r1, gp)] == [("r1", 1.0, 16), ("gp", 10.0, 1)]
    assert (r1.make()(None, None), gp.make()(None, None)) == (1.0, 0.0)
    assert (received["lr"], received["levels"], received["weights"]) == (2e-4, (4, 8), Path("w"))
    nothing = build(zoo, resolve(zoo, "game", given={"penalty": "none"})).received  # type: ignore[attr-defined]
    assert (nothing["penalty"], nothing["augmentation"]) == ((), None)


def test_bind_one_component(zoo: Catalogue) -> None:
    entry, make = bind(zoo, "generator", "wide.small", {"norm": "group"})
    assert (entry.id, make("s", 2)) == ("zoo/wide", ("wide", "s", 2, 4, "group"))
    _, penalty = bind(zoo, "penalty", "gp", {"every": "2"})
    assert (penalty.weight, penalty.every, penalty.name) == (10.0, 2, "gp")
    assert bind(zoo, "generator", "wide", namespace="acme")[0].id == "acme/wide"
    with pytest.raises(ConfigError, match=r"^no option --widht; did you mean --width?"):
        bind(zoo, "generator", "wide", {"widht": 3})
    with pytest.raises(ConfigError, match=r"^--width 0: not in the range"):
        bind(zoo, "generator", "wide", {"width": 0})


def test_what_a_component_raises_names_it(zoo: Catalogue) -> None:
    with pytest.raises(ConfigError, match=r"^recipe zoo/fails: there is no balance$") as caught:
        resolve(zoo, "fails")
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(ConfigError, match=r"^recipe zoo/fails of aigc-zoo 0.3 failed: KeyError: 'x'$") as caught:
        resolve(zoo, "fails", given={"how": "x"})
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(ConfigError, match=r"^recipe zoo/nothing returned a NoneType, not a Recipe$"):
        resolve(zoo, "nothing")
    _, loss = bind(zoo, "loss", "picky", {"margin": -1})
    with pytest.raises(ConfigError, match=r"^loss zoo/picky: margin is negative, turn it round$"):
        loss()
    _, loss = bind(zoo, "loss", "picky", {"margin": 4})
    with pytest.raises(ConfigError, match=r"^loss zoo/picky of aigc-zoo 0.3 failed: IndexError"):
        loss()
    entry = zoo.find("recipe", "zoo/game").entry
    with pytest.raises(ConfigError, match=r"^recipe zoo/game: too small$"), options.explain_errors(entry):
        raise ValueError("too small")
    with pytest.raises(UsageError, match=r"^mine$"), options.explain_errors(entry):
        raise UsageError("mine")


# --- words of a command -----------------------------------------------------------------------------------------------


def make(
    nets: Any,
    batch: Any,
    *,
    truncation: Annotated[float, Range(0, 1)] = 1.0,
    mix_styles: bool = False,
    fixed: bool = True,
    mask: Path | None = None,
) -> dict[str, torch.Tensor]:
    return {}


OFF: dict[str, Any] = {"mix_styles": False, "fixed": False}


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ([], {}),
        (["--truncation", "0.7"], {"truncation": 0.7}),
        (["--mix-styles", "--truncation=1"], {"truncation": 1.0, "mix_styles": True}),
        (
            ["--no-mix-styles", "--no-fixed", "--mask", "m.png"],
            {"mix_styles": False, "fixed": False, "mask": Path("m.png")},
        ),
        (["--mix-styles=false"], {"mix_styles": False}),
    ],
)
def test_words_become_keywords_of_a_call(words: list[str], given: dict[str, Any]) -> None:
    assert parse_call(make, ("nets", "batch"), words) == given


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--truncaton", "1"], "no option --truncaton; did you mean --truncation?"),
        (["--truncation", "2"], "--truncation 2: not in the range 0 to 1"),
        (["--truncation"], "--truncation needs a value"),
        (["0.7"], "unexpected argument '0.7'"),
        (["--no-mask"], "no option --no-mask"),
        (["--no-fixed=true"], "no option --no-fixed"),
    ],
)
def test_words_that_mean_nothing(words: list[str], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_call(make, ("nets", "batch"), words)
    assert str(caught.value).startswith(text)


def test_a_call_that_takes_no_options_says_why() -> None:
    with pytest.raises(ConfigError, match="options cannot be taken: parameter scale: its type is missing"):
        parse_call(lambda nets, batch, *, scale=1: {}, ("nets", "batch"), ["--scale", "2"])


def test_importing_options_and_commands_imports_no_torch() -> None:
    code = "import sys, aigc_zoo.options, aigc_zoo.cli.config; print({'torch', 'numpy'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "set()\n", "")
