"""The documents agree with the code: commands, repository tree, generated pages, hooks and versions."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import aigc_zoo
from aigc_zoo import errors, options, plugins, spec
from aigc_zoo.cli import Globals, zoo
from aigc_zoo.engine.trainer import Trainer
from aigc_zoo.game import Spec
from aigc_zoo.options.signatures import CALLED_WITH

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")


def tool(name: str) -> ModuleType:
    """Import a script of tools/ as a module."""
    found = importlib.util.spec_from_file_location(f"zoo_tools_{name}", ROOT / "tools" / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def section(text: str, title: str) -> str:
    """The text between a heading of level two and the next one."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def code(text: str, word: str) -> str:
    """The only code block that contains `word`."""
    blocks = [block for block in re.findall(r"```\w*\n(.*?)\n```", text, re.DOTALL) if word in block]
    assert len(blocks) == 1
    return str(blocks[0])


# --- the README -------------------------------------------------------------------------------------------------------


def test_the_readme_begins_with_two_commands_to_copy() -> None:
    beginning = README.partition("\n## ")[0]
    command = tool("readme_command").command
    blocks = re.findall(r"```\w*\n(.*?)\n```", beginning, re.DOTALL)
    assert blocks == [command("run", README), command("test", README)]
    for block in blocks:
        assert "\n" not in block, "each command is one line"
        assert block.startswith("python3 -m venv .venv && .venv/bin/pip install "), "each command is complete"
    assert blocks[0].endswith(".venv/bin/zoo train dcgan")
    assert blocks[1].endswith(".venv/bin/pytest")


def test_ci_runs_the_readmes_test_command_as_it_is_written() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "test_command=$(python3 tools/readme_command.py test)" in script
    assert 'bash -euo pipefail -c "$test_command"' in script
    assert "pytest" not in script, "the tests run only with the README's command"
    printed = subprocess.run(
        [sys.executable, ROOT / "tools" / "readme_command.py", "test"], capture_output=True, text=True, check=True
    )
    assert f"\n{printed.stdout.strip()}\n" in README


def tree(text: str) -> Iterator[str]:
    """The paths in a drawn tree. The parent of an entry is the last folder above it with less indentation."""
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        names = re.split(r"\s{2,}", line.strip())[0].split()
        indent = len(line) - len(line.lstrip())
        above = [(depth, folder) for depth, folder in above if depth < indent]
        prefix = "".join(folder for _, folder in above)
        yield from (prefix + name for name in names)
        if names[0].endswith("/"):
            above.append((indent, names[0]))


def test_the_paths_in_the_readmes_tree_exist() -> None:
    paths = list(tree(code(section(README, "The repository"), "pyproject.toml")))
    assert len(paths) > 25
    missing = [path for path in paths if not (ROOT / path).exists() or path.endswith("/") != (ROOT / path).is_dir()]
    assert missing == []


def test_the_readmes_tree_lists_all_source_files_of_the_core() -> None:
    """Plugins may be missing: a new family is one folder and one line of pyproject.toml."""
    named = set(tree(code(section(README, "The repository"), "pyproject.toml")))
    existing = {
        f"aigc_zoo/{path.name}{'/' if path.is_dir() else ''}"
        for path in (ROOT / "aigc_zoo").iterdir()
        if not path.name.startswith("__") and path.name != "py.typed" and not path.name.startswith(".")
    }
    assert existing - named == set()


def test_links_between_documents_are_valid() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"


def commands() -> list[str]:
    """The lines of the README's shell blocks that call `zoo`."""
    blocks = re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("zoo ")]


@pytest.mark.parametrize("line", commands())
def test_the_readmes_commands_are_valid(line: str) -> None:
    _, name, *words = shlex.split(line, comments=True)
    with click.Context(zoo, info_name="zoo", obj=Globals(), **zoo.context_settings) as context:
        command = zoo.get_command(context, name)
        assert command is not None
        with command.make_context(name, words, parent=context) as inner:
            if "inputs" in inner.params:  # a recipe and its options
                inner.params["inputs"].resolve(plugins.catalogue())


def test_the_readme_shows_the_main_commands() -> None:
    assert {line.split()[1] for line in commands()} >= {"list", "show", "train", "sample", "eval"}


def test_the_documented_exit_codes_are_those_of_the_errors() -> None:
    table = section((ROOT / "docs" / "cli.md").read_text(encoding="utf-8"), "Exit codes")
    documented_codes = {int(number) for number in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)[:-1]}
    raised = {e.exit_code for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.ZooError)}
    assert documented_codes == raised | {0}


# --- generated pages --------------------------------------------------------------------------------------------------


def test_docs_cli_is_up_to_date() -> None:
    assert tool("cli_docs").stale() == ""


def test_docs_checks_is_up_to_date() -> None:
    assert tool("checks_docs").stale() == ""


def test_docs_game_is_up_to_date() -> None:
    assert tool("game_docs").stale() == ""


def test_the_result_table_is_up_to_date() -> None:
    assert tool("results_table").stale() == ""


def test_docs_reliability_is_up_to_date() -> None:
    reliability = tool("reliability")
    assert reliability.stale() == ""
    assert reliability.undescribed((ROOT / "tests").rglob("test_*.py")) == set()


def test_every_kind_of_fault_has_three_instances_at_least() -> None:
    kinds = tool("fault_kinds")
    counts = {facts["kind"]: facts["instances"] for facts in kinds.stored()}
    assert len(counts) == len(kinds.KINDS) == 35
    assert [kind for kind, count in counts.items() if count < kinds.FEWEST] == []


@pytest.mark.slow
def test_the_instances_of_faults_are_those_of_the_tests() -> None:
    code = "import fault_kinds, json; print(json.dumps(fault_kinds.counted()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "tools", capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == tool("fault_kinds").stored(), "run `make docs`"


def test_a_stale_page_is_detected(tmp_path: Path) -> None:
    old = tmp_path / "cli.md"
    old.write_text("# The command line\n")
    assert "make docs" in tool("cli_docs").stale(old)
    assert "make docs" in tool("game_docs").stale(old)
    readme = tmp_path / "README.md"
    readme.write_text("<!-- begin: results -->\n| 1.0 |\n<!-- end: results -->\n")
    assert "make docs" in tool("results_table").stale(readme, tmp_path)


# --- options ----------------------------------------------------------------------------------------------------------


def every_command(command: click.Command, name: str, above: click.Context | None) -> Iterator[tuple[str, list[str]]]:
    """The full name of each command, with those of its options that have no help text."""
    with click.Context(command, info_name=name.rpartition(" ")[2], parent=above, obj=Globals()) as context:
        own_options = [one for one in command.get_params(context) if isinstance(one, click.Option)]
        yield name, [one.opts[0] for one in own_options if not (one.help or "").strip() and not one.hidden]
        if isinstance(command, click.Group):
            for below in command.list_commands(context):
                found = command.get_command(context, below)
                assert found is not None
                yield from every_command(found, f"{name} {below}", context)


def test_every_command_option_has_a_help_text() -> None:
    found = dict(every_command(zoo, "zoo", None))
    assert len(found) > 15
    assert {name: missing for name, missing in found.items() if missing} == {}
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert [name for name in found if f"\n## {name}\n" not in page] == []


def test_every_component_option_has_a_help_text() -> None:
    catalogue = plugins.catalogue()
    missing = [
        f"{entry.kind} {entry.id} --{option.key}"
        for entry in catalogue.items(None, "zoo/*")
        for option in options.component_options(catalogue, entry.kind, entry.id)
        if not option.help
    ]
    assert missing == []
    assert [one.key for one in options.RUN_SETTINGS.values() if not one.help] == []


# --- the plugin guide -------------------------------------------------------------------------------------------------


def test_the_guide_documents_the_hooks_of_the_api() -> None:
    documented = re.findall(
        r"^def (\w+)\((.*)\) -> (.*): \.\.\.$", code(section(GUIDE, "Hooks"), "zoo_log"), re.MULTILINE
    )
    actual = []
    for name in spec.HOOKS:
        signature = inspect.signature(getattr(spec.Hooks, name))
        parameters = [f"{p.name}: {p.annotation}" for p in signature.parameters.values() if p.name != "self"]
        actual.append((name, ", ".join(parameters), str(signature.return_annotation)))
    assert documented == actual


def test_the_guide_documents_how_each_kind_is_called() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section(GUIDE, "Kinds"), re.MULTILINE))
    assert sorted(rows) == sorted(spec.KINDS)
    for kind, words in CALLED_WITH.items():
        assert rows[kind].startswith(f"`{', '.join(words)}`")
    assert not any(words.startswith("`") for kind, words in rows.items() if kind not in CALLED_WITH)


def lines_of(block: str) -> int:
    """The number of lines that are not blank."""
    return sum(bool(line.strip()) for line in block.splitlines())


def test_the_examples_of_the_guide_are_short() -> None:
    assert lines_of(code(GUIDE, "def my_loss")) <= 12
    assert lines_of(code(GUIDE, "class Generator")) <= 45
    assert lines_of(code(GUIDE, "def my_game")) <= 60
    assert lines_of(code(GUIDE, "class Dna")) <= 55
    assert lines_of(code(GUIDE, "lsgan.digits")) <= 15  # one argument a line
    assert len(tutorial_commands()) <= 15


def tutorial_commands() -> list[str]:
    """The lines to type, of the guide's tutorial."""
    return commands_of(GUIDE.partition("\n## Conformance checks in pytest\n")[0])


def commands_of(text: str) -> list[str]:
    """The lines of the shell blocks."""
    return [line for block in re.findall(r"```sh\n(.*?)\n```", text, re.DOTALL) for line in block.splitlines()]


def test_the_plugin_of_the_guide_trains(tmp_path: Path) -> None:
    file = tmp_path / "my_gan.py"
    file.write_text(code(GUIDE, "class Generator"))
    catalogue = plugins.catalogue([file])
    assert catalogue.find("recipe", "my-gan").entry.id == "local/my-gan"
    recipe = options.build(catalogue, options.resolve(catalogue, "my-gan", given={"generator.width": 8}))
    real = torch.linspace(-1, 1, 8 * 16).view(8, 1, 4, 4)
    trainer = Trainer(recipe, Spec(shape=(1, 4, 4)), lambda n: {"real": real}, batch_size=8, steps=2)
    before = trainer.nets.G.layers[0].weight.clone()
    terms = [trainer.train_step() for _ in range(2)][-1]
    assert all(torch.isfinite(term) for term in terms.values())
    assert before.shape == (8, 16)
    assert not torch.equal(before, trainer.nets.G.layers[0].weight)


@pytest.mark.slow
def test_all_commands_of_the_guide_work(tmp_path: Path) -> None:
    """In an empty directory. pip installs into a directory of its own and builds with the installed packages."""
    (tmp_path / "my_loss.py").write_text(code(GUIDE, "def my_loss"))
    (tmp_path / "my_recipe.py").write_text(code(GUIDE, "lsgan.digits"))
    (tmp_path / "my_gan.py").write_text(code(GUIDE, "class Generator"))
    (tmp_path / "my_game.py").write_text(code(GUIDE, "def my_game"))
    (tmp_path / "my_modality.py").write_text(code(GUIDE, "class Dna"))
    (tmp_path / "my_metric.py").write_text(code(GUIDE, "def my_gap"))
    (tmp_path / "test_acme.py").write_text(code(GUIDE, "@parametrize_with_checks"))
    site = tmp_path / "site"
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(site),
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads the variable as the value of the option: no isolation
    }
    for line in [*commands_of(GUIDE), "python -m pytest -q -p no:cacheprovider test_acme.py"]:
        more = {"PIP_TARGET": str(site)} if " pip install " in line else {}
        done = subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, cwd=tmp_path, env=env | more, timeout=300
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    assert (tmp_path / "runs" / "my-gan-ring" / "generator.safetensors").exists()
    assert (tmp_path / "runs" / "my-game-digits" / "generator.safetensors").exists()
    assert (tmp_path / "runs" / "acme-ring" / "generator.safetensors").exists()
    assert [len(line) for line in (tmp_path / "new.dna").read_text().split()] == [16] * 8
    assert list((tmp_path / "dist").glob("*.whl"))


def test_the_guide_documents_declarations_and_plugin_statuses() -> None:
    for word in ("ZOO_EXPECTED_FAILURES", "shapes=", "parametrize_with_checks", "ZOO_STRICT", "ZOO_DISABLE_PLUGINS"):
        assert word in GUIDE
    for status in ("ok", "broken", "incompatible", "duplicate", "disabled"):
        assert f"| `{status}` |" in GUIDE


def closure(name: str, known: set[str]) -> set[str]:
    """Add a distribution and its dependencies, without extras, to `known`."""
    own = canonicalize_name(name)
    if own in known:
        return known
    known.add(own)
    for line in metadata.requires(name) or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            closure(requirement.name, known)
    return known


@pytest.mark.promise("U2", 1, 1)
def test_the_core_has_few_dependencies(promise: Any) -> None:
    """Dependencies beyond torch's own, including those of torch-fidelity and pytest-benchmark."""
    required = closure("aigc-zoo", set()) - closure("torch", set()) - {"aigc-zoo"}
    assert len(required) <= 26, sorted(required)
    assert {"pluggy", "click", "safetensors", "torch-fidelity", "pytest-benchmark"} <= required
    promise.kept(distributions=len(required))


# --- all files --------------------------------------------------------------------------------------------------------


def test_the_changelog_has_the_current_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(aigc_zoo.__version__)}\]", changelog, re.MULTILINE)


def test_no_file_contains_an_absolute_path_of_a_machine() -> None:
    absolute = re.compile(r"(?<![\w.:/$}-])/(?:home|root|Users|work|workspace|mnt)/\w")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path, text in tool("words").text_files(ROOT)
        for number, line in enumerate(text.splitlines(), 1)
        if absolute.search(line)
    ]
    assert found == []


def test_every_decision_is_listed_and_half_a_page() -> None:
    """File name, heading and index agree, and each decision has context, decision and consequence."""
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(\d{4})\]\((\d{4}-[\w-]+\.md)\) \| (.*) \|$", index, re.MULTILINE)
    assert [file for _, file, _ in rows] == sorted(path.name for path in folder.glob("[0-9]*.md"))
    for number, file, title in rows:
        text = (folder / file).read_text(encoding="utf-8")
        assert text.startswith(f"# {number}: {title}\n"), file
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
        assert file == f"{number}-{slug}.md"
        assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == ["Context", "Decision", "Consequence"], file
        assert len(text.split()) < 320, file
