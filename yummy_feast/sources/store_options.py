"""``storage_options``: one dictionary for all object stores, in any usual spelling.

pyarrow, deltalake, pyiceberg and fsspec spell the same settings in four ways. A store's settings class asks ``read``
for its own; what belongs to another store is none of its business, and what belongs to nobody is an error.
"""

from __future__ import annotations

from collections.abc import Mapping

from yummy_feast.errors import ConfigError, nearest

SPELLINGS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "s3": {
        "endpoint": (
            "endpoint",
            "endpoint_url",
            "endpoint_override",
            "s3_endpoint_override",
            "aws_endpoint",
            "aws_endpoint_url",
            "aws_endpoint_url_s3",
            "s3.endpoint",
        ),
        "key": ("key", "access_key", "access_key_id", "aws_access_key_id", "s3.access-key-id"),
        "secret": ("secret", "secret_key", "secret_access_key", "aws_secret_access_key", "s3.secret-access-key"),
        "token": ("token", "session_token", "aws_session_token", "s3.session-token"),
        "region": ("region", "aws_region", "aws_default_region", "s3.region", "client.region"),
    },
    "gcs": {
        "endpoint": ("google_endpoint", "google_base_url", "gcs_endpoint", "gcs.service.host"),
        "access_token": ("google_access_token", "gcs.oauth2.token"),
        "expires_at": ("gcs.oauth2.token-expires-at",),
        "project": ("google_project", "google_project_id", "gcs.project-id"),
        "anonymous": ("google_skip_signature", "google_anonymous"),
        "service_account": (
            "service_account",
            "service_account_key",
            "service_account_path",
            "google_application_credentials",
            "google_service_account",
            "google_service_account_key",
            "google_service_account_path",
        ),
    },
    "azure": {
        "account": ("account_name", "azure_storage_account_name", "azure_account_name", "adls.account-name"),
        "key": (
            "account_key",
            "azure_storage_account_key",
            "azure_storage_access_key",
            "azure_account_key",
            "adls.account-key",
        ),
        "sas": ("sas_token", "azure_storage_sas_token", "azure_storage_sas_key", "adls.sas-token"),
        "tenant": ("tenant_id", "azure_tenant_id", "azure_storage_tenant_id", "adls.tenant-id"),
        "client": ("client_id", "azure_client_id", "azure_storage_client_id", "adls.client-id"),
        "client_secret": ("client_secret", "azure_client_secret", "azure_storage_client_secret", "adls.client-secret"),
        "endpoint": ("azure_endpoint", "azure_storage_endpoint"),
    },
}
# Options that only one of the libraries knows are handed to it as they are.
_PREFIXES = {"s3": ("aws_", "s3.", "client."), "gcs": ("google_", "gcs."), "azure": ("azure_", "adls.")}
_SHARED = {
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "conditional_put",
    "max_retries",
    "proxy_url",
    "request_timeout",
    "retry_timeout",
    "timeout",
    "user_agent",
    "virtual_hosted_style_request",
}
_SHARED_PREFIX = "py-io-impl"


def canonical(store: str, name: str) -> str | None:
    """What ``store`` calls the setting that is spelt ``name``; None if it is none of the usual ones."""
    lowered = name.lower()
    return next((ours for ours, spellings in SPELLINGS[store].items() if lowered in spellings), None)


def read(store: str, options: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The settings of ``store`` by their canonical names, and what else belongs to one of its libraries, as given.

    Raises ConfigError for an option that nobody knows.
    """
    known: dict[str, str] = {}
    foreign: dict[str, str] = {}
    for name, value in options.items():
        ours = canonical(store, name)
        if ours is not None:
            known.setdefault(ours, str(value))
        elif _is_shared(name) or name.lower().startswith(_PREFIXES[store]):
            foreign[name] = str(value)
        elif not _of_another(name):
            candidates = [*SPELLINGS["s3"], *_SHARED, *(item for ours in SPELLINGS[store].values() for item in ours)]
            raise ConfigError(f"storage_options has no option '{name}'", hint=nearest(name, candidates))
    return known, foreign


def _is_shared(name: str) -> bool:
    return name.lower() in _SHARED or name.lower().startswith(_SHARED_PREFIX)


def _of_another(name: str) -> bool:
    return any(canonical(store, name) or name.lower().startswith(_PREFIXES[store]) for store in SPELLINGS)
