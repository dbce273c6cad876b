"""LightGBM's C library by ctypes: load a model, score one row, score a matrix.

The library alone takes 45 MB and a twentieth of a second; LightGBM's Python package, which imports pandas, scipy and
scikit-learn, takes 190 MB and seconds, and spends most of a call with one row on looking at its arguments.
"""

from __future__ import annotations

import ctypes
import logging
import struct
import sys
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from yummy_feast.errors import MissingExtraError, ModelFormatError, ModelInputError
from yummy_feast.models.base import Matrix

logger = logging.getLogger(__name__)

_DOUBLE: Final = 1
_ROW_MAJOR: Final = 1
_NORMAL: Final = 0
_NAMES: Final = ("lib_lightgbm.so", "lib_lightgbm.dylib", "lib_lightgbm.dll")


class _Library:
    """The library twice: ``free`` lets other threads of Python run during a call, ``held`` does not."""

    def __init__(self, path: Path) -> None:
        self.free = ctypes.CDLL(str(path))
        self.held = ctypes.PyDLL(str(path))
        for each in (self.free, self.held):
            each.LGBM_GetLastError.restype = ctypes.c_char_p
        self._tell = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(_log)
        # LightGBM's Python package, where somebody imported it, has told the library where to write already.
        if "lightgbm.basic" not in sys.modules:
            self.free.LGBM_RegisterLogCallback(self._tell)

    def check(self, code: int, kind: type[ModelFormatError | ModelInputError]) -> None:
        if code:
            raise kind(f"LightGBM: {' '.join(self.free.LGBM_GetLastError().decode(errors='replace').split())}")


def _log(text: bytes) -> None:
    line = text.decode(errors="replace").strip()
    if line:
        logger.info("%s", line)


@cache
def _library() -> _Library:
    from importlib.util import find_spec

    spec = find_spec("lightgbm")
    if spec is None or spec.origin is None:
        raise MissingExtraError.of("models", "a LightGBM model")
    package = Path(spec.origin).parent
    found = [path for folder in ("lib", "bin", ".") for name in _NAMES if (path := package / folder / name).is_file()]
    if not found:
        raise MissingExtraError.of("models", f"the C library of LightGBM, which {package} lacks, or a LightGBM model")
    return _Library(found[0])


class Native:
    """A model in the library. Scores from any thread.

    Args:
        handle: the library's own; freed with this object, unless it has an ``owner``, who is kept.
        features: inputs of a row. outputs: predictions of a row.
        iterations: trees per output to use; -1 for all.
        threads: cores that one call may use.
        parameters: of prediction, as LightGBM spells them.
    """

    def __init__(
        self,
        handle: ctypes.c_void_p,
        features: int,
        outputs: int,
        *,
        owner: Any = None,
        iterations: int = -1,
        threads: int = 1,
        parameters: str = "",
    ) -> None:
        self._library = _library()
        self._handle = ctypes.c_void_p(handle.value)
        self._owner = owner
        self._features = features
        self._outputs = outputs
        self._iterations = iterations
        self._threads = threads
        self._parameters = parameters
        self._local = threading.local()
        self._configs: list[ctypes.c_void_p] = []
        self._pack_into = struct.Struct(f"{features}d").pack_into

    @classmethod
    def load(cls, text: bytes, features: int, outputs: int, *, threads: int = 1) -> Native:
        """The model of a text file, whose indices were checked before. ModelFormatError, MissingExtraError."""
        library = _library()
        handle, iterations = ctypes.c_void_p(), ctypes.c_int()
        code = library.free.LGBM_BoosterLoadModelFromString(
            ctypes.c_char_p(text), ctypes.byref(iterations), ctypes.byref(handle)
        )
        library.check(code, ModelFormatError)
        native = cls(handle, features, outputs, threads=threads)
        counted = ctypes.c_int()
        for name, said in (("NumFeature", features), ("NumClasses", outputs)):
            getattr(library.free, f"LGBM_BoosterGet{name}")(handle, ctypes.byref(counted))
            if counted.value != said:
                raise ModelFormatError(f"LightGBM finds {counted.value} in {name}, the file says {said}")
        return native

    def score_one(self, row: Sequence[float]) -> Any:
        """The prediction of one row: a float, or a list of them. struct.error unless the row is so many numbers."""
        try:
            config, inputs, outputs, count = self._local.ready
        except AttributeError:
            config, inputs, outputs, count = self._get_ready()
        self._pack_into(inputs, 0, *row)
        code = self._library.held.LGBM_BoosterPredictForMatSingleRowFast(config, inputs, count, outputs)
        if code:
            self._library.check(code, ModelInputError)
        return outputs[0] if self._outputs == 1 else outputs[:]

    def score(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Predictions of shape (rows,), or (rows, outputs) where there are several."""
        data = np.ascontiguousarray(matrix, np.float64)
        rows, columns = data.shape
        found = np.empty(rows * self._outputs, np.float64)
        length = ctypes.c_int64()
        code = self._library.free.LGBM_BoosterPredictForMat(
            self._handle,
            ctypes.c_void_p(data.ctypes.data),
            ctypes.c_int(_DOUBLE),
            ctypes.c_int32(rows),
            ctypes.c_int32(columns),
            ctypes.c_int(_ROW_MAJOR),
            ctypes.c_int(_NORMAL),
            ctypes.c_int(0),
            ctypes.c_int(self._iterations),
            self._settings(self._threads),
            ctypes.byref(length),
            ctypes.c_void_p(found.ctypes.data),
        )
        self._library.check(code, ModelInputError)
        return found if self._outputs == 1 else found.reshape(rows, self._outputs)

    def close(self) -> None:
        """Free the library's memory."""
        for config in self._configs:
            self._library.free.LGBM_FastConfigFree(config)
        self._configs.clear()
        if self._owner is None and self._handle.value:
            self._library.free.LGBM_BoosterFree(self._handle)
        self._handle.value = None

    def __del__(self) -> None:
        # Whoever still scores holds a reference, so nothing is freed under them.
        self.close()

    def _settings(self, threads: int) -> ctypes.c_char_p:
        return ctypes.c_char_p(f"num_threads={threads} verbosity=-1 {self._parameters}".encode())

    def _get_ready(self) -> tuple[ctypes.c_void_p, Any, Any, Any]:
        """What a thread needs for single rows: the library allows one call at a time for each configuration."""
        config = ctypes.c_void_p()
        code = self._library.free.LGBM_BoosterPredictForMatSingleRowFastInit(
            self._handle,
            ctypes.c_int(_NORMAL),
            ctypes.c_int(0),
            ctypes.c_int(self._iterations),
            ctypes.c_int(_DOUBLE),
            ctypes.c_int32(self._features),
            self._settings(1),
            ctypes.byref(config),
        )
        self._library.check(code, ModelInputError)
        self._configs.append(config)
        inputs = (ctypes.c_double * self._features)()
        outputs = (ctypes.c_double * self._outputs)()
        ready = (config, inputs, outputs, ctypes.byref(ctypes.c_int64()))
        self._local.ready = ready
        return ready
