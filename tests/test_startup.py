"""The start-up law: looking around imports nothing heavy and costs next to nothing."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "torch_fidelity", "numpy", "matplotlib", "PIL")

BLOCKED = f"""
import sys

class Blocked:
    asked = []

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            self.asked.append(name)
            raise ImportError(f"{{name}} must not be imported here")

sys.meta_path.insert(0, Blocked())
from aigc_zoo.cli import main

code = main(sys.argv[1:])
assert not Blocked.asked, Blocked.asked
sys.exit(code)
"""


@pytest.mark.parametrize(
    "args",
    [
        ["list"],
        ["list", "--kind", "all", "--json"],
        ["list", "nosuch"],
        ["plugins"],
        ["plugins", "--json"],
        ["plugins", "--requirements"],
        ["doctor", "--json"],
        ["show", "dcgan"],
        ["show", "digits", "--json"],
        ["show", "dcgan", "--kind", "generator"],
        ["check", "dcgan", "--fast"],
        ["new", "--help"],
        ["--help"],
        ["--version"],
        ["list", "--help"],
    ],
    ids=" ".join,
)
def test_looking_around_imports_nothing_heavy(args: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED, *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "must not be imported" not in done.stdout + done.stderr
    assert done.stdout != "" or args[-1] == "nosuch"


def test_the_public_package_and_all_manifests_import_nothing_heavy() -> None:
    code = BLOCKED.replace("code = main(sys.argv[1:])", "import aigc_zoo, aigc_zoo.plugins as p\ncode = 0") + (
        "\nassert [r.heavy for r in p.catalogue().records if r.heavy] == []"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def cpu_ms(*args: str, env: dict[str, str]) -> float:
    """User and system time of one Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *args], check=True, stdout=subprocess.DEVNULL, env=env, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3


ENV = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
LEAST = "import click, pluggy, importlib.metadata as m; list(m.entry_points(group='aigc_zoo'))"


def test_zoo_list_costs_at_most_60_ms_more_than_the_least_it_could() -> None:
    """Minima of 15 runs each, alternating, of CPU time: wall-clock time of the same commands doubles within minutes."""
    assert added_ms(ENV) <= 60


def added_ms(env: dict[str, str]) -> float:
    """What `zoo list` takes over importing click and pluggy and one scan, with the plugins of this environment."""
    least, listed = [], []
    for _ in range(15):
        least.append(cpu_ms("-c", LEAST, env=env))
        listed.append(cpu_ms("-m", "aigc_zoo", "list", env=env))
    more = min(listed) - min(least)
    print(f"zoo list {min(listed):.1f} ms, imports and one scan {min(least):.1f} ms: {more:.1f} ms more")
    return more


MANIFEST = """
from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components():
    for kind in ("generator", "discriminator", "recipe"):
        yield Component(kind=kind, name="x{number}", target=f"{{__name__}}.networks:make", summary="One of thirty")
"""


def test_thirty_plugins_cost_at_most_100_ms(tmp_path: Path) -> None:
    for number in range(30):
        package = tmp_path / f"aigc_zoo_x{number}"
        package.mkdir()
        (package / "__init__.py").write_text(MANIFEST.format(number=number))
        info = tmp_path / f"aigc_zoo_x{number}-0.2.dist-info"
        info.mkdir()
        required = "Requires-Dist: aigc-zoo>=0.1,<1"
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: aigc-zoo-x{number}\nVersion: 0.2\n{required}\n")
        (info / "entry_points.txt").write_text(f"[aigc_zoo]\nx{number} = aigc_zoo_x{number}\n")
    env = {**ENV, "PYTHONPATH": str(tmp_path)}
    listed = subprocess.run(
        [sys.executable, "-m", "aigc_zoo", "list"], capture_output=True, text=True, env=env, check=True, timeout=60
    )
    assert sum("One of thirty" in line for line in listed.stdout.splitlines()) == 30
    assert added_ms(env) <= 100
