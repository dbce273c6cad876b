"""What object stores answer when they refuse, in our words: the name of the option, and no secret in any text."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

from yummy_feast.errors import SourceNotFoundError, SourceReadError, first_line

FAILURES = (OSError, pa.ArrowException)
"""What file systems of pyarrow raise: where Azure's own search for credentials fails, an error of no kind."""
_REFUSALS = re.compile(
    r"access[ _]?denied|authenticat|authoriz|credential|forbidden|invalidaccesskeyid|permission[ _]?denied"
    r"|signaturedoesnotmatch|http_status_code=40[13]",
    re.IGNORECASE,
)
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
    return not isinstance(error, FileNotFoundError) and _REFUSALS.search(str(error)) is not None


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
