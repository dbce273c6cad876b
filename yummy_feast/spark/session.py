"""The Spark session of a configuration: found where one runs, else started; one per process, whatever threads ask."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from yummy_feast.errors import ConfigError, MissingExtraError
from yummy_feast.spark.amazon import give
from yummy_feast.spark.conf import Machine, SparkConf, demanded, derive, is_fixed, needs
from yummy_feast.spark.ivy import write_central_only
from yummy_feast.spark.jars import fetch_command, folder_for, jars_in
from yummy_feast.spark.java import find_java
from yummy_feast.spark.masters import check_master
from yummy_feast.spark.pins import PACKAGES
from yummy_feast.spark.settings import SparkSettings, is_secret
from yummy_feast.spark.telling import Change, is_remote, tell

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_log = logging.getLogger(__name__)
_PURPOSE = "engine: spark"
_READERS = {"delta": "deltalake", "iceberg": "pyiceberg"}
_PYTHON = "spark.pyspark.python"
_PROFILES = ("~/.aws/config", "~/.aws/credentials")


@dataclass(frozen=True, slots=True)
class _Told:
    """A session and the settings it was last told, None = not all of them.

    held: what was set on it for them; ``tell`` keeps it. began: how the session started, None = others started it.
    """

    session: Any
    settings: SparkSettings | None
    began: Mapping[str, str] | None = field(repr=False)
    held: dict[str, Change] = field(default_factory=dict, repr=False)


_lock = threading.Lock()
_last: list[_Told] = []
"""What sessions were told, the last one at the end; those that are over go."""


def session(settings: SparkSettings) -> SparkSession:
    """The session for ``settings``: the one that is active in this process, told what it can still be told; else one
    that is started, or met at a Spark Connect server. Calls with the settings of the last call cost nothing.

    A session that was there keeps what it was told by others; only ``spark_conf`` goes before that.

    Raises:
        MissingExtraError: no pyspark, no Java that it runs on, or no client for Connect.
        ConfigError: settings that Spark does not take, jars that are not there, a master that does not answer.
    """
    if find_spec("pyspark") is None:
        raise MissingExtraError.of("spark", _PURPOSE)
    bridge = logging.getLogger("py4j")
    if bridge.level == logging.NOTSET:
        # It logs every call at DEBUG, settings and their values included.
        bridge.setLevel(logging.INFO)
    with _lock:
        found: Any = active()
        told = next((told for told in _last if _is_one(told.session, found)), None)
        if told is not None and told.settings == settings:
            return cast("SparkSession", found)
        if found is None:
            found, conf = _connected(settings) if settings.is_connect else _started(settings)
            # What a Connect server knows of stores is others' business.
            told = _Told(found, None, None if settings.is_connect else conf.whole_start)
        else:
            conf = _derived(settings, (), None)
            _compare(found, conf)
            told = told or _Told(found, None, None)
        others = [other for other in _last if other is not told and not _is_over(other.session)]
        _last[:] = [*others, replace(told, settings=None)]
        with _redacted(settings, conf, "Spark does not take a setting"):
            tell(found, conf, settings, told.held, told.began)
            if not is_remote(found) and give(found, conf.properties):
                # They have it from the same JVM.
                others = [replace(other, settings=None) for other in others]
        _last[:] = [*others, replace(told, settings=settings)]
        return cast("SparkSession", found)


def active() -> SparkSession | None:
    """The session that runs in this process already, of whoever started it."""
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession

    try:
        found: Any = SparkSession.active()
    except PySparkRuntimeError:
        return None
    return None if _is_over(found) else cast("SparkSession", found)


def _is_over(found: Any) -> bool:
    return bool(found.is_stopped if is_remote(found) else found.sparkContext._jsc is None)


def _is_one(one: Any, other: Any) -> bool:
    """Whether both are the same session: pyspark makes a second object of one now and then."""
    if one is other or other is None:
        return one is other
    if is_remote(one) or is_remote(other):
        return is_remote(one) and is_remote(other) and one.session_id == other.session_id
    return one.sparkContext is other.sparkContext and bool(one._jsparkSession.equals(other._jsparkSession))


def _started(settings: SparkSettings) -> tuple[Any, SparkConf]:
    from pyspark.sql import SparkSession

    find_java(_PURPOSE)
    check_master(settings, os.environ)
    wanted = demanded(settings)
    folder = folder_for(settings.jars, wanted=wanted)
    jars = jars_in(folder, wanted) if folder is not None else ()
    with tempfile.TemporaryDirectory(prefix="yummy-ivy-") as scratch:
        conf = _derived(settings, jars, write_central_only(Path(scratch)))
        builder: Any = SparkSession.builder
        for key, value in conf.whole_start.items():
            builder = builder.config(key, value)
        with (
            _redacted(settings, conf, f"Spark does not start at {_place(settings)}"),
            _run_by(conf.start.get(_PYTHON), asked_for=_PYTHON in settings.conf),
        ):
            if conf.hushed:
                _launch(conf.start)
            return builder.getOrCreate(), conf


@contextmanager
def _run_by(python: str | None, *, asked_for: bool) -> Iterator[None]:
    """What runs Python on executors: Spark looks for it in the environment alone, and there once, as it starts.

    asked_for: it goes before what the environment says, which is then as it was.
    """
    before = os.environ.get("PYSPARK_PYTHON")
    if python is not None and (asked_for or before is None):
        os.environ["PYSPARK_PYTHON"] = python
    try:
        yield
    finally:
        if asked_for and before is not None:
            os.environ["PYSPARK_PYTHON"] = before
        elif asked_for:
            os.environ.pop("PYSPARK_PYTHON", None)


def _launch(start: Mapping[str, str]) -> None:
    """Bring up the JVM alone. pyspark writes all that a session starts with on a command line, but to a JVM that runs
    it says it over a socket, and there credentials may follow.
    """
    from pyspark import SparkConf as Spoken
    from pyspark import SparkContext

    context: Any = SparkContext
    context._ensure_initialized(conf=Spoken().setAll(list(start.items())))


def _connected(settings: SparkSettings) -> tuple[Any, SparkConf]:
    from pyspark.errors import PySparkImportError
    from pyspark.sql import SparkSession

    conf = _derived(settings, (), None)
    builder: Any = SparkSession.builder
    try:
        found: Any = builder.remote(settings.master).getOrCreate()
    except (PySparkImportError, ImportError) as error:
        raise MissingExtraError.of("spark-connect", f"a master of sc:// ({_place(settings)})") from error
    with _redacted(settings, conf, f"the Spark Connect server at {_place(settings)} does not answer"):
        try:
            _ask(found)
        except BaseException:
            # Else the next call would find a session here.
            found.release_session_on_close = False
            found.stop()
            os.environ.pop("SPARK_CONNECT_MODE_ENABLED", None)
            raise
        for key, value in conf.start.items():
            if not is_fixed(key):
                found.conf.set(key, value)
    _compare(found, conf)
    return found, conf


def _ask(found: Any) -> None:
    """A question that any server can answer: an address alone proves nothing. By itself the client tries for ten
    minutes.
    """
    from pyspark.sql.connect.client.retries import DefaultPolicy

    usual = found.client.get_retry_policies()
    found.client.set_retry_policies([DefaultPolicy(max_retries=4)])
    found.conf.get("spark.sql.session.timeZone")
    found.client.set_retry_policies(usual)


def _derived(settings: SparkSettings, jars: Sequence[Path], ivy_settings: Path | None) -> SparkConf:
    installed = [name for name, package in _READERS.items() if find_spec(package) is not None]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    temporary = Path(tempfile.gettempdir()) / f"yummy-spark-{os.getuid()}"
    has_profile = any(os.path.isfile(os.path.expanduser(path)) for path in _PROFILES)
    wanted = needs(settings, installed, os.environ, has_profile=has_profile)
    return derive(settings, Machine(sys.executable, memory, temporary), wanted, jars, ivy_settings)


def _compare(found: Any, conf: SparkConf) -> None:
    """Say which settings of ours a session that was there lacks, and can no longer take."""
    wanted = conf.whole_start
    differing = sorted(key for key in conf.own_start if found.conf.get(key, None) != wanted[key])
    if differing:
        _log.warning(
            "spark_conf: the Spark session that runs already was started with another %s; stop it first to change that",
            ", ".join(differing),
        )


def _place(settings: SparkSettings) -> str:
    """The master without what may be secret in a URL."""
    return settings.master.partition(";")[0].rstrip("/")


@contextmanager
def _redacted(settings: SparkSettings, conf: SparkConf, what: str) -> Iterator[None]:
    """What Spark raises as one line of ours, with no credential in it, nor in what it was raised from."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException, PySparkImportError

    try:
        yield
    except PySparkImportError:
        raise
    except (PySparkException, Py4JError, OSError) as error:
        secrets = [
            value
            for key, value in {**settings.conf, **conf.running, **conf.properties}.items()
            if is_secret(key) and value
        ]
        reason = _reason(str(error))
        for secret in secrets:
            reason = reason.replace(secret, "***")
        raise ConfigError(f"{what}: {reason}", hint=_hint(reason, conf)) from None


def _reason(text: str) -> str:
    """The line of Spark's report that says most."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    named = [line for line in lines if line.startswith("[")]
    told = [line.removeprefix(": ") for line in lines if line.startswith(": ")]
    line = (causes[-1:] or named or told or lines or ["no reason given"])[0]
    return line if len(line) <= 300 else line[:297] + "..."


def _hint(reason: str, conf: SparkConf) -> str:
    packages = conf.start.get("spark.jars.packages", "")
    if packages and ("JAVA_GATEWAY_EXITED" in reason or "unresolved" in reason):
        command = fetch_command("DIR", [need for need, them in PACKAGES.items() if str(them[0]) in packages])
        return f"no network? fetch its jars ahead with `{command}` and set spark_jars: DIR"
    return "see spark_conf in feature_store.yaml, and what Spark wrote before"
