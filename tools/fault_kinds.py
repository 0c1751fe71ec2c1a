"""The kinds of faults of daily use in docs/reliability.md, and the number of tests of each, which are collected."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "reliability" / "instances.json"
BEGIN, END = "<!-- begin: faults -->", "<!-- end: faults -->"
FEWEST = 3
"""Every kind has at least this many instances."""


class Kind(NamedTuple):
    """A kind of fault, and its tests below tests/: files, or functions as FILE::FUNCTION."""

    name: str
    tests: tuple[str, ...]


def _of(file: str, *functions: str) -> tuple[str, ...]:
    """Functions of one test file."""
    return tuple(f"{file}::test_{name}" for name in functions)


KINDS: tuple[Kind, ...] = (
    Kind("a comparison passes what cannot be compared", ("bench/test_comparison.py", "bench/test_identity.py")),
    Kind("test samples are trained on", ("data/test_splits.py",)),
    Kind(
        "a run reads its own output as data",
        _of("data/test_left_out.py", "run_directories_are_not_data", "a_link_to_a_run_is_not_data",
            "a_run_is_found_by_its_files_alone", "a_folder_with_nothing_but_a_run_is_refused_with_the_reason"),
    ),
    Kind(
        "one name has two meanings",
        _of("run/test_names.py", "a_folder_that_is_called_like_a_dataset_is_not_recorded",
            "a_path_is_recorded_as_an_absolute_path", "an_evaluation_uses_the_data_of_the_training"),
    ),
    Kind("an EMA averages what is no average", ("engine/test_ema.py",)),
    Kind("classes are compared by their number only", ("metrics/test_classifier.py",)),
    Kind(
        "`--class` picks another class",
        _of("run/test_sample.py", "a_name_is_found_before_a_position", "what_is_no_class_is_refused",
            "a_class_is_the_same_by_name_and_by_number", "one_class_can_be_sampled",
            "python_refuses_in_the_words_of_the_command"),
    ),
    Kind("labels and metadata beside the samples are ignored", ("data/test_metadata.py",)),
    Kind("a cache does not see a change", ("data/test_changes.py",)),
    Kind(
        "samples of two calls are mixed or overwritten",
        _of("run/test_sample.py", "a_folder_with_samples_is_refused_as_it_is", "a_call_that_fails_leaves_no_samples",
            "a_second_call_is_not_mixed_with_the_first", "each_class_has_a_default_file_of_its_own",
            "other_files_of_a_folder_are_kept"),
    ),
    Kind("a run is tied to a path", ("run/test_moved.py", "run/test_places.py")),
    Kind("closed, full and broken streams lose work", ("cli/test_streams.py", "run/test_streams.py")),
    Kind("data that repeat give alarms of collapse", ("metrics/test_repeats.py",)),
    Kind("arrays are taken for something else", ("data/test_array_images.py", "data/test_array_labels.py")),
    Kind(
        "folders of samples cannot be evaluated, or give wrong values",
        ("run/test_evaluate_folders.py", "run/test_own_images.py", "data/test_lossy.py"),
    ),
    Kind(
        "files are left out without a word",
        _of("data/test_left_out.py", "files_that_are_not_read_are_named", "files_that_skip_bad_leaves_out_are_named",
            "broken_links_and_pipes_are_named", "one_image_outside_the_classes_is_named_for_folder_and_archive"),
    ),
    Kind("advice fails when it is typed", ("cli/test_advice.py", "test_advised_installs.py")),
    Kind("pixels are rotated, clipped or darkened", ("data/test_png.py", "data/test_pixels.py")),
    Kind("ranks of a finished or refused run crash", ("run/test_agreement.py",)),
    Kind("held-out values are measured on training inputs", ("run/test_held_out.py",)),
    Kind("a run cannot be continued to another length", ("run/test_longer.py",)),
    Kind(
        "memory runs out without a warning",
        ("run/test_memory.py", "run/test_footprint.py", "run/test_free_memory.py",
         *_of("run/test_arguments.py", "more_samples_than_memory_holds", "the_command_names_how_many_samples_fit")),
    ),
    Kind("completion is missing, wrong or slow", ("cli/test_completion.py",)),
    Kind(
        "lists and reports say what is not so, or stop at one bad entry",
        ("cli/test_data.py", "data/test_stacked.py", "run/test_origin.py",
         *_of("cli/test_config.py", "augmentations_are_taken_in_their_order"),
         *_of("report/test_report.py", "a_bad_run_does_not_stop_a_report", "a_bad_result_file_does_not_stop_a_report")),
    ),
    Kind("devices that torch has are refused", ("run/test_device.py",)),
    Kind("a notebook lacks what the commands do", ("run/test_notebook.py", "data/test_memory.py")),
    Kind("terms of lazy penalties are not logged", ("run/test_terms.py",)),
    Kind("a held-out split is compared with itself", ("run/test_evaluate.py",)),
    Kind(
        "a second plugin makes names ambiguous, a missing one is not named",
        _of("run/test_names.py", "an_unfinished_run_resumes_beside_a_second_plugin", "a_card_with_short_names_is_read",
            "a_missing_piece_names_the_package_to_install", "a_reference_of_a_recipe_is_never_that_of_another_package",
            "a_version_without_the_component_names_the_former_version",
            "the_extractor_of_a_dataset_is_that_of_its_own_package"),
    ),
    Kind(
        "`zoo check` misses faults, or finds some where there are none",
        ("testing/test_faults.py", "testing/test_families.py", "testing/test_right_plugins.py"),
    ),
    Kind("only the first stage of a recipe is timed", ("bench/test_stages.py", "engine/test_stages.py")),
    Kind("a batch is no full mapping", ("engine/test_batch.py",)),
    Kind("losses cannot be changed and extended through stages", ("test_plays.py",)),
    Kind(
        "options are hidden, or dropped in silence",
        ("cli/test_sample.py", "cli/test_sampling_options.py", "cli/test_dataset_options.py", "cli/test_text.py",
         "run/test_nothing_to_measure.py"),
    ),
    Kind("the guide says what is not so", ("test_guide.py",)),
)  # fmt: skip


def counted() -> list[dict[str, Any]]:
    """For each kind the number of its tests and their rows in the first table. Raises ValueError for one without."""
    import pytest

    class Collected:
        def pytest_collection_finish(self, session: pytest.Session) -> None:
            self.items = list(session.items)

    found = Collected()
    files = sorted({str(ROOT / "tests" / test.partition("::")[0]) for kind in KINDS for test in kind.tests})
    options = ["--collect-only", "-q", "-m", "", "-n", "0", "--rootdir", str(ROOT)]
    output = io.StringIO()
    with redirect_stdout(output):
        code = pytest.main([*options, "-c", str(ROOT / "pyproject.toml"), *files], plugins=[found])
    if code:
        raise ValueError(f"the tests cannot be collected:\n{output.getvalue()}")
    return [_counted(kind, found.items) for kind in KINDS]


def _counted(kind: Kind, items: Iterable[Any]) -> dict[str, Any]:
    own: dict[str, list[Any]] = {test: [] for test in kind.tests}
    for item in items:
        function = item.nodeid.removeprefix("tests/").partition("[")[0]
        for test in (function, function.partition("::")[0]):
            if test in own:
                own[test].append(item)
    if empty := [test for test, found in own.items() if not found]:
        raise ValueError(f"{kind.name}: there is no test {', '.join(empty)}")
    marks = (mark for found in own.values() for item in found for mark in item.iter_markers("promise"))
    return {
        "kind": kind.name,
        "instances": sum(map(len, own.values())),
        "rows": list(dict.fromkeys(mark.args[0] for mark in marks)),
    }


def table(result: Iterable[Mapping[str, Any]]) -> str:
    """The kinds as a Markdown table."""
    rows = ["| | kind of fault | tests | instances | rows above |", "|---|---|---|---|---|"]
    for number, (kind, facts) in enumerate(zip(KINDS, result, strict=True), 1):
        files = ", ".join(f"`{file}`" for file in dict.fromkeys(test.partition("::")[0] for test in kind.tests))
        rows.append(f"| {number} | {kind.name} | {files} | {facts['instances']:,} | {', '.join(facts['rows'])} |")
    return "\n".join(rows)


def stored() -> list[dict[str, Any]]:
    """The counts of the page."""
    return list(json.loads(RESULT.read_text(encoding="utf-8"))["kinds"])


def store() -> None:
    """Count the tests and store the counts."""
    RESULT.write_text(json.dumps({"schema": 1, "kinds": counted()}, indent=1) + "\n", encoding="utf-8")


def page(text: str) -> str:
    """The page with the table of the stored counts."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table(stored())}\n{END}{rest.partition(END)[2]}"
