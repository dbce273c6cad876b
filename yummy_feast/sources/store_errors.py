"""What object stores answer when they refuse, in our words: the name of the option, and no secret in any text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from yummy_feast.errors import SourceNotFoundError, SourceReadError, YummyError, first_line, unsigned

FAILURES = (OSError, pa.ArrowException)
"""What file systems of pyarrow raise: where Azure's own search for credentials fails, an error of no kind."""
_REFUSALS = re.compile(
    r"ACCESS_DENIED|AccessDenied|Access Denied|InvalidAccessKeyId|SignatureDoesNotMatch"
    r"|Authorization\w*(Failure|Mismatch)|Authentication(Failed|Info)|failed to authenticate"
    r"|UNAUTHENTICATED|PERMISSION_DENIED|http_status_code=40[13]|40[13] (Forbidden|Unauthorized)|[Cc]redential"
)
# Names of objects and addresses, whose words are the user's.
_NAMES = re.compile(r"(?<!\w)'[^'\n]*'|\"[^\"\n]*\"|[\w.:@%=+~-]*/[\w./:@%=+~-]*")
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|(bucket|container) does not exist", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Which credentials a store was shown, by the names of options, and where they can be mended."""

    shown: str
    mend: str


UNKNOWN = Credentials(
    "the credentials",
    "mend them in storage_options, the catalog's own keys, or the environment: AWS_*, AZURE_STORAGE_*, "
    "GOOGLE_APPLICATION_CREDENTIALS",
)


def is_refusal(error: BaseException) -> bool:
    """Whether it is about who we are, rather than about what is there."""
    return not isinstance(error, FileNotFoundError) and _REFUSALS.search(_NAMES.sub("", str(error))) is not None


def no_bucket(text: str) -> SourceNotFoundError:
    """The error that begins with ``text``, for a bucket or container that is not there."""
    return SourceNotFoundError(f"{text}: no such bucket or container", hint="is its name right? It is not made here")


def store_error(
    text: str, error: BaseException, credentials: Credentials | None, hint: str = ""
) -> SourceReadError | SourceNotFoundError:
    """The error that begins with ``text``: what the store says, or which of ``credentials`` (None: it takes none) it
    refuses.
    """
    if credentials is not None and is_refusal(error):
        return SourceReadError(f"{text}: the store refuses {credentials.shown}", hint=credentials.mend)
    if credentials is not None and _NO_BUCKET.search(str(error)):
        return no_bucket(text)
    return SourceReadError(f"{text}: {first_line(error)}", hint=hint)


@contextmanager
def store_errors(text: str, credentials: Credentials | None, hint: str = "") -> Iterator[None]:
    """Turn what a file system raises into ``store_error``."""
    try:
        yield
    except YummyError:
        raise
    except FAILURES as error:
        raise store_error(text, error, credentials, hint) from unsigned(error)
