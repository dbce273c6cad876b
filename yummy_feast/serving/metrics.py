"""Counters, gauges and histograms for Prometheus, cheap enough for every request and summed over worker processes.

What is counted is declared beforehand, so each number has a fixed place in one array of doubles: counting is one
addition. With several workers the array is a file of each, mapped into memory; whoever is asked for /metrics adds them.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    import numpy.typing as npt
    from prometheus_client import Metric
    from prometheus_client.registry import Collector

CONTENT_TYPE: Final = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_SUFFIX: Final = ".numbers"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric and its label values, all of which are known beforehand.

    bounds: of a histogram's buckets, rising, without the infinite one. over: how gauges of several workers are one.
    """

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    label: str = ""
    values: tuple[str, ...] = ("",)
    bounds: tuple[float, ...] = ()
    over: Callable[[Sequence[float]], float] = sum

    @property
    def width(self) -> int:
        """Numbers per label value: a histogram has its buckets and a sum."""
        return len(self.bounds) + 2 if self.kind == "histogram" else 1


class Sheet:
    """The numbers of one process, and the way to those of its siblings.

    Args:
        families: what is counted; the same in every process.
        folder: where the workers of one server keep their files; None for a server of one process.
    """

    def __init__(self, families: Sequence[Family], folder: Path | None = None) -> None:
        self._families = tuple(families)
        self._start: dict[str, int] = {}
        size = 0
        for family in self._families:
            self._start[family.name] = size
            size += family.width * len(family.values)
        self._folder = folder
        self._size = size
        if folder is None:
            self.numbers = memoryview(bytearray(8 * size)).cast("d")
        else:
            self.numbers = memoryview(_mapped(folder / f"{os.getpid()}{_SUFFIX}", 8 * size)).cast("d")

    def adder(self, name: str) -> Callable[[str], None]:
        """The function that counts one more of a label value of counter ``name``; an unknown value is an error."""
        family, numbers = self._family(name), self.numbers
        place = {value: self._start[name] + at for at, value in enumerate(family.values)}

        def add(value: str) -> None:
            numbers[place[value]] += 1

        return add

    def place(self, name: str, value: str = "") -> int:
        """Where in ``numbers`` a counter or gauge stands, or the buckets of a histogram begin."""
        family = self._family(name)
        return self._start[name] + family.width * family.values.index(value)

    def observer(self, name: str, value: str = "") -> Callable[[float], None]:
        """The function that puts a measurement into histogram ``name``."""
        family, numbers = self._family(name), self.numbers
        bounds = family.bounds
        start = self._start[name] + family.width * family.values.index(value)
        total = start + len(bounds) + 1

        def observe(measured: float) -> None:
            numbers[start + bisect_left(bounds, measured)] += 1
            numbers[total] += measured

        return observe

    def many_observer(self, name: str, value: str = "") -> Callable[[npt.NDArray[Any]], None]:
        """The function that puts many measurements into histogram ``name`` at once."""
        import numpy as np

        family, numbers = self._family(name), self.numbers
        bounds = np.array(family.bounds)
        start = self._start[name] + family.width * family.values.index(value)
        total = start + len(bounds) + 1

        def observe(measured: npt.NDArray[Any]) -> None:
            counts = np.bincount(np.searchsorted(bounds, measured), minlength=len(bounds) + 1)
            for at in counts.nonzero()[0].tolist():
                numbers[start + at] += int(counts[at])
            numbers[total] += float(np.sum(measured))

        return observe

    def exposition(self, *others: Collector) -> bytes:
        """The text that Prometheus reads, of all processes together, and of other collectors."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        for collector in (self, *others):
            registry.register(collector)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client asks of a collector."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        sheets = self._all_sheets()
        for family in self._families:
            labels = [family.label] if family.label else []
            start = self._start[family.name]
            metric: Any
            if family.kind == "histogram":
                metric = HistogramMetricFamily(family.name, family.help, labels=labels)
            elif family.kind == "counter":
                metric = CounterMetricFamily(family.name, family.help, labels=labels)
            else:
                metric = GaugeMetricFamily(family.name, family.help, labels=labels)
            for at, value in enumerate(family.values):
                named = [value] if family.label else []
                low = start + at * family.width
                columns = [
                    [numbers[place] for numbers, is_alive in sheets if is_alive or family.kind != "gauge"]
                    for place in range(low, low + family.width)
                ]
                if family.kind == "histogram":
                    *counts, total = map(sum, columns)
                    metric.add_metric(named, buckets=_cumulative(family.bounds, counts), sum_value=total)
                else:
                    over = family.over if family.kind == "gauge" else sum
                    metric.add_metric(named, over(columns[0]))
            yield metric

    def _family(self, name: str) -> Family:
        return next(family for family in self._families if family.name == name)

    def _all_sheets(self) -> list[tuple[Sequence[float], bool]]:
        """Numbers of every process there is and was, and whether it still is: what the dead counted stays counted."""
        if self._folder is None:
            return [(self.numbers, True)]
        found: list[tuple[Sequence[float], bool]] = []
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            data = path.read_bytes()
            # A worker that just began may not have its full size yet.
            if len(data) == 8 * self._size:
                found.append((memoryview(data).cast("d"), _is_alive(int(path.stem))))
        return found


def _mapped(path: Path, size: int) -> mmap.mmap:
    with path.open("a+b") as file:
        file.truncate(size)
        return mmap.mmap(file.fileno(), size)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _cumulative(bounds: Sequence[float], counts: Sequence[float]) -> list[tuple[str, float]]:
    buckets, so_far = [], 0.0
    for bound, count in zip((*bounds, float("inf")), counts, strict=True):
        so_far += count
        buckets.append(("+Inf" if bound == float("inf") else repr(float(bound)), so_far))
    return buckets
