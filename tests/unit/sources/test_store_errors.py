"""Errors of stores in our words."""

from __future__ import annotations

import traceback

import pyarrow as pa
import pytest

from yummy_feast.errors import SourceNotFoundError, SourceReadError, first_line
from yummy_feast.sources.store_errors import Credentials, is_refusal, store_error, store_errors

SHOWN = Credentials("account_key", "mend it")


@pytest.mark.parametrize(
    "text",
    [
        "Azure Error: [AuthorizationFailure] 403 Server failed to authenticate the request.",
        "google::cloud::Status(UNAUTHENTICATED: Permanent error, http_status_code=401",
        "AWS Error ACCESS_DENIED during HeadObject operation: No response body.",
        "InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records",
        "Server returned non-2xx status code\n 403 Forbidden",
    ],
)
def test_a_refusal_names_what_was_shown(text: str) -> None:
    error = store_error("abfss://c/x", OSError(text), SHOWN)
    assert isinstance(error, SourceReadError)
    assert str(error) == "abfss://c/x: the store refuses account_key (mend it)"
    # The disk of this machine takes no credentials.
    assert str(store_error("/x", OSError(text), None)).startswith(f"/x: {text[:20]}")


@pytest.mark.parametrize(
    "text",
    [
        "When getting information for key 'card_authorizations/x' in bucket 'lake': AWS Error NETWORK_CONNECTION",
        "Error performing HEAD http://127.0.0.1:9/lake/credentials/_delta_log in 3s - connection refused",
        "Object at location lake/AccessDenied/credentials/0.json already exists",
        'Field "credential_age" is no number',
    ],
)
def test_words_in_names_are_the_users(text: str) -> None:
    assert not is_refusal(OSError(text))


def test_no_signature_is_in_a_cause() -> None:
    signed = "Check on 'https://acc.blob.core.windows.net/c?sv=1&sig=hush%3D' failed"
    for kind in (OSError, pa.ArrowException):
        with pytest.raises(SourceReadError) as caught, store_errors("abfss://c/x", SHOWN):
            raise kind(signed)
        told = "".join(traceback.format_exception(caught.value))
        assert "core.windows.net/c' failed" in told
        assert "hush" not in told
    plain = OSError("reset")
    with pytest.raises(SourceReadError) as caught, store_errors("abfss://c/x", SHOWN):
        raise plain
    assert caught.value.__cause__ is plain


def test_what_is_no_refusal() -> None:
    assert not is_refusal(FileNotFoundError("credentials.json is not there"))
    assert not is_refusal(OSError("GET http://host/c/x in 403.2ms: reset after 401 bytes"))
    assert str(store_error("s3://b/x", OSError("reset"), SHOWN, "again")) == "s3://b/x: reset (again)"


@pytest.mark.parametrize("text", ["<Code>NoSuchBucket</Code>", "[ContainerNotFound] 404", "The bucket does not exist"])
def test_a_bucket_that_is_not_there(text: str) -> None:
    error = store_error("gs://b/x", OSError(f"error\n{text}"), SHOWN)
    assert isinstance(error, SourceNotFoundError)
    assert "no such bucket or container" in error.message


def test_signatures_in_addresses_are_left_out() -> None:
    text = "GET 'https://acc.blob.core.windows.net/c/x?sv=2021&sig=hush%3D' failed\nmore"
    assert first_line(OSError(text)) == "GET 'https://acc.blob.core.windows.net/c/x' failed"
    assert first_line(OSError("")) == "OSError"
