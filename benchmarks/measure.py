"""Measuring: processes of their own, their peak memory, the machine, and tables of text."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULT = "result: "


class ContenderError(RuntimeError):
    """A contender did not finish: how it ended, in one line."""


@dataclass(frozen=True, slots=True)
class Usage:
    """One run: seconds on the clock; bytes resident in its process ``before`` the run and at most (``peak``)."""

    seconds: float
    before: int
    peak: int


def run_alone(module: str, *arguments: str, timeout: float | None = None) -> dict[str, Any]:
    """Run ``python -m module arguments`` and return what it reported.

    A process per run: peak memory is counted per process, and nobody profits from what an earlier run left in memory.
    """
    command = [sys.executable, "-W", "ignore", "-m", module, *arguments]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise ContenderError(f"stopped after {timeout:.0f} s") from None
    reports = [line.removeprefix(RESULT) for line in done.stdout.splitlines() if line.startswith(RESULT)]
    if done.returncode or not reports:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise ContenderError(f"exit code {done.returncode}: {said}")
    report: dict[str, Any] = json.loads(reports[-1])
    return report


def report(**values: object) -> None:
    """What a contender's process tells the one that started it; what libraries print is passed over."""
    print(RESULT + json.dumps(values), flush=True)


def resident_memory() -> int:
    """Bytes resident now in this process and those it started; 0 where the system does not say."""
    return 1024 * sum(_status_kilobytes("VmRSS", process) for process in _family())


def peak_memory() -> int:
    """The most bytes ever resident in this process, in each that it started and that still runs (a JVM, its workers),
    and in the largest one that ended.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    if family := _family():
        # Not ru_maxrss: a new process starts with that of the process it was forked from.
        return (sum(_status_kilobytes("VmHWM", process) for process in family) + children) * 1024
    # macOS counts in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + children


def _family(process: int | None = None) -> list[int]:
    """This process and those it started, theirs included; none where there is no /proc."""
    process = process or os.getpid()
    found = [process] if Path(f"/proc/{process}/status").exists() else []
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += [each for child in children.read_text().split() for each in _family(int(child))]
    return found


def _status_kilobytes(name: str, process: int) -> int:
    """0 for a process that has just ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    return 0


def median(runs: Sequence[Usage]) -> Usage:
    """The median of each figure by itself."""
    return Usage(
        seconds=statistics.median(run.seconds for run in runs),
        before=int(statistics.median(run.before for run in runs)),
        peak=int(statistics.median(run.peak for run in runs)),
    )


def machine(*packages: str) -> str:
    """The machine and the versions that figures belong to, in one line."""
    names = {"python": platform.python_version(), **{name: version(name) for name in packages}}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {number}" for name, number in names.items())
    return f"{processor()}, {cores} cores, {memory:.0f} GiB, {platform.system()}; {versions}"


def processor() -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Text columns: the first aligned left, the others right."""
    widths = [max(len(line[i]) for line in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        return "  ".join(
            (first, *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)))
        ).rstrip()

    return "\n".join((line(head), line(["-" * width for width in widths]), *map(line, rows)))


def gigabytes(count: float) -> str:
    return f"{count / 1e9:.2f} GB"


def megabytes(count: float) -> str:
    return f"{count / 1e6:.0f} MB"
