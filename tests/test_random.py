"""Random streams that are functions of a key of names and numbers."""

from __future__ import annotations

import torch

from aigc_zoo.random import derive, generator, permutation, seeded


def test_derived_seeds_do_not_change_between_versions() -> None:
    """If they changed, saved runs would resume with other random numbers."""
    assert derive(0, "networks") == 3695142441769975114
    assert derive(7, 3, 1, "draw") == 5344317470549455182


def test_derived_seeds_depend_on_every_element_of_the_key() -> None:
    keys = [(0,), (1,), ("0",), (0, 0), (0, "a"), (0, "b"), (1, "a"), ("a", 0), (11,), (1, 1)]
    seeds = {derive(*key) for key in keys}
    assert len(seeds) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_generator_is_a_function_of_its_key() -> None:
    one, other = (torch.rand(5, generator=generator(1, name)) for name in ("a", "b"))
    assert torch.equal(one, torch.rand(5, generator=generator(1, "a")))
    assert not torch.equal(one, other)


def test_seeded_restores_the_global_random_state() -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    with seeded(torch.device("cpu"), 1, "x"):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    with seeded(torch.device("cpu"), 1, "x"):
        assert torch.equal(torch.rand(2), inside)


def test_a_permutation_contains_every_row_once() -> None:
    order = permutation(100, 0, "rows", 2)
    assert sorted(order.tolist()) == list(range(100))
    assert torch.equal(order, permutation(100, 0, "rows", 2))
    assert not torch.equal(order, permutation(100, 0, "rows", 3))
