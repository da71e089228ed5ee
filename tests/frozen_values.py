"""The rule that importing a file makes no state: what a module or a class body holds can never change.

Two agents in one process must not share anything, and a file that is only imported must have no effect. The
rule is a closed list: an expression is accepted when its form shows that it is constant, and is a problem
otherwise. Calls are accepted when they are known to give something immutable: the names listed here, the
frozen classes of the project itself, and its functions whose return annotation is one of those.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from tests.house_rules import Source, imports, qualified_name

# Give an immutable value. Their arguments are checked too; a list given straight to a freezing one is opened.
FREEZING = frozenset({"tuple", "frozenset", "MappingProxyType"})
CONSTANT_CALLS = FREEZING | {
    *(
        "int",
        "float",
        "bool",
        "str",
        "bytes",
        "complex",
        "range",
        "len",
        "min",
        "max",
        "sum",
        "ord",
        "chr",
        "object",
    ),
    *(
        "Decimal",
        "Fraction",
        "datetime",
        "date",
        "timedelta",
        "timezone",
        "Path",
        "PurePath",
        "PurePosixPath",
        "UUID",
    ),
    *(
        "ip_address",
        "ip_network",
        "partial",
        "itemgetter",
        "attrgetter",
        "Struct",
        "calcsize",
        "get_args",
        "compile",
        "type",
    ),
    *(
        "encode",
        "decode",
        "join",
        "ljust",
        "rjust",
        "to_bytes",
        "from_bytes",
        "fromhex",
        "format",
        "strip",
        "lower",
    ),
    *(
        "upper",
        "replace",
        "removeprefix",
        "removesuffix",
        "digest",
        "hexdigest",
        "sha256",
        "blake2b",
        "blake2s",
    ),
}
# Give something mutable, which is of no account inside a freezing call.
TRANSIENT = frozenset({"dict", "list", "set", "sorted", "reversed", "zip", "enumerate", "map", "filter", "product"})
# Are definitions or declarations, whatever they are given: types, fields, and what a validator is told.
DECLARING_CALLS = frozenset(
    {
        *(
            "TypeVar",
            "ParamSpec",
            "TypeVarTuple",
            "NewType",
            "namedtuple",
            "NamedTuple",
            "Enum",
            "StrEnum",
            "IntEnum",
        ),
        *("field", "Field", "PrivateAttr", "ConfigDict", "TypeAdapter", "auto", "property", "version"),
    }
)
FROZEN_BASES = frozenset({"NamedTuple", "Enum", "IntEnum", "StrEnum", "Flag", "IntFlag"})
IMMUTABLE_TYPES = frozenset(
    {
        *(
            "str",
            "int",
            "bytes",
            "float",
            "bool",
            "None",
            "tuple",
            "frozenset",
            "MappingProxyType",
            "Pattern",
        ),
        *("Struct", "datetime", "date", "timedelta", "Decimal", "Path"),
    }
)
MEMORIES = frozenset({"functools.cache", "functools.lru_cache", "functools.lru_cache()"})


def frozen_calls(sources: Iterable[Source]) -> frozenset[str]:
    """Names of classes, functions and methods of the project whose call gives an immutable value."""
    trees = [source.tree for source in sources]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    frozen: set[str] = set(FROZEN_BASES)
    grown = True
    while grown:  # a subclass may be read before its parent
        new = {node.name for node in classes if _is_frozen(node, frozen)} - frozen
        frozen |= new
        grown = bool(new)
    for node in (node for tree in trees for node in tree.body):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="NewType"))):
                frozen.add(name)  # the call gives back what it was given, and that is checked by itself
    results: dict[str, bool] = {}
    for tree in trees:
        for owner in ast.walk(tree):
            for node in getattr(owner, "body", []) if isinstance(owner, ast.Module | ast.ClassDef) else []:
                if isinstance(node, ast.FunctionDef):
                    own = {"Self"} if isinstance(owner, ast.ClassDef) and owner.name in frozen else set()
                    good = _names_of(node.returns) <= frozen | IMMUTABLE_TYPES | own
                    # Methods are matched by name alone, so one namesake that gives a list spoils the name.
                    results[node.name] = results.get(node.name, True) and node.returns is not None and good
    return frozenset(frozen - FROZEN_BASES) | {name for name, good in results.items() if good}


def _is_frozen(node: ast.ClassDef, frozen: set[str]) -> bool:
    settings = [*node.keywords]
    for expression in (*node.decorator_list, *(s.value for s in node.body if isinstance(s, ast.Assign))):
        if isinstance(expression, ast.Call) and _last_name(expression.func) in {"dataclass", "ConfigDict"}:
            settings += expression.keywords
    guarded = any(isinstance(s, ast.FunctionDef) and s.name == "__setattr__" for s in node.body)
    declared = guarded or any(k.arg == "frozen" and getattr(k.value, "value", False) is True for k in settings)
    return declared or any(_last_name(base) in frozen for base in node.bases)


def _names_of(annotation: ast.expr | None) -> set[str]:
    """The outer type names of an annotation: `tuple[list, ...] | None` is {tuple, None}."""
    match annotation:
        case ast.BinOp(left=left, right=right):
            return _names_of(left) | _names_of(right)
        case ast.Subscript(value=value):
            return _names_of(value)
        case ast.Constant(value=None):
            return {"None"}
        case ast.Constant(value=str(text)):
            return _names_of(ast.parse(text, mode="eval").body)
        case None:
            return set()
        case _:
            return {_last_name(annotation)}


def _last_name(node: ast.expr) -> str:
    while isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def mutable_values(source: Source, frozen: frozenset[str], also: frozenset[str] = frozenset()) -> list[str]:
    """What a file leaves behind that could change, and what it does when it is imported.

    Args:
        source: the file.
        frozen: the project's own calls that give an immutable value, from `frozen_calls`.
        also: further calls this file may make, by name (`getLogger`) or by module (`click.`, whose top-level
            statements are then allowed too: a command is registered where it is defined).
    """
    return sorted({*_assignments(source, source.tree.body, frozen, also), *_hidden_state(source)})


def _assignments(source: Source, body: list[ast.stmt], frozen: frozenset[str], also: frozenset[str]) -> Iterator[str]:
    for node in body:
        match node:
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                continue
            case ast.If() | ast.Try():
                inner = [*node.body, *node.orelse, *getattr(node, "finalbody", [])]
                inner += [s for handler in getattr(node, "handlers", []) for s in handler.body]
                yield from _assignments(source, inner, frozen, also)
            case ast.ClassDef():
                yield from _assignments(source, node.body, frozen, also)
            case ast.Assign(targets=[ast.Name(id="__all__")]):
                continue  # read by tools alone, and they expect a list
            case ast.Assign(value=value) | ast.AnnAssign(value=value) if value is not None:
                for culprit in _not_constant(value, frozen, also):
                    yield source.problem(
                        culprit,
                        f"{ast.unparse(culprit)[:60]}: not a constant; freeze it, or make it per agent",
                    )
            case ast.Expr(value=ast.Constant()):
                continue
            case ast.Expr() if any(name.endswith(".") for name in also):
                continue
            case ast.Expr() | ast.AugAssign() | ast.For() | ast.While() | ast.With():
                yield source.problem(node, "runs when the file is imported: importing has no effect")


def _not_constant(node: ast.expr, frozen: frozenset[str], also: frozenset[str]) -> Iterator[ast.expr]:
    """The parts of an expression that could change later."""
    match node:
        case ast.Constant() | ast.Name() | ast.Attribute() | ast.Subscript() | ast.Lambda() | ast.JoinedStr():
            return  # a name stands for a constant checked where it is defined; a subscript here is a type
        case ast.Compare():
            return  # a bool
        case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub(), right=right):
            # Of two sets the left one says what kind their union is; a display on the left is found as such.
            parts = [left, *_opened(right)]
        case ast.Tuple() | ast.UnaryOp() | ast.BinOp() | ast.BoolOp() | ast.IfExp() | ast.Starred():
            parts = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        case ast.Call(func=function) if _last_name(function) in DECLARING_CALLS or _is_listed(function, also):
            return
        case ast.Call(func=function) if _last_name(function) in CONSTANT_CALLS | frozen:
            parts = [*node.args, *(keyword.value for keyword in node.keywords)]
            if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Call):
                parts.append(function.value)
            if _last_name(function) in FREEZING | {"join", "sum", "min", "max", "len"}:
                parts = [inner for part in parts for inner in _opened(part)]
        case _:
            yield node
            return
    for part in parts:
        yield from _not_constant(part, frozen, also)


def _opened(node: ast.expr) -> list[ast.expr]:
    """What an expression holds that lives only until a freezing call has copied it."""
    match node:
        case ast.List(elts=parts) | ast.Set(elts=parts):
            return parts
        case ast.Dict(keys=keys, values=values):
            return [part for part in (*keys, *values) if part is not None]
        case ast.DictComp(value=value):
            return [value]
        case ast.ListComp(elt=value) | ast.SetComp(elt=value) | ast.GeneratorExp(elt=value):
            return [value]
        case ast.BinOp(left=left, op=ast.BitOr() | ast.Add(), right=right):
            return [*_opened(left), *_opened(right)]
        case ast.Call(func=ast.Name(id=name), args=parts) if name in TRANSIENT:
            return [inner for part in parts for inner in _opened(part)]
        case _:
            return [node]


def _is_listed(function: ast.expr, also: frozenset[str]) -> bool:
    name = qualified_name(function, {})
    return name.rpartition(".")[2] in also or any(name.startswith(n) for n in also if n.endswith("."))


def _hidden_state(source: Source) -> Iterator[str]:
    aliases = {found.alias: found.target for found in imports(source)}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Global):
            yield source.problem(node, f"global {', '.join(node.names)}: state belongs to an agent, not to a module")
        for decorator in getattr(node, "decorator_list", []):
            if qualified_name(decorator, aliases) in MEMORIES:
                yield source.problem(decorator, "a cache shared by every agent of the process: keep it in an object")
