"""Packages that offer instructions, good and broken; tests/acceptance/test_plugins.py really installs one."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from agents.agent import Agent
from agents.client import Client
from agents.plugins import GROUP, Installed, Offer, PluginError, found_offers, installed
from grammar.instruction import Declaration
from grammar.openportal import VOCABULARY
from grammar.vocabulary import Vocabulary

NEW = "from grammar import declare\n\ndef ping(host: str) -> bool:\n    return True\n"

Install = Callable[..., Offer]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package with one module and one entry on the path, as pip leaves it."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name: str, source: str, value: str = "OFFER", *, entries: str | None = None) -> Offer:
        (tmp_path / f"plugged_{name}.py").write_text(source)
        folder = tmp_path / f"plugged_{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: plugged-{name}\nVersion: 1.0\n")
        target = f"plugged_{name}:{value}"
        (folder / "entry_points.txt").write_text(entries or f"[{GROUP}]\n{name} = {target}\n")
        return Offer(f"plugged-{name} 1.0", (EntryPoint(name, target, GROUP),))

    yield make
    for name in [name for name in sys.modules if name.startswith("plugged_")]:
        del sys.modules[name]


def refused(found: Installed) -> str:
    """The one fault there is; all else is as it was."""
    (fault,) = found.faults
    assert fault.code == "MESH-E509"
    assert fault.fix
    assert found.vocabulary.keywords == VOCABULARY.keywords
    return fault.message


def test_an_environment_without_plugins_has_the_known_instructions() -> None:
    assert installed(offers=()) == Installed(VOCABULARY)


@pytest.mark.parametrize(
    "offer",
    ["ping", "[ping]", "(declare(ping),)", "declare(ping)", "(row for row in [ping])"],
)
def test_what_an_entry_may_be(install: Install, offer: str) -> None:
    install("good", f"{NEW}\nOFFER = {offer}\n")
    found = installed()
    assert found.faults == ()
    assert found.vocabulary.parse("ping example").arguments == ("example",)
    assert len(found.vocabulary) == len(VOCABULARY) + 1


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("OFFERS = ()", "AttributeError: module 'plugged_bad' has no attribute 'OFFER'"),
        ("this is no Python", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("1 / 0", "ZeroDivisionError"),
        ("OFFER = 3", "of type int declares no instruction"),
        ("OFFER = 'ping'", "of type str declares no instruction"),
        ("OFFER = []; OFFER.append(OFFER)", "RecursionError"),
        ("def OFFER(host): ...", 'the parameter "host" has no annotation'),
        ("def OFFER(host: complex): ...", "complex cannot be an argument"),
        (f"{NEW}OFFER = declare(ping, keyword='Ping')", '"Ping" is no instruction'),
        (f"{NEW}OFFER = declare(ping, right='all')", '"all" is no right'),
        (f"{NEW}OFFER = [ping, ping]", 'plugged-bad 1.0 declares "ping" twice'),
        (f"{NEW}OFFER = declare(ping, keyword='add_user')", '"add_user", which is an instruction of Hopboard already'),
        (f"{NEW}OFFER = [ping, declare(ping, keyword='list_awards')]", '"list_awards", which is an instruction of'),
        (f"{NEW}class Quota: ...\nOFFER = declare(ping, result=Quota)", 'a type called "Quota", and there is another'),
    ],
)
def test_a_broken_package_is_told_about_and_left_out_whole(install: Install, source: str, told: str) -> None:
    install("bad", source)
    message = refused(installed())
    assert "plugged-bad 1.0" in message
    assert told in message


def test_other_packages_take_part_beside_a_broken_one(install: Install) -> None:
    install("a", "import nowhere_to_be_found")
    install("b", f"{NEW}OFFER = ping")
    install("c", f"{NEW}OFFER = [declare(ping, keyword='vm.stop'), ping]")
    install("d", f"{NEW}OFFER = declare(ping, keyword='vm.stop')")
    found = installed()
    assert [fault.message.partition(" declares")[0] for fault in found.faults][1:] == ["plugged-c 1.0"]
    assert '"ping", which is an instruction of plugged-b 1.0 already' in found.faults[1].message
    assert {"ping", "vm.stop"} == set(found.vocabulary.keywords) - set(VOCABULARY.keywords)


@pytest.mark.parametrize("entries", [f"[{GROUP}]\nno equals sign\n", f"[{GROUP}]\nx = not:a:target at all\n"])
def test_metadata_that_makes_no_sense(install: Install, entries: str) -> None:
    install("bad", f"{NEW}OFFER = ping", entries=entries)
    refused(installed())


def test_entries_of_other_groups_are_not_looked_at(install: Install) -> None:
    install("other", "raise SystemExit", entries="[console_scripts]\nnothing\n")
    assert installed() == Installed(VOCABULARY)


def test_one_package_at_two_places_is_the_first_of_them(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("twice", f"{NEW}OFFER = ping")
    second = tmp_path / "second" / "Plugged_Twice-0.9.dist-info"
    second.mkdir(parents=True)
    (second / "METADATA").write_text("Metadata-Version: 2.1\nName: Plugged_Twice\nVersion: 0.9\n")
    (second / "entry_points.txt").write_text(f"[{GROUP}]\ntwice = plugged_twice:OFFER\n")
    monkeypatch.syspath_prepend(second.parent)
    monkeypatch.syspath_prepend(tmp_path)
    assert [offer.package for offer in found_offers() if isinstance(offer, Offer)] == ["plugged-twice 1.0"]
    assert installed().faults == ()


def test_an_agent_and_a_client_know_what_is_installed(
    install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install("good", f"{NEW}OFFER = ping")
    install("bad", "import nowhere_to_be_found")

    async def ping(host: str) -> bool:
        return bool(host)

    agent = Agent("cluster", home=tmp_path)
    agent.handler(ping)
    with caplog.at_level(logging.WARNING, "hopboard"):
        assert "ping" in Client(tmp_path).vocabulary
    (record,) = caplog.records
    assert "nowhere_to_be_found" in record.getMessage()
    assert vars(record)["code"] == "MESH-E509"

    with pytest.raises(TypeError, match="ping takes"):
        Agent("cluster", home=tmp_path).handler(keyword="ping")(other)


async def other(count: int) -> bool:
    return bool(count)


def test_a_vocabulary_that_is_given_is_the_whole_one(install: Install, tmp_path: Path) -> None:
    install("good", f"{NEW}OFFER = ping")
    own = Vocabulary([Declaration("pong")])
    assert Client(tmp_path, vocabulary=own).vocabulary is own


def test_a_fault_is_an_error_that_a_person_may_see() -> None:
    fault = PluginError("cause", fix="fix")
    assert (fault.code, fault.exit_code) == ("MESH-E509", 2)
