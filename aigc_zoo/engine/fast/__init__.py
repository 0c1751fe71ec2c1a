"""Everything that makes a training step fast, and nothing else: what a step computes is defined in `engine.trainer`.

layout      the channels-last memory format
precision   bf16 autocast inside networks
optimizers  fused optimizers and learning rates on the device
graphs      training steps as CUDA graphs
memory      convolution kernels, the allocator of the C library, out-of-memory errors
"""

from aigc_zoo.engine.fast.graphs import EAGER, WARM_UP, Choice, CudaGraphs, Engine, Recorder
from aigc_zoo.engine.fast.layout import convert_memory_format, is_view_error, to_channels_last, unchanged
from aigc_zoo.engine.fast.memory import choose_kernels, keep_memory, out_of_memory, return_memory
from aigc_zoo.engine.fast.optimizers import set_lr, tune
from aigc_zoo.engine.fast.precision import Autocast, choose_precision

__all__ = [
    "EAGER",
    "WARM_UP",
    "Autocast",
    "Choice",
    "CudaGraphs",
    "Engine",
    "Recorder",
    "choose_kernels",
    "choose_precision",
    "convert_memory_format",
    "is_view_error",
    "keep_memory",
    "out_of_memory",
    "return_memory",
    "set_lr",
    "to_channels_last",
    "tune",
    "unchanged",
]
