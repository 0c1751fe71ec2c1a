"""Buffers that are computed from weights, renewed for the averaged weights of an EMA.

Spectral normalization divides a weight W by u^T W v. Its buffers u and v are unit vectors, which a power iteration
turns towards the first singular vectors of W (Miyato et al., 2018, algorithm 1). Neither their average, which is
shorter than one, nor the vectors of another W give the largest singular value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from torch import nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm


def renewed_buffers(net: nn.Module) -> set[str]:
    """The names of the vectors of torch's spectral norms, of the parametrization and of the older hook."""
    found = set()
    for path, module in net.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        keys = [key for hook in _hooks(module) for key in (f"{hook.name}_u", f"{hook.name}_v")]
        keys += ["_u", "_v"] if _iterates(module) else []
        found |= {prefix + key for key in keys}
    return found


def renewals(net: nn.Module) -> list[Callable[[], object]]:
    """The functions that renew buffers of a network for its weights: one step of each of torch's spectral norms, and
    the method `renew_buffers` of the modules that have one."""
    found: list[Callable[[], object]] = []
    for module in net.modules():
        if isinstance(module, ParametrizationList) and (norms := list(filter(_iterates, module.modules()))):
            found.append(partial(_iterate, module, norms))
        found += [partial(hook.compute_weight, module, True) for hook in _hooks(module)]
        if callable(own := getattr(module, "renew_buffers", None)):
            found.append(own)
    return found


def _iterate(weight: ParametrizationList, norms: Sequence[nn.Module]) -> None:
    """Compute a weight with its spectral norms in training mode, in which they iterate."""
    for norm in norms:
        norm.training = True
    weight()
    for norm in norms:
        norm.training = False


def _iterates(module: nn.Module) -> bool:
    """Whether a module is a spectral norm with vectors; that of a vector needs none."""
    return isinstance(module, _SpectralNorm) and "_u" in module._buffers


def _hooks(module: nn.Module) -> Iterator[SpectralNorm]:
    return (hook for hook in module._forward_pre_hooks.values() if isinstance(hook, SpectralNorm))
