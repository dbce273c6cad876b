"""From a place to a model that scores."""

from __future__ import annotations

import logging
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final
from zlib import crc32

from yummy_feast.errors import MissingExtraError, ModelFormatError, YummyError
from yummy_feast.models.arrange import Arranger
from yummy_feast.models.base import Scorer
from yummy_feast.models.fetching import Place
from yummy_feast.models.mlmodel import FILE, MlModel, read_mlmodel
from yummy_feast.models.trial import trial_batch, try_out

logger = logging.getLogger(__name__)

_TIMED: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A loaded model.

    place: where it came from, and ``mark``, what told its content from others then.
    about: its MLmodel file. seconds_per_row: what scoring a row of a batch took when it was tried.
    """

    place: Place
    mark: str
    about: MlModel
    scorer: Scorer
    arranger: Arranger
    seconds_per_row: float

    @property
    def version(self) -> str:
        """What to call this content of the model: its id, or the first of its mark."""
        return self.about.model_id or f"{crc32(self.mark.encode()):08x}"


def load_model(
    place: str,
    *,
    allow_pickle: bool = False,
    threads: int = 1,
    storage_options: Mapping[str, str] | None = None,
) -> Model:
    """The model of an MLmodel folder: a path, or an address of an object store or the web.

    Blocks for as long as it takes to fetch, try out in a process of its own, and load.

    Args:
        allow_pickle: load files that run code, which must be trusted.
        threads: cores that one call may use.

    Raises ModelNotFoundError, ModelFormatError, UntrustedModelError, MissingExtraError, ConfigError.
    """
    where = Place(place, storage_options or {})
    mark = where.mark()
    with where.brought() as folder:
        about = read_mlmodel(folder)
        if about.pickled:
            if not allow_pickle:
                about.check_trusted(place)
            scorer = _named(place, about, folder, threads)
        else:
            scorer = _tried(place, about, folder, threads)
    try:
        arranger = Arranger(about.signature, scorer.features, checks_names=scorer.checks_names)
    except ModelFormatError as error:
        raise ModelFormatError(f"{place}: {error.message}", hint=error.hint) from None
    return Model(where, mark, about, scorer, arranger, _timed(scorer))


def _tried(place: str, about: MlModel, folder: Path, threads: int) -> Scorer:
    """The scorer of a native file, out of a copy: what was tried is what is loaded, whoever writes the folder."""
    with TemporaryDirectory(prefix="yummy-model-") as temporary:
        copy = Path(temporary)
        for name in (FILE, about.data):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, copy / name)
        try_out(copy, place)
        return _named(place, about, copy, threads)


def _named(place: str, about: MlModel, folder: Path, threads: int) -> Scorer:
    try:
        return load_scorer(about, folder, threads=threads)
    except ModelFormatError as error:
        message = error.message.replace(f"{folder}/", "").removeprefix(f"{place}: ")
        raise ModelFormatError(f"{place}: {message}", hint=error.hint) from None


def load_scorer(about: MlModel, folder: Path, *, threads: int = 1) -> Scorer:
    """The scorer of a folder whose MLmodel file says ``about``, pickles included.

    Raises ModelFormatError, MissingExtraError.
    """
    from yummy_feast.models.catboost import CatBoostScorer
    from yummy_feast.models.lightgbm import LightGbmScorer

    path = folder / about.data
    strings = about.signature.strings if about.signature is not None else ()
    if about.pickled:
        return _unpickled(about, path, strings, threads)
    if about.flavor == "catboost":
        kind, form = about.section.get("model_type", "CatBoost"), about.section.get("save_format") or "cbm"
        return CatBoostScorer.load(path, str(kind), str(form), about.predict_fn, threads=threads)
    if about.predict_fn != "predict":
        raise ModelFormatError(f"predict_fn is {about.predict_fn!r}: a Booster has no such verb", hint="it has predict")
    return LightGbmScorer.load(path, strings, threads=threads)


def _unpickled(about: MlModel, path: Path, strings: tuple[int, ...], threads: int) -> Scorer:
    from yummy_feast.models.catboost import CatBoostScorer
    from yummy_feast.models.lightgbm import wrap_estimator

    model = _trusted(about, path)
    if type(model).__module__.partition(".")[0] == "catboost":
        return CatBoostScorer(model, about.predict_fn, threads=threads)
    return wrap_estimator(model, about.predict_fn, strings, threads=threads)


def _trusted(about: MlModel, path: Path) -> Any:
    """The object in a file that may run any code: whoever gets here was told to trust it."""
    try:
        if about.pickled == "skops":
            try:
                from skops.io import load
            except ImportError:
                raise MissingExtraError(f"{path.name} is in skops form", hint="pip install skops") from None
            return load(path, trusted=about.section.get("skops_trusted_types") or [])
        with path.open("rb") as file:
            # What cloudpickle writes, pickle reads; the classes' own modules must be installed.
            return pickle.load(file)  # noqa: S301
    except YummyError:
        raise
    # The code of whoever saved it.
    except Exception as error:
        raise ModelFormatError(
            f"{path.name} cannot be loaded: {type(error).__name__}: {' '.join(str(error).split())}",
            hint="it needs the versions of Python and libraries it was saved with: see its requirements.txt",
        ) from error


def _timed(scorer: Scorer) -> float:
    batch = trial_batch(scorer)
    best = float("inf")
    for _ in range(_TIMED):
        started = perf_counter()
        scorer.score(batch)
        best = min(best, perf_counter() - started)
    return best / batch.length
