"""Names of data, extractors, recipes and slots keep their meaning, and a missing piece names its package."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aigc_zoo import options
from aigc_zoo.artefacts import checkpoint
from aigc_zoo.errors import MissingPlugin
from aigc_zoo.run.prepare import prepare

from .conftest import digests_of
from .packages import Packages, command, interrupted, plugin_file

Capsys = pytest.CaptureFixture[str]

SETTINGS = ("--device", "cpu", "--precision", "fp32", "--eval-num", 40, "--save-every", 2, "--sample-every", 2)


def card_of(run: str | Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((Path(run) / "card.json").read_text())
    return card


# --- what was used is what is recorded --------------------------------------------------------------------------------


def local_folder(name: str) -> None:
    Path(name).mkdir(parents=True)
    Image.new("L", (28, 28)).save(Path(name) / "0.png")


@pytest.mark.promise("N1", 1, 1)
@pytest.mark.parametrize(
    ("shadow", "words", "recorded", "said"),
    [
        ("digits", ("dcgan",), "zoo/digits", False),  # nobody typed the name
        ("digits", ("lsgan", "--data", "digits"), "zoo/digits", True),
        ("zoo/digits", ("lsgan", "--data", "zoo/digits"), "zoo/digits", True),
        ("ring", ("vanilla", "--data", "ring"), "zoo/ring", True),
        ("shared", ("mine",), "acme/shared", False),
        ("shared", ("row",), "acme/shared", False),
        ("shared", ("dcgan", "--data", "shared", "--generator", "small"), "acme/shared", True),
    ],
)
def test_a_folder_that_is_called_like_a_dataset_is_not_recorded(
    shadow: str, words: tuple[str, ...], recorded: str, said: bool, packages: Packages, promise: Any
) -> None:
    packages.install("aigc-zoo-acme")
    local_folder(shadow)
    given = {word[2:]: value for word, value in pairwise(words) if word.startswith("--")}
    configuration = options.resolve(packages.catalogue(), words[0], given={**given, "device": "cpu", "seed": 1})
    prepared = prepare(packages.catalogue(), configuration)
    assert configuration.run.data == prepared.reference == recorded
    card = prepared.card(prepared.engine)
    assert (card["run"]["data"], card["data"]["reference"]) == (recorded, recorded)
    assert card["data"]["name"] == recorded.partition("/")[2]
    assert any("./" + shadow in note for note in configuration.notes) == said
    promise.kept(references=1, recorded_as_used=1)


@pytest.mark.parametrize("reference", ["./digits", "../here/digits", "~/digits"])
def test_a_path_is_recorded_as_an_absolute_path(
    reference: str, packages: Packages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    local_folder("digits")
    recorded = options.resolve(packages.catalogue(), "dcgan", data=reference).run.data
    assert recorded is not None
    assert Path(recorded).is_absolute()
    assert Path(recorded).resolve() == Path("digits").resolve()


def test_an_evaluation_uses_the_data_of_the_training(packages: Packages, capsys: Capsys) -> None:
    packages.install("aigc-zoo-acme")
    local_folder("shared")
    assert command(capsys, "train", "mine", "--out", "run", *SETTINGS)[0] == 0
    code, out, _ = command(capsys, "eval", "run", "--num", 40, "--json")
    protocol = json.loads(out)["metrics"][0]["protocol"]
    assert (code, protocol["reference_digest"]) == (0, card_of("run")["data"]["digest"])
    _, _, err = command(capsys, "eval", "run", "--num", 40, "--against", "shared")
    assert "note: shared is the dataset acme/shared; for the path of that name, write ./shared" in err


def test_the_extractor_of_a_dataset_is_that_of_its_own_package(packages: Packages) -> None:
    packages.install("aigc-zoo-acme")
    packages.install("aigc-zoo-bee", components=(("dataset", "shared"), ("extractor", "tiny"), ("extractor", "other")))
    found = packages.catalogue()
    for space in ("acme", "bee"):
        given = {"data": f"{space}/shared", "generator": "small", "device": "cpu", "steps": 4}
        prepared = prepare(found, options.resolve(found, "acme/mine", given=given))
        card = prepared.card(prepared.engine)
        assert (card["extractor"], [*card["extractor_plugins"]]) == (f"{space}/tiny", [f"aigc-zoo-{space}"])
        assert [*card["data"]["plugins"]] == [f"aigc-zoo-{space}"]


def test_plugin_files_of_one_name_are_two_plugins(packages: Packages, capsys: Capsys, tmp_path: Path) -> None:
    one = plugin_file(tmp_path / "a" / "plug.py", (("recipe", "mine"), ("generator", "small")), seed=1)
    two = plugin_file(tmp_path / "b" / "plug.py", (("dataset", "shared"), ("extractor", "tiny")), seed=2)
    given = ("--plugin", one, "--plugin", two)
    assert command(capsys, *given, "train", "mine", "--out", "run", *SETTINGS)[0] == 0
    card = card_of("run")
    assert [about["file"] for about in card["plugins"].values()] == [str(one)]
    assert [about["file"] for about in card["data"]["plugins"].values()] == [str(two)]
    assert [about["file"] for about in card["extractor_plugins"].values()] == [str(two)]


# --- a second plugin with the same names ------------------------------------------------------------------------------

TYPED: dict[str, tuple[object, ...]] = {
    "the recipe's own dataset": ("acme/mine", "--out", "run"),
    "the defaults of a row": ("acme/row", "--discriminator", "primer", "--out", "run"),
    "the recipe": ("mine", "--out", "run"),
    "the recipe, without a directory": ("mine",),
    "data": ("acme/mine", "--data", "shared"),
    "data and extractor": ("acme/mine", "--data", "shared", "--extractor", "tiny", "--out", "run"),
    "a component in a slot": ("acme/mine", "--generator", "small", "--out", "run"),
    "all of them": ("mine", "--data", "shared", "--extractor", "tiny", "--generator", "small"),
}


@pytest.mark.promise("N1", 1, 1)
@pytest.mark.parametrize("words", TYPED.values(), ids=TYPED)
def test_an_unfinished_run_resumes_beside_a_second_plugin(
    words: tuple[object, ...], packages: Packages, capsys: Capsys, tmp_path: Path, promise: Any
) -> None:
    packages.install("aigc-zoo-acme")
    assert command(capsys, "train", *words, *SETTINGS)[0] == 0
    (run,) = (path.parent for path in Path().glob("**/card.json"))
    whole = digests_of(run)
    interrupted(run)
    packages.install("aigc-zoo-bee")
    code, _, err = command(capsys, "train", *words, *SETTINGS)
    assert code == 0, err
    assert "resuming at step 2" in err
    assert digests_of(run) == whole
    promise.kept(resumed=1)


def test_a_new_run_beside_a_second_plugin_needs_full_names(packages: Packages, capsys: Capsys) -> None:
    packages.install("aigc-zoo-acme")
    assert command(capsys, "train", "mine", "--out", "run", *SETTINGS)[0] == 0
    packages.install("aigc-zoo-bee")
    for more in (("--out", "other"), ("--out", "run", "--fresh")):
        code, _, err = command(capsys, "train", "mine", *more, *SETTINGS)
        assert (code, err.splitlines()[0]) == (3, "zoo: recipe 'mine' is ambiguous: acme/mine, bee/mine")
    assert command(capsys, "train", "bee/mine", "--out", "other", *SETTINGS)[0] == 0


def test_the_python_function_resumes_as_well(packages: Packages, capsys: Capsys) -> None:
    import aigc_zoo

    given = {"device": "cpu", "precision": "fp32", "eval_num": 40, "data": "shared", "extractor": "tiny"}
    packages.install("aigc-zoo-acme")
    before = aigc_zoo.train("mine", out="run", **given)
    packages.install("aigc-zoo-bee")
    after = aigc_zoo.train("mine", out="run", **given)
    assert after.card == before.card


def test_a_reference_of_a_recipe_is_never_that_of_another_package(packages: Packages, capsys: Capsys) -> None:
    packages.install("aigc-zoo-acme", components=(("recipe", "mine"), ("generator", "small")))
    packages.install("aigc-zoo-bee")
    code, _, err = command(capsys, "train", "acme/mine", "--out", "run")
    assert (code, err.splitlines()[0]) == (65, "zoo: unknown dataset 'acme/shared'; did you mean 'bee/shared'?")


# --- cards of earlier versions ----------------------------------------------------------------------------------------


def shortened(card: dict[str, Any], data: str = "shared", extractor: str = "tiny") -> dict[str, Any]:
    """The card as versions before full ids wrote it."""
    kept = {key: value for key, value in card.items() if key not in ("extractor_plugins", "files", "directory")}
    short = {key: value for key, value in card["data"].items() if key not in ("plugins", "options")}
    kept |= {"data": {**short, "reference": data}, "extractor": extractor}
    run = {key: value for key, value in card.get("run", {}).items() if not key.startswith("data.")} | {"data": data}
    return kept | ({"run": run} if "run" in card else {})


def make_older(run: Path, data: str = "shared", extractor: str = "tiny") -> None:
    for path in sorted((run / "checkpoints").iterdir()):
        tensors, card = checkpoint.load(path)
        checkpoint.save(path, tensors, {**card, "run": shortened(card["run"], data, extractor)})
    for path in run.glob("generator*.safetensors"):
        tensors, card = checkpoint.load(path)
        checkpoint.save(path, tensors, shortened(card, data, extractor))
    (run / "card.json").write_text(json.dumps(shortened(card_of(run), data, extractor)))


@pytest.mark.parametrize("words", [("acme/mine",), ("acme/mine", "--data", "shared"), ("acme/row",)], ids=" ".join)
def test_a_card_with_short_names_is_read(words: tuple[str, ...], packages: Packages, capsys: Capsys) -> None:
    packages.install("aigc-zoo-acme")
    more = ("--discriminator", "primer") if words == ("acme/row",) else ()
    train = ("train", *words, *more, "--out", "run", *SETTINGS)
    assert command(capsys, *train)[0] == 0
    make_older(Path("run"))
    shutil.copytree("run", "part")
    interrupted(Path("part"))
    packages.install("aigc-zoo-bee")
    code, out, err = command(capsys, "eval", "run", "--num", 40, "--json")
    assert code == 0, err
    assert json.loads(out)["metrics"][0]["protocol"]["extractor"] == "acme/tiny"
    assert command(capsys, "sample", "run", "-n", 2)[0] == 0
    code, _, err = command(capsys, *[word if word != "run" else "part" for word in train])
    assert (code, "resuming at step 2" in err) == (0, True), err
    one, two = digests_of(Path("part")), digests_of(Path("run"))
    assert one | {"generator.safetensors": ""} == two | {"generator.safetensors": ""}  # whose card is of this version


def test_a_first_party_card_with_short_names_is_read(packages: Packages, capsys: Capsys) -> None:
    train = ("train", "vanilla", "--data", "ring", "--steps", 4, "--batch-size", 8, *SETTINGS, "--out", "run")
    assert command(capsys, *train)[0] == 0
    make_older(Path("run"), "ring", "")
    local_folder("ring")
    code, out, _ = command(capsys, "eval", "run", "--num", 40, "--json")
    assert code == 0
    assert json.loads(out)["metrics"][0]["protocol"]["reference_digest"] == card_of("run")["data"]["digest"]
    assert "nothing was done" in command(capsys, *train)[1]
    # This card was written beside a folder of that name, which an earlier version recorded in place of the dataset.
    make_older(Path("run"), str(Path("ring").absolute()), "")
    code, _, err = command(capsys, "eval", "run", "--num", 40)
    assert (code, "is not what it was trained on" in err) == (65, True)
    assert "note: equal content at another place: data zoo/ring (was " in command(capsys, *train)[2]
    assert command(capsys, "eval", "run", "--num", 40)[0] == 0


# --- missing pieces ---------------------------------------------------------------------------------------------------

NEEDS = "needs aigc-zoo-bee>=0.2: python -m pip install aigc-zoo-bee"
PIECES: dict[str, tuple[tuple[object, ...], str]] = {
    "recipe": (("bee/mine", "--data", "acme/shared", *SETTINGS), "recipe bee/mine"),
    "row": (("bee/row", "--discriminator", "primer", "--data", "acme/shared", *SETTINGS), "recipe bee/row"),
    "generator": (("acme/mine", "--generator", "bee/small", *SETTINGS), "generator bee/small"),
    "dataset": (("acme/mine", "--data", "bee/shared", "--extractor", "acme/tiny", *SETTINGS), "dataset bee/shared"),
    "extractor": (("acme/mine", "--extractor", "bee/tiny", *SETTINGS), "extractor bee/tiny"),
}


@pytest.mark.promise("N3", 1, 1)
@pytest.mark.parametrize("piece", PIECES)
def test_a_missing_piece_names_the_package_to_install(
    piece: str, packages: Packages, capsys: Capsys, promise: Any
) -> None:
    words, name = PIECES[piece]
    packages.install("aigc-zoo-acme")
    packages.install("aigc-zoo-bee")
    assert command(capsys, "train", *words, "--out", "run")[0] == 0
    packages.remove("aigc-zoo-bee")
    commands: list[tuple[object, ...]] = [
        ("train", *words, "--out", "run"),
        ("train", "--config", "run/card.json", "--out", "other"),
        ("eval", "run", "--num", 40),
    ]
    if piece == "extractor":  # an evaluation takes that of the dataset
        commands[2] = ("eval", "run", "--num", 40, "--extractor", "tiny")
    for one in commands:
        code, _, err = command(capsys, *one)
        assert (code, NEEDS in err) == (3, True), (one, err)
        assert name in err or one[0] == "eval"
        assert len(err.splitlines()) <= 3
    needed = piece not in ("dataset", "extractor")
    code, _, err = command(capsys, "sample", "run", "-n", 2)
    assert (code, NEEDS in err) == ((3, True) if needed else (0, False)), err
    packages.install("aigc-zoo-bee")
    assert command(capsys, "train", *words, "--out", "run")[0] == 0
    promise.kept(pieces=1, commands=len(commands))


def test_a_missing_plugin_file_is_named_with_its_path(packages: Packages, capsys: Capsys, tmp_path: Path) -> None:
    path = plugin_file(tmp_path / "my plugins" / "plug.py")
    train = ("train", "local/mine", "--out", "run", *SETTINGS)
    assert command(capsys, "--plugin", path, *train)[0] == 0
    for words in (train, ("eval", "run", "--num", 40), ("sample", "run")):
        code, _, err = command(capsys, *words)
        assert (code, f"needs the plugin file {path}: give it with --plugin '{path}'" in err) == (3, True), err


def test_a_version_without_the_component_names_the_former_version(packages: Packages, capsys: Capsys) -> None:
    packages.install("aigc-zoo-acme")
    packages.install("aigc-zoo-bee")
    words = ("train", "acme/mine", "--extractor", "bee/tiny", "--out", "run", *SETTINGS)
    assert command(capsys, *words)[0] == 0
    packages.remove("aigc-zoo-bee")
    packages.install("aigc-zoo-bee", "0.3", (("dataset", "shared"),))
    code, _, err = command(capsys, *words)
    assert code == 3
    assert "extractor bee/tiny is not in the installed version: python -m pip install aigc-zoo-bee==0.2" in err


def test_a_namespace_that_is_not_installed_is_explained(packages: Packages, capsys: Capsys) -> None:
    for words in (("acme/mine",), ("dcgan", "--data", "acme/x"), ("dcgan", "--generator", "acme/x")):
        code, _, err = command(capsys, "train", *words)
        assert code in (3, 65)
        assert "no package of the namespace acme/ is installed: it is called aigc-zoo-acme or acme" in err
        assert len(err.splitlines()) <= 3


def test_what_is_remembered_can_be_asked_for_again(packages: Packages) -> None:
    packages.install("aigc-zoo-bee")
    card = {"recipe": "acme/mine", "plugins": {"aigc-zoo-acme": {"version": "0.2"}}, "data": {"reference": "x/y"}}
    found = packages.catalogue().remembering(card)
    with pytest.raises(MissingPlugin, match=r"recipe acme/mine needs aigc-zoo-acme>=0\.2"):
        found.find("recipe", "mine")
    assert found.find("recipe", "bee/mine").entry.id == "bee/mine"
    assert packages.catalogue().find("recipe", "mine").entry.id == "bee/mine"


@pytest.mark.parametrize(
    "odd", [{}, {"data": 3}, {"recipe": 1, "slots": [], "plugins": "x"}, {"slots": {"a": [1, None]}}]
)
def test_cards_of_any_form_are_remembered(odd: dict[str, Any], packages: Packages) -> None:
    assert packages.catalogue().remembering(odd).find("recipe", "dcgan").entry.id == "zoo/dcgan"


def test_datasets_of_one_name_have_folders_of_their_own(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    from aigc_zoo.data.resolve import where

    places: Callable[[], list[Path]] = lambda: [where("shared"), where("shared", "acme"), where("shared", "bee")]  # noqa: E731
    assert len(set(places())) == 3
    monkeypatch.setenv("ZOO_DATA", str(Path.cwd()))
    Path("acme/shared").mkdir(parents=True)
    Path("shared").mkdir()
    assert places() == [Path.cwd() / "shared", Path.cwd() / "acme" / "shared", Path.cwd() / "shared"]
