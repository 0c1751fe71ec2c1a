"""Sounds, clips and texts from files: the families of tests/sketch/on_files.py from `zoo train` to the report."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Callable
from pathlib import Path

import drawn_files
import numpy as np
import pytest
from PIL import Image, ImageSequence
from sketch import on_files

from aigc_zoo.cli import main

PLUGIN = ["--plugin", str(Path(on_files.__file__))]
STEPS = 8
PLAYED = ["tone", "clip", "sentence"]
DATA = {"tone": "wavs", "clip": "gifs", "sentence": "lines.txt"}
UNITS = {"tone": "sounds", "clip": "clips", "sentence": "texts"}
NATIVE = {"tone": ".wav", "clip": ".gif", "sentence": ".txt"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files, and a run of eight steps of each recipe on them."""
    place = tmp_path_factory.mktemp("place")
    drawn_files.tones(place / "wavs", 40)
    drawn_files.bars(place / "gifs", 40)
    drawn_files.sentences(place / "lines.txt", 60)
    drawn_files.pictures(place / "pictures")
    drawn_files.tones(place / "stereo", 3, channels=2)
    for name in PLAYED:
        assert main([*PLUGIN, *train(place, name)]) == 0
    return place


def train(place: Path, name: str, data: str = "") -> list[str]:
    words = ["train", name, "--data", str(place / (data or DATA[name])), "--steps", str(STEPS)]
    return [*words, "--sample-every", "4", "--out", str(place / name)]


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str], place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.chdir(place)

    def run(line: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main([*PLUGIN, *line.split()]) == code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        if code:
            message = err[err.index("zoo: ") :].splitlines()
            assert len(message) <= 3
        return out + err

    return run


def native(name: str, place: Path, step: int = STEPS) -> bytes:
    return (place / name / "samples" / f"{step:09d}{NATIVE[name]}").read_bytes()


def test_there_is_something_to_hear(place: Path) -> None:
    with wave.open(io.BytesIO(native("tone", place))) as file:
        assert file.getframerate() == drawn_files.RATE
        assert file.getnframes() > 16 * 1_024, "16 sounds with pauses"
        assert np.frombuffer(file.readframes(1_024), "<i2").std() > 0


def test_there_is_something_to_watch(place: Path) -> None:
    with Image.open(io.BytesIO(native("clip", place))) as clip:
        assert clip.n_frames == 8
        frames = []
        for number in range(clip.n_frames):
            clip.seek(number)
            frames.append(np.asarray(clip.convert("L")))
    assert any((frame != frames[0]).any() for frame in frames)


def test_there_is_something_to_read(place: Path) -> None:
    texts = native("sentence", place).decode().splitlines()
    assert len(texts) == 32
    assert set("".join(texts)) <= set((place / "lines.txt").read_text())
    assert len(set(texts)) > 1


@pytest.mark.parametrize("name", PLAYED)
def test_previews_and_their_animation(name: str, place: Path) -> None:
    sizes = set()
    for step in (0, 4, STEPS):
        with Image.open(place / name / "samples" / f"{step:09d}.png") as preview:
            sizes.add(preview.size)
    assert len(sizes) == 1
    with Image.open(place / name / "samples.gif") as animation:
        assert animation.n_frames > 1
    for step in (0, STEPS):
        assert native(name, place, step)
    assert native(name, place, 0) != native(name, place, STEPS)


@pytest.mark.parametrize("name", PLAYED)
def test_units_in_lines_summary_and_report(name: str, place: Path, zoo: Callable[..., str]) -> None:
    units = UNITS[name]
    text = zoo(" ".join(train(place, name)).replace(f"--steps {STEPS}", f"--steps {STEPS + 1}"))
    assert f"{32 * (STEPS + 1)} {units}, " in text
    assert f" {units}/s, " in text
    assert f"done: {STEPS + 1} steps, {32 * (STEPS + 1)} {units}, " in text
    zoo(f"report {name}")
    page = (place / name / "report.html").read_text()
    assert f'<div class="soft">{units}/s</div>' in page
    for shown in (text, page):
        assert "images/s" not in shown
        assert " images," not in shown
    assert "sandbox" in page
    card = json.loads((place / name / "card.json").read_text())
    assert card["units"] == units
    line = json.loads((place / name / "log.jsonl").read_text().splitlines()[-1])
    assert {"images", "images_per_second"} <= set(line), "keys of the log are the same for every modality"


@pytest.mark.parametrize("name", PLAYED)
def test_dry_run_and_samples(name: str, zoo: Callable[..., str], place: Path, tmp_path: Path) -> None:
    assert f" {UNITS[name]}/s; about" in zoo(f"train {name} --data {DATA[name]} --steps 2 --dry-run --out {tmp_path}/x")
    zoo(f"sample {name} -n 3 --out {tmp_path}/many/")
    assert sorted(path.suffix for path in (tmp_path / "many").iterdir()) == [NATIVE[name]] * 3


# --- options of files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "words", "shape", "fact"),
    [
        ("wavs", "--data.rate 8000", [1, 2_048], ("rate", 8_000)),
        ("wavs", "--data.seconds 0.05", [1, 200], ("rate", 4_000)),
        ("lines.txt", "--data.length 64", [64], ("symbols", 22)),
        ("gifs", "--modality video --data.frames 4 --size 8", [1, 4, 8, 8], ("rate", 10)),
        ("gifs", "", [1, 16, 16], ("modality", "image")),
    ],
)
def test_prepare_and_verify(
    path: str, words: str, shape: list[int], fact: tuple[str, object], zoo: Callable[..., str]
) -> None:
    if "." not in path:
        advice = zoo(f"data verify {path} {words}", 65)
        assert f"data prepare ./{path} " in f"{advice.splitlines()[-1]} "
        assert sorted(advice.split(f"./{path}")[1].split()) == sorted(words.split())
    text = zoo(f"data prepare {path} {words} --json")
    (split,) = json.loads(text[text.index("{") : text.rindex("}") + 1])["splits"]
    assert split["shape"] == shape
    assert split[fact[0]] == fact[1]
    if "." not in path:
        assert "match the manifest" in zoo(f"data verify {path} {words}")
    assert "digits" in zoo("data list")


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("data prepare gifs --data.frames 4", 3, "images have no option frames: use --modality video"),
        ("data prepare pictures --data.rate 4000", 3, "images have no option rate: use --modality audio"),
        ("data prepare pictures --data.length 4", 3, "images have no option length: use --modality text"),
        ("data prepare wavs --data.rate 7", 2, "--data.rate 7: not in the range"),
        ("data prepare digits --modality audio", 3, "digits holds images, and sounds are needed"),
        ("data prepare ring --modality text", 3, "ring holds points, and texts are needed"),
        ("data prepare wavs --modality nope", 3, "unknown modality 'nope'"),
        ("train tone --data pictures --out no", 65, "pictures has no sounds (.wav"),
        ("train tone --data digits --out no", 3, "holds images, and sounds are needed"),
        ("train clip --data wavs --out no", 65, "wavs has no clips"),
        (
            "train clip --data pictures --out no",
            65,
            "replace the damaged files, or give other data, or another --modality",
        ),
        ("train sentence --data gifs --out no", 65, "gifs has no texts"),
        ("train sentence --data latin.txt --out no", 65, "it is not UTF-8: byte 3 is 0xe9"),
        ("eval foreign --against lines.txt", 65, "the character 'Æ' is not among the"),
        ("eval pictures --against wavs", 65, "pictures has no sounds"),
    ],
)
def test_bad_input(line: str, code: int, message: str, zoo: Callable[..., str], place: Path) -> None:
    (place / "latin.txt").write_bytes(b"caf\xe9\nsome\n")
    (place / "foreign").mkdir(exist_ok=True)
    (place / "foreign" / "a.txt").write_text("the dog sees Æneas.\n")
    (place / "foreign" / "b.txt").write_text("the dog sees a cat.\n")
    text = zoo(line, code)
    assert message in text
    assert "--skip-bad" not in text, "it would not help, or the command has no such option"
    assert not (place / "no").exists()


@pytest.mark.parametrize(
    ("recipe", "data", "note"),
    [
        ("tone", "stereo", "mixed down 3 recordings with several channels to mono"),
        ("tone --data.rate 2000", "wavs", "resampled 40 recordings to 2000 Hz, which loses higher frequencies"),
        ("clip --data.frames 3", "gifs", "left out 80 frames after the last whole clip of 3"),
        (
            "tone --data.seconds 0.1",
            "wavs",
            "left out 2.24 s at the ends of 40 recordings, after the last whole sample",
        ),
        ("sentence", "long.txt", "cut 1 line to 256 characters"),
        ("sentence --data.length 20", "long.txt", "left out 6 characters after the last whole window of 20"),
        ("dcgan --size 28", "gifs", "read only the first frame of 40 files with several"),
    ],
)
def test_notes_say_what_is_lost(recipe: str, data: str, note: str, zoo: Callable[..., str], tmp_path: Path) -> None:
    Path("long.txt").write_text("short\n" + 300 * "a" + "\n")
    text = zoo(f"train {recipe} --data {data} --steps 1 --out {tmp_path}/run")
    (line,) = [line for line in text.splitlines() if line.startswith(f"note: {Path(data).stem}: ")]
    assert note in line


def test_a_run_resumes_and_is_evaluated_with_the_options_of_its_files(zoo: Callable[..., str], tmp_path: Path) -> None:
    line = f"train tone --data wavs --data.rate 2000 --data.seconds 0.1 --out {tmp_path}/run --steps"
    zoo(f"{line} 2")
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["data"]["options"] == {"rate": 2_000, "seconds": 0.1}
    assert card["data"]["spec"]["shape"] == [1, 200]
    assert "continued after step 2" in zoo(f"{line} 3")
    assert "data.rate 2000, now 4000" in zoo(f"{line.replace('2000', '4000')} 3", 3)
    assert "resampled 40 recordings to 2000 Hz" in zoo(f"eval {tmp_path}/run", 3), "read as in training"


# --- the full length --------------------------------------------------------------------------------------------------


def near_pitches(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest pitch of the data to the loudest frequency of each sound, and the distance in Hz."""
    spectra = np.abs(np.fft.rfft(samples[:, 0], 8_192)) ** 2
    loudest = spectra.argmax(1) * drawn_files.RATE / 8_192
    distances = np.abs(loudest[:, None] - np.array(drawn_files.PITCHES))
    return distances.argmin(1), distances.min(1)


def motion(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether the bar of each clip is upright, and the pixels by which it moves to the next frame, around the edges:
    to the right where it is upright, otherwise downwards.
    """
    across, down = samples[:, 0].mean(2), samples[:, 0].mean(3)
    is_upright = across.var(2).mean(1) > down.var(2).mean(1)
    profile = np.fft.fft(np.where(is_upright[:, None, None], across, down))
    return is_upright, np.fft.ifft(profile[:, 1:] * profile[:, :-1].conj()).real.argmax(2)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", PLAYED)
def test_samples_resemble_the_files(
    name: str, precision: str, zoo: Callable[..., str], place: Path, tmp_path: Path
) -> None:
    """The length of the recipe, less than a minute on two cores."""
    zoo(f"train {name} --data {DATA[name]} --precision {precision} --out {tmp_path}/run --sample-every 200")
    zoo(f"sample {tmp_path}/run -n 64 --out {tmp_path}/x.npy")
    samples = np.load(tmp_path / "x.npy")
    if name == "sentence":
        zoo(f"sample {tmp_path}/run -n 64 --out {tmp_path}/x.txt")
        words = {word.strip(".") for word in " ".join((*drawn_files.SUBJECTS, *drawn_files.VERBS)).split()}
        found = (tmp_path / "x.txt").read_text().replace(".", " ").split()
        assert sum(word in words for word in found) > 0.7 * len(found)
    elif name == "tone":
        pitches, distances = near_pitches(samples)
        assert (distances < 20).mean() > 0.9
        counts = np.bincount(pitches[distances < 20], minlength=len(drawn_files.PITCHES))
        assert (counts >= 3).sum() >= 4, f"tones of the pitches {drawn_files.PITCHES}: {counts}"
    else:
        assert 0.1 < (samples > 0).mean() < 0.3, "a bar is 3 of 16 pixels wide"
        assert (samples < -0.9).mean() > 0.6, "the rest is black"
        is_upright, shifts = motion(samples)
        assert (shifts == 2).mean() > 0.9, "a bar moves by two pixels a frame"
        assert 0.1 < is_upright.mean() < 0.9, "half of the clips have an upright bar"


def test_these_measures_know_the_files_themselves(place: Path) -> None:
    waves = []
    for path in sorted((place / "wavs").iterdir()):
        with wave.open(str(path)) as file:
            waves.append(np.frombuffer(file.readframes(1_024), "<i2")[None] / 32_768)
    pitches, distances = near_pitches(np.stack(waves))
    assert distances.max() < 5
    assert np.bincount(pitches).tolist() == [8] * 5
    clips = []
    for path in sorted((place / "gifs").iterdir()):
        with Image.open(path) as clip:
            clips.append([np.asarray(frame.convert("L")) / 127.5 - 1 for frame in ImageSequence.Iterator(clip)])
    is_upright, shifts = motion(np.array(clips)[:, None])
    assert is_upright.tolist() == [False, True] * 20
    assert (shifts == 2).all()
    assert (motion(np.array(clips)[:, None, ::-1])[1] == 14).all()
