"""Plugin discovery with plugins that break, collide, print, exit or are slow, all installed at once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aigc_zoo.discovery import Manager
from aigc_zoo.errors import ConfigError
from aigc_zoo.plugins import Catalogue, catalogue, describe_problems, needs

HEAD = "from aigc_zoo.spec import Component, hookimpl\nZOO_API = 1\n"
HOOK = "@hookimpl\ndef zoo_components():\n"


def component(name: str, kind: str = "recipe", **more: object) -> str:
    """A line of a manifest."""
    return f"    yield Component(kind={kind!r}, name={name!r}, target='nowhere:make', summary='s', **{more!r})\n"


def healthy(*names: str, kind: str = "recipe") -> str:
    return HEAD + HOOK + "".join(component(name, kind) for name in names)


def install(
    folder: Path, distribution: str, code: str, *, requires: str = "", points: dict[str, str] | None = None
) -> str:
    """Install a distribution as pip does: a module, METADATA and entry points. Returns the name of the module."""
    module = distribution.replace("-", "_")
    info = folder / f"{module}-0.2.dist-info"
    info.mkdir(parents=True)
    required = f"Requires-Dist: {requires}\n" if requires else ""
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.2\n{required}")
    points = points or {distribution.removeprefix("aigc-zoo-"): module}
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[aigc_zoo]", *lines, ""]))
    (folder / f"{module}.py").write_text(code)
    return module


def zoo(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, with the distributions in `folder` installed."""
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))
    return subprocess.run(
        [sys.executable, "-m", "aigc_zoo", *args],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **env},
        timeout=60,
    )


# --- the matrix -------------------------------------------------------------------------------------------------------

LAZY = """
def __dir__():
    return ["lazy", "zoo_components", "zoo_lazy"]

def __getattr__(name):
    if name in ("lazy", "ZOO_API", "zoo_lazy"):
        raise SystemExit(f"{name} was imported")
    raise AttributeError(name)
"""

MATRIX = {  # distribution -> (code, requirement, status, parts of the reason)
    "aigc-zoo-missing": ("import nosuchmodule", "", "broken", ["ModuleNotFoundError", "nosuchmodule"]),
    "aigc-zoo-exits": ("import sys; sys.exit('no GPU found')", "", "broken", ["SystemExit: no GPU found"]),
    "aigc-zoo-prints": ("print('good morning')\n" + healthy("prints"), "", "ok", []),
    "aigc-zoo-heavy": ("import torch\n" + healthy("heavy"), "", "ok", []),
    "aigc-zoo-typo": (
        HEAD + HOOK.replace("zoo_components", "zoo_component") + component("typo"),
        "",
        "broken",
        ["unknown hook 'zoo_component'; did you mean 'zoo_components'?"],
    ),
    "aigc-zoo-argument": (
        HEAD + HOOK.replace("()", "(nosuch)") + component("argument"),
        "",
        "broken",
        ["nosuch", "zoo_components"],
    ),
    "aigc-zoo-raises": (
        HEAD + HOOK + component("raises") + "    open('weights.bin')\n",
        "",
        "broken",
        ["zoo_components: FileNotFoundError", "weights.bin"],
    ),
    "aigc-zoo-kind": (HEAD + HOOK + component("kind", kind="generater"), "", "broken", ["generater"]),
    "aigc-zoo-name": (HEAD + HOOK + component("DC GAN"), "", "broken", ["DC GAN"]),
    "aigc-zoo-future": (
        "raise AssertionError('never imported')",
        "aigc-zoo>=2",
        "incompatible",
        ["requires aigc-zoo>=2, but aigc-zoo 0.1.0 is installed"],
    ),
    "aigc-zoo-content": (healthy("content"), "aigc.zoo >=0.1,<1", "ok", []),
    "aigc-zoo-elsewhere": (healthy("elsewhere"), "aigc-zoo>=2; sys_platform == 'nowhere'", "ok", []),
    "aigc-zoo-plural": (healthy("plural"), "aigc-zoo-plural-data>=7", "ok", []),
    "aigc-zoo-silent": (HEAD.replace("ZOO_API = 1", ""), "", "incompatible", ["ZOO_API"]),
    "aigc-zoo-api2": (HEAD.replace("ZOO_API = 1", "ZOO_API = 2"), "", "incompatible", ["ZOO_API = 2"]),
    "aigc-zoo-lazy": (healthy("lazy") + LAZY, "", "ok", []),
    "aigc-zoo-lazysilent": (LAZY, "", "incompatible", ["no ZOO_API"]),
    "aigc-zoo-again": (healthy("again", "again"), "", "broken", ["recipe again/again is declared twice"]),
    "aigc-zoo-item": (HEAD + HOOK + "    yield 'dcgan'\n", "", "broken", ["'dcgan' is a str, not a Component"]),
    "aigc-zoo-presets": (
        HEAD + HOOK + component("presets", presets={"mnist": {"lr": [1]}}),
        "",
        "broken",
        ["lr is a list"],
    ),
    "aigc-zoo-tags": (HEAD + HOOK + component("tags", tags=({1},)), "", "broken", ["tags"]),
    "aigc-zoo-undecorated": (healthy("u").replace("@hookimpl", ""), "", "broken", ["lacks its decorator, @hookimpl"]),
    "aigc-zoo-wrapper": (
        healthy("w").replace("@hookimpl", "@hookimpl(wrapper=True)"),
        "",
        "broken",
        ["zoo_components wraps"],
    ),
    "zoo": (healthy("ours"), "", "incompatible", ["namespace zoo/ is reserved"]),
    "aigc-zoo-zoo": (healthy("ours"), "", "incompatible", ["namespace zoo/ is reserved"]),
    "aigc-zoo-local": (healthy("ours"), "", "incompatible", ["namespace local/ is reserved"]),
    "aigc-zoo-acme": (healthy("unet"), "", "ok", []),
    "acme": (healthy("unet"), "", "duplicate", ["aigc-zoo-acme"]),
}
SLEEP = 0.3


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The output of `zoo list` and `zoo plugins` with all of these distributions installed."""
    folder = tmp_path_factory.mktemp("matrix")
    for distribution, (code, requires, _, _) in MATRIX.items():
        install(folder, distribution, code, requires=requires)
    install(folder, "aigc-zoo-east", healthy("twin"), points={"twin": "aigc_zoo_east"})
    install(folder, "aigc-zoo-west", healthy("twin"), points={"twin": "aigc_zoo_west"})
    install(folder, "aigc-zoo-double", healthy("double"), points={"one": "aigc_zoo_double", "two": "aigc_zoo_double"})
    install(folder, "aigc-zoo-value", healthy("value"), points={"value": "aigc_zoo_value:hookimpl"})
    (folder / "torch.py").write_text(f"import time\ntime.sleep({SLEEP})\n")
    listed = zoo(folder, "list", "--kind", "all", "--json")
    plugins = zoo(folder, "plugins", "--json")
    assert (listed.returncode, plugins.returncode) == (0, 0), listed.stderr + plugins.stderr
    items = json.loads(plugins.stdout)["items"]
    return SimpleNamespace(
        listed=json.loads(listed.stdout),
        stderr=listed.stderr,
        records={(item["distribution"], item["entry_point"]): item for item in items},
        folder=folder,
    )


@pytest.mark.parametrize("distribution", MATRIX)
def test_faulty_plugins_are_listed_with_status_and_reason(matrix: SimpleNamespace, distribution: str) -> None:
    _, _, status, reasons = MATRIX[distribution]
    record = matrix.records[distribution, distribution.removeprefix("aigc-zoo-")]
    assert (record["status"], record["version"]) == (status, "0.2"), record
    assert all(reason in record["reason"] for reason in reasons), record["reason"]
    assert record["reason"] != "" or status == "ok"


def test_healthy_plugins_are_not_affected(matrix: SimpleNamespace) -> None:
    items = matrix.listed["items"]
    strangers = {item["id"] for item in items if item["distribution"] != "aigc-zoo"}
    healthy = {name.removeprefix("aigc-zoo-") for name, row in MATRIX.items() if row[2] == "ok"} - {"acme"}
    assert strangers == {f"{name}/{name}" for name in healthy} | {
        "acme/unet",
        "east/twin",
        "west/twin",
        "double/double",
    }
    assert "zoo/dcgan" in {item["id"] for item in items if item["kind"] == "recipe"}
    keys = {"id", "name", "kind", "summary", "paper", "tags", "distribution", "version"}
    assert all(item.keys() == keys for item in items)
    assert next(item for item in items if item["id"] == "acme/unet")["version"] == "0.2"


def test_each_problem_is_one_line_on_stderr(matrix: SimpleNamespace) -> None:
    lines = matrix.stderr.splitlines()
    assert lines.pop(lines.index("good morning")) not in matrix.listed
    assert len(lines) == len(matrix.listed["problems"]) > 15
    for line, problem in zip(lines, matrix.listed["problems"], strict=True):
        assert line.startswith(f"zoo: plugin {problem['distribution']} 0.2")
        assert line.endswith(f" is {problem['status']}: {problem['reason']}")


def test_two_entry_points_of_one_module_are_one_plugin(matrix: SimpleNamespace) -> None:
    one, two = (matrix.records["aigc-zoo-double", name] for name in ("one", "two"))
    assert (one["status"], two["status"]) == ("ok", "duplicate")
    assert "aigc_zoo_double is aigc-zoo-double's one already" in two["reason"]


def test_an_entry_point_must_be_a_module(matrix: SimpleNamespace) -> None:
    record = matrix.records["aigc-zoo-value", "value"]
    assert (record["status"], record["reason"]) == ("broken", "the entry point names a HookimplMarker, not a module")


def test_slow_imports_are_reported(matrix: SimpleNamespace) -> None:
    slow, quick = (matrix.records[f"aigc-zoo-{name}", name] for name in ("heavy", "prints"))
    assert slow["heavy"] == ["torch"]
    assert slow["milliseconds"] >= SLEEP * 1e3
    assert quick["heavy"] == []
    assert quick["milliseconds"] < SLEEP * 1e3


def test_disabling_everything_leaves_a_working_command(matrix: SimpleNamespace) -> None:
    listed = zoo(matrix.folder, "list", "--json", ZOO_DISABLE_PLUGINS="*")
    assert (listed.returncode, json.loads(listed.stdout)) == (0, {"schema": 1, "items": [], "problems": []})
    plugins = zoo(matrix.folder, "plugins", "--json", ZOO_DISABLE_PLUGINS="*")
    assert {item["status"] for item in json.loads(plugins.stdout)["items"]} == {"disabled"}
    shown = zoo(matrix.folder, "show", "dcgan", ZOO_DISABLE_PLUGINS="*")
    assert shown.returncode == 3
    assert "disabled" in shown.stderr
    assert len(shown.stderr.splitlines()) <= 3


def test_strict_makes_the_first_problem_an_error(matrix: SimpleNamespace) -> None:
    ended = zoo(matrix.folder, "list", "--json", ZOO_STRICT="1")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert "zoo: plugin acme 0.2 is duplicate" in ended.stderr


def pluggy_of(requirement: str, folder: Path) -> Path:
    """Install a release of pluggy in a directory of its own and return the directory."""
    options = ["--no-deps", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), requirement]
    subprocess.run(command, check=True, timeout=300)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("requirement", ["pluggy==1.6.0", "pluggy>=1.6,<2"], ids=["oldest", "newest"])
def test_discovery_is_the_same_with_every_pluggy(matrix: SimpleNamespace, requirement: str, tmp_path: Path) -> None:
    """The oldest supported release behaves differently in three ways, none of which may be visible."""
    directory = pluggy_of(requirement, tmp_path / "pluggy")
    path = os.pathsep.join((str(directory), str(matrix.folder)))
    version = subprocess.run(
        [sys.executable, "-c", "import pluggy; print(pluggy.__version__, pluggy.__file__)"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=True,
    ).stdout
    assert str(directory) in version
    assert version.startswith("1.6.0") == (requirement == "pluggy==1.6.0")
    listed = zoo(matrix.folder, "list", "--kind", "all", "--json", PYTHONPATH=path)
    plugins = zoo(matrix.folder, "plugins", "--json", PYTHONPATH=path)
    assert (listed.returncode, plugins.returncode) == (0, 0), listed.stderr + plugins.stderr

    def statuses(records: object) -> list[tuple[str, ...]]:
        assert isinstance(records, list)
        keys = ("distribution", "version", "entry_point", "status")
        # pluggy's own message about an unknown argument contains the path of the module, so reasons are left out
        return [tuple(str(record[key]) for key in keys) for record in records]

    assert json.loads(listed.stdout)["items"] == matrix.listed["items"]
    assert statuses(json.loads(listed.stdout)["problems"]) == statuses(matrix.listed["problems"])
    for record in json.loads(plugins.stdout)["items"]:
        _, _, status, reasons = MATRIX.get(record["distribution"], ("", "", record["status"], []))
        assert record["status"] == status
        assert all(reason in record["reason"] for reason in reasons), record["reason"]
    assert len(listed.stderr.splitlines()) == len(matrix.stderr.splitlines())


# --- in this process --------------------------------------------------------------------------------------------------

Discover = Callable[[], Catalogue]


@pytest.fixture
def discover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Discover:
    """Discover the installed plugins again, including the distributions in `tmp_path`."""

    def load() -> Catalogue:
        monkeypatch.syspath_prepend(tmp_path)
        manager = Manager()
        manager.load_setuptools_entrypoints()
        return Catalogue(manager)

    return load


def status_of(found: Catalogue, distribution: str) -> str:
    return next(record.status for record in found.records if record.distribution == distribution)


@pytest.mark.parametrize("named", ["aigc-zoo-off1", "aigc_zoo_off1", "point1", " other , point1 "])
def test_a_plugin_is_disabled_by_its_distribution_or_entry_point(
    named: str, tmp_path: Path, discover: Discover, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "aigc-zoo-off1", "raise AssertionError", points={"point1": "aigc_zoo_off1"})
    monkeypatch.setenv("ZOO_DISABLE_PLUGINS", named)
    found = discover()
    assert status_of(found, "aigc-zoo-off1") == "disabled"
    assert found.find("recipe", "dcgan").entry.id == "zoo/dcgan"
    assert "aigc-zoo-off1" not in [problem["distribution"] for problem in found.problems]


def test_a_distribution_may_take_the_namespace_of_a_disabled_one(
    tmp_path: Path, discover: Discover, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "heir", healthy("unet"))
    install(tmp_path, "aigc-zoo-heir", healthy("unet"))
    assert status_of(discover(), "heir") == "duplicate"
    monkeypatch.setenv("ZOO_DISABLE_PLUGINS", "aigc-zoo-heir")
    found = discover()
    assert status_of(found, "heir") == "ok"
    assert found.find("recipe", "heir/unet").entry.distribution == "heir"


def test_no_hook_of_a_broken_plugin_is_called(tmp_path: Path, discover: Discover) -> None:
    """pluggy 1.6 keeps a plugin that it found invalid, and would call its other hooks."""
    log = "@hookimpl\ndef zoo_log(run, step):\n    raise AssertionError('called')\n"
    install(tmp_path, "aigc-zoo-left1", healthy("left").replace("()", "(nosuch)") + log)
    install(tmp_path, "aigc-zoo-left2", healthy("left") + "    raise OSError('gone')\n" + log)
    found = discover()
    assert (status_of(found, "aigc-zoo-left1"), status_of(found, "aigc-zoo-left2")) == ("broken", "broken")
    found.listen("zoo_log", run=tmp_path, step=1, scalars={})
    assert found.items("recipe", "left") == []


def test_one_kind_and_name_in_two_entry_points_breaks_the_second(tmp_path: Path, discover: Discover) -> None:
    install(tmp_path, "aigc-zoo-split", healthy("x"), points={"a": "aigc_zoo_split", "b": "aigc_zoo_split_b"})
    (tmp_path / "aigc_zoo_split_b.py").write_text(healthy("y", "x"))
    found = discover()
    statuses = [(r.entry_point, r.status) for r in found.records if r.distribution == "aigc-zoo-split"]
    assert statuses == [("a", "ok"), ("b", "broken")]
    assert [entry.id for entry in found.items("recipe", "split/*")] == ["split/x"]


def test_an_unreadable_entry_points_file_affects_no_other_plugin(tmp_path: Path, discover: Discover) -> None:
    install(tmp_path, "aigc-zoo-garbled", "")
    (tmp_path / "aigc_zoo_garbled-0.2.dist-info" / "entry_points.txt").write_text("[aigc_zoo]\nno equals sign\n")
    install(tmp_path, "unrelated", "")
    (tmp_path / "unrelated-0.2.dist-info" / "entry_points.txt").write_text("[console_scripts]\nno equals sign\n")
    install(tmp_path, "aigc-zoo-fine1", healthy("fine"))
    found = discover()
    assert status_of(found, "aigc-zoo-garbled") == "broken"
    assert found.find("recipe", "fine").entry.id == "fine1/fine"
    assert found.find("recipe", "dcgan").entry.id == "zoo/dcgan"
    assert "unrelated" not in [record.distribution for record in found.records]


def test_a_distribution_without_metadata_is_broken(tmp_path: Path, discover: Discover) -> None:
    install(tmp_path, "aigc-zoo-nameless", healthy("nameless"))
    (tmp_path / "aigc_zoo_nameless-0.2.dist-info" / "METADATA").write_bytes(b"\xff\xfe")
    record = next(record for record in discover().records if record.entry_point == "nameless")
    assert (record.status, record.reason) == ("broken", "its METADATA cannot be read or states no name")


def test_the_remains_of_an_interrupted_pip_are_a_duplicate(tmp_path: Path, discover: Discover) -> None:
    """pip renames a distribution to ~name while it replaces it; its METADATA still has the name."""
    install(tmp_path, "aigc-zoo-twice", healthy("twice"))
    shutil.copytree(tmp_path / "aigc_zoo_twice-0.2.dist-info", tmp_path / "~igc_zoo_twice-0.1.dist-info")
    found = discover()
    statuses = sorted(record.status for record in found.records if record.distribution == "aigc-zoo-twice")
    assert statuses == ["duplicate", "ok"]
    assert found.find("recipe", "twice").entry.id == "twice/twice"


def test_first_party_components_are_listed_first_and_then_in_natural_order(tmp_path: Path, discover: Discover) -> None:
    install(tmp_path, "aigc-zoo-order", healthy("r10", "r9", "r1"))
    ids = [entry.id for entry in discover().items("recipe") if entry.namespace in ("zoo", "order")]
    assert ids[-3:] == ["order/r1", "order/r9", "order/r10"]
    assert ids[0].startswith("zoo/")


def test_keyboard_interrupt_is_not_caught(tmp_path: Path, discover: Discover) -> None:
    install(tmp_path, "aigc-zoo-ctrlc", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        discover()


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def named(tmp_path: Path, discover: Discover) -> Catalogue:
    presets = {"plain": {}, "small": {"width": 8}, "large": {"width": 64}}
    install(tmp_path, "aigc-zoo-n1", healthy("dcgan", "shared") + component("own", presets=presets))
    install(tmp_path, "aigc-zoo-n2", healthy("shared") + component("shared", "loss"))
    install(tmp_path, "aigc-zoo-n3", "import nosuchmodule")
    return discover()


def test_a_short_name_prefers_first_party_and_mentions_the_others(named: Catalogue) -> None:
    found = named.find("recipe", "dcgan")
    assert (found.entry.id, found.preset, found.note) == ("zoo/dcgan", "", "note: n1/dcgan also exists")
    exact = named.find("recipe", "n1/dcgan")
    assert (exact.entry.id, exact.note) == ("n1/dcgan", "")


def test_other_short_names_must_be_unique(named: Catalogue) -> None:
    assert named.find("recipe", "own").entry.id == "n1/own"
    with pytest.raises(ConfigError, match="recipe 'shared' is ambiguous: n1/shared, n2/shared"):
        named.find("recipe", "shared")
    assert named.find("loss", "shared").entry.id == "n2/shared"


def test_a_reference_resolves_in_its_own_namespace_and_then_in_zoo(named: Catalogue) -> None:
    assert named.find("recipe", "dcgan", namespace="n1").entry.id == "n1/dcgan"
    assert named.find("recipe", "dcgan", namespace="n2").entry.id == "zoo/dcgan"
    assert named.find("recipe", "shared", namespace="n2").entry.id == "n2/shared"
    assert named.find("recipe", "n1/own", namespace="n2").entry.id == "n1/own"
    with pytest.raises(ConfigError, match="unknown recipe 'own'"):
        named.find("recipe", "own", namespace="n2")


def test_presets(named: Catalogue) -> None:
    assert named.find("recipe", "own.small").preset == "small"
    assert named.find("recipe", "n1/own.plain").preset == "plain"
    with pytest.raises(
        ConfigError, match=r"no preset 'smal'; did you mean 'small'\?\nits presets: own.plain, own.small, own.l"
    ):
        named.find("recipe", "own.smal")
    with pytest.raises(ConfigError, match="its presets: none"):
        named.find("recipe", "n2/shared.x")
    with pytest.raises(ConfigError, match="no preset ''"):
        named.find("recipe", "own.")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("dcgam", "did you mean 'dcgan'"),
        ("DCGAN", "did you mean 'dcgan'"),
        ("n1/shraed", "did you mean 'n1/shared'"),
        ("n3/unet", "it may belong to plugin aigc-zoo-n3 0.2, which is broken: ModuleNotFoundError"),
        ("n3", "it may belong to plugin aigc-zoo-n3 0.2, which is broken"),
        ("xyzzy", "zoo list --kind recipe shows what is installed"),
    ],
)
def test_unknown_names_are_explained(named: Catalogue, reference: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        named.find("recipe", reference)
    assert message in str(caught.value)
    assert f"unknown recipe {reference!r}" in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3
    assert caught.value.exit_code == 3


def test_a_component_of_another_kind_with_the_name_is_mentioned(named: Catalogue) -> None:
    with pytest.raises(ConfigError, match="of that name there is a recipe"):
        named.find("loss", "own")


@pytest.mark.parametrize("reference", ["./my_gan.py", "my_gan.py", "/tmp/x", "~/x", "a/b/c", "hf:x/y", "", "acme/"])
def test_paths_and_urls_are_not_names(named: Catalogue, reference: str) -> None:
    with pytest.raises(ConfigError, match=r"\[namespace/\]name\[.preset\]") as caught:
        named.find("recipe", reference)
    assert "--plugin FILE.py" in str(caught.value)


def test_patterns_match_the_name_or_the_id(named: Catalogue) -> None:
    def ids(pattern: str) -> list[str]:
        return [entry.id for entry in named.items("recipe", pattern)]

    assert ids("n1/*") == ["n1/dcgan", "n1/own", "n1/shared"]
    assert ids("shared") == ["n1/shared", "n2/shared"]
    assert ids("zoo/dcgan") == ["zoo/dcgan"]
    assert ids("own") == ["n1/own"]
    assert ids("ow") == []
    assert {entry.kind for entry in named.items(None, "shared")} == {"recipe", "loss"}


def test_the_install_command_of_a_missing_plugin() -> None:
    assert needs("aigc-zoo-acme", "0.2") == "needs aigc-zoo-acme>=0.2: python -m pip install aigc-zoo-acme"
    assert needs("aigc-zoo-acme", "") == "needs aigc-zoo-acme: python -m pip install aigc-zoo-acme"
    assert needs("my_gan.py", "ab12") == "needs the plugin file my_gan.py: give its path with --plugin"


# --- loading ----------------------------------------------------------------------------------------------------------


def test_targets_are_imported_lazily_and_failures_name_the_fix(
    tmp_path: Path, discover: Discover, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "".join(
        f"    yield Component(kind='recipe', name={name!r}, target={target!r}, summary='s', extra={extra!r})\n"
        for name, target, extra in [
            ("good", "aigc_zoo_load_good:make", ""),
            ("gone", "aigc_zoo_load_gone:make", "audio"),
            ("typo", "aigc_zoo_load_good:mkae", ""),
            ("data", "aigc_zoo_load_good:DATA", ""),
            ("exit", "aigc_zoo_load_exit:make", ""),
        ]
    )
    install(tmp_path, "aigc-zoo-load", HEAD + HOOK + lines)
    (tmp_path / "aigc_zoo_load_good.py").write_text("print('loud')\nDATA = 3\ndef make(): return 7\n")
    (tmp_path / "aigc_zoo_load_exit.py").write_text("raise SystemExit('no GPU')\n")
    found = discover()
    assert "aigc_zoo_load_good" not in sys.modules
    assert found.find("recipe", "load/good").entry.load()() == 7
    assert capsys.readouterr() == ("", "loud\n")
    for name, message in [
        ("gone", 'ModuleNotFoundError.*\nit needs an extra: python -m pip install "aigc-zoo-load.audio."'),
        ("typo", "AttributeError.*mkae"),
        ("data", "aigc_zoo_load_good:DATA is not callable but of type int"),
        ("exit", "SystemExit: no GPU"),
    ]:
        with pytest.raises(ConfigError, match=f"recipe load/{name} of aigc-zoo-load 0.2 cannot be loaded: .*{message}"):
            found.find("recipe", f"load/{name}").entry.load()


# --- listeners --------------------------------------------------------------------------------------------------------


def test_a_failing_listener_is_switched_off_and_the_others_continue(
    tmp_path: Path, discover: Discover, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = "CALLS = []\n"
    log = "@hookimpl\ndef zoo_log(step, scalars):\n    CALLS.append((step, dict(scalars)))\n    print('noted')\n"
    end = "@hookimpl\ndef zoo_run_end(run, error):\n    CALLS.append(repr(error))\n"
    fail = "    raise SystemExit('no disk')\n"
    install(tmp_path, "aigc-zoo-ear1", HEAD + calls + log + fail + end)
    install(tmp_path, "aigc-zoo-ear2", HEAD + calls + log + end)
    found = discover()
    found.listen("zoo_run_start", run=tmp_path)
    for step in (1, 2):
        found.listen("zoo_log", run=tmp_path, step=step, scalars={"a": 0.5})
    found.listen("zoo_run_end", run=tmp_path, error=ValueError("x"))
    ear1, ear2 = (sys.modules[f"aigc_zoo_ear{n}"].CALLS for n in (1, 2))
    assert ear1 == [(1, {"a": 0.5})]
    assert ear2 == [(1, {"a": 0.5}), (2, {"a": 0.5}), "ValueError('x')"]
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if line != "noted"]
    assert lines == ["zoo: plugin aigc-zoo-ear1 0.2 is switched off: zoo_log: SystemExit: no disk"]


def test_an_unknown_hook_is_a_programming_error(discover: Discover) -> None:
    with pytest.raises(KeyError):
        discover().listen("zoo_lgo", run=None)


# --- single files -----------------------------------------------------------------------------------------------------

FILE = """
from aigc_zoo.spec import Component, hookimpl
ZOO_API = 1

@hookimpl
def zoo_components():
    yield Component(kind="recipe", name="my_gan", target=f"{__name__}:make", summary="Mine")

def make(*, width: int = 8):
    return ("my_gan", width)
"""


def test_a_single_file_is_a_plugin(tmp_path: Path) -> None:
    path = tmp_path / "my gan.py"
    path.write_text(FILE)
    found = catalogue([path])
    entry = found.find("recipe", "my_gan").entry
    assert (entry.id, entry.distribution, len(entry.version)) == ("local/my_gan", "my gan.py", 12)
    assert entry.load()(width=3) == ("my_gan", 3)
    assert catalogue([path]) is found
    assert catalogue() is catalogue()
    assert catalogue().items("recipe", "local/*") == []


def test_two_files_with_the_same_name_are_separate_plugins(tmp_path: Path) -> None:
    paths = []
    for folder, name in [("a", "first"), ("b", "second")]:
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "same.py")
        paths[-1].write_text(FILE.replace("my_gan", name))
    found = catalogue(paths)
    results = [found.find("recipe", name).entry.load()()[0] for name in ("first", "second")]
    assert results == ["first", "second"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\ny = nosuch\n", "is broken: line 2: NameError: name 'nosuch' is not defined"),
        ("def (:\n", "is broken: SyntaxError"),
        ("x = 1\n", "is incompatible: zoo_local_bad states no ZOO_API, this is API 1"),
        (HEAD + HOOK + "    yield 3\n", "is broken: zoo_components: TypeError: 3 is a int, not a Component"),
        ("raise SystemExit(4)", "is broken: line 1: SystemExit: 4"),
    ],
)
def test_errors_of_a_single_file_are_shown(tmp_path: Path, code: str, message: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(code)
    with pytest.raises(ConfigError) as caught:
        catalogue([path])
    assert f"plugin file bad.py {message}" in str(caught.value)


def test_a_single_file_must_exist_and_be_python(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nosuch\.py: No such file or directory"):
        catalogue([tmp_path / "nosuch.py"])
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ConfigError, match="it is not a Python file"):
        catalogue([tmp_path / "notes.txt"])


def test_the_bytes_that_are_hashed_are_those_that_run(tmp_path: Path) -> None:
    """Bytecode in __pycache__ stands for any content of the same size and second, so it is not used."""
    path = tmp_path / "plug.py"
    for width in (4, 8):
        path.write_text(f"{HEAD}{HOOK}{component('x', presets={'p': {'width': width}})}")
        os.utime(path, (10**9, 10**9))
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(path)], check=True)
        if width == 8:  # put back the bytecode of the first content, as a run within the same second left it
            shutil.copy(tmp_path / "first.pyc", next(tmp_path.glob("__pycache__/*.pyc")))
        else:
            shutil.copy(next(tmp_path.glob("__pycache__/*.pyc")), tmp_path / "first.pyc")
        manager = Manager()
        manager.load_file(path)
        entry = Catalogue(manager).find("recipe", "local/x").entry
        assert entry.component.presets == {"p": {"width": width}}
        assert entry.version == hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def test_files_of_one_name_have_labels_of_their_own(tmp_path: Path) -> None:
    manager = Manager()
    for folder, name in (("a", "x"), ("b", "y"), ("c/b", "z")):
        path = tmp_path / folder / "plug.py"
        path.parent.mkdir(parents=True)
        path.write_text(healthy(name))
        manager.load_file(path)
    labels = [entry.distribution for entry in Catalogue(manager).items("recipe", "local/*")]
    assert labels == ["plug.py", "b/plug.py", "c/b/plug.py"]


def test_problems_in_text_and_json_agree(tmp_path: Path, discover: Discover) -> None:
    install(tmp_path, "aigc-zoo-agree", "import nosuchmodule", points={"other": "aigc_zoo_agree"})
    found = discover()
    mine: list[dict[str, Any]] = [p for p in found.problems if p["distribution"] == "aigc-zoo-agree"]
    reason = "ModuleNotFoundError: No module named 'nosuchmodule'"
    assert mine == [
        {
            "distribution": "aigc-zoo-agree",
            "version": "0.2",
            "entry_point": "other",
            "status": "broken",
            "reason": reason,
        }
    ]
    assert f"zoo: plugin aigc-zoo-agree 0.2 (other) is broken: {reason}" in describe_problems(found)


@pytest.mark.parametrize("reference", ["\x1e/0", "a\nb", "zoo/\x1b[2J", "dcgan.\x85"])
def test_a_name_with_control_characters_is_no_name(reference: str) -> None:
    with pytest.raises(ConfigError, match="is not the name of a recipe") as error:
        catalogue().find("recipe", reference)
    assert len(str(error.value).splitlines()) <= 3
