"""What a Spark session is made from, in the words of feature_store.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yummy_feast.errors import ConfigError, nearest

if TYPE_CHECKING:
    from yummy_feast.sources.base import SourceContext

_SHORT = {"master": "spark.master", "app_name": "spark.app.name", "remote": "spark.remote"}
"""Keys of ``spark_conf`` that need no ``spark.`` in front."""
HIDDEN = r"(?i)secret|password|passwd|token|credential|access[._-]?key|account[._-]?key|sas[._-]"
"""Pattern of names of settings that may hold a credential, for Python and Java alike."""
_SECRET = re.compile(HIDDEN)


@dataclass(frozen=True, slots=True)
class SparkSettings:
    """conf: Spark's own settings, as text, which go before all that is derived. jars: folder of jars, None = where
    ``jars.folder_for`` finds one. threads: of ``local[n]`` where no master is named. memory_limit: bytes of the driver,
    None = a quarter of the machine. repo_path: where relative paths start. scratch: where to spill.
    """

    # What may hold secrets is kept out of the repr, and so out of logs and tracebacks.
    conf: Mapping[str, str] = field(default_factory=dict, repr=False)
    jars: Path | None = None
    storage_options: Mapping[str, str] = field(default_factory=dict, repr=False)
    catalogs: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    threads: int = 0
    memory_limit: int | None = None
    repo_path: Path = Path()
    scratch: Path | None = None

    @classmethod
    def behind(cls, context: SourceContext, threads: int = 0) -> SparkSettings:
        """Those that follow from where sources are, for whoever has no configuration."""
        return cls(
            storage_options=context.storage_options,
            catalogs=context.catalogs,
            threads=threads,
            repo_path=context.repo_path,
        )

    @property
    def master(self) -> str:
        """Master or Connect URL: as configured, else ``local[threads]``."""
        remote = self.conf.get("spark.remote", "")
        return remote or self.conf.get("spark.master", "") or f"local[{self.threads or '*'}]"

    @property
    def is_local(self) -> bool:
        """Whether Spark runs inside this machine's own process."""
        return self.master.partition("[")[0] == "local"

    @property
    def is_kubernetes(self) -> bool:
        """Whether executors are pods that Spark asks a Kubernetes for."""
        return self.master.startswith("k8s://")

    @property
    def is_connect(self) -> bool:
        """Whether a Spark Connect server has the session, and this process only its address."""
        return self.master.startswith("sc://")


def conf_of(given: Mapping[str, Any], name: str = "spark_conf") -> dict[str, str]:
    """``spark_conf`` as Spark wants it: full names, texts.

    Raises:
        ConfigError: a key that is none of Spark's, or a value that is a list or a mapping.
    """
    conf: dict[str, str] = {}
    for key, value in given.items():
        full = _SHORT.get(key, key)
        if not full.startswith("spark."):
            raise ConfigError(f"{name} has '{key}', which is no setting of Spark", hint=_hint(key))
        if isinstance(value, bool):
            conf[full] = str(value).lower()
        elif isinstance(value, str | int | float):
            conf[full] = str(value)
        else:
            kind = "nothing" if value is None else type(value).__name__
            raise ConfigError(f"{name}.{key}: a setting of Spark is text or a number, not {kind}", hint="quote it")
    master = conf.get("spark.master", "")
    if master and conf.get("spark.remote"):
        raise ConfigError(f"{name} has spark.master and spark.remote", hint="keep one of them")
    if master.startswith("sc://"):
        conf["spark.remote"] = conf.pop("spark.master")
    elif master and not re.match(r"local(\[.+\])?$|local-cluster\[.+\]$|spark://|k8s://|yarn$", master):
        raise ConfigError(
            f"{name}: '{master}' is no master",
            hint="local[*], spark://host:7077, k8s://https://host, yarn or sc://host",
        )
    return conf


def is_secret(key: str) -> bool:
    """Whether a setting of that name may hold a credential."""
    return bool(_SECRET.search(key))


def _hint(key: str) -> str:
    if key.startswith(("fs.", "dfs.")):
        return f"write spark.hadoop.{key}, or leave it to storage_options"
    if "." in key:
        return f"write spark.{key}?"
    return nearest(key, _SHORT)
