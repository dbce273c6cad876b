"""From settings to what Spark is told: pure data, nothing is started here.

What a session is told comes in three parts. ``start`` is how it begins: it becomes a command line, which everybody on
the machine can read, so no credential is in it; ``hushed`` is the rest of the start. ``running`` leads to stores and
catalogs: it is set on the running session, whoever started it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from yummy_feast.sources.stores import has_access_token
from yummy_feast.spark.amazon import SEARCH_PAST_PROPERTIES, system_properties
from yummy_feast.spark.catalogs import by_path_conf, catalog_conf, needs_of
from yummy_feast.spark.jars import holds
from yummy_feast.spark.pins import CARRIED, PACKAGES, packages_for
from yummy_feast.spark.settings import HIDDEN, SparkSettings, is_secret
from yummy_feast.spark.stores import PROVIDER, SEARCH, hadoop_options, names_s3, speaks_of

HADOOP = "spark.hadoop."
_EXTENSIONS = {
    "iceberg": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
    "delta": "io.delta.sql.DeltaSparkSessionExtension",
}
_DELTA_CATALOG = "org.apache.spark.sql.delta.catalog.DeltaCatalog"
# Of the names below, those that a running session does not take.
_FIXED_SQL = (
    "spark.sql.extensions",
    "spark.sql.warehouse.dir",
    "spark.sql.catalog.spark_catalog",
    "spark.sql.catalogImplementation",
    "spark.sql.hive.",
    "spark.sql.ui.",
    "spark.sql.streaming.ui.",
    "spark.sql.event.truncate.length",
    "spark.sql.queryExecutionListeners",
    "spark.sql.cache.serializer",
    "spark.sql.artifact.",
)
_PACKAGES = "spark.jars.packages"
_LISTS = ("spark.sql.extensions", "spark.jars", _PACKAGES, "spark.jars.excludes")
"""To these, users' own add; all else they replace. No packages at all are asked for by an empty list."""
_OWN_JARS = {"spark.jars", _PACKAGES, "spark.driver.extraClassPath"}
_AWS = (
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
"""Environment variables that lead to credentials without being one."""
_FREE = ("spark.sql.", "spark.databricks.delta.", HADOOP)


@dataclass(frozen=True, slots=True)
class SparkConf:
    """start: settings for the start. hushed: those among them that may be credentials. running: those for the running
    session. properties: for its JVM, see ``amazon``. None of them goes into logs. own_start: names of those for the
    start that users set themselves.
    """

    start: Mapping[str, str] = field(repr=False)
    running: Mapping[str, str] = field(repr=False)
    own_start: tuple[str, ...] = ()
    hushed: Mapping[str, str] = field(default_factory=dict, repr=False)
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def whole_start(self) -> dict[str, str]:
        """All for the start, for whoever does not write it on a command line."""
        return {**self.start, **self.hushed}


@dataclass(frozen=True, slots=True)
class Machine:
    """What of this machine matters. python: the program; memory: bytes; temporary: a folder of this user's alone."""

    python: str
    memory: int
    temporary: Path


def needs(
    settings: SparkSettings, installed: Iterable[str], environment: Mapping[str, str], *, has_profile: bool = False
) -> tuple[str, ...]:
    """What of ``pins.PACKAGES`` Spark is to resolve. installed: which of ``delta`` and ``iceberg`` Python reads here
    too: without their extras there are no such sources. has_profile: whether this user has a file of AWS profiles.
    """
    wanted = {name for name in installed if name in _EXTENSIONS} | _named(settings)
    # With a profile, or a role of the machine, no setting speaks of S3.
    if wanted or has_profile or names_s3({}, environment) or any(environment.get(name) for name in _AWS):
        wanted.add("s3")
    if speaks_of("azure", settings.storage_options):
        wanted.add("azure")
    return tuple(name for name in PACKAGES if name in wanted)


def demanded(settings: SparkSettings) -> set[str]:
    """What of ``pins.PACKAGES`` the configuration itself cannot do without. Nothing of that where users say what other
    jars there are. Azure is not among it: without its jars it is read on the executors all the same.
    """
    return set() if _OWN_JARS & settings.conf.keys() else _named(settings)


def _named(settings: SparkSettings) -> set[str]:
    wanted: set[str] = set()
    for keys in settings.catalogs.values():
        wanted |= {"iceberg"} | needs_of(keys)
    says_s3 = any(name in str(settings.conf) for name in ("s3a://", "s3://", "fs.s3a."))
    if says_s3 or names_s3(settings.storage_options, {}):
        wanted.add("s3")
    # With an access token, which Google's connector does not take, executors read it without.
    if speaks_of("gcs", settings.storage_options) and not has_access_token(settings.storage_options):
        wanted.add("gcs")
    return wanted


def derive(
    settings: SparkSettings, machine: Machine, wanted: Sequence[str], jars: Sequence[Path], ivy_settings: Path | None
) -> SparkConf:
    """All that a session of these settings is told; what ``settings.conf`` says itself goes first.

    wanted: see ``needs``. jars: of a folder, which then decides what there is; none: Spark resolves the packages of
    ``wanted``, with ``ivy_settings`` if given.
    """
    if jars:
        formats = [name for name in _EXTENSIONS if holds(jars, PACKAGES[name][0])]
    elif settings.conf.get(_PACKAGES) == "":
        wanted, formats = (), []
    else:
        formats = [name for name in _EXTENSIONS if name in wanted]
    start = {**_usual_start(settings, machine), **_usual_sql(settings), **_format_start(formats)}
    start.update(_jars(settings, wanted, jars, ivy_settings))
    running: dict[str, str] = {}
    properties: dict[str, str] = {}
    if "iceberg" in formats or settings.is_connect:
        running.update(by_path_conf(machine.temporary / "iceberg"))
        for name, keys in settings.catalogs.items():
            running.update(catalog_conf(name, keys, settings.storage_options, settings.repo_path))
        properties = system_properties(settings.catalogs, settings.storage_options)
    own = [running_name(key) for key in settings.conf]
    running.update(hadoop_options(settings.storage_options, own))
    if properties and running.get(PROVIDER) == SEARCH:
        running[PROVIDER] = SEARCH_PAST_PROPERTIES
    return replace(_with_own(start, running, settings), properties=properties)


def is_fixed(key: str) -> bool:
    """Whether only a session that starts can be told."""
    return key.startswith(_FIXED_SQL) or not key.startswith(_FREE)


def running_name(key: str) -> str:
    """What a setting is called on a running session: Hadoop's lose their prefix there."""
    return key.removeprefix(HADOOP)


def _with_own(start: dict[str, str], running: dict[str, str], settings: SparkSettings) -> SparkConf:
    """What users say themselves, in its place; extensions and lists of jars add to ours."""
    hushed: dict[str, str] = {}
    for key, value in settings.conf.items():
        running.pop(running_name(key), None)
        if key in _LISTS and value and start.get(key):
            start[key] = _joined(value, start[key])
        elif is_fixed(key):
            (hushed if is_secret(key) else start)[key] = value
        else:
            running[running_name(key)] = value
            if not is_secret(key):
                start[key] = value
    own = tuple(key for key in settings.conf if is_fixed(key) and key not in ("spark.remote", *_LISTS))
    return SparkConf(start, running, own, hushed)


def _joined(first: str, second: str) -> str:
    parts = [part.strip() for text in (first, second) for part in text.split(",")]
    return ",".join(dict.fromkeys(part for part in parts if part))


def _usual_start(settings: SparkSettings, machine: Machine) -> dict[str, str]:
    conf = {
        "spark.app.name": "yummy-feast",
        "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
        "spark.log.level": "ERROR",
        # Its own pattern lacks credentials of REST catalogs and keys of Azure's accounts.
        "spark.redaction.regex": HIDDEN,
        "spark.ui.showConsoleProgress": "false",
        # Of an answer that this machine asked for, this machine must hold all.
        "spark.driver.maxResultSize": "0",
        "spark.driver.memory": f"{_driver_megabytes(settings, machine)}m",
        "spark.sql.warehouse.dir": f"file://{machine.temporary / 'warehouse'}",
    }
    if not settings.is_connect:
        conf["spark.master"] = settings.master
    if settings.is_local:
        conf.update(
            {
                "spark.ui.enabled": "false",
                "spark.driver.host": "127.0.0.1",
                "spark.driver.bindAddress": "127.0.0.1",
                "spark.pyspark.python": machine.python,
            }
        )
        if settings.scratch is not None:
            conf["spark.local.dir"] = str(settings.scratch)
    if settings.is_kubernetes:
        # Executors run Python beside Java, and a pod that takes more memory than it asked for is ended. Spark knows of
        # the Python of a driver in the cluster only, and then asks for this much more itself.
        conf["spark.kubernetes.memoryOverheadFactor"] = "0.4"
    return conf


def _driver_megabytes(settings: SparkSettings, machine: Machine) -> int:
    """In local mode the driver computes too: it gets the limit of a fetch, or what Java would take by itself."""
    least = 1024
    if settings.memory_limit is not None:
        return max(least, settings.memory_limit >> 20)
    return max(least, machine.memory // 4 >> 20) if settings.is_local else least


def _format_start(formats: Sequence[str]) -> dict[str, str]:
    conf = {}
    if formats:
        conf["spark.sql.extensions"] = ",".join(_EXTENSIONS[name] for name in formats)
    if "delta" in formats:
        conf["spark.sql.catalog.spark_catalog"] = _DELTA_CATALOG
    return conf


def _jars(
    settings: SparkSettings, wanted: Sequence[str], jars: Sequence[Path], ivy_settings: Path | None
) -> dict[str, str]:
    if jars:
        return {"spark.jars": ",".join(str(jar) for jar in jars)}
    packages = [package for package in packages_for(wanted) if not package.classifier]
    if not packages:
        return {}
    conf = {_PACKAGES: ",".join(map(str, packages)), "spark.jars.excludes": ",".join(CARRIED)}
    if ivy_settings is not None and not {"spark.jars.ivySettings", "spark.jars.repositories"} & settings.conf.keys():
        conf["spark.jars.ivySettings"] = str(ivy_settings)
    return conf


def _usual_sql(settings: SparkSettings) -> dict[str, str]:
    conf = {
        # Else pyspark asks the JVM for each column it makes, to name a line of ours if it fails: most of all calls.
        "spark.python.sql.dataFrameDebugging.enabled": "false",
        "spark.sql.adaptive.enabled": "true",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.legacy.parquet.nanosAsLong": "true",
        "spark.sql.session.timeZone": "UTC",
    }
    if settings.is_local:
        # A shuffle begins with this many parts, and adaptive execution joins small ones.
        conf["spark.sql.shuffle.partitions"] = str(min(max(8 * settings.threads, 16), 200))
        # The table's state: 50 parts by default, most of them empty.
        conf["spark.databricks.delta.snapshotPartitions"] = "1"
    return conf
