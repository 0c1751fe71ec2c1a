"""The lines that `zoo bench` prints: times, summaries of trained cells, and rows of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aigc_zoo.artefacts.cards import units_of


def times_line(entry: Mapping[str, Any]) -> str:
    """The median time of an entry with its interval."""
    label = f"{entry['group']:<18} {entry['name']:<24}"
    if "skipped" in entry:
        return f"{label} left out: {entry['skipped']}"
    low, high = (1e3 * bound for bound in entry["interval"])
    rate = f"  {entry['images_per_second']:,.0f} {units_of(entry)}/s" if "images_per_second" in entry else ""
    return f"{label} {1e3 * entry['median']:8.3f} ms  [{low:.3f}, {high:.3f}]{rate}"


def summary_line(entry: Mapping[str, Any]) -> str:
    """The values of an entry of trained cells."""
    final, best = entry["final"], entry["best"]
    std = f" ± {final['std']:.3g}" if final["std"] is not None else ""
    mean = "non-finite" if final["mean"] is None else f"{final['mean']:.4g}"
    peak = "non-finite" if best["mean"] is None else f"{best['mean']:.4g}"
    text = f"final {mean}{std}, best {peak}, {entry['collapse_rate']:.0%} collapsed"
    if entry["target"] is None:
        return text
    if entry["seconds_to_target"] is None:
        return f"{text}, target missed by most ({entry['reached']} of {len(entry['seeds'])} reached it)"
    after = f"{entry['seconds_to_target']:.1f} s and {entry['images_to_target']:,.0f} {units_of(entry)}"
    return f"{text}, target after {after} ({entry['reached']} of {len(entry['seeds'])})"


def row_line(row: Mapping[str, Any], kind: str) -> str:
    """A row of a comparison."""
    label = f"{row['group']:<18} {row['name']:<24}".lstrip()
    if row["measure"] == "none":
        return f"{label} {row.get('note') or 'not compared: ' + row['reason']}"
    worse, better = ("slower", "faster") if kind == "speed" else ("worse", "better")
    sign = 1 if row["median"] >= 1 else -1
    word = worse if row["median"] > 1 else better
    verdict = word if row["differs"] or (not row["intervals"] and row["median"] != 1) else "no difference"
    values = f"{row['before']:.4g} -> {row['after']:.4g}  " if "before" in row else ""
    if row["measure"] == "difference":
        estimate, *ends = (sign * value for value in row["difference"])
        number = f"{'difference' if verdict == 'no difference' else f'{word} by'} {estimate:.3g}"
        bounds = ", ".join(f"{end:.3g}" for end in sorted(ends))
    else:
        number, bounds = f"{row['median']:.3f}", f"{row['low']:.3f}, {row['high']:.3f}"
    bounds = f"[{bounds}]" if row["intervals"] else "[single seed, no interval]"
    return f"{label} {values}{number}  {bounds}  {verdict}"
