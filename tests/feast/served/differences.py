"""Where our answers differ from those of Feast's own server: docs/differences.md lists the same, as a test sees to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """what: the first cell of its row in the docs. remains: whether ``X-Yummy-Compat: feast`` changes nothing."""

    what: str
    remains: bool = False


DIFFERENCES = {
    "not found": Difference("no row for that entity and view"),
    "null": Difference("a feature that is null in its row"),
    "too old": Difference("a row older than the view's `ttl`"),
    "null computed": Difference("a null that an on-demand view computed"),
    "scalar map": Difference("a value of type `ScalarMap`"),
    "unused": Difference("a column that nothing uses"),
    "mixed": Difference("request data of several types, `[1, 2.5]`"),
    "float time": Difference("seconds with a fraction for a timestamp join key, `7200.0`", remains=True),
    "order": Difference("order of the features", remains=True),
    "python full": Difference("features of a python on-demand view under `full_feature_names`", remains=True),
    "clash": Difference("a source of an on-demand view with a feature of the same name as one asked for", remains=True),
    "pandas beside": Difference("a pandas on-demand view beside nested values of several shapes", remains=True),
    "alias beside plain": Difference("a join key under an alias, and the same one without", remains=True),
    "singleton": Difference("a singleton on-demand view, several rows", remains=True),
}
