"""The house, asserted on the import graph: floors, order, cycles, purity, and no state in a module.

A new file is placed in `ORDER`, after every file it imports. The rules themselves are in `house_rules.py` and
`frozen_values.py`, and shown to work by their own tests; this file says what they are applied to, and every
exception with its reason.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType

import pytest

from tests import house_rules as rules
from tests.frozen_values import frozen_calls, mutable_values
from tests.house_rules import Source

ROOT = Path(__file__).resolve().parent.parent

# Floors from the ground up; in each, the files in their order. A file imports from floors below and from
# files listed before it. A package's `__init__` stands after what it re-exports: `mesh/__init__` hands on the
# pure core alone, so that importing the core never loads a socket or a database.
ORDER = MappingProxyType(
    {
        "grammar": """
            errors names values quoting identifiers destination dates quantities quotas documents domains awards
            nodes notifications usage_reports storage_reports arguments parameters instruction vocabulary
            signatures openportal results command schema kinds __init__
        """,
        "invitations": """
            errors files documents fingerprint addresses vault identity card invitation peers refusal
            recognition admission joining config __init__
        """,
        "mesh": """
            errors limits room lifecycle codec quotas blobs proof facts noise session known messages positions
            replication routing lane row quarantine job board trust refusals access lineage effects ending ledger
            ahead counting refetching staging sending receiving homeward dispatch hop unreported destination clocks
            greeting liveness newcomer arrival exchange origin revocation opening shortage engine __init__
            storage/contract storage/columns storage/faults storage/plainfile storage/slots storage/blobs storage/memory
            storage/statements storage/checks storage/log storage/mark storage/lock storage/database storage/queries
            storage/snapshot storage/journal storage/pending storage/sweep storage/space storage/sqlite storage/reader
            storage/inbox storage/writer storage/beside storage/__init__
            simulation/world simulation/wires simulation/history simulation/disk simulation/blob_points
            simulation/excuses simulation/failpoints
            simulation/setting simulation/program simulation/steps simulation/host simulation/stores
            simulation/simulation simulation/life simulation/leftovers simulation/verdict
            simulation/__init__
            transport/contract transport/errors transport/route transport/accepting transport/admission
            transport/connection transport/listener transport/websocket transport/dialer transport/memory
            transport/__init__
        """,
        "agents": """
            errors putting doorway settings plugins longtext views watching stepping blobs context handlers executor
            handle calling children pairing handshake metrics links peering lookup jobs running exports logs calls
            chunks records wire trusted uploads caller contents api door program agent offline answers client measuring
            __init__
            cli/showing cli/session cli/streaming cli/instructions cli/parsing cli/processes cli/processors cli/demo
            cli/loopback cli/bench cli/knowing cli/looking cli/making cli/meeting cli/stopping cli/retrying cli/language
            cli/putting cli/codes cli/serving cli/program cli/__init__
        """,
    }
)

# Files with behaviour and no test file of their own, and why.
_BY_MUTANTS = "part of the simulation, which tests/simulation proves by planted bugs and replayed seeds"
TESTED_ELSEWHERE: MappingProxyType[str, str] = MappingProxyType(
    {
        **{
            f"mesh/simulation/{name}.py": _BY_MUTANTS
            for name in (
                *(
                    "blob_points",
                    "disk",
                    "excuses",
                    "failpoints",
                    "history",
                    "host",
                    "leftovers",
                    "life",
                    "program",
                    "setting",
                ),
                *("simulation", "steps", "stores", "verdict", "wires", "world"),
            )
        },
        "mesh/newcomer.py": "tests/mesh/test_arrival.py brings Requests that may not be here",
        "agents/answers.py": "tests/agents/test_client.py has every error and view come over the door",
        "agents/caller.py": "tests/agents/test_api.py calls every method",
        "agents/contents.py": "tests/agents/test_chunks.py moves bytes both ways",
        "mesh/refusals.py": "tests/mesh/test_protocol_document.py compares its table with PROTOCOL.md",
        "mesh/ending.py": "tests/mesh/test_destination.py ends jobs in every way",
        "agents/program.py": "tests/integration and tests/acceptance run agents as programs, and stop them",
        "agents/cli/processes.py": "tests/agents/cli/test_demo.py and test_bench.py run agents with it, and stop them",
        "agents/cli/loopback.py": "tests/agents/cli/test_bench.py makes rows of agents, and ends one of them",
        "agents/cli/language.py": "tests/acceptance/test_cli_language.py types it",
        "agents/cli/instructions.py": "tests/acceptance/test_plugins.py types verbs that use it",
        "mesh/counting.py": "tests/mesh/test_ledger.py and the mutant credit_leaks see credit become free again",
        "mesh/row.py": "tests/mesh/test_job.py writes and reads rows",
        "mesh/opening.py": "tests/mesh/test_engine.py opens engines on every kind of store",
    }
)

# Who may use what from outside the standard library: the longest prefix that fits a module decides.
# pydantic_core is the lower half of pydantic, which installs it in the one version that fits.
THIRD_PARTY = MappingProxyType(
    {
        "grammar": frozenset({"pydantic", "pydantic_core"}),
        "invitations": frozenset({"pydantic", "pydantic_core", "nacl", "msgpack", "tomli_w"}),
        "mesh": frozenset({"pydantic", "pydantic_core", "nacl", "msgpack"}),
        "mesh.transport": frozenset({"pydantic", "pydantic_core", "nacl", "msgpack", "websockets"}),
        "agents": frozenset({"pydantic", "pydantic_core", "nacl", "tomli_w", "uvloop"}),
        "agents.cli": frozenset({"pydantic", "pydantic_core", "click", "rich"}),
    }
)

# Classes that cannot change though neither a decorator nor a `__setattr__` says so, and why.
IMMUTABLE_BY_HAND = MappingProxyType(
    {
        "Vocabulary": "slots filled once by its constructor with frozen tables; it grows by copy",
        "Subprotocol": "a NewType of str in websockets.typing",
    }
)

# What the files directly in grammar/ and mesh/, and the played world of mesh/simulation/, never touch: the world, the
# clock, chance, and other threads.
WORLD = frozenset(
    {
        *("asyncio", "threading", "multiprocessing", "concurrent", "queue", "signal", "subprocess", "sched"),
        *(
            "socket",
            "select",
            "selectors",
            "ssl",
            "http",
            "urllib",
            "websockets",
            "sqlite3",
            "os",
            "io",
            "pathlib",
        ),
        *("shutil", "tempfile", "glob", "fcntl", "importlib", "logging", "getpass", "platform"),
        *("time", "random", "secrets", "uuid", "nacl.utils"),
    }
)
WORLD_BY_NAME = MappingProxyType(
    {
        "open": "the pure core does no I/O",
        "print": "the pure core does no I/O",
        "input": "the pure core does no I/O",
        "datetime.datetime.now": "time is an argument",
        "datetime.datetime.utcnow": "time is an argument",
        "datetime.datetime.today": "time is an argument",
        "datetime.date.today": "time is an argument",
        "nacl.signing.SigningKey.generate": "randomness comes through a function given at construction",
        "nacl.public.PrivateKey.generate": "randomness comes through a function given at construction",
        "nacl.bindings.randombytes": "randomness comes through a function given at construction",
        "nacl.bindings.crypto_box_keypair": "randomness comes through a function given at construction",
        "nacl.bindings.crypto_sign_keypair": "randomness comes through a function given at construction",
    }
)
# (module, what it may import of the world): why.
WORLD_ALLOWED = MappingProxyType(
    {
        ("mesh.simulation.world", "random"): "a random.Random made from a seed is how a run is replayed",
    }
)

# Rooms of the floor below that open files, which the pure core therefore does not name.
FILE_ROOMS = frozenset({"invitations.files", "invitations.vault", "invitations.config"})

# Modules of one outside thing: only the room named for it opens it.
ONE_ROOM = MappingProxyType({"sqlite3": "mesh.storage", "websockets": "mesh.transport", "click": "agents.cli"})

BANNED_EVERYWHERE = MappingProxyType(
    {
        "asyncio.wait_for": "swallows cancellation on Python 3.11: use asyncio.timeout",
        "time.sleep": "blocks every agent of the process: wait for the input itself",
        "asyncio.get_event_loop": "use asyncio.get_running_loop",
    }
)
BANNED_BELOW_AGENTS = MappingProxyType(
    {
        "asyncio.create_task": "a task nobody waits for: use a TaskGroup",
        "asyncio.ensure_future": "a task nobody waits for: use a TaskGroup",
        "loop.create_task": "a task nobody waits for: use a TaskGroup",
        "asyncio.get_running_loop().create_task": "a task nobody waits for: use a TaskGroup",
        "importlib.import_module": "no import by string: name what you need at the head of the file",
        "__import__": "no import by string: name what you need at the head of the file",
    }
)
EMPTY_WORDS = frozenset({"manager", "managers", "util", "utils", "helper", "helpers", "core", "base", "common", "misc"})
DESIGN_WORDS = frozenset({"service", "services"})  # a name by themselves; JobService says no more than Job
MOST_LINES = 400

HOUSE = rules.read_sources(ROOT, ORDER)
BY_NAME = MappingProxyType({source.name: source for source in HOUSE})
PLACED = tuple(
    f"{package}.{file.replace('/', '.')}".removesuffix(".__init__")
    for package, files in ORDER.items()
    for file in files.split()
)
PURE = tuple(
    source
    for source in HOUSE
    if (len(source.path.parts) == 2 and source.path.parts[0] in {"grammar", "mesh"})
    or source.path.parts[:2] == ("mesh", "simulation")
)


def require_none(problems: Iterable[str]) -> None:
    if lines := list(problems):
        pytest.fail("\n".join(lines), pytrace=False)


def allowed_third_party(module: str) -> frozenset[str]:
    while module not in THIRD_PARTY:
        module = module.rpartition(".")[0]
    return THIRD_PARTY[module]


def place_for(source: Source) -> str:
    """Where a file that is in no floor belongs: right after the last file that it imports."""
    named = {rules.resolve(found.target, (*PLACED, *BY_NAME)) for found in rules.imports(source)}
    own = [name for name in PLACED if name in named and name.partition(".")[0] == source.path.parts[0]]
    return f'after "{own[-1]}"' if own else "anywhere before the files that import it"


# --- the order of the house ---


def test_every_file_has_its_place() -> None:
    require_none(
        f"{source.path}: is in no floor: list it in ORDER of tests/test_architecture.py, {place_for(source)}"
        for source in HOUSE
        if source.name not in PLACED
    )


def test_every_place_has_its_file() -> None:
    require_none(f"{name}: is listed in ORDER and is no file" for name in PLACED if name not in BY_NAME)


def test_no_place_is_listed_twice() -> None:
    require_none(sorted({name for name in PLACED if PLACED.count(name) > 1}))


def test_imports_go_down_or_back() -> None:
    require_none(rules.upward_imports(HOUSE, PLACED))


def test_no_import_cycle_even_for_types() -> None:
    require_none(rules.cycles(HOUSE))


def test_imports_stand_at_the_head_of_the_file() -> None:
    require_none(problem for source in HOUSE for problem in rules.imports_in_wrong_place(source))


# --- who touches the world ---


def test_the_pure_core_does_not_touch_the_world() -> None:
    problems: list[str] = []
    for source in PURE:
        allowed = {what for module, what in WORLD_ALLOWED if module == source.name}
        problems += rules.forbidden_imports(source, WORLD - allowed, "the pure core does not touch the world")
        problems += rules.forbidden_names(source, WORLD_BY_NAME)
    require_none(problems)


def test_the_pure_core_opens_no_file_through_another_floor() -> None:
    """Also through what a package hands on: `from invitations import load` is told apart from `Card`."""
    handed_on = {k: v for source in HOUSE for k, v in rules.re_exports(source).items() if source.name in ORDER}
    require_none(
        source.problem(found.node, f"imports {found.target}, and {module} opens files")
        for source in PURE
        for found in rules.imports(source)
        if (module := rules.resolve(handed_on.get(found.target, found.target), BY_NAME)) in FILE_ROOMS
    )


def test_exceptions_are_still_needed() -> None:
    imported = {(source.name, found.target.partition(".")[0]) for source in HOUSE for found in rules.imports(source)}
    stale = [f"{m} no longer imports {what}" for m, what in WORLD_ALLOWED if (m, what) not in imported]
    stale += [f"{path} is no file" for path in TESTED_ELSEWHERE if not (ROOT / path).is_file()]
    require_none(stale)


def test_each_outside_thing_has_one_room() -> None:
    require_none(
        problem
        for source in HOUSE
        for thing, room in ONE_ROOM.items()
        if source.name != room and not source.name.startswith(f"{room}.")
        for problem in rules.forbidden_imports(source, {thing}, f"only {room} opens it")
    )


def test_third_party_packages_stay_on_their_floor() -> None:
    known = sys.stdlib_module_names | set(ORDER)
    require_none(
        source.problem(found.node, f"imports {found.target}, which this floor does not use")
        for source in HOUSE
        for found in rules.imports(source)
        if found.target.partition(".")[0] not in known | allowed_third_party(source.name)
    )


# --- state, tasks, names, sizes ---


def test_no_module_holds_what_can_change() -> None:
    frozen, problems = frozen_calls(HOUSE) | IMMUTABLE_BY_HAND.keys(), list[str]()
    for source in HOUSE:
        # A logger belongs to the process by design, and the shell, never the core, logs each effect once.
        also = set() if source in PURE else {"getLogger"}
        if source.path.parts[:2] == ("agents", "cli"):
            also.add("click.")
        problems += mutable_values(source, frozen, frozenset(also))
    require_none(problems)


def test_no_waiting_that_hides_a_fault() -> None:
    problems: list[str] = []
    for source in HOUSE:
        below = {} if source.path.parts[0] == "agents" else BANNED_BELOW_AGENTS
        problems += rules.forbidden_names(source, {**BANNED_EVERYWHERE, **below})
    require_none(problems)


def test_names_say_something() -> None:
    require_none(p for source in HOUSE for p in rules.empty_names(source, EMPTY_WORDS, DESIGN_WORDS))


def test_no_file_is_too_long() -> None:
    require_none(problem for source in HOUSE for problem in rules.too_long(source, MOST_LINES))


def test_an_init_only_re_exports() -> None:
    require_none(problem for source in HOUSE for problem in rules.package_bodies(source))


def test_every_package_is_typed() -> None:
    require_none(f"{name}/py.typed is missing" for name in ORDER if not (ROOT / name / "py.typed").is_file())


def test_every_file_has_its_tests() -> None:
    require_none(
        f"{source.path}: has no {rules.place_of_tests(source)}: write it, or say why in TESTED_ELSEWHERE"
        for source in HOUSE
        if rules.has_behaviour(source)
        and not (ROOT / rules.place_of_tests(source)).is_file()
        and str(source.path) not in TESTED_ELSEWHERE
    )
