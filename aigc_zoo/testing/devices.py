"""Checks that need a CUDA device: it computes what the CPU does, in bfloat16 as well, and never waits for the host."""

from __future__ import annotations

import torch

from aigc_zoo.game import all_losses
from aigc_zoo.testing.checks import CheckFailed, check
from aigc_zoo.testing.probes import differing, joined, need, seeded
from aigc_zoo.testing.subjects import Part
from aigc_zoo.testing.trials import batch_of, trial_of


@check("GPU-AGREES", needs="gpu", kinds=("recipe",))
def devices_agree(part: Part) -> None:
    """From the same weights and the same batch every loss comes to the CPU's value, to a thousandth."""
    trial = trial_of(part)
    here, there = trial.trainer(), trial.trainer(device="cuda")
    odd = differing(here.nets.state_dict(), {name: value.cpu() for name, value in there.nets.state_dict().items()})
    need(not odd, f"initial weights differ between devices: {joined(odd)}")
    here.nets.eval()
    there.nets.eval()
    batch = batch_of(here)
    moved = {name: value.cuda() for name, value in batch.items()}
    for player in trial.recipe.players.values():
        for loss in all_losses(player.loss):
            one, two = seeded(loss, here.nets, batch), seeded(loss, there.nets, moved)
            for name, term in one.items():
                need(torch.allclose(term, two[name].cpu(), rtol=1e-3, atol=1e-4), f"term {name} differs on the GPU")


@check("GPU-BF16", needs="gpu", kinds=("recipe",))
def plays_in_bfloat16(part: Part) -> None:
    """In bfloat16, as --precision bf16 plays it, four steps stay finite."""
    trainer = trial_of(part).trainer(device="cuda", precision="bf16")
    for _ in range(4):
        terms = trainer.train_step()
    for name, value in terms.items():
        need(torch.isfinite(value).all(), f"term {name} is not finite in bfloat16: reduce in float32")


@check("GPU-GRAPH", needs="gpu", kinds=("recipe",))
def graphs_equal_eager(part: Part) -> None:
    """Eight steps as CUDA graphs end in the weights that eight eager steps end in, bit for bit."""
    trial = trial_of(part)
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        ends = []
        for engine in ("eager", "graph"):
            trainer = trial.trainer(device="cuda", steps=8, engine=engine)
            for _ in range(8):
                trainer.train_step()
            ends.append({name: value.cpu() for name, value in trainer.nets.state_dict().items()})
    odd = differing(*ends)
    need(not odd, f"after eight steps as graphs {joined(odd)} differ: whatever varies comes in through the batch")


@check("GPU-SYNC", needs="gpu", kinds=("recipe",))
def never_waits_for_the_host(part: Part) -> None:
    """No loss, draw or make reads a value on the host: the device is never waited for."""
    trainer = trial_of(part).trainer(device="cuda", steps=8)
    for _ in range(3):
        trainer.train_step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.train_step()
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        raise CheckFailed(
            "a step waits for the device: no .item(), float(), bool(), indexing by masks or printing"
        ) from error
    finally:
        torch.cuda.set_sync_debug_mode("default")
