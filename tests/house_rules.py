"""The rules of the house as functions of source text: each takes parsed sources and returns what is wrong.

Nothing here knows a file of this project: the table of floors, the exceptions and their reasons are in
`test_architecture.py`, which is the only caller; `test_house_rules.py` shows each rule a text that breaks it.
A problem is one line, `path:line: what is wrong and what to do`; an empty list means the rule holds.
"""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class Source:
    """One parsed file; `path` is relative to the root of the repository."""

    path: PurePosixPath
    text: str
    tree: ast.Module

    @classmethod
    def parse(cls, path: str, text: str) -> Source:
        return cls(PurePosixPath(path), text, ast.parse(text, filename=path))

    @property
    def name(self) -> str:
        """The dotted name; an `__init__.py` is its package."""
        return ".".join(self.path.with_suffix("").parts).removesuffix(".__init__")

    def problem(self, node: ast.AST, sentence: str) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {sentence}"


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name, absolute and as far as it is written: `from a.b import c` is `a.b.c`."""

    node: ast.Import | ast.ImportFrom
    target: str
    alias: str

    def is_within(self, module: str) -> bool:
        return self.target == module or self.target.startswith(f"{module}.")


def read_sources(root: Path, packages: Iterable[str]) -> tuple[Source, ...]:
    """Parse every Python file of the packages, in a stable order."""
    paths = sorted(path for package in packages for path in (root / package).rglob("*.py"))
    return tuple(Source.parse(str(p.relative_to(root)), p.read_text(encoding="utf-8")) for p in paths)


# --- imports ---


def imports(source: Source) -> Iterator[Import]:
    """Every import of a file wherever it stands: nested ones and those under TYPE_CHECKING count."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(node, name.name, name.asname or name.name.partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            module = _origin(source, node)
            for name in node.names:
                target = module if name.name == "*" else f"{module}.{name.name}".lstrip(".")
                yield Import(node, target, name.asname or name.name)


def _origin(source: Source, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    package = source.path.parent.parts
    parts = [*package[: len(package) - node.level + 1], *filter(None, [node.module])]
    return ".".join(parts)


def resolve(target: str, known: Iterable[str]) -> str | None:
    """The module of `known` that an imported name lives in, or None: the longest one that it begins with."""
    names = set(known)
    while target and target not in names:
        target = target.rpartition(".")[0]
    return target or None


def import_graph(sources: Iterable[Source]) -> dict[str, dict[str, ast.AST]]:
    """For each module the modules of the house it names, with the statement that does.

    That naming `a.b` also runs `a/__init__.py` is not an edge: it is true of every file of `a`, and would
    make each package that re-exports anything one big cycle.
    """
    sources = tuple(sources)
    known = frozenset(source.name for source in sources)
    graph: dict[str, dict[str, ast.AST]] = {}
    for source in sources:
        edges = graph.setdefault(source.name, {})
        for found in imports(source):
            if (module := resolve(found.target, known)) is not None:
                edges.setdefault(module, found.node)
    return graph


def cycles(sources: Iterable[Source]) -> list[str]:
    """An import cycle, type-only imports included (one at a time: breaking it may break others)."""
    try:
        graphlib.TopologicalSorter(import_graph(sources)).prepare()
    except graphlib.CycleError as error:
        # graphlib lists a cycle from imported to importer; people read it the other way round.
        return ["import cycle: " + " -> ".join(reversed(error.args[1]))]
    return []


def upward_imports(sources: Iterable[Source], order: tuple[str, ...]) -> list[str]:
    """Imports of a file that stands at the same place or later in `order`; files not in it are left out."""
    sources = tuple(sources)
    graph, place = import_graph(sources), {name: index for index, name in enumerate(order)}
    found = []
    for source in sources:
        for target, node in graph[source.name].items():
            if source.name in place and target in place and place[target] >= place[source.name]:
                floor, other = source.path.parts[0], target.partition(".")[0]
                why = "is listed after it" if floor == other else f"is on a floor above {floor}"
                found.append(source.problem(node, f"imports {target}, which {why}"))
    return found


def imports_in_wrong_place(source: Source) -> list[str]:
    """Imports inside a function or class, and imports after the first line that does something else."""
    found, opened = [], False
    for statement in source.tree.body:
        is_import = isinstance(statement, ast.Import | ast.ImportFrom)
        if is_import and opened:
            found.append(source.problem(statement, "import after other code: move it to the head of the file"))
        opened = opened or not (is_import or _may_stand_among_imports(statement))
    for scope in ast.walk(source.tree):
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            found += [
                source.problem(node, f"import inside {getattr(scope, 'name', 'a lambda')}: move it to the head")
                for node in ast.iter_child_nodes(scope)
                for node in _statements_outside_scopes(node)
                if isinstance(node, ast.Import | ast.ImportFrom)
            ]
    return found


def _may_stand_among_imports(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    guarded = isinstance(statement, ast.If | ast.Try)
    return guarded and any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(statement))


def _statements_outside_scopes(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from _statements_outside_scopes(child)


def forbidden_imports(source: Source, banned: Iterable[str], why: str) -> list[str]:
    """Imports of any of the `banned` modules, or of something in them."""
    banned = tuple(banned)
    return [
        source.problem(found.node, f"imports {found.target}: {why}")
        for found in imports(source)
        if any(found.is_within(module) for module in banned)
    ]


def re_exports(source: Source) -> dict[str, str]:
    """What an `__init__.py` hands on: the name it is imported by there -> where it comes from."""
    return {f"{source.name}.{found.alias}": found.target for found in imports(source)}


# --- names used ---


def forbidden_names(source: Source, banned: Mapping[str, str]) -> list[str]:
    """Uses of the `banned` names (absolute name -> what to do instead), through whatever alias.

    A bare builtin such as `open` counts where it is called; `loop.create_task` is matched as it is written.
    """
    aliases = {found.alias: _bound_name(found) for found in imports(source)}
    calls = {id(node.func) for node in ast.walk(source.tree) if isinstance(node, ast.Call)}
    found = []
    for node in ast.walk(source.tree):
        name = qualified_name(node, aliases)
        if name in banned and ("." in name or id(node) in calls):
            found.append(source.problem(node, f"{name}: {banned[name]}"))
    return found


def _bound_name(found: Import) -> str:
    if isinstance(found.node, ast.Import) and found.alias == found.target.partition(".")[0]:
        return found.alias
    return found.target


def qualified_name(node: ast.AST, aliases: Mapping[str, str]) -> str:
    """The dotted name of an expression, imports undone: `asyncio.sleep`, `make().start`; else ""."""
    match node:
        case ast.Name(id=name):
            return aliases.get(name, name)
        case ast.Call(func=function):
            called = qualified_name(function, aliases)
            return f"{called}()" if called else ""
        case ast.Attribute(value=value, attr=attribute):
            owner = qualified_name(value, aliases)
            return f"{owner}.{attribute}" if owner else ""
        case _:
            return ""


# --- names given, sizes, packages ---

_WORDS = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*")  # "Base32Text" is base32, text: not "base"


def words(name: str) -> list[str]:
    """The words of a snake_case or CamelCase name, in lower case."""
    return [word.lower() for word in _WORDS.findall(name)]


def empty_names(source: Source, banned: frozenset[str], alone: frozenset[str]) -> list[str]:
    """Files, folders and classes named by a word that says nothing; one of `alone` may be the whole name."""
    named: list[tuple[ast.AST, str]] = [(source.tree, part) for part in source.path.with_suffix("").parts]
    named += [(node, node.name) for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef)]
    return [
        source.problem(node, f'"{word}" in the name {name} says nothing: name what it is')
        for node, name in named
        for word in words(name)
        if word in banned or (word in alone and words(name) != [word])
    ]


def too_long(source: Source, limit: int) -> list[str]:
    """Files of more than `limit` lines."""
    lines = len(source.text.splitlines())
    message = f"{lines} lines, more than {limit}: a concept is missing; find it and give it a file"
    return [source.problem(source.tree, message)] if lines > limit else []


def package_bodies(source: Source) -> list[str]:
    """Functions and classes in an `__init__.py`, which only says what its package offers."""
    if source.path.name != "__init__.py":
        return []
    return [
        source.problem(node, f"{node.name} in an __init__: it re-exports only; give the code a file with a name")
        for node in source.tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]


def has_behaviour(source: Source) -> bool:
    """Whether a file defines a function or method; a file of names and constants needs no test of its own."""
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(source.tree))


def place_of_tests(source: Source) -> PurePosixPath:
    """Where the tests of a file are: `mesh/storage/sqlite.py` -> `tests/mesh/storage/test_sqlite.py`."""
    return PurePosixPath("tests", *source.path.parts[:-1], f"test_{source.path.name}")
