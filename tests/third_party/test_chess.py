"""A stranger's modality, dataset and recipe: chess positions work like images everywhere, with no word of them in core.

The package is installed by pip in a directory of its own, and every command runs in a process of its own.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).parent / "aigc-zoo-chess"
STEPS, EVERY = 60, 20
SETTINGS = ("--steps", str(STEPS), "--sample-every", str(EVERY), "--save-every", str(EVERY), "--batch-size", "32")
FEN = re.compile(r"([1-8PNBRQKpnbrqk]{1,8}/){7}[1-8PNBRQKpnbrqk]{1,8} w - - 0 1")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the installed package."""
    directory = tmp_path_factory.mktemp("chess")
    source = shutil.copytree(SOURCE, directory / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(directory / "site"), str(source)]
    subprocess.run(command, check=True, timeout=120)
    return directory / "site"


def environment(site: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def zoo(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The finished command, which ended with 0, in the directory beside the packages."""
    command = [sys.executable, "-m", "aigc_zoo", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(site), cwd=site.parent, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def run(site: Path) -> Path:
    """A run of the package's recipe on its dataset, in which no metric is chosen."""
    zoo(site, "train", "chess", *SETTINGS, "--out", "run")
    return site.parent / "run"


def fens(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    assert all(FEN.fullmatch(line) for line in lines), lines
    return lines


# --- what is installed ------------------------------------------------------------------------------------------------


def test_the_core_has_no_word_of_it() -> None:
    for folder in ("aigc_zoo", "plugins"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not re.search(r"chess|\bfen\b|endgame", path.read_text(encoding="utf-8"), re.IGNORECASE), path


def test_it_is_listed_and_passes_its_checks(site: Path) -> None:
    assert "chess/position  Chess positions from .fen files" in zoo(site, "list", "--kind", "modality").stdout
    shown = json.loads(zoo(site, "show", "chess/position", "--json").stdout)
    assert shown["files"] == {
        "reads": [".fen"],
        "one sample": [".fen", ".npy"],
        "all samples": [".fen", ".png", ".npy"],
    }
    answer = json.loads(zoo(site, "check", "aigc-zoo-chess", "--json").stdout)
    assert set(answer["summary"]) <= {"passed", "skipped"}
    passed = {item["check"] for item in answer["items"] if item["status"] == "passed"}
    assert passed >= {"M-FILES", "M-PREVIEW", "M-HTML", "M-PURE", "V-STATES", "V-IDEAL", "T-BATCH", "R-RUN"}
    assert {item["check"].partition("-")[0] for item in answer["items"] if item["status"] == "skipped"} <= {"GPU"}


# --- a run ------------------------------------------------------------------------------------------------------------


def test_a_run_has_previews_native_files_and_an_animation(run: Path) -> None:
    steps = [f"{step:09d}" for step in range(0, STEPS + 1, EVERY)]
    assert sorted(path.name for path in (run / "samples").iterdir()) == sorted(
        f"{step}{suffix}" for step in steps for suffix in (".fen", ".png")
    )
    for step in steps:
        assert len(fens(run / "samples" / f"{step}.fen")) == 16
    sizes = set()
    for step in steps:
        with Image.open(run / "samples" / f"{step}.png") as image:
            sizes.add(image.size)
    assert sizes == {(400, 400)}, "four by four boards"
    with Image.open(run / "samples.gif") as animation:
        assert animation.size == (400, 400)
        assert 1 < animation.n_frames <= len(steps), "GIF files join equal frames"
    assert (run / "samples.html").read_text().count("<pre>") == 8


def test_its_memory_is_estimated(site: Path) -> None:
    shown = zoo(site, "train", "chess", *SETTINGS, "--dry-run", "--out", "estimated").stdout
    assert "not estimated" not in shown
    assert re.search(r"memory +this run needs about [0-9,.]+ MiB of memory, and .* free on cpu", shown)
    assert re.search(r"step [0-9,.]+ MiB, sampling [0-9,.]+ MiB", shown)


def test_the_generator_states_the_modality(run: Path) -> None:
    with safe_open(run / "generator.safetensors", "pt") as file:
        assert "chess/position" in json.dumps(dict(file.metadata()))
    card = json.loads((run / "card.json").read_text())
    assert "aigc-zoo-chess" in card["plugins"]


def test_tensorboard_shows_the_boards(run: Path) -> None:
    module = "tensorboard.backend.event_processing.event_accumulator"
    event_file = pytest.importorskip(module, reason="the extra [tensorboard] is not installed")
    events = event_file.EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    (tag,) = events.Tags()["images"]
    shown = events.Images(tag)
    assert [one.step for one in shown] == list(range(0, STEPS + 1, EVERY))
    with Image.open(io.BytesIO(shown[-1].encoded_image_string)) as image:
        assert image.size == (400, 400)
    assert any("loss" in name for name in events.Tags()["scalars"])


def test_samples_are_written_as_positions_and_read_again(site: Path, run: Path) -> None:
    zoo(site, "sample", str(run), "-n", "70", "--out", "new.fen")
    written = fens(site.parent / "new.fen")
    assert len(written) == 70
    zoo(site, "sample", str(run), "-n", "3", "--out", "each/")
    folder = sorted((site.parent / "each").iterdir())
    assert [path.name for path in folder] == ["000000.fen", "000001.fen", "000002.fen"]
    assert [line for path in folder for line in fens(path)] == written[:3]
    zoo(site, "sample", str(run), "-n", "4", "--out", "sheet.png")
    with Image.open(site.parent / "sheet.png") as image:
        assert image.size == (400, 100)
    trained = zoo(
        site, "train", "chess", "--data", "new.fen", "--modality", "position", "--steps", "2", "--out", "again"
    )
    assert "70 samples of 13x8x8" in trained.stderr or "70 positions" in trained.stderr


def test_a_damaged_file_is_named_with_the_reason(site: Path) -> None:
    (site.parent / "bad.fen").write_text("8/8/8/8/8/8/8/8 w - - 0 1\n8/8/8/9/8/8/8/8 w - - 0 1\n")
    command = [sys.executable, "-m", "aigc_zoo", "train", "chess", "--data", "bad.fen", "--modality", "position"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(site), cwd=site.parent, timeout=120)
    assert done.returncode == 65, done.stderr
    assert "bad.fen cannot be read as a position: row 4 of line 2 is no row of a board: 9" in done.stderr
    assert len(done.stderr.splitlines()) <= 3


def test_the_report_shows_boards_and_makes_no_request(site: Path, run: Path) -> None:
    zoo(site, "report", str(run))
    page = (run / "report.html").read_text()
    (frame,) = re.findall(r'<iframe class="samples" sandbox title="[^"]*" srcdoc="([^"]*)"', page)
    assert frame.count("&lt;pre&gt;") == 8
    boards = re.findall(r"&lt;pre&gt;(.*?)&lt;/pre&gt;", frame, re.DOTALL)
    assert all(re.fullmatch(r"([.PNBRQKpnbrqk]{8}\n){7}[.PNBRQKpnbrqk]{8}", board) for board in boards)
    assert not re.search(r'(src|href)="(?!data:|#|https://arxiv)', page)


def test_a_killed_run_ends_like_one_that_was_not(site: Path, run: Path) -> None:
    command = [sys.executable, "-m", "aigc_zoo", "train", "chess", *SETTINGS, "--log-every", "5", "--out", "killed"]
    killed = site.parent / "killed"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment(site), cwd=site.parent) as process:
        while process.poll() is None and not list(killed.glob("checkpoints/*.safetensors")):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "finished.json").exists()
    resumed = zoo(site, *command[3:])
    assert "resum" in resumed.stderr
    for name in ("generator.safetensors", "samples.gif", "samples.html"):
        assert (killed / name).read_bytes() == (run / name).read_bytes(), name
    for path in (run / "samples").iterdir():
        assert (killed / "samples" / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_generator_is_exported(site: Path, run: Path) -> None:
    zoo(site, "export", str(run), "--to", "exported", "--licence", "MIT")
    exported = site.parent / "exported"
    assert {path.name for path in exported.iterdir()} >= {"generator.safetensors", "generator.pt2", "published.json"}
    zoo(site, "sample", str(exported / "generator.safetensors"), "-n", "3", "--out", "exported.fen")
    zoo(site, "sample", str(run), "-n", "3", "--out", "original.fen")
    assert fens(site.parent / "exported.fen") == fens(site.parent / "original.fen")


def test_its_speed_is_measured(site: Path) -> None:
    done = zoo(site, "bench", "speed", "chess/chess", "--json", "speed.json")
    assert "train-step" in done.stdout + done.stderr
    assert "chess/chess" in (site.parent / "speed.json").read_text()


def test_without_the_package_a_run_names_it(site: Path, run: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "aigc_zoo", "sample", str(run), "-n", "2", "--out", "none.fen"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(tmp_path), cwd=tmp_path, timeout=120)
    assert done.returncode == 3, done.stderr
    assert "python -m pip install aigc-zoo-chess" in done.stderr
    assert len(done.stderr.splitlines()) <= 3
    assert not (tmp_path / "none.fen").exists()


# --- evaluation -------------------------------------------------------------------------------------------------------


def test_its_metric_is_measured_in_training_and_selects_the_best(site: Path, run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {line["name"] for line in lines} == {"chess/kings"}
    assert lines[0]["step"] == 0
    assert lines[-1]["step"] == STEPS
    assert all(0 <= line["value"] <= 1 for line in lines)
    stamp = lines[-1]["protocol"]
    assert (stamp["metric"], stamp["extractor"], stamp["reference"]) == ("chess/kings", "", "")
    assert stamp["versions"]["aigc-zoo-chess"]
    assert (run / "generator-best.safetensors").exists()
    zoo(site, "report", str(run), "--out", "kings.html")
    assert "one king each" in (site.parent / "kings.html").read_text()


def test_zoo_eval_measures_runs_and_files(site: Path, run: Path) -> None:
    def values(*words: str) -> dict[str, float]:
        found = json.loads(zoo(site, "eval", *words, "--json").stdout)["metrics"]
        return {record["name"]: record["value"] for record in found}

    trained = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][-1]["value"]
    assert values(str(run)) == {"chess/kings": trained}
    assert values(str(run), "--metrics", "all") == {"chess/kings": trained}
    zoo(site, "sample", str(run), "-n", "64", "--out", "evaluated.fen")
    boards = [line.split()[0] for line in fens(site.parent / "evaluated.fen")]
    right = sum(board.count("K") == board.count("k") == 1 for board in boards) / len(boards)
    words = ("--against", "endgames", "--metrics", "kings")
    (site.parent / "evaluated").mkdir()
    (site.parent / "evaluated.fen").rename(site.parent / "evaluated" / "all.fen")
    assert values("evaluated", *words) == {"chess/kings": right}


def test_a_target_on_its_metric_ends_training(site: Path) -> None:
    done = zoo(site, "train", "chess", *SETTINGS, "--until", "chess/kings>=0", "--out", "target")
    assert json.loads((site.parent / "target" / "finished.json").read_text())["reason"] == "target"
    assert "kings" in done.stderr


def test_quality_is_compared_by_its_metric(site: Path) -> None:
    words = ("chess/chess", "--images", "640", "--seeds", "1", "--out", "cells", "--json", "quality.json")
    zoo(site, "bench", "quality", *words)
    (entry,) = json.loads((site.parent / "quality.json").read_text())["entries"]
    assert entry["metric"] == "chess/kings"


def test_a_metric_of_another_modality_is_refused(site: Path) -> None:
    command = [sys.executable, "-m", "aigc_zoo", "train", "vanilla", "--data", "ring", "--metrics", "chess/kings"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(site), cwd=site.parent, timeout=120)
    assert done.returncode == 3, done.stderr
    assert "it measures chess/position, and ring holds points" in done.stderr
