"""Azure Blob Storage and Data Lake settings, for the three libraries that open objects."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yummy_feast.errors import ConfigError
from yummy_feast.sources.object_store import split_endpoint
from yummy_feast.sources.store_errors import Credentials
from yummy_feast.sources.store_options import canonical, read

if TYPE_CHECKING:
    import pyarrow.fs as pafs

_ENVIRONMENT = (
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
)
_ENVIRONMENT_OF = {
    "account_key": "AZURE_STORAGE_ACCOUNT_KEY",
    "sas_token": "AZURE_STORAGE_SAS_TOKEN",
    "client_secret": "AZURE_CLIENT_SECRET",
}
_PRINCIPAL = ("tenant", "client", "client_secret")


@dataclass(frozen=True, slots=True)
class AzureSettings:
    """Which account, and who we are there: a key, a SAS token, a service principal (tenant, client and its secret), or
    none of them, which leaves it to Azure's own search (managed identity, the command line's login).
    """

    account: str
    key: str | None = field(default=None, repr=False)
    sas: str | None = field(default=None, repr=False)
    tenant: str | None = None
    client: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    endpoint: str | None = None
    """``http://host:port`` of an emulator; the account is the first part of its paths."""
    foreign: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Options of one library, as given."""

    @classmethod
    def of(
        cls,
        options: Mapping[str, str],
        environment: Mapping[str, str] | None = None,
        account: str = "",
        *,
        any_account: bool = False,
    ) -> AzureSettings:
        """Read ``storage_options`` in any usual spelling; the AZURE_* environment fills in what they leave out.

        account: the one that a path names; it goes before the options'. any_account: paths will name it. Raises
        ConfigError for an option that nobody knows, without any account, and for credentials that are half there or
        twice.
        """
        known, foreign = read("azure", options)
        environment = os.environ if environment is None else environment
        if not {"key", "sas", *_PRINCIPAL} & known.keys():
            given = {canonical("azure", name): environment[name] for name in _ENVIRONMENT if environment.get(name)}
            known = {**{name: value for name, value in given.items() if name is not None}, **known}
        known.setdefault("account", environment.get("AZURE_STORAGE_ACCOUNT_NAME", ""))
        known["account"] = account or known["account"]
        if not (known["account"] or any_account):
            raise ConfigError("storage_options has no account_name for Azure", hint="or set AZURE_STORAGE_ACCOUNT_NAME")
        if "key" in known and "sas" in known:
            raise ConfigError("storage_options has account_key and sas_token", hint="give one of them")
        if "key" in known and not _is_base64(known["key"]):
            # pyarrow ends the whole process over such a key.
            raise ConfigError(
                f"account_key of account '{known['account']}' is no base64", hint="copy it whole, with the = at its end"
            )
        if "sas" in known:
            known["sas"] = known["sas"].removeprefix("?")
        principal = [name for name in _PRINCIPAL if name in known]
        if "client_secret" in principal and len(principal) < len(_PRINCIPAL):
            raise ConfigError(
                "storage_options has a client_secret without tenant_id and client_id", hint="give all three"
            )
        return cls(**known, foreign=foreign)

    @property
    def needs_tokens(self) -> bool:
        """Whether Microsoft's own login, or the machine, has to let us in first."""
        return not (self.key or self.sas)

    @property
    def credentials(self) -> Credentials:
        """See ``StoreSettings``."""
        whose = f"of account '{self.account}'"
        for name, value in (("account_key", self.key), ("sas_token", self.sas), ("client_secret", self.client_secret)):
            if value:
                environment = _ENVIRONMENT_OF[name]
                return Credentials(f"{name} {whose}", f"mend it in storage_options or {environment}")
        return Credentials(
            f"us {whose}: no credentials were given, and Azure's own search found none that may do this",
            "set account_key, sas_token or client_secret in storage_options, or AZURE_STORAGE_ACCOUNT_KEY",
        )

    def filesystem(self) -> pafs.AzureFileSystem:
        """A pyarrow file system with these settings."""
        import pyarrow.fs as pafs

        arguments = {
            "account_key": self.key,
            # It is put behind addresses as it is.
            "sas_token": f"?{self.sas}" if self.sas else None,
            "tenant_id": self.tenant,
            "client_id": self.client,
            "client_secret": self.client_secret,
        }
        if self.endpoint is not None:
            scheme, host = split_endpoint(self.endpoint, "Azure")
            arguments.update(blob_storage_authority=host, dfs_storage_authority=host)
            arguments.update(blob_storage_scheme=scheme, dfs_storage_scheme=scheme)
        return pafs.AzureFileSystem(self.account, **{name: item for name, item in arguments.items() if item})

    def for_deltalake(self) -> dict[str, str]:
        """``storage_options`` as deltalake spells them."""
        out = {**self.foreign, **self._named(_DELTA)}
        if self.endpoint is not None:
            scheme, host = split_endpoint(self.endpoint, "Azure")
            out["azure_storage_endpoint"] = f"{scheme}://{host}/{self.account}"
            if scheme == "http":
                out["allow_http"] = "true"
        return out

    def for_pyiceberg(self) -> dict[str, str]:
        """Properties as pyiceberg's file io spells them."""
        out = {**self.foreign, **self._named(_ICEBERG)}
        if self.sas:
            # It is put behind addresses as it is.
            out["adls.sas-token"] = f"?{self.sas}"
        if self.endpoint is not None:
            scheme, host = split_endpoint(self.endpoint, "Azure")
            for service in ("blob", "dfs"):
                out[f"adls.{service}-storage-authority"] = host
                out[f"adls.{service}-storage-scheme"] = scheme
        return out

    def _named(self, names: Mapping[str, str]) -> dict[str, str]:
        pairs = {theirs: getattr(self, ours) for ours, theirs in names.items()}
        return {name: value for name, value in pairs.items() if value}


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except ValueError:
        return False


_DELTA = {
    "account": "azure_storage_account_name",
    "key": "azure_storage_account_key",
    "sas": "azure_storage_sas_token",
    "tenant": "azure_storage_tenant_id",
    "client": "azure_storage_client_id",
    "client_secret": "azure_storage_client_secret",
}
_ICEBERG = {
    "account": "adls.account-name",
    "key": "adls.account-key",
    "tenant": "adls.tenant-id",
    "client": "adls.client-id",
    "client_secret": "adls.client-secret",
}
