"""What a page of documentation promises, as code: its blocks, commands, snippets, configurations and links.

Each `check_*` takes one Page and returns one line per promise that is not true; none of them knows which pages exist.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

_FENCE = re.compile(r"^( *)(`{3,})([^\n`]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
# A fence without a language is mostly a shell block, too; of its lines only those that start a known program matter.
_SHELLS = ("bash", "sh", "shell", "")
_OPERATORS = {"&&", "||", ";", "|", "&", "<", "(", ")"}


@dataclass(frozen=True, slots=True)
class Command:
    """One command line; ``whole`` if a reader may paste it, else it names one and may leave out what is required."""

    line: int
    words: list[str]
    whole: bool


@dataclass(frozen=True, slots=True)
class Page:
    """A Markdown file: where it lies and what it says."""

    path: Path
    text: str

    @classmethod
    def read(cls, path: Path) -> Page:
        return cls(path, path.read_text(encoding="utf-8"))

    def blocks(self, *languages: str) -> Iterator[tuple[int, str]]:
        """Line number and text of each fenced block in one of ``languages``, without the fence's indentation."""
        for match in _FENCE.finditer(self.text):
            indent, _, info, body = match.groups()
            if (info.split() or [""])[0].lower() in languages:
                line = self.text.count("\n", 0, match.start()) + 2
                yield line, re.sub(rf"^{indent}", "", body, flags=re.MULTILINE)

    @property
    def prose(self) -> str:
        """The page with its fenced blocks blanked out line by line, so that line numbers stay."""
        return _FENCE.sub(lambda match: "\n" * match.group().count("\n"), self.text)

    def links(self) -> Iterator[tuple[int, str, Path, str]]:
        """Line, target as written, file and anchor of each link that is relative to the page."""
        prose = _INLINE.sub(lambda match: " " * len(match.group()), self.prose)
        for match in _LINK.finditer(prose):
            target = match.group(1)
            if not re.match(r"[a-z][a-z0-9+.-]*:", target):
                name, _, anchor = target.partition("#")
                path = (self.path.parent / name).resolve() if name else self.path
                yield prose.count("\n", 0, match.start()) + 1, target, path, anchor

    def commands(self) -> Iterator[Command]:
        """The commands in shell blocks, then those that inline code may mean."""
        for first, body in self.blocks(*_SHELLS):
            yield from _block_commands(body, first, prompted=False)
        for first, body in self.blocks("console"):
            yield from _block_commands(body, first, prompted=True)
        prose = self.prose
        for match in _INLINE.finditer(prose):
            line = prose.count("\n", 0, match.start()) + 1
            yield from (Command(line, words, whole=False) for words in _alternatives(match.group(1)))


def check_make(page: Page, makefile: str) -> list[str]:
    """Every `make VERB` names a target of ``makefile``."""
    targets = set(re.findall(r"^([a-z][\w-]*):(?!=)", makefile, re.MULTILINE))
    found = []
    for command in page.commands():
        if command.words[0] == "make":
            verbs = {word for word in command.words[1:] if "=" not in word and not word.startswith("-")}
            found += [f"{page.path}:{command.line}: make {verb}: no such verb" for verb in sorted(verbs - targets)]
    return found


def check_commands(page: Page, programs: Mapping[str, click.Command]) -> list[str]:
    """Every command line of one of ``programs`` has subcommands, options and arguments that the program takes."""
    found = []
    for command in page.commands():
        name = command.words[0].rpartition("/")[2]
        reason = name in programs and _refusal(programs[name], name, command.words[1:], command.whole)
        if reason:
            found.append(f"{page.path}:{command.line}: {shlex.join(command.words)}: {reason}")
    return found


def check_extras(page: Page, extras: set[str]) -> list[str]:
    """Every `yummy-feast[extra]` names one of ``extras``."""
    found = []
    for match in re.finditer(r"yummy-feast\[([^\]]*)\]", page.text):
        line = page.text.count("\n", 0, match.start()) + 1
        unknown = [name for name in match.group(1).split(",") if name.strip() not in extras]
        found += [f"{page.path}:{line}: {match.group()}: setup.cfg has no extra {name!r}" for name in unknown]
    return found


def check_python(page: Page, packages: tuple[str, ...]) -> list[str]:
    """Every python block compiles; what it imports from ``packages`` exists and takes the arguments of its calls."""
    found = []
    for first, body in page.blocks("python", "py"):
        try:
            tree = ast.parse(body)
        except SyntaxError as error:
            found.append(f"{page.path}:{first + (error.lineno or 1) - 1}: does not compile: {error.msg}")
            continue
        names: dict[str, Any] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                found += [f"{page.path}:{first + node.lineno - 1}: {line}" for line in _resolve(node, packages, names)]
        for node in ast.walk(tree):
            reason = isinstance(node, ast.Call) and _uncallable(node, names)
            if reason:
                found.append(f"{page.path}:{first + node.lineno - 1}: {ast.unparse(node)}: {reason}")
    return found


def check_configurations(page: Page, load: Callable[[dict[str, Any]], object], keys: set[str]) -> list[str]:
    """Every yaml block parses; one that configures a store or provider has only ``keys``, and ``load`` accepts it."""
    found = []
    for first, body in page.blocks("yaml", "yml"):
        at = f"{page.path}:{first}"
        try:
            documents = list(yaml.safe_load_all(re.sub(r"\$\{\w+(?::-([^}]*))?\}", lambda m: m[1] or "x", body)))
        except yaml.YAMLError as error:
            found.append(f"{at}: no YAML: {' '.join(str(error).split())}")
            continue
        for document in documents:
            if not isinstance(document, dict) or not document.keys() & {"offline_store", "online_store", "provider"}:
                continue
            found += [f"{at}: feature_store.yaml has no key {key!r}" for key in document if key not in keys]
            try:
                load(document)
            except (ValueError, TypeError, LookupError, ImportError) as error:
                found.append(f"{at}: Feast refuses it: {' '.join(str(error).split())}")
    return found


def check_links(page: Page) -> list[str]:
    """Every relative link reaches a file or folder, every anchor a heading of the page it points into."""
    found = []
    for line, target, path, anchor in page.links():
        if not path.exists():
            found.append(f"{page.path}:{line}: {target}: no such file")
        elif anchor and path.suffix == ".md" and anchor not in _anchors(path.read_text(encoding="utf-8")):
            found.append(f"{page.path}:{line}: {target}: no such heading")
    return found


def _block_commands(body: str, first: int, prompted: bool) -> Iterator[Command]:
    """The commands of a shell block that starts at line ``first``; ``prompted``: only lines after `$ ` are commands."""
    held, start = "", first
    for line, text in enumerate(body.split("\n"), first):
        start = start if held else line
        if text.endswith("\\"):
            held += text[:-1]
            continue
        whole, held = (held + text).strip(), ""
        if whole.startswith("$ ") or not prompted:
            yield from (Command(start, words, whole=True) for words in _simple_commands(whole.removeprefix("$ ")))


def _simple_commands(line: str) -> Iterator[list[str]]:
    """The commands of one shell line without comment, environment prefixes and redirections; `$(..)` becomes a word."""
    plain = re.sub(r"\s\d?>{1,2}(&\d|\s*\S+)", " ", re.sub(r"\$\([^)]*\)", "x", line))
    lexer = shlex.shlex(plain, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        return  # an odd apostrophe: this is prose or output
    for is_operator, group in itertools.groupby(words, _OPERATORS.__contains__):
        command = list(itertools.dropwhile(lambda word: re.match(r"\w+=", word) is not None, group))
        if command and not is_operator:
            yield command


def _alternatives(code: str) -> Iterator[list[str]]:
    """Inline code as commands: `[optional]` parts count, `a|b` is both in turn, a capital stands for a number."""
    words = re.sub(r"[\[\]]", "", code).replace("...", "").split()
    choices = [["1"] if re.fullmatch("[A-Z]", word) else word.split("|") for word in words]
    yield from (list(choice) for choice in itertools.product(*choices) if choice)


def _refusal(
    command: click.Command, name: str, words: list[str], whole: bool, parent: click.Context | None = None
) -> str | None:
    """Why ``command`` does not take ``words``, None if it does. Nothing is run, and files need not be there."""
    try:
        context = command.make_context(name, list(words), parent=parent)
        rest = [*context._protected_args, *context.args]
        if isinstance(command, click.Group) and rest:
            inner_name, inner, inner_words = command.resolve_command(context, rest)
            return inner and _refusal(inner, inner_name or "", inner_words, whole, context)
    except (click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
        return None  # --help, --version, and a group named by itself
    except click.MissingParameter as error:
        return error.format_message() if whole else None
    except click.BadParameter as error:
        is_file = isinstance(getattr(error.param, "type", None), click.Path | click.File)
        return None if is_file else error.format_message()
    except click.ClickException as error:
        return error.format_message()
    return None


def _resolve(node: ast.Import | ast.ImportFrom, packages: tuple[str, ...], names: dict[str, Any]) -> Iterator[str]:
    """Import what ``node`` imports from ``packages`` into ``names``; one line for each name that does not exist."""
    is_from = isinstance(node, ast.ImportFrom)
    for alias in node.names:
        module = (node.module or "") if is_from else alias.name
        if module.partition(".")[0] not in packages:
            continue
        try:
            value = importlib.import_module(module)
            names[alias.asname or alias.name] = getattr(value, alias.name) if is_from else value
        except (ImportError, AttributeError) as error:
            yield f"{ast.unparse(node)}: {error}"


def _uncallable(node: ast.Call, names: Mapping[str, Any]) -> str | None:
    """Why the imported name that ``node`` calls does not take these arguments; None if it does or is not known here."""
    if not isinstance(node.func, ast.Name) or node.func.id not in names:
        return None
    if any(isinstance(item, ast.Starred) for item in node.args) or any(item.arg is None for item in node.keywords):
        return None
    try:
        signature = inspect.signature(names[node.func.id])
        signature.bind(*node.args, **{str(item.arg): item.value for item in node.keywords})
    except TypeError as error:
        return str(error)
    return None


def _anchors(markdown: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    anchors: set[str] = set()
    for title in _HEADING.findall(_FENCE.sub("", markdown)):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()).replace(" ", "-")
        numbered = (slug if n == 0 else f"{slug}-{n}" for n in itertools.count())
        anchors.add(next(name for name in numbered if name not in anchors))
    return anchors
