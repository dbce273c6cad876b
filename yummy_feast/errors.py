"""Every error this package raises on purpose, as one tree.

YummyError                      message + hint (what to do about it)
├── ConfigError                 a setting in a configuration file or a keyword   (RuntimeError)
├── MissingExtraError           an optional dependency is not installed          (ImportError)
├── SourceError                 something about the rows at rest
│   ├── SourceNotFoundError     no file, table, version or snapshot there        (FileNotFoundError)
│   ├── SourceReadError         it is there, but damaged or unreadable           (OSError)
│   ├── ColumnNotFoundError     a column that was asked for does not exist       (LookupError)
│   ├── ColumnTypeError         a column holds another type than declared        (TypeError)
│   └── UnsupportedTableError   a table feature we would read wrongly            (NotImplementedError)
├── RetrievalError              a historical fetch that cannot be answered       (ValueError)
│   ├── EntityRowsError         the entity rows lack a column, a type, a time
│   └── NameCollisionError      two columns of the answer would share a name
├── LockfileError               the world is not as a lockfile says              (ValueError)
│   └── SourceMovedError        a source no longer has the rows it had then
├── ValueTypeError              a value that its Feast type cannot hold          (TypeError)
├── ModelError                  something about a model
│   ├── ModelNotFoundError      no MLmodel folder there, or a file of it missing (FileNotFoundError)
│   ├── ModelFormatError        damaged, or of a kind that is not served         (ValueError)
│   ├── UntrustedModelError     loading it would run code that came with it      (PermissionError)
│   └── ModelInputError         rows that the model cannot score                 (ValueError)
│       └── SignatureError      they are not what the signature asks for         (LookupError)
└── OnlineStoreError            something about the rows in Redis
    ├── ServerUnavailableError  no answer, or not the permission to ask          (ConnectionError)
    ├── EmbeddedServerError     the server of this repo cannot start or stop     (RuntimeError)
    ├── RowDecodeError          bytes in Redis that are no row of ours           (ValueError)
    └── OnlineRequestError      a request for online features that is malformed  (ValueError)
        ├── MissingJoinKeyError      a join key that a view needs is not there   (KeyError)
        ├── MissingRequestDataError  nor what an on-demand view needs            (Feast's own; in online/request.py)
        └── FeatureNotFoundError     a feature that its view does not have       (KeyError)

Each has a builtin as second parent, so callers that know nothing of this package can still catch it. The text is one
line: what is wrong with its name and value; the hint says how to mend it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

# Signed addresses carry their signature behind the question mark, and libraries write addresses into their errors.
_QUERY = re.compile(r"(https?://[^\s'\"?]+)\?[^\s'\")]*")


class YummyError(Exception):
    """Root of the tree. ``str(error)`` is the message followed by the hint."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.hint)


def _rebuild(kind: type[YummyError], message: str, hint: str) -> YummyError:
    return kind(message, hint=hint)


class ConfigError(YummyError, RuntimeError):
    """A setting that is unknown, malformed or impossible.

    No ValueError: pydantic, which reads feature_store.yaml for Feast, would wrap it into lines of its own.
    """


class MissingExtraError(YummyError, ImportError):
    """An optional dependency is not installed."""

    @classmethod
    def of(cls, extra: str, purpose: str) -> MissingExtraError:
        """The error for ``extra``, e.g. ``of("delta", "DeltaSource")``, with the command that mends it."""
        return cls(f"{purpose} needs the extra '{extra}'", hint=f"pip install 'yummy-feast[{extra}]'")


class SourceError(YummyError):
    """Something about the rows at rest."""


class SourceNotFoundError(SourceError, FileNotFoundError):
    """No file, table, version or snapshot at that place."""


class SourceReadError(SourceError, OSError):
    """The source is there, but damaged or unreadable."""


class ColumnNotFoundError(SourceError, LookupError):
    """A column that was asked for does not exist in the source."""


class ColumnTypeError(SourceError, TypeError):
    """A column holds another type than was declared."""


class UnsupportedTableError(SourceError, NotImplementedError):
    """A table feature that this engine would read wrongly."""


class RetrievalError(YummyError, ValueError):
    """A historical fetch that cannot be answered."""


class EntityRowsError(RetrievalError):
    """The entity rows lack a column, or hold a type that cannot be joined."""


class NameCollisionError(RetrievalError):
    """Two columns of the answer would share a name."""


class LockfileError(YummyError, ValueError):
    """A lockfile that cannot be read, or something that is not as it says: the request, the features, the answer."""


class SourceMovedError(LockfileError):
    """A source no longer has the rows that were read from it."""


class ValueTypeError(YummyError, TypeError):
    """A value that its Feast type cannot hold."""


class ModelError(YummyError):
    """Something about a model."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """No MLmodel folder at that place, or a file that it names is not there."""


class ModelFormatError(ModelError, ValueError):
    """A model that is damaged, or of a kind that is not served."""


class UntrustedModelError(ModelError, PermissionError):
    """A model whose loading runs code that came with it."""


class ModelInputError(ModelError, ValueError):
    """Rows that the model cannot score."""


class SignatureError(ModelInputError, LookupError):
    """Inputs or parameters that are not what the model's signature asks for."""


class OnlineStoreError(YummyError):
    """Something about the rows in Redis."""


class ServerUnavailableError(OnlineStoreError, ConnectionError):
    """The server does not answer, or does not let us in."""


class EmbeddedServerError(OnlineStoreError, RuntimeError):
    """The embedded server cannot be started or stopped."""


class RowDecodeError(OnlineStoreError, ValueError):
    """Bytes in Redis that are not a row of ours."""


class OnlineRequestError(OnlineStoreError, ValueError):
    """A request for online features that is malformed."""


class MissingJoinKeyError(OnlineRequestError, KeyError):
    """A join key that a requested view needs is not among the request's columns."""


class FeatureNotFoundError(OnlineRequestError, KeyError):
    """A feature that its view does not have."""


def first_line(error: BaseException) -> str:
    """An error of a library in one line, without what follows the question mark of an address."""
    lines = str(error).splitlines() or [type(error).__name__]
    return _QUERY.sub(r"\1", lines[0].strip())


def unsigned(error: BaseException) -> BaseException:
    """The error to name as a cause: itself, or one of its kind without what follows the question mark of an address,
    since causes are printed with every traceback.
    """
    text = str(error)
    clean = _QUERY.sub(r"\1", text)
    return error if clean == text else type(error)(clean)


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint that names the closest valid name: ``did you mean 'x'? known: a, b, c``."""
    names = sorted(str(item) for item in valid)
    close = difflib.get_close_matches(name, names, n=1)
    known = f"known: {', '.join(names[:12])}" + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return f"did you mean '{close[0]}'? {known}" if close else known
