"""Reports: content, escaping, and errors for other inputs."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from aigc_zoo.cli import main
from aigc_zoo.errors import DataError
from aigc_zoo.report.collect import collect, group_by_protocol, leaderboards
from aigc_zoo.report.markdown import cell, markdown
from aigc_zoo.report.page import page

from .conftest import HOSTILE, make_results, make_run


class Tags(HTMLParser):
    """Collects every tag with its attributes, and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_runs_are_grouped_by_protocol_and_sorted(sources: list[Path]) -> None:
    first, second = leaderboards(collect(sources).runs)
    assert [run.name for run in first.runs] == ["other", "good", "collapsed"]
    assert [run.name for run in second.runs] == ["more samples"]
    assert second.difference == "num: 2048 against 10000"
    good = first.runs[1]
    assert good.best is not None
    assert good.final is not None
    assert (good.best["step"], good.best["value"], good.final["value"]) == (800, 3.2, 3.5)
    held = good.of_held_out("final", good.main_metric)
    assert held is not None
    assert held["value"] == 3.9
    assert not good.flags
    assert "80%" in first.runs[2].flags["duplicates"]


def test_a_page_is_self_contained(sources: list[Path]) -> None:
    text = page(collect(sources))
    found = Tags(text)
    for tag, attributes in found.tags:
        for name in ("src", "href", "data", "action", "poster", "srcset", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value)
    assert "@import" not in text
    assert "url(" not in text.replace("url(#", "")
    assert "default-src 'none'" in text
    assert len([tag for tag, _ in found.tags if tag == "script"]) == 1


@pytest.mark.promise("R30", 1, 1)
def test_untrusted_text_is_escaped(sources: list[Path], promise: Any) -> None:
    found = Tags(page(collect(sources), title=HOSTILE))
    assert not [1 for tag, _ in found.tags if tag == "b"]
    assert "".join(found.text).count('<script>alert("1")</script>') >= 4, "title, recipe, data and entry are text"
    promise.kept(hostile_words_in_a_report=4, unescaped_tags=0)


def test_ids_of_charts_are_unique(sources: list[Path]) -> None:
    found = Tags(page(collect(sources)))
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in found.tags:
        for value in attributes.values():
            for target in re.findall(r"url\(#([^)]+)\)", value or ""):
                assert target in ids


def test_a_page_is_deterministic(sources: list[Path]) -> None:
    assert page(collect(sources)) == page(collect(sources))


def test_markdown_has_the_same_content(sources: list[Path]) -> None:
    text = markdown(collect(sources))
    assert "<script>" not in text
    assert "Not comparable with the first table: num: 2048 against 10000" in text
    assert "| other | zoo/dcgan | digits | 2.1 | 2.1 at step 1,000 |" in text
    assert "does not fit: penalty gp" in text
    for line in text.splitlines():
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) in (5, 7, 10, 12)
    assert cell("a|b\n<c>") == "a\\|b &lt;c\\>"


def test_entries_are_grouped_by_protocol(sources: list[Path]) -> None:
    matrix = next(result for result in collect(sources).results if result["kind"] == "matrix")
    found = [
        (text[:13], [entry["name"] for entry in entries]) for text, entries in group_by_protocol(matrix["entries"])
    ]
    assert found == [("2,048 samples", ["dcgan x minimax"]), ("9,999 samples", ["dcgan x other"]), ("", ["dcgan x gp"])]
    assert "9,999 samples" in page(collect(sources))


# --- the command ------------------------------------------------------------------------------------------------------


def run_command(capsys: pytest.CaptureFixture[str], code: int, *words: object) -> str:
    assert main([str(word) for word in words]) == code
    out, err = capsys.readouterr()
    assert len(err.splitlines()) <= 3
    return out if code == 0 else err


def test_a_report_of_one_run_is_written_to_its_directory(
    sources: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(capsys, 0, "report", sources[0]).strip() == str(sources[0] / "report.html")
    assert run_command(capsys, 0, "report", *sources, "--format", "md").strip() == "report.md"
    run_command(capsys, 0, "report", tmp_path, "--out", tmp_path / "all.html")
    assert "more samples" in (tmp_path / "all.html").read_text()


def test_strict_refuses_different_protocols(
    sources: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    error = run_command(capsys, 3, "report", *sources, "--strict", "--out", tmp_path / "no.html")
    assert "num: 2048 against 10000" in error
    assert not (tmp_path / "no.html").exists()
    run_command(capsys, 0, "report", *sources[:3], "--strict", "--out", tmp_path / "yes.html")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": "aigc_zoo bench 99"}, "its schema is 'aigc_zoo bench 99'"),
        ({"schema": None}, "its schema is None"),
        ({"environment": None}, "it has no environment"),
        ({"environment": {"cores": 2}}, "environment lacks processor"),
        ({"kind": "guess"}, "its kind is 'guess'"),
        ({"entries": [{}]}, "have no names"),
        ({"entries": [{"name": "a"}]}, "has no times"),
    ],
)
def test_invalid_result_files_are_refused(
    change: dict[str, object], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reason in run_command(capsys, 65, "report", make_results(tmp_path / "r.json", **change))


def test_other_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such run"):
        collect([tmp_path / "nothing"])
    with pytest.raises(DataError, match="neither runs nor result files"):
        collect([tmp_path])
    (tmp_path / "torn.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        collect([tmp_path / "torn.json"])
    run = make_run(tmp_path / "run", {0: 1.0})
    card = json.loads((run / "card.json").read_text())
    del card["data"]
    (run / "card.json").write_text(json.dumps(card))
    with pytest.raises(DataError, match="lacks 'data'"):
        collect([run])


def _without(run: Path, *keys: str) -> None:
    card = json.loads((run / "card.json").read_text())
    inner = card
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    (run / "card.json").write_text(json.dumps(card))


BAD_RUNS = {
    "torn card": lambda run: (run / "card.json").write_text('{"recipe": '),
    "card that is a list": lambda run: (run / "card.json").write_text("[]"),
    "no seed": lambda run: _without(run, "seed"),
    "no digest": lambda run: _without(run, "data", "digest"),
    "value that is a text": lambda run: (run / "metrics.jsonl").write_text(
        '{"step": 0, "images": 0, "name": "fid-x", "value": "low", "protocol": {"num": 3, "seed": 0}}\n'
    ),
    "log without terms": lambda run: (run / "log.jsonl").write_text('{"step": 1, "images": 64, "seconds": 1}\n'),
    "torn end": lambda run: (run / "finished.json").write_text("{"),
    "torn held-out file": lambda run: (run / "held_out.json").write_text("{"),
    "card that is a folder": lambda run: ((run / "card.json").unlink(), (run / "card.json").mkdir()),
}


@pytest.mark.parametrize("fault", BAD_RUNS)
def test_a_bad_run_does_not_stop_a_report(fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "good one", {0: 5.0, 9: 4.0})
    bad = make_run(tmp_path / "bad", {0: 5.0, 9: 4.0})
    BAD_RUNS[fault](bad)
    for suffix in ("html", "md"):
        out = tmp_path / f"report.{suffix}"
        assert main(["report", str(tmp_path), "--format", suffix, "--out", str(out)]) == 0
        note = capsys.readouterr().err
        assert note.startswith("left out: ")
        assert len(note.splitlines()) == 1
        assert str(bad) in note
        text = out.read_text()
        assert "good one" in text
        assert "eft out" in text
    assert main(["report", str(tmp_path / "good one"), str(bad), "--out", str(tmp_path / "both.html")]) == 0
    capsys.readouterr()
    assert "bad" in run_command(capsys, 74 if "folder" in fault else 65, "report", bad)


def test_a_bad_result_file_does_not_stop_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "good", {0: 5.0, 9: 4.0})
    make_results(tmp_path / "speed.json", environment=None)
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "all.html")]) == 0
    assert "it has no environment" in capsys.readouterr().err
