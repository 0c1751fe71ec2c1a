"""What a measurement needs, under the names that the benchmarks here use: it lives in `aigc_zoo.bench`."""

from aigc_zoo.bench.environment import commit, environment
from aigc_zoo.bench.pairing import Paired, interval

__all__ = ["Paired", "commit", "environment", "interval"]
