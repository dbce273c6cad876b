"""How pyiceberg opens files: with our settings on Google and Azure, where paths may name an account."""

from __future__ import annotations

from pyarrow.fs import FileSystem
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from yummy_feast.sources.google_store import SKIP_SIGNATURE
from yummy_feast.sources.stores import is_object_uri, opened, settings_of, split_uri

_OWN = ("adls.", "gcs.", SKIP_SIGNATURE)


class StoreFileIO(PyArrowFileIO):
    """pyiceberg's own, but for two stores.

    It takes the whole of ``container@account.dfs.core.windows.net`` for a container, has neither the environment's
    Azure account nor anonymous access to Google, and tries for a quarter of an hour to reach a Google that is away.
    """

    @staticmethod
    def parse_location(location: str, properties: Properties = EMPTY_DICT) -> tuple[str, str, str]:
        """Scheme, what tells one file system of that scheme from another, and the path on it."""
        scheme, netloc, path = PyArrowFileIO.parse_location(location, properties)
        if is_object_uri(location) and split_uri(location)[0] == "abfss://":
            return scheme, netloc, split_uri(location)[1]
        return scheme, netloc, path

    def _initialize_fs(self, scheme: str, netloc: str | None = None) -> FileSystem:
        uri = f"{scheme}://{netloc or ''}"
        if not is_object_uri(uri) or split_uri(uri)[0] == "s3://":
            return super()._initialize_fs(scheme, netloc)
        properties = {name: str(value) for name, value in self.properties.items() if name.startswith(_OWN)}
        authority = properties.get("adls.blob-storage-authority", "")
        if authority.startswith("."):
            # Another cloud of Azure, which only pyiceberg's keys can name.
            return super()._initialize_fs(scheme, netloc)
        if authority:
            properties["azure_endpoint"] = f"{properties.get('adls.blob-storage-scheme', 'https')}://{authority}"
        return opened(uri, settings_of(uri, properties))
