"""Lines that messages advise for pip are run as they are printed, with an index of stand-ins for the packages."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aigc_zoo import plugins
from aigc_zoo.cli import Globals, main
from aigc_zoo.cli.show import _facts
from aigc_zoo.discovery import Entry, Manager
from aigc_zoo.errors import ConfigError
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run import export
from aigc_zoo.spec import Component

INSTALL = re.compile(r"python -m pip install [^\n`;)]+")


def write_wheel(folder: Path, name: str, extras: str = "") -> None:
    """A wheel of version 99 with an empty module; `extras` are lines of its metadata."""
    module = name.replace("-", "_")
    info = f"{module}-99.dist-info"
    with zipfile.ZipFile(folder / f"{module}-99-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{module}_stand_in.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 99\n{extras}")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of wheels, so that pip needs no network."""
    folder = tmp_path_factory.mktemp("wheels")
    for name in ("onnx", "onnxscript", "soundfile", "aigc-zoo-acme", "torch"):
        write_wheel(folder, name)
    lines = "".join(
        f'Provides-Extra: {extra}\nRequires-Dist: {name}; extra == "{extra}"\n'
        for extra, name in (("onnx", "onnxscript"), ("audio", "soundfile"))
    )
    write_wheel(folder, "aigc-zoo", lines)
    return folder


def without_onnx(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "onnx", None)
        with pytest.raises(ConfigError) as caught:
            export._export_onnx(None, None, None)  # type: ignore[arg-type]  # no argument is read before the import
    return str(caught.value)


def without_a_plugin(capsys: pytest.CaptureFixture[str]) -> str:
    return plugins.needs("aigc-zoo-acme", "0.2")


def without_soundfile(capsys: pytest.CaptureFixture[str]) -> str:
    """A folder with a sound that only soundfile reads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "soundfile", None)
        Path("sounds").mkdir()
        Path("sounds/a.flac").write_bytes(b"fLaC")
        assert main(["data", "prepare", "sounds"]) == 65
    return capsys.readouterr().err


def shown_extra(capsys: pytest.CaptureFixture[str]) -> str:
    """`zoo show` of a component that needs an extra of its distribution."""
    component = Component(kind="loss", name="sharp", target="a:b", summary="A loss.", extra="audio")
    return next(text for _, text in _facts(Entry(component, "zoo", "aigc-zoo", "99"), []) if "pip install" in text)


def without_torch(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aigc_zoo.cli.doctor._version", lambda name: "" if name == "torch" else "1")
        main(["doctor"])
    return capsys.readouterr().out


def without_plugins(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Globals, "catalogue", lambda self, quiet=False: Catalogue(Manager()))
        assert main(["plugins"]) == 0
    return capsys.readouterr().err


ADVICE: dict[Callable[[pytest.CaptureFixture[str]], str], str] = {
    without_onnx: "onnxscript",
    without_a_plugin: "aigc-zoo-acme",
    without_soundfile: "soundfile",
    shown_extra: "soundfile",
    without_torch: "torch",
    without_plugins: "aigc-zoo",
}


@pytest.mark.promise("A1", 1, 1)
@pytest.mark.parametrize(("message", "package"), ADVICE.items(), ids=[one.__name__ for one in ADVICE])
def test_an_advised_line_installs_the_package(
    message: Callable[[pytest.CaptureFixture[str]], str],
    package: str,
    wheels: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    promise: Any,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        found = INSTALL.search(message(capsys))
    assert found is not None
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_TARGET": str(tmp_path / "target"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    words = shlex.split(found[0])
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    there = {path.name for path in (tmp_path / "target").glob("*.dist-info")}
    assert f"{package.replace('-', '_')}-99.dist-info" in there
    promise.kept(commands=1, work=1)


def test_an_extra_of_a_plugin_file_is_not_advised(tmp_path: Path) -> None:
    component = Component(kind="loss", name="sharp", target="a:b", summary="A loss.", extra="audio")
    entry = Entry(component, "local", "mine.py", "0", file=tmp_path / "mine.py")
    assert not any("pip install" in value for _, value in _facts(entry, []))
