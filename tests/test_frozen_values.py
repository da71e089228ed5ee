"""The rule against module state is shown what breaks it, and what looks alike and cannot change."""

from __future__ import annotations

import pytest

from tests.frozen_values import frozen_calls, mutable_values
from tests.house_rules import Source

PROJECT = Source.parse(
    "grammar/vocabulary.py",
    """
@dataclass(frozen=True, slots=True)
class Vocabulary:
    @classmethod
    def of(cls, *verbs) -> Self: ...
    def listed(self) -> list[str]: ...
    def get(self) -> str: ...

class Loose:
    def get(self) -> dict[str, str]: ...

@dataclass(slots=True)
class Changing: ...

class Guarded:
    def __setattr__(self, name, value): ...

JobId = NewType("JobId", bytes)

class Settings(BaseModel, frozen=True): ...
class Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
class Narrow(Row): ...

def make(text: str) -> Vocabulary | None: ...
def verbs() -> tuple[list[int], ...]: ...
def untyped(): ...
""",
)
FROZEN = frozen_calls([PROJECT])


def problems(text: str, also: frozenset[str] = frozenset()) -> list[str]:
    return mutable_values(Source.parse("mesh/board.py", text), FROZEN, also)


def test_what_the_project_itself_makes_immutable() -> None:
    assert {"Vocabulary", "Settings", "Row", "Narrow", "make", "verbs", "of", "Guarded", "JobId"} == FROZEN


@pytest.mark.parametrize(
    "text",
    [
        "x = []",
        "x: Final = {}",
        "x = {1}",
        "x = {1} | {2}",
        "x = 3 * [0]",
        "x = dict(y) | {}",
        "x = MappingProxyType(dict(y) | {'a': []})",
        "x = sorted(y)",
        "x = [n for n in y]",
        "x = dict(a=1)",
        "x = deque()",
        "x = defaultdict(list)",
        "x = bytearray(3)",
        "x = (1, [])",
        "x = a or []",
        "x = frozenset({(1, deque())})",
        "x = MappingProxyType({'a': []})",
        "x = MappingProxyType({'a': {}})",
        "x = tuple([] for n in y)",
        "x = Vocabulary([])",
        "x = Changing()",
        "x = Vocabulary.of().listed()",
        "x = untyped()",
        "x = 'a b'.split()",
        "x = asyncio.Queue()",
        "x = threading.Lock()",
        "x = ContextVar('x')",
        "x = msgpack.Packer()",
        "x = itertools.count()",
        "x = logging.getLogger('mesh')",
        "class C:\n    seen = {}",
        "class C:\n    class D:\n        seen: ClassVar[list[int]] = []",
        "if sys.platform:\n    x = []",
        "try:\n    pass\nexcept E:\n    x = []",
        "def f():\n    global seen",
        "@functools.cache\ndef f(): ...",
        "from functools import lru_cache\n@lru_cache(maxsize=None)\ndef f(): ...",
        "register(f)",
        "x += (1,)",
        "for x in y: ...",
    ],
)
def test_what_could_change_is_found(text: str) -> None:
    assert len(problems(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "x = 1; y = -1 << 3; z = (x, 'a', None, b''); w = x if y else z",
        "x: Final = 3",
        "x: int",
        "x = frozenset({1, 2}); y = frozenset('ab'); z = frozenset([(1, 2)]); w = tuple(n for n in z)",
        "x = MappingProxyType({'a': 1, 'b': (1, MappingProxyType({}))})",
        "x = MappingProxyType({a: Vocabulary(a) for a in b})",
        "x = MappingProxyType(dict(y) | {a: 1 for a in b}); y = tuple(sorted(z)); z = ORDER | {'a', 'b'}",
        "x = re.compile('a'); y = Struct('>I'); z = struct.Struct('>I'); w = y.size",
        "x = TypeVar('x'); y = NewType('y', int); z = Callable[[int], str]; w = Annotated[str, Field(max=1)]",
        "x = partial(f, 1); y = lambda: []; z = Other; w = Other.attribute; v = object()",
        "x = Vocabulary.of('a'); y = make('a'); z = Settings(a=1, b=(1,)); w = verbs()",
        "x = b'a'.ljust(8); y = ','.join(['a', 'b']); z = f'{x}'; w = hashlib.blake2b(b'x').digest()",
        "__all__ = ['a']",
        "assert x; del x",
        "if __name__ == '__main__':\n    main()",
        "class C:\n    model_config = ConfigDict(frozen=True)\n    'doc'",
        "class C:\n    a: list[int] = field(default_factory=list)",
        "class E(Enum):\n    A = auto()\n    B = (1, 'b')",
        "def f():\n    x = []\n    register(x)",
        "type_name = list[int] | None",
    ],
)
def test_what_cannot_change_is_fine(text: str) -> None:
    assert problems(text) == []


def test_a_floor_may_be_given_more() -> None:
    logged = "log = logging.getLogger('agents')"
    assert problems(logged)
    assert not problems(logged, frozenset({"getLogger"}))
    command = "import click\nverbs = click.Group()\nverbs.add_command(put)"
    assert problems(command)
    assert not problems(command, frozenset({"click."}))
