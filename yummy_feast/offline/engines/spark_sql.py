"""Entity rows as SQL, run by Spark over the registry's sources: temporary views of a session made for this query."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from yummy_feast.errors import EntityRowsError
from yummy_feast.sources.iceberg_catalogs import catalog_kind
from yummy_feast.sources.iceberg_clients import address_of
from yummy_feast.spark.columns import natural
from yummy_feast.spark.failures import spark_errors, summary
from yummy_feast.spark.frames import frame_of
from yummy_feast.spark.kept import seen_by

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from yummy_feast.sources.base import SourceContext, YummySource

_TOKEN = re.compile(
    r"""(?P<skip>\s+|--[^\n]*|/\*.*?\*/)
      | (?P<text>'(?:[^'\\]|\\.|'')*')
      | (?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|[^\W\d]\w*)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
# Comments, and what may stand between statements.
_NOTHING: Final = re.compile(r"--[^\n]*|/\*.*?\*/|[\s;]", re.DOTALL)
# Conditions of Spark's that the text of a query leads to, by how their names begin.
_IN_THE_TEXT: Final = ("CAST_", "DIVIDE_", "ARITHMETIC_", "INVALID_")


@dataclass(frozen=True, slots=True)
class Named:
    """A table name in SQL: its parts, and where it stands."""

    parts: tuple[str, ...]
    start: int
    end: int


@contextmanager
def selected(
    session: SparkSession, context: SourceContext, sql: str, sources: Mapping[str, YummySource]
) -> Iterator[DataFrame]:
    """The answer to one SELECT as a lazy DataFrame of ``session``, to be computed (or analysed) inside.

    Raises:
        EntityRowsError: no SELECT, or an error in it, also one that shows when it runs.
        SourceReadError: a catalog that it names does not answer.
    """
    from pyspark.errors import AnalysisException, ParseException

    if not _NOTHING.sub("", sql):
        raise _no_select("there is nothing", sql, sources)
    own = _session_for_sql(session)
    known = {name.casefold(): source for name, source in sources.items()}
    text = _with_views(session, own, context, sql, known)
    with spark_errors(f"the entity rows' SQL{_over(sql, context)}"):
        try:
            # Parsed and analysed, and only ever a query: nothing else may follow these two words.
            own.sql(f"DESCRIBE QUERY {text}")
            answer = own.sql(text)
        except ParseException as error:
            raise _no_select(plain(error), sql, sources) from error
        except AnalysisException as error:
            raise failed(error, sources) from error
    # Out of the session that was made for this: users look for their views and settings in the one they know.
    with seen_by(session, answer) as frame, _computed(sources):
        yield frame


@contextmanager
def _computed(sources: Mapping[str, YummySource]) -> Iterator[None]:
    """What the text asked for in vain, as an error in it; anything else that goes wrong while it runs, as it is."""
    from pyspark.errors import PySparkException

    with spark_errors("the entity rows' SQL"):
        try:
            yield
        except PySparkException as error:
            if (error.getCondition() or "").startswith(_IN_THE_TEXT):
                raise failed(error, sources) from error
            raise


def _over(sql: str, context: SourceContext) -> str:
    """The catalogs that the text names, and where they are: they are opened while it is analysed."""
    names = dict.fromkeys(table.parts[0] for table in tables_of(sql) if len(table.parts) > 1)
    found = {name: context.catalogs[name] for name in names if name in context.catalogs}
    told = [f"catalog '{name}' ({address_of(catalog_kind(keys), keys)})" for name, keys in found.items()]
    return f" over {', '.join(told)}" if told else ""


def _no_select(why: str, sql: str, sources: Mapping[str, YummySource]) -> EntityRowsError:
    return EntityRowsError(
        f"entity rows as SQL must be one SELECT statement: {why}",
        hint=f"got: {' '.join(sql.split())[:80]}; {listed(sources)}",
    )


def failed(error: Exception, sources: Mapping[str, YummySource]) -> EntityRowsError:
    """An error in the SQL, in one line."""
    return EntityRowsError(f"the entity rows' SQL failed: {plain(error)}", hint=listed(sources))


def listed(sources: Mapping[str, YummySource]) -> str:
    """A hint that says what SQL may name."""
    return f"sources: {', '.join(sorted(sources))}" if sources else "no sources are registered"


def plain(error: Exception) -> str:
    """Spark's message without the numbers of its own query."""
    return re.sub(r"\s*SQLSTATE:.*$", "", summary(str(error)))


def tables_of(sql: str) -> Iterator[Named]:
    """Names with their dots, wherever one may stand for a table: after FROM, JOIN, a comma or an opening bracket."""
    before, parts, dotted = "", list[str](), False
    start = end = 0
    for match in [*_TOKEN.finditer(sql), None]:
        if match is not None and match.lastgroup == "skip":
            continue
        text = "" if match is None else match.group()
        if match is not None and match.lastgroup == "name" and (dotted or not parts):
            if not parts:
                start = match.start()
            parts, end, dotted = [*parts, _unquoted(text)], match.end(), False
            continue
        if text == "." and parts and not dotted:
            dotted = True
            continue
        if parts:
            if before in ("from", "join", ",", "("):
                yield Named(tuple(parts), start, end)
            before = parts[-1].casefold() if len(parts) == 1 else ""
            parts, dotted = [], False
        if match is not None and match.lastgroup == "name":
            parts, start, end = [_unquoted(text)], match.start(), match.end()
        elif match is not None:
            before = text


def _unquoted(text: str) -> str:
    return text[1:-1].replace(text[0] * 2, text[0]) if text[0] in '"`' else text


def _with_views(
    session: SparkSession, own: SparkSession, context: SourceContext, sql: str, known: Mapping[str, YummySource]
) -> str:
    """Views in ``own`` for the sources that the SQL names, and the SQL with the names that views can have."""
    views: dict[str, str] = {}
    out, position = [], 0
    for named in tables_of(sql):
        name = ".".join(named.parts).casefold()
        source = known.get(name)
        if source is None:
            continue
        if name not in views:
            # Several parts would name a catalog; as one quoted name they are a view.
            views[name] = "`" + name.replace("`", "``") + "`"
            # Made in the session that is active anyway: what makes a frame of rows makes its session that.
            with seen_by(own, _rows_of(session, context, source)) as rows:
                rows.createOrReplaceTempView(views[name])
        alias = "" if len(named.parts) == 1 or _has_alias(sql, named.end) else f" AS `{named.parts[-1]}`"
        out += [sql[position : named.start], views[name], alias]
        position = named.end
    return "".join([*out, sql[position:]])


def _has_alias(sql: str, position: int) -> bool:
    rest = next((m for m in _TOKEN.finditer(sql, position) if m.lastgroup != "skip"), None)
    if rest is None or rest.lastgroup != "name":
        return False
    words = {"where", "join", "inner", "left", "right", "full", "cross", "natural", "on", "using", "group", "order"}
    words |= {
        "having",
        "limit",
        "union",
        "except",
        "intersect",
        "window",
        "lateral",
        "semi",
        "anti",
        "qualify",
        "offset",
    }
    return rest.group().casefold() not in words


def _rows_of(session: SparkSession, context: SourceContext, source: YummySource) -> DataFrame:
    from pyspark.sql import functions as F  # noqa: N812

    scan = context.scan(source)
    names = scan.schema.names
    frame = frame_of(session, scan, names).frame
    return frame.select(
        *(natural(F.col(f"c{number}"), scan.schema.field(name).type).alias(name) for number, name in enumerate(names))
    )


def _session_for_sql(session: SparkSession) -> SparkSession:
    """A session with the settings of ``session`` and views of its own, where "x" is a name as in standard SQL."""
    java = getattr(session, "_jsparkSession", None)
    # That of Spark Connect, which the stubs of the classic session do not know.
    connected: Any = session
    own = connected.cloneSession() if java is None else type(session)(session.sparkContext, java.cloneSession())
    own.conf.set("spark.sql.session.timeZone", "UTC")
    own.conf.set("spark.sql.ansi.enabled", "true")
    own.conf.set("spark.sql.ansi.doubleQuotedIdentifiers", "true")
    return own
