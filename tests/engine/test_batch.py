"""The batch that a loss receives: a full mapping whose fakes are generated when they are needed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from sketch.toy import player, toy, weight_of
from sketch.training import train
from torch import Tensor

from aigc_zoo.engine.batch import StepBatch, split_batch
from aigc_zoo.game import Batch, Nets, Terms

Z, REAL = torch.arange(3.0), torch.ones(3, 1)
KEYS = ["real", "z", "fake", "code"]


def batch_of(calls: list[int], keep_graph: bool = False) -> StepBatch:
    """A batch of two entries and two generated ones; `calls` gets the number of each generation."""
    weight = torch.tensor(2.0, requires_grad=True)

    def generate(entries: Batch) -> Mapping[str, Tensor]:
        calls.append(len(calls))
        return {"fake": weight * entries["z"], "code": weight + 1, "z": entries["z"] - 100}

    return StepBatch({"real": REAL, "z": Z}, generate, keep_graph)


READS: Mapping[str, tuple[Callable[[Any], Any], Any]] = {
    "contains": (lambda batch: "fake" in batch, True),
    "contains another": (lambda batch: "fakes" in batch, False),
    "length": (len, 4),
    "truth": (bool, True),
    "list": (list, KEYS),
    "sorted": (sorted, sorted(KEYS)),
    "keys": (lambda batch: list(batch.keys()), KEYS),
    "keys contain": (lambda batch: "code" in batch.keys(), True),  # noqa: SIM118
    "set of keys": (lambda batch: batch.keys() - {"z"}, set(KEYS) - {"z"}),
    "items": (lambda batch: [key for key, _ in batch.items()], KEYS),
    "values": (lambda batch: [value.ndim for value in batch.values()], [2, 1, 1, 0]),
    "get": (lambda batch: batch.get("fake").tolist(), [0.0, 2.0, 4.0]),
    "get another": (lambda batch: batch.get("fakes", 5), 5),
    "dictionary": (lambda batch: list(dict(batch)), KEYS),
    "unpacked": (lambda batch: list({**batch}), KEYS),
    "unpacked and changed": (lambda batch: {**batch, "code": None}["code"], None),
    "keyword arguments": (lambda batch: list((lambda **given: given)(**batch)), KEYS),
    "or": (lambda batch: list(batch | {"more": Z}), [*KEYS, "more"]),
    "or of a dictionary": (lambda batch: list({"more": Z} | batch), ["more", *KEYS]),
    "update": (lambda batch: _updated(batch), KEYS),
    "copy": (lambda batch: list(batch.copy()), KEYS),
    "copy.copy": (lambda batch: list(copy.copy(batch)), KEYS),
    "repr": (lambda batch: "fake" in repr(batch), True),
    "match": (lambda batch: _matched(batch), 2.0),
    "pop": (lambda batch: batch.pop("code").item(), 3.0),
    "setdefault": (lambda batch: batch.setdefault("code", Z).item(), 3.0),
}  # fmt: skip


def _updated(batch: Batch) -> list[str]:
    other: dict[str, Tensor] = {}
    other.update(batch)
    return list(other)


def _matched(batch: Batch) -> float | None:
    match batch:
        case {"fake": fake, "z": _}:
            return float(fake.detach()[1])
    return None


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("with_graph", [False, True])
def test_the_batch_is_a_full_mapping(read: str, with_graph: bool) -> None:
    """Each read, as the first one of a turn, finds what a dictionary with the fakes in it would give."""
    calls: list[int] = []
    function, expected = READS[read]
    assert function(batch_of(calls).view(with_graph, 0)) == expected
    assert calls == [0]


def test_a_read_of_an_entry_generates_nothing() -> None:
    calls: list[int] = []
    batch = batch_of(calls).view(True, 0)
    assert "z" in batch
    assert batch["z"] is Z
    assert batch.get("real") is REAL
    assert calls == []


def test_fakes_are_generated_once_for_all_reads_and_players() -> None:
    calls: list[int] = []
    shared = batch_of(calls, keep_graph=True)
    one, other = shared.view(False, 0), shared.view(True, 0)
    assert [len(one), len(other), "fake" in one, "fake" in other] == [4, 4, True, True]
    assert not any(value.requires_grad for value in {**one}.values())
    assert {name for name, value in {**other}.items() if value.requires_grad} == {"fake", "code"}
    assert calls == [0]


def test_an_entry_keeps_its_value_whatever_was_read_before() -> None:
    """`generate` returns another `z` here."""
    batch = batch_of([]).view(False, 0)
    before = batch["z"]
    assert batch["fake"].shape == (3,)
    assert batch["z"] is before is {**batch}["z"]


def test_values_of_a_loss_are_those_of_its_turn_alone() -> None:
    shared = batch_of([])
    one, other = shared.view(False, 0), shared.view(False, 0)
    one["fake"] = Z + 7
    del one["code"]
    assert one["fake"].tolist() == [7.0, 8.0, 9.0]
    assert "code" not in one
    assert other["fake"].tolist() == [0.0, 2.0, 4.0]
    assert "code" in other


@pytest.mark.parametrize("read", ["contains", "get", "list", "unpacked", "length"])
def test_an_error_of_generate_is_not_hidden(read: str) -> None:
    def generate(entries: Batch) -> Mapping[str, Tensor]:
        return {"fake": entries["label"]}

    with pytest.raises(KeyError, match="label"):
        READS[read][0](StepBatch({"z": Z}, generate, False).view(False, 0))


def test_a_batch_of_a_view_is_split() -> None:
    halves = split_batch(batch_of([]).view(False, 0), 3, 3)
    assert [list(half) for half in halves] == [KEYS] * 3
    assert [half["fake"].tolist() for half in halves] == [[0.0], [2.0], [4.0]]


@pytest.mark.parametrize(
    "fake_of",
    [
        lambda batch: batch["fake"],
        lambda batch: {**batch}["fake"],
        lambda batch: (batch | {"real": None})["fake"],
        lambda batch: batch["fake"] if "fake" in batch else batch["z"],
        lambda batch: dict(batch.items())["fake"],
    ],
)
def test_every_way_to_read_the_fakes_trains_to_the_same_weights(fake_of: Callable[[Any], Tensor]) -> None:
    def loss(nets: Nets, batch: Batch) -> Terms:
        return {"loss": (nets.D.w * fake_of(batch)).mean()}

    a = toy({"discriminator": player("D", loss=loss), "generator": player("G", loss=loss)})
    b = toy({name: player(*one, loss=lambda n, batch: {"loss": (n.D.w * batch["fake"]).mean()})
             for name, one in {"discriminator": "D", "generator": "G"}.items()})  # fmt: skip
    train(a, 3)
    train(b, 3)
    assert [weight_of(a, name) for name in "GHD"] == [weight_of(b, name) for name in "GHD"]
