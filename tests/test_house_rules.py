"""Each rule of the house is shown a text that breaks it, and one that looks alike and does not."""

from __future__ import annotations

import pytest

from tests import house_rules as rules
from tests.house_rules import Source


def source(text: str, path: str = "mesh/board.py") -> Source:
    return Source.parse(path, text)


def house(**texts: str) -> tuple[Source, ...]:
    """A planted house: `mesh__job="import grammar"` is the file mesh/job.py."""
    return tuple(source(text, name.replace("__", "/", 1) + ".py") for name, text in texts.items())


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("import a.b, c", ["a.b", "c"]),
        ("from a.b import c as d", ["a.b.c"]),
        ("from a import *", ["a"]),
        ("from .job import Job", ["mesh.job.Job"]),
        ("from .. import grammar", ["grammar"]),
        ("if TYPE_CHECKING:\n    from a import B", ["a.B"]),
        ("def f():\n    class C:\n        import deep", ["deep"]),
        ('"import nothing"', []),
    ],
)
def test_imports_are_found_wherever_they_stand(text: str, targets: list[str]) -> None:
    assert [found.target for found in rules.imports(source(text))] == targets


def test_a_package_is_named_by_its_init() -> None:
    assert source("", "mesh/storage/__init__.py").name == "mesh.storage"
    assert source("", "mesh/storage/sqlite.py").name == "mesh.storage.sqlite"


def test_names_resolve_to_the_longest_known_module() -> None:
    known = ("mesh", "mesh.storage", "mesh.job")
    assert rules.resolve("mesh.job.Job.id", known) == "mesh.job"
    assert rules.resolve("mesh.storage.sqlite", known) == "mesh.storage"
    assert rules.resolve("meshed.job", known) is None


@pytest.mark.parametrize(
    "link",
    [
        "from mesh.job import Job",
        "if TYPE_CHECKING:\n    from mesh.job import Job",
        "def f():\n    import mesh.job",
        "import mesh.job as j",
        "from .job import Job",
    ],
)
def test_a_cycle_is_found_and_told(link: str) -> None:
    looped = house(mesh__facts=link, mesh__job="from mesh.codec import x", mesh__codec="import mesh.facts")
    (problem,) = rules.cycles(looped)
    assert {"mesh.facts", "mesh.job", "mesh.codec"} <= set(problem.split())
    assert any(way in problem for way in ("mesh.facts -> mesh.job", "mesh.codec -> mesh.facts -> mesh.job"))


def test_a_diamond_and_a_re_exporting_init_are_no_cycle() -> None:
    assert not rules.cycles(
        house(
            mesh____init__="from mesh.engine import Engine",
            mesh__engine="from mesh.board import B\nfrom mesh.job import J",
            mesh__board="from mesh.job import J",
            mesh__job="",
        )
    )


def test_imports_against_the_order_are_found() -> None:
    order = ("grammar.names", "mesh.job", "mesh.board")
    wrong = house(
        grammar__names="import mesh.job",
        mesh__job="from mesh.board import B",
        mesh__board="import grammar.names",
    )
    assert rules.upward_imports(wrong, order) == [
        "grammar/names.py:1: imports mesh.job, which is on a floor above grammar",
        "mesh/job.py:1: imports mesh.board, which is listed after it",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    import os",
        "async def f():\n    if x:\n        from os import path",
        "class C:\n    import os",
        "def f():\n    def g():\n        import os",
        "x = 1\nimport os",
        "def f(): ...\n\nfrom a import b",
    ],
)
def test_an_import_in_the_wrong_place_is_found_once(text: str) -> None:
    assert len(rules.imports_in_wrong_place(source(text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        '"""Head."""\nfrom __future__ import annotations\nimport os\nx = 1',
        "if TYPE_CHECKING:\n    import os\nimport sys",
        "try:\n    import uvloop\nexcept ImportError:\n    uvloop = None\nimport sys",
    ],
)
def test_an_import_at_the_head_is_fine(text: str) -> None:
    assert not rules.imports_in_wrong_place(source(text))


@pytest.mark.parametrize("text", ["import os", "import os.path as p", "from os import path", "def f():\n import os"])
def test_a_forbidden_import_is_found(text: str) -> None:
    (problem,) = rules.forbidden_imports(source(text), {"os"}, "the pure core does no I/O")
    assert "the pure core does no I/O" in problem


def test_a_namesake_of_a_forbidden_import_is_fine() -> None:
    assert not rules.forbidden_imports(source("import osmosis\nfrom mesh.os import x"), {"os"}, "no")


def test_what_an_init_hands_on_is_known() -> None:
    init = source("from invitations.vault import open_vault as seal", "invitations/__init__.py")
    assert rules.re_exports(init) == {"invitations.seal": "invitations.vault.open_vault"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import asyncio\nasyncio.wait_for(x, 1)", "asyncio.wait_for"),
        ("import asyncio as aio\nf = aio.wait_for", "asyncio.wait_for"),
        ("from asyncio import wait_for as w\nw(x)", "asyncio.wait_for"),
        ("import datetime\ndatetime.datetime.now()", "datetime.datetime.now"),
        ("from datetime import datetime, UTC\ndatetime.now(UTC)", "datetime.datetime.now"),
        ("from datetime import datetime\nclass C:\n    make = datetime.now", "datetime.datetime.now"),
        (
            "import asyncio\nasyncio.get_running_loop().create_task(x)",
            "asyncio.get_running_loop().create_task",
        ),
        ("open('x')", "open"),
    ],
)
def test_a_forbidden_name_is_found_through_any_alias(text: str, name: str) -> None:
    (problem,) = rules.forbidden_names(source(text), {name: "no"})
    assert problem.endswith(f"{name}: no")


@pytest.mark.parametrize(
    "text",
    [
        "store.open()",
        "def f(open): return open",
        "tasks.create_task(x)",
        "class D:\n    def now(self): ...\nD().now()",
    ],
)
def test_a_namesake_of_a_forbidden_name_is_fine(text: str) -> None:
    banned = {"open": "no", "asyncio.create_task": "no", "datetime.datetime.now": "no"}
    assert not rules.forbidden_names(source(text), banned)


@pytest.mark.parametrize(
    ("path", "text", "count"),
    [
        ("mesh/job_utils.py", "", 1),
        ("mesh/core/job.py", "", 1),
        ("mesh/board.py", "class BoardManager: ...", 1),
        ("mesh/board.py", "class JobService: ...", 1),
        ("agents/services.py", "class Service: ...", 0),
        ("mesh/board.py", "class Base32Text: ...\nclass Score: ...\nclass Database: ...", 0),
    ],
)
def test_a_name_that_says_nothing_is_found(path: str, text: str, count: int) -> None:
    banned, alone = frozenset({"utils", "core", "manager", "base"}), frozenset({"service", "services"})
    assert len(rules.empty_names(source(text, path), banned, alone)) == count


def test_a_long_file_is_found() -> None:
    assert not rules.too_long(source("x = 1\n" * 3), 3)
    assert "4 lines, more than 3" in rules.too_long(source("x = 1\n" * 4), 3)[0]


def test_code_in_an_init_is_found() -> None:
    text = "from mesh.job import Job\n\ndef f(): ...\nclass C: ..."
    assert len(rules.package_bodies(source(text, "mesh/__init__.py"))) == 2
    assert not rules.package_bodies(source(text, "mesh/job.py"))


def test_where_the_tests_of_a_file_are() -> None:
    assert str(rules.place_of_tests(source("", "mesh/storage/sqlite.py"))) == "tests/mesh/storage/test_sqlite.py"


def test_a_file_of_constants_has_no_behaviour() -> None:
    assert not rules.has_behaviour(source("X = 1\nclass E(Exception):\n    code = 'E1'"))
    assert rules.has_behaviour(source("class C:\n    def f(self): ..."))
