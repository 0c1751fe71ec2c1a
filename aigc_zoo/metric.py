"""What a plugin says of one measurement.

The target of a component of kind "metric" returns a `Metric`; its keyword-only parameters are options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, Protocol

from torch import Tensor

from aigc_zoo.game import Spec

Record = Mapping[str, Any]
"""One value as it is stored: name, value, protocol, and interval and data where there are any."""


class Value(NamedTuple):
    """One value that a metric computes.

    name      in records, before the name of the extractor: "fid" of "fid-zoo-grey28"
    title     for tables and reports
    better    the direction in which values improve; "near" means near the ideal
    ideal     the value of real samples, where it is a known number
    warn      (value, record) -> a sentence where the value shows a fault of the samples, "" where it does not
    alarm     short form of that sentence, for tables
    scale     width of the range of values, 1 for fractions; 0 for values without a range
    ratio     whether the ratio of two values has a meaning: they are positive, without a range
    counts    whether it counts something: its setting "of" is the largest possible count
    unbiased  whether its mean does not depend on the number of samples: it leads where there are few
    """

    name: str
    title: str
    better: Literal["lower", "higher", "near"]
    ideal: float | None = None
    warn: Callable[[float, Record], str] | None = None
    alarm: str = ""
    scale: float = 0.0
    ratio: bool = False
    counts: bool = False
    unbiased: bool = False


class Measured(NamedTuple):
    """A value with its interval, settings of the measurement for the protocol, and the same of real samples."""

    value: float
    interval: tuple[float, float] | None = None
    settings: Mapping[str, Any] = {}
    data: Mapping[str, float] = {}


Part = Literal["generated", "reference", "held_out"]


class View(Protocol):
    """What a metric measures: generated samples, and the samples of a split that they are compared with.

    spec, classes    of the reference
    num              number of generated samples
    few              the user admits fewer samples than the metric needs
    """

    spec: Spec
    classes: tuple[str, ...]
    num: int
    few: bool

    def features(self, which: Part = "generated", count: int | None = None) -> Tensor:
        """Features (n, D), float32; of a reference all, or `count` fixed random rows."""
        ...

    def logits(self, which: Part = "generated") -> Tensor:
        """Logits (n, classes) of the extractor, of a metric that needs logits."""
        ...

    def predictions(self, which: Part = "generated") -> Tensor:
        """The class (n,) int64 of the reference that the extractor finds, -1 for a class that the reference lacks; of a
        metric that needs logits and labels.
        """
        ...

    def labels(self) -> Tensor:
        """Labels (n,) int64 of the rows of the reference whose features are `features("reference")`."""
        ...

    def class_counts(self) -> Tensor:
        """The number of rows (classes,) int64 of each class in the whole reference."""
        ...

    def samples(self, which: Part = "generated") -> Iterator[Tensor]:
        """Samples with the precision of files, (n, ...), in chunks of at most 64, on the CPU."""
        ...

    def chunks(self, *names: str) -> Iterator[Mapping[str, Tensor]]:
        """Rows of several entries in chunks of at most 64: "fake", what `generate` and `draw` return beside it, and
        entries of the data that the fakes were generated from, "real" among them. Samples have the precision of files,
        (n, ...), on the CPU.
        """
        ...

    def cached(self, name: str, compute: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """What `compute` returns for the reference, from a file if it was computed before."""
        ...


class Metric(NamedTuple):
    """Named values that are computed together.

    values      in the order of reports
    measure     the function that computes them, by name
    modalities  ids of the modalities that it measures, () for any
    extractor   id of the extractor that it needs, "" for the run's
    entries     entries that `measure` reads beside "fake"; a recipe or dataset without them is not measured
    needs       of: "features", "logits", "samples", "labels", "held_out"
    least       smallest number of samples, and of the reference if it needs that, given the dimension of the features
    fewest      the same where the user admits fewer (--allow-few)
    coarse      whether coarse features are enough, such as averaged pixels: values are relative to those of the data
    refuses     spec -> why it cannot measure such samples here, such as their size or a missing library; "" if it can
    """

    values: tuple[Value, ...]
    measure: Callable[[View], Mapping[str, Measured]]
    modalities: tuple[str, ...] = ()
    extractor: str = ""
    entries: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset({"features"})
    least: Callable[[int], int] = lambda dimensions: 1
    fewest: int = 1
    coarse: bool = False
    refuses: Callable[[Spec], str] = lambda spec: ""
