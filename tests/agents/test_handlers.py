"""What can be a handler, and what its signature declares."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Annotated, Any

import pytest

from agents.context import Context, Ended, Envelope
from agents.errors import HandlerError
from agents.handlers import Handlers
from grammar.identifiers import ProjectIdentifier, UserIdentifier
from grammar.openportal import VOCABULARY
from grammar.signatures import declare
from grammar.vocabulary import Vocabulary
from mesh.access import BUILT_IN
from tests.agents.doors import in_loop


def added(function: Callable[..., Any], **settings: Any) -> Handlers:
    handlers = Handlers(VOCABULARY)
    add(handlers, function, **settings)
    return handlers


def add(handlers: Handlers, function: Callable[..., Any], **settings: Any) -> None:
    defaults: dict[str, Any] = {"keyword": None, "right": "write", "read_only": False, "idempotent": True}
    handlers.add(function, **{**defaults, **settings})


async def greet(name: str, times: int = 1, *, loud: bool = False) -> str:
    """Says hello."""
    return " ".join([name.upper() if loud else name] * times)


async def add_user(user: UserIdentifier, context: Context) -> str:
    return f"{user} for {context.zone}"


async def call(handlers: Handlers, text: str, context: Any = None) -> Any:
    instruction = handlers.vocabulary.parse(text)
    handler = handlers.find(instruction.keyword)
    assert handler is not None
    return await handler.call(instruction, lambda: context)


def nothing() -> Context:
    raise AssertionError("nobody asked for a context")


@in_loop
async def test_a_context_is_made_for_who_asks_for_it() -> None:
    handlers = added(greet)
    handler = handlers.find("greet")
    assert handler is not None
    plain, loud = (handlers.vocabulary.parse(f"greet fred {more}".strip()) for more in ("", "loud=true"))
    assert await handler.call(plain, nothing) == "fred"
    assert await handler.call(loud, nothing) == "FRED"


@in_loop
async def test_arguments_go_by_place_only_where_the_function_has_them_there() -> None:
    async def swapped(*, second: str, first: str) -> str:
        return f"{first} {second}"

    async def same(first: str, second: str) -> str:
        return f"{first} {second}"

    async def amid(first: str, context: Context, second: str) -> str:
        return f"{first} {second} {context}"

    handlers = Handlers(VOCABULARY)
    for function in (swapped, same, amid):
        add(handlers, function)
    found = [handlers.find(function.__name__) for function in (swapped, same, amid)]
    assert [handler is not None and handler.in_order for handler in found] == [False, True, False]
    assert await call(handlers, "swapped first=1 second=2") == "1 2"
    assert await call(handlers, "same 1 2") == "1 2"
    assert await call(handlers, "amid 1 2", "there") == "1 2 there"


@in_loop
async def test_name_arguments_and_help_come_from_the_signature() -> None:
    handlers = added(greet)
    declaration = handlers.vocabulary.get("greet")
    assert declaration is not None
    assert [parameter.name for parameter in declaration.parameters] == ["name", "times", "loud"]
    assert declaration.help == "Says hello."
    assert await call(handlers, "greet fred") == "fred"
    assert await call(handlers, "greet fred 2 loud=true") == "FRED FRED"


@in_loop
async def test_ping_is_built_in_until_something_else_is_called_so() -> None:
    handlers = Handlers(VOCABULARY)
    (declaration,) = handlers.built_in
    built_in = handlers.find("ping")
    assert built_in is not None
    assert await built_in.call(declaration.parse("hello"), nothing) == "hello"
    assert (handlers.told, handlers.keywords) == ((), frozenset()), "peers know that it is there"
    assert set(handlers.built_in.keywords) == BUILT_IN

    async def ping() -> str:
        return "pong"

    add(handlers, ping)
    assert await call(handlers, "ping") == "pong"
    assert len(handlers.built_in) == 0
    assert handlers.told == ("ping",)
    known = Handlers(VOCABULARY.extended(declare(ping)))
    assert (known.find("ping"), len(known.built_in)) == (None, 0)


@in_loop
async def test_a_context_is_no_argument() -> None:
    handlers = added(add_user)

    class Here:
        zone = "lab"

    assert await call(handlers, "add_user fred.proj.org", Here()) == "fred.proj.org for lab"


@in_loop
async def test_a_context_may_have_any_name_and_place() -> None:
    async def note(here: Context, text: str) -> tuple[Context, str]:
        return here, text

    handlers = added(note)
    assert await call(handlers, "note hello", "HERE") == ("HERE", "hello")


@in_loop
async def test_a_parameter_without_a_name_is_given_by_place() -> None:
    async def note(text: str, /, times: int = 1) -> str:
        return text * times

    assert await call(added(note), "note hello 2") == "hellohello"


def test_the_keyword_can_be_another_one() -> None:
    handlers = added(greet, keyword="hello")
    assert handlers.find("greet") is None
    assert handlers.find("hello") is not None
    assert handlers.keywords == frozenset({"hello"})
    assert handlers.told == ("hello",)


def test_what_a_handler_promises_is_declared() -> None:
    handlers = added(greet, read_only=True, idempotent=False)
    declaration = handlers.vocabulary.get("greet")
    assert declaration is not None
    assert (declaration.right, declaration.read_only, declaration.idempotent) == ("read", True, False)


def sync(name: str) -> str:
    return name


async def unannotated(name) -> str:  # type: ignore[no-untyped-def]
    return str(name)


async def unreadable(name: Nowhere) -> str:  # type: ignore[name-defined]  # noqa: F821
    return str(name)


async def strange(name: complex) -> str:
    return str(name)


async def starred(*names: str) -> str:
    return str(names)


async def wrong_default(times: int = "many") -> str:  # type: ignore[assignment]
    return str(times)


async def generator(name: str) -> Any:
    yield name


class Callable_:
    async def __call__(self, name: str) -> str:
        return name


@pytest.mark.parametrize(
    ("function", "message", "fix"),
    [
        (sync, 'handler "sync" is not an async function', "async def sync"),
        (generator, 'handler "generator" is not an async function', ""),
        (Callable_(), "is not an async function", ""),
        (unannotated, '"name" has no annotation', 'name: str"'),
        (unreadable, "cannot be read: name 'Nowhere' is not defined", ""),
        (strange, '"name"', ""),
        (starred, "*names cannot be an argument", "list"),
        (wrong_default, "default", ""),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_cannot_be_a_handler_is_refused_and_nothing_registered(
    function: Callable[..., Any], message: str, fix: str
) -> None:
    handlers = Handlers(VOCABULARY)
    with pytest.raises(HandlerError) as refused:
        add(handlers, function)
    assert message in refused.value.message
    assert fix in refused.value.fix
    assert handlers.keywords == frozenset()
    assert isinstance(refused.value, TypeError), "it is a mistake in a program"


def test_a_keyword_is_taken_once() -> None:
    handlers = added(greet)
    with pytest.raises(HandlerError, match='there is a handler for "greet" already'):
        add(handlers, greet)
    with pytest.raises(HandlerError, match='there is a handler for "greet" already'):
        add(handlers, add_user, keyword="greet")


@pytest.mark.parametrize("keyword", ["no spaces", "Upper", "", "9nine"])
def test_a_keyword_has_to_be_one(keyword: str) -> None:
    if not keyword:
        assert added(greet, keyword=keyword).keywords == frozenset({"greet"})
        return
    with pytest.raises(HandlerError):
        added(greet, keyword=keyword)


def test_a_known_instruction_keeps_its_types() -> None:
    async def add_user(user: ProjectIdentifier) -> str:
        return str(user)

    with pytest.raises(HandlerError, match="add_user"):
        added(add_user)


def test_a_known_instruction_keeps_its_number_of_arguments() -> None:
    async def add_user(user: UserIdentifier, when: date) -> str:
        return f"{user} {when}"

    async def get_users() -> str:
        return ""

    for function in (add_user, get_users):
        with pytest.raises(HandlerError):
            added(function)


@in_loop
async def test_a_known_instruction_may_name_its_arguments_otherwise() -> None:
    async def add_user(who: Annotated[UserIdentifier, "the user"]) -> str:
        return str(who)

    assert await call(added(add_user), "add_user fred.proj.org") == "fred.proj.org"


def test_a_generic_handler_takes_the_whole_vocabulary() -> None:
    async def take(envelope: Envelope) -> Ended:
        return envelope.job.completed()

    handlers = added(take)
    assert handlers.keywords is None
    assert set(VOCABULARY.keywords) <= set(handlers.told)
    assert handlers.find("add_user") is None
    add(handlers, greet)
    assert handlers.find("greet") is not None, "one of its own goes before"
    assert "greet" in handlers.told
    with pytest.raises(HandlerError, match="there is a generic handler already"):
        add(handlers, take)


def test_an_envelope_beside_other_parameters_is_no_argument() -> None:
    async def take(envelope: Envelope, name: str) -> Ended:
        return envelope.job.completed(name)

    with pytest.raises(HandlerError):
        added(take)


def test_a_known_instruction_keeps_its_right_and_flags_unless_others_are_given() -> None:
    async def restart(name: str) -> str:
        """Restart it."""
        return name

    known = Vocabulary([declare(restart, right="admin", idempotent=False)])
    handlers = Handlers(known)
    handlers.add(restart, keyword=None)
    declared = handlers.vocabulary.parse("restart it").declaration
    assert declared is not None
    assert (declared.right, declared.read_only, declared.idempotent) == ("admin", False, False)

    handlers = Handlers(known)
    handlers.add(restart, keyword=None, right="write", idempotent=True)
    declared = handlers.vocabulary.parse("restart it").declaration
    assert declared is not None
    assert (declared.right, declared.read_only, declared.idempotent) == ("write", False, True)
