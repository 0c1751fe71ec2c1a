"""The number of samples that each group of metrics needs, and the advice where there are fewer."""

from __future__ import annotations

from typing import NamedTuple

from aigc_zoo.metrics.coverage import NEIGHBOURS
from aigc_zoo.metrics.fidelity import KID_LEAST, PRC_NEIGHBOURS

KID_FEWEST = 4


class Advice(NamedTuple):
    """How the command that measures gets `more` samples, and what to use instead of more of them."""

    more: str
    instead: str


EVALUATION = Advice("a larger --num", "--allow-few, which the protocol records")
TRAINING = Advice("a larger --eval-num", "--metrics variance-ratio,duplicates")

_NAMES = {"fid": "FID", "kid": "KID", "prc": "precision and recall", "dac": "density and coverage"}
_NAMES |= {"variance-ratio": "the variance ratio", "duplicates": "near-duplicates"}
_LEAST = {"prc": PRC_NEIGHBOURS + 1, "dac": NEIGHBOURS + 1, "variance-ratio": 2, "duplicates": 2}


def least(group: str, dimensions: int, *, few: bool) -> int:
    """The least number of samples for a group of metrics; `few` admits fewer than FID and KID need to be meaningful."""
    if group == "fid":
        return 2 if few else dimensions + 1
    if group == "kid":
        return KID_FEWEST if few else KID_LEAST
    return _LEAST.get(group, 1)


def shortage(
    group: str, counts: tuple[tuple[int, str, str], ...], dimensions: int, *, few: bool, advice: Advice
) -> str:
    """Why one of `counts` (number, of what, how to get more) does not suffice, with the fix; empty if all do."""
    needed = least(group, dimensions, few=few)
    for count, what, more in counts:
        if count < needed:
            features = f" with {dimensions:,} features" if group == "fid" else ""
            instead = "" if few or group not in ("fid", "kid") else f", or {advice.instead}"
            return (
                f"{count:,} {what} are too few for {_NAMES.get(group, group)}{features}: at least {needed:,} are "
                f"needed\nuse {more}{instead}"
            )
    return ""
