"""A model file is loaded and scored in a process of its own first: damage ends that process, not the server.

Both libraries follow what a damaged file says, in C, and some of it leads out of memory.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from yummy_feast.errors import ModelFormatError
from yummy_feast.models.base import Batch, Kind, Scorer, trial_rows

_PATIENCE: Final = 300.0
_PROGRAM: Final = "from yummy_feast.models.trial import main; main()"


def try_out(folder: Path, name: str) -> None:
    """Load the model of ``folder`` and score some rows of any kind, elsewhere. ModelFormatError if that process dies.

    What is wrong with the model otherwise is left to whoever loads it next. ``name`` is for errors.
    """
    command = [sys.executable, "-c", _PROGRAM, str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise ModelFormatError(f"{name}: loading it takes more than {_PATIENCE:g} s", hint="is it damaged?") from None
    if done.returncode < 0 or done.returncode > 1:
        raise ModelFormatError(
            f"{name}: is damaged: loading and scoring it ends the process (status {done.returncode})",
            hint="copy it again, or save the model again",
        )


def trial_batch(scorer: Scorer) -> Batch:
    """Rows of zeros, of missing, huge and tiny values, and of many in between."""
    matrix = trial_rows(len(scorer.features))
    if scorer.is_numeric:
        return Batch(len(matrix), matrix=matrix)
    columns = [
        column.tolist() if feature.kind is Kind.NUMBER else [str(row % 7) for row in range(len(matrix))]
        for feature, column in zip(scorer.features, matrix.T, strict=True)
    ]
    return Batch(len(matrix), columns=columns)


def main() -> None:
    """What the process does: exit code 0, or 1 for an error that is told."""
    from yummy_feast.errors import YummyError
    from yummy_feast.models.loading import load_scorer
    from yummy_feast.models.mlmodel import read_mlmodel

    folder = Path(sys.argv[1])
    try:
        scorer = load_scorer(read_mlmodel(folder), folder)
        scorer.score(trial_batch(scorer))
    except YummyError as error:
        sys.exit(str(error))
