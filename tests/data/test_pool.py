"""Batches are a function of (seed, index, size), wherever the rows are and whatever the world size is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from aigc_zoo.data.pool import Fetcher, Pool, example
from aigc_zoo.data.samples import image_samples
from aigc_zoo.game import Batch, Draw, Samples, Spec


def numbered(count: int) -> Samples:
    """Samples whose pixel is their row number."""
    images = torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1)
    return image_samples("numbered", "train", images, torch.arange(count) % 3)


def rows_of(batch: Mapping[str, Tensor]) -> list[int]:
    return ((batch["real"].flatten() + 1) * 127.5).round().int().tolist()


def noisy(rows: Mapping[str, Tensor], draw: Draw) -> Batch:
    first, second = draw(2), draw()
    return {"real": rows["real"].float(), "noise": torch.cat((first, second[:, None]), 1)}


def with_noise(count: int) -> Samples:
    fields = {"real": torch.arange(count, dtype=torch.float32)[:, None]}
    return Samples(
        name="noisy", split="train", spec=Spec(shape=(1,)), fields=fields, decode=noisy, digest="", groups=(("real",),)
    )


def test_an_epoch_is_a_permutation_and_the_next_another() -> None:
    pool = Pool(numbered(12), "cpu")
    epochs = [[row for index in range(3) for row in rows_of(pool.batch(0, 3 * epoch + index, 4))] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert rows_of(pool.batch(1, 0, 12)) != rows_of(pool.batch(0, 0, 12))


def test_a_batch_spans_epochs() -> None:
    pool = Pool(numbered(5), "cpu")
    stream = [row for index in range(5) for row in rows_of(pool.batch(0, index, 3))]
    assert [sorted(stream[5 * epoch : 5 * epoch + 5]) for epoch in range(3)] == [list(range(5))] * 3
    assert rows_of(pool.batch(0, 0, 15)) == stream  # a batch of three epochs is the same stream


def test_a_batch_does_not_depend_on_earlier_ones() -> None:
    pool = Pool(numbered(10), "cpu")
    batches = [pool.batch(0, index, 7) for index in range(9)]
    for index in (8, 0, 5):
        again = Pool(numbered(10), "cpu").batch(0, index, 7)
        assert all(torch.equal(again[key], batches[index][key]) for key in again)
        assert rows_of(pool.batch(0, index, 7)) == rows_of(again)


def test_labels_stay_with_their_images() -> None:
    batch = Pool(numbered(11), "cpu").batch(3, 2, 8)
    assert batch["label"].argmax(1).tolist() == [row % 3 for row in rows_of(batch)]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_get_slices_of_the_global_batch(world: int) -> None:
    pool = Pool(with_noise(20), "cpu")
    whole = pool.batch(0, 4, 7)
    parts = [pool.batch(0, 4, 7, rank, world) for rank in range(world)]
    for key, entry in whole.items():
        assert torch.equal(torch.cat([part[key] for part in parts]), entry)
    assert [len(part["real"]) for part in parts] == [(r + 1) * 7 // world - r * 7 // world for r in range(world)]


def test_random_numbers_for_decoding_are_uniform_and_differ_between_batches() -> None:
    pool = Pool(with_noise(50), "cpu")
    noise = torch.cat([pool.batch(0, index, 500)["noise"] for index in range(4)])
    assert noise.shape == (2000, 3)
    assert 0 <= float(noise.min()) < 0.01 < 0.99 < float(noise.max()) < 1
    assert len(noise.unique()) > 0.99 * noise.numel()


def test_unpaired_groups_have_separate_epochs() -> None:
    samples = Samples(
        name="unpaired",
        split="train",
        spec=Spec(shape=()),
        fields={"a": torch.arange(4), "b": torch.arange(6), "b2": torch.arange(6) * 10},
        decode=lambda rows, draw: dict(rows),
        digest="",
        groups=(("a",), ("b", "b2")),
    )
    pool = Pool(samples, "cpu")
    batches = [pool.batch(0, index, 2) for index in range(6)]
    stream = {key: torch.cat([batch[key] for batch in batches]).tolist() for key in ("a", "b", "b2")}
    assert [sorted(stream["a"][start : start + 4]) for start in (0, 4, 8)] == [[0, 1, 2, 3]] * 3
    assert [sorted(stream["b"][start : start + 6]) for start in (0, 6)] == [[0, 1, 2, 3, 4, 5]] * 2
    assert stream["b2"] == [10 * row for row in stream["b"]]
    assert pool.rows(torch.tensor([5]))["a"].tolist() == [1]  # indices wrap around at the end of a group


def test_memory_mapped_fields_give_the_same_batches(tmp_path: Path) -> None:
    samples = numbered(30)
    save_file(dict(samples.fields), tmp_path / "fields.safetensors")
    mapped = Samples(**{**vars(samples), "fields": load_file(tmp_path / "fields.safetensors")})
    for index in range(3):
        ours, theirs = Pool(samples, "cpu").batch(0, index, 8), Pool(mapped, "cpu").batch(0, index, 8)
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_row_is_decoded_with_the_same_numbers_in_every_batch() -> None:
    pool = Pool(with_noise(5), "cpu")
    batch = pool.rows(torch.tensor([3, 0, 3]))
    assert batch["real"].flatten().tolist() == [3, 0, 3]
    assert torch.equal(batch["noise"][0], batch["noise"][2])
    assert not torch.equal(batch["noise"][0], batch["noise"][1])
    assert torch.equal(batch["noise"], pool.rows(torch.tensor([0, 3]))["noise"][[1, 0, 1]])
    assert example(with_noise(5), 2)["real"].flatten().tolist() == [0, 1]


def test_the_permutations_of_few_epochs_are_cached() -> None:
    pool = Pool(numbered(3), "cpu")
    for index in range(50):
        pool.batch(0, index, 4)
    assert len(pool._orders) <= 4


@pytest.mark.gpu
@pytest.mark.parametrize("budget", [None, 0])
def test_a_cuda_device_gives_the_same_batches(budget: int | None) -> None:
    levels = image_samples("levels", "train", torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1))
    for samples in (levels, with_noise(20)):
        pool = Pool(samples, "cuda", budget)
        assert pool.resident == (budget is None)
        for index in range(3):
            ours, theirs = Pool(samples, "cpu").batch(0, index, 33), pool.batch(0, index, 33)
            assert all(value.device.type == "cuda" for value in theirs.values())
            assert all(torch.equal(ours[key], theirs[key].cpu()) for key in ours)


# --- rows that do not fit on the device -------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [1, 2])
def test_prefetched_batches_are_the_same(world: int) -> None:
    """Batches in order, out of order, with other sizes and seeds, and across epochs."""
    resident, prefetched = Pool(with_noise(20), "cpu"), Pool(with_noise(20), "cpu", budget=0)
    assert resident.resident
    assert not prefetched.resident
    for seed, index, size in [*((0, n, 6) for n in range(9)), (0, 3, 6), (1, 4, 6), (1, 5, 4), (1, 6, 4), (1, 6, 4)]:
        for rank in range(world):
            ours, theirs = (
                prefetched.batch(seed, index, size, rank, world),
                resident.batch(seed, index, size, rank, world),
            )
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert rows_of(Pool(numbered(9), "cpu", budget=0).rows(torch.tensor([4, 10]))) == [4, 1]


def test_rows_are_prefetched_while_the_previous_batch_is_used() -> None:
    gathered: list[int] = []
    fetcher = Fetcher(torch.device("cpu"))

    def gather(number: int) -> dict[str, Tensor]:
        gathered.append(number)
        return {"real": torch.tensor(number)}

    fetcher.fetch((0,), lambda: gather(0))
    fetcher.prefetch((1,), lambda: gather(1))
    fetcher._thread.submit(int).result()  # waits until the thread has finished its work
    assert gathered == [0, 1]
    assert int(fetcher.fetch((1,), lambda: gather(9))["real"]) == 1
    assert gathered == [0, 1]


def test_errors_of_the_thread_are_raised_by_fetch() -> None:
    fetcher = Fetcher(torch.device("cpu"))

    def fails() -> dict[str, Tensor]:
        raise OSError("the disk is gone")

    fetcher.prefetch((1,), fails)
    with pytest.raises(OSError, match="the disk is gone"):
        fetcher.fetch((1,), fails)


MEMORY = """
import sys
import torch
from aigc_zoo import options, plugins
from aigc_zoo.run.prepare import prepare

catalogue = plugins.catalogue()
given = {"steps": 100, "batch_size": 16, "generator.width": 8, "discriminator.width": 8}
prepared = prepare(catalogue, options.resolve(catalogue, "dcgan", data=sys.argv[1], given=given, origin="python"))
trainer = prepared.trainer()
for _ in range(20):
    trainer.train_step()
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("RssAnon")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="RssAnon exists on Linux only")
def test_memory_does_not_grow_with_the_dataset(tmp_path: Path) -> None:
    """With ten times the images, 25 and 246 MB, anonymous memory stays within 5 %."""
    used = []
    for count in (2_000, 20_000):
        path = tmp_path / f"{count}.npy"
        images = np.lib.format.open_memmap(path, "w+", np.uint8, (count, 3, 64, 64))
        for row in range(0, count, 1_000):
            images[row : row + 1_000] = np.random.default_rng(row).integers(0, 255, (1_000, 3, 64, 64), np.uint8)
        images.flush()
        del images
        done = subprocess.run([sys.executable, "-c", MEMORY, path], capture_output=True, text=True, check=True)
        used.append(int(done.stdout))
    assert used[1] <= 1.05 * used[0], used
