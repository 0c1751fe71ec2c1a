"""Checks that need a CUDA device: agreement with the CPU, bfloat16, CUDA graphs, and no synchronization."""

from __future__ import annotations

import torch

from aigc_zoo.testing.assertions import differing, joined, require
from aigc_zoo.testing.checks import CheckFailed, check
from aigc_zoo.testing.subjects import ComponentSubject
from aigc_zoo.testing.trainers import fixture_of
from aigc_zoo.testing.turns import next_entries, player_losses, terms_of


@check("GPU-AGREES", needs="gpu", kinds=("recipe",))
def losses_equal_those_on_the_cpu(subject: ComponentSubject) -> None:
    """With the same weights and noise, every loss equals its value on the CPU to a relative tolerance of 1e-3."""
    fixture = fixture_of(subject)
    cpu, gpu = fixture.trainer(), fixture.trainer(device="cuda")
    odd = differing(cpu.nets.state_dict(), {name: value.cpu() for name, value in gpu.nets.state_dict().items()})
    require(not odd, f"initial weights differ between the devices: {joined(odd)}")
    cpu.nets.eval()
    gpu.nets.eval()
    entries = next_entries(cpu)
    moved = {name: value.cuda() for name, value in entries.items()}
    for player, loss in player_losses(cpu.recipe):
        expected = terms_of(cpu, player, loss, entries=entries)
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            terms = terms_of(gpu, player, loss, entries=moved)
        for name, term in expected.items():
            require(torch.allclose(term, terms[name].cpu(), rtol=1e-3, atol=1e-4), f"term {name} differs on the GPU")


@check("GPU-BF16", needs="gpu", kinds=("recipe",))
def trains_in_bfloat16(subject: ComponentSubject) -> None:
    """With `--precision bf16`, four steps give finite terms."""
    trainer = fixture_of(subject).trainer(device="cuda", precision="bf16")
    for _ in range(4):
        terms = trainer.train_step()
    for name, value in terms.items():
        require(torch.isfinite(value).all(), f"term {name} is not finite in bfloat16: reduce in float32")


@check("GPU-GRAPH", needs="gpu", kinds=("recipe",))
def graphs_equal_eager(subject: ComponentSubject) -> None:
    """Eight steps with CUDA graphs give the weights of eight eager steps, bit for bit."""
    fixture = fixture_of(subject)
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        states = []
        for engine in ("eager", "graph"):
            trainer = fixture.trainer(device="cuda", steps=8, engine=engine)
            for _ in range(8):
                trainer.train_step()
            states.append({name: value.cpu() for name, value in trainer.nets.state_dict().items()})
    odd = differing(*states)
    require(not odd, f"{joined(odd)} differ after eight steps with CUDA graphs: all that varies has to be in the batch")


@check("GPU-SYNC", needs="gpu", kinds=("recipe",))
def never_synchronizes(subject: ComponentSubject) -> None:
    """No loss, `draw` or `generate` reads a value on the host, which would synchronize with the device."""
    trainer = fixture_of(subject).trainer(device="cuda", steps=8)
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
            "a step synchronizes with the device: use no .item(), float(), bool(), boolean mask or print"
        ) from error
    finally:
        torch.cuda.set_sync_debug_mode("default")
