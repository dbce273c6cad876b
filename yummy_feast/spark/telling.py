"""What a session that runs is told: what it lacks, and nothing over what others told it; only ours is taken back."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from yummy_feast.spark.amazon import LIGHT_CLASS, LIGHT_CLIENT
from yummy_feast.spark.amazon import PROVIDER as PROVIDER_OF_JVM
from yummy_feast.spark.catalogs import BY_PATH
from yummy_feast.spark.conf import HADOOP, SparkConf, running_name
from yummy_feast.spark.settings import HIDDEN, SparkSettings
from yummy_feast.spark.stores import PATIENCE, PROVIDER, S3_SPELLINGS, Unit, names_s3, units_of

_log = logging.getLogger(__name__)
_CATALOGS = "spark.sql.catalog."
_REDACTION = "spark.redaction.regex"
_REDACTION_NOW = "spark.sql.redaction.options.regex"
"""The one of a session that runs; it adds to the other."""
# Where Hadoop says it has a value from, if it is one that nobody chose: its own files, and what Spark puts beside them.
_NOBODY = ("-default.xml", "Set by Spark")
_ENVIRONMENT = " from AWS_"


@dataclass(frozen=True, slots=True)
class Change:
    """What we set, and what was there on the session itself before, None = nothing."""

    value: str = field(repr=False)
    was: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Session:
    """A session with what we hold on it. own: what users say in ``spark_conf``, which goes before all else. deep:
    whether what the session began with, and what Hadoop knows, counts as told by others.
    """

    found: Any
    held: MutableMapping[str, Change]
    began: Mapping[str, str]
    own: Collection[str]
    deep: bool

    def of_others(self, key: str) -> str | None:
        """What others told it; None = nothing, or we did."""
        there = self._now(key)
        if there is not None:
            return None if self._is_ours(key, there) else there
        if not self.deep or key.startswith("spark."):
            return None
        at_start = self._now(HADOOP + key)
        if at_start is not None:
            return None if self._is_ours(HADOOP + key, at_start) else at_start
        return None if is_remote(self.found) else _of_hadoop(self.found, key)

    def set(self, key: str, value: str) -> bool:
        """Set it where that may be. Whether something is now other than it was."""
        if key not in self.own and self.of_others(key) is not None:
            self.held.pop(key, None)
            return False
        there = self._now(key)
        if there == value:
            return False
        was = self.held[key].was if self._holds(key, there) else there
        self.found.conf.set(key, value)
        self.held[key] = Change(value, was)
        return True

    def take_back(self, key: str) -> bool:
        """What was there before is there again, unless others have changed it since. Whether that is another."""
        there, change = self._now(key), self.held.pop(key)
        if there != change.value:
            return False
        if change.was is None:
            self.found.conf.unset(key)
        else:
            self.found.conf.set(key, change.was)
        return True

    def _now(self, key: str) -> str | None:
        found: str | None = self.found.conf.get(key, None)
        return found

    def _holds(self, key: str, there: str | None) -> bool:
        return key in self.held and self.held[key].value == there

    def _is_ours(self, key: str, there: str) -> bool:
        return self._holds(key, there) or self.began.get(key) == there


def tell(
    found: Any,
    conf: SparkConf,
    settings: SparkSettings,
    held: MutableMapping[str, Change],
    began: Mapping[str, str] | None,
) -> None:
    """Set what leads to stores and catalogs; what was set for other settings goes.

    What others set stays, unless ``spark_conf`` itself says otherwise: a catalog, or credentials, as a whole.
    held: what was set before; it is kept true also if Spark refuses one. began: see ``_Told``.
    """
    own = {running_name(key) for key in settings.conf} | {_REDACTION_NOW}
    names = names_s3(settings.storage_options)
    session = _Session(found, held, began or {}, own, deep=began is None or not names)
    wanted = dict(conf.running) if began is not None else _without_taste(conf.running, own, found, names)
    out = _not_for_it(found, wanted)
    wanted = {key: value for key, value in wanted.items() if key not in out}
    kept = _left_out(session, wanted)
    _say(kept, names)
    hiding = _hiding(found, wanted)
    wanted = {**hiding, **{key: value for key, value in wanted.items() if key not in kept and key not in hiding}}
    before = bool(held)
    moved = [key for key in [*held] if key not in wanted and session.take_back(key)]
    moved += [key for key, value in wanted.items() if session.set(key, value)]
    opened = [key for key in moved if key.startswith(_CATALOGS) and (before or _was(held, key) is not None)]
    if opened and not is_remote(found):
        # Spark keeps a catalog that it has opened, whatever its settings are now.
        found._jsparkSession.sessionState().catalogManager().reset()


def is_remote(found: Any) -> bool:
    """Whether a session is one of Spark Connect, which has no ``sparkContext``."""
    return type(found).__module__.startswith("pyspark.sql.connect")


def _without_taste(running: Mapping[str, str], own: Collection[str], found: Any, names: bool) -> dict[str, str]:
    """For a session of others: how long to wait for S3, and who to be there, is theirs, unless we were told who."""
    out = set(PATIENCE)
    if not names:
        out |= {PROVIDER, *(S3_SPELLINGS if is_remote(found) else ())}
    return {key: value for key, value in running.items() if key in own or key not in out}


def _not_for_it(found: Any, wanted: Mapping[str, str]) -> list[str]:
    """Settings of catalogs of Amazon's that this session cannot follow: the HTTP client of our jars, where its own have
    another one, and credentials in the JVM, where nobody can put them.
    """
    of_catalogs = [key for key in wanted if key.startswith(_CATALOGS)]
    if is_remote(found):
        return [key for key in of_catalogs if wanted[key] == PROVIDER_OF_JVM]
    light = [
        key for key in of_catalogs if any(key.endswith(f".{n}") and wanted[key] == v for n, v in LIGHT_CLIENT.items())
    ]
    has_it = not light or found._jvm.org.apache.spark.util.Utils.classIsLoadable(LIGHT_CLASS)
    return [] if has_it else light


def _left_out(session: _Session, wanted: Mapping[str, str]) -> dict[str, str]:
    """What others told the session as a whole: each setting with the name to call it by."""
    out = {}
    for unit in [*units_of(wanted), *_catalogs(wanted)]:
        theirs = [head for head in unit.heads if head not in session.own and session.of_others(head) is not None]
        if theirs and not any(head in session.own for head in unit.heads):
            out.update({key: theirs[0] for key in unit.members if key in wanted and key not in session.own})
    return out


def _catalogs(wanted: Mapping[str, str]) -> list[Unit]:
    names = [key for key in wanted if key.startswith(_CATALOGS) and "." not in key.removeprefix(_CATALOGS)]
    return [Unit((name,), tuple(key for key in wanted if key == name or key.startswith(f"{name}."))) for name in names]


def _say(kept: Mapping[str, str], names: bool) -> None:
    """What of the configuration does not count here. Of what we would have chosen ourselves nothing is said."""
    by_path = _CATALOGS + BY_PATH
    said = sorted({head for head in kept.values() if head != by_path and (names or not head.startswith("fs.s3a."))})
    if said:
        _log.warning(
            "the Spark session that runs already has its own %s: that stays, with all that belongs to it; what "
            "spark_conf says goes before it",
            ", ".join(said),
        )


def _hiding(found: Any, wanted: Mapping[str, str]) -> dict[str, str]:
    """What makes Spark blank the credentials that follow, where it was started with another pattern than ours."""
    if found.conf.get(_REDACTION, None) == HIDDEN:
        return {}
    there = wanted.get(_REDACTION_NOW) or found.conf.get(_REDACTION_NOW) or ""
    if HIDDEN in there:
        return {_REDACTION_NOW: there}
    return {_REDACTION_NOW: f"(?:{there})|(?:{HIDDEN})" if there else HIDDEN}


def _of_hadoop(found: Any, key: str) -> str | None:
    """What Hadoop's own configuration says, if somebody chose it."""
    hadoop = found.sparkContext._jsc.hadoopConfiguration()
    sources = hadoop.getPropertySources(key)
    origin = str(sources[len(sources) - 1]) if sources is not None and len(sources) > 0 else ""
    if not origin or origin.endswith(_NOBODY) or _ENVIRONMENT in origin:
        return None
    value: str | None = hadoop.get(key)
    return value or None


def _was(held: Mapping[str, Change], key: str) -> str | None:
    return held[key].was if key in held else None
