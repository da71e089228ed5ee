"""Instructions that installed packages bring: the entry point group `mesh.instructions`.

    [project.entry-points."mesh.instructions"]
    vm_manager = "vm_instructions:INSTRUCTIONS"

Each entry is a `Declaration`, a list of them, or a typed function to declare. A package takes part whole or not at all,
and one that cannot is told about: it never takes the agent, or another package, down with it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import ClassVar, Final

from grammar.errors import MeshError
from grammar.instruction import Declaration
from grammar.openportal import VOCABULARY
from grammar.signatures import declarations_of
from grammar.vocabulary import Vocabulary

log = logging.getLogger("hopboard.plugins")

GROUP: Final = "mesh.instructions"
"""The entry point group that packages offer instructions in."""


class PluginError(MeshError):
    """The instructions of an installed package cannot be used; everything else can."""

    code: ClassVar[str] = "MESH-E509"


@dataclass(frozen=True, slots=True)
class Offer:
    """What one package offers: its name with its version, and its entries in the group, by name."""

    package: str
    entries: tuple[metadata.EntryPoint, ...]


@dataclass(frozen=True, slots=True)
class Installed:
    """The instructions of an environment, and why those of some packages are not among them."""

    vocabulary: Vocabulary
    faults: tuple[PluginError, ...] = ()

    def log_faults(self) -> None:
        """One warning for each package that cannot take part."""
        for fault in self.faults:
            log.warning("%s", fault, extra={"code": fault.code, "fix": fault.fix})


def installed(known: Vocabulary = VOCABULARY, offers: Iterable[Offer | PluginError] | None = None) -> Installed:
    """The known instructions and those of every installed package that can take part.

    Packages are taken in the order of their names. A keyword belongs to who has it first, `known` before all packages:
    what a text means must not change because a package was added.

    Args:
        known: the instructions to begin with.
        offers: instead of those of this environment, for tests.
    """
    owners = dict.fromkeys(known.keywords, "Hopboard")
    types = dict(known.types)
    taken: list[Declaration] = []
    faults: list[PluginError] = []
    for offer in found_offers() if offers is None else offers:
        try:
            if isinstance(offer, PluginError):
                raise offer
            declared = [row for entry in offer.entries for row in _declared(offer.package, entry)]
            own = _own_keywords(offer.package, declared, owners)
            given = _own_types(offer.package, declared, types)
        except PluginError as fault:
            faults.append(fault)
        else:
            taken += declared
            owners |= dict.fromkeys(own, offer.package)
            types |= given
    return Installed(known.extended(*taken) if taken else known, tuple(faults))


def found_offers() -> Iterator[Offer | PluginError]:
    """The packages of this environment that have entries in the group, by name; a fault for unreadable metadata.

    Other packages' metadata is not parsed, so theirs may be as broken as it likes.
    """
    found: dict[str, Offer | PluginError] = {}
    for distribution in metadata.distributions():
        if GROUP not in (distribution.read_text("entry_points.txt") or ""):
            continue
        try:
            name = str(distribution.metadata["Name"])
            entries = sorted(distribution.entry_points.select(group=GROUP), key=lambda entry: entry.name)
            offer: Offer | PluginError = Offer(f"{name} {distribution.version}", tuple(entries))
        except Exception as error:  # noqa: BLE001 - whatever a broken installation makes of the standard library
            name = "?"
            offer = PluginError(
                f"the entry points of an installed package cannot be read: {type(error).__name__}: {error}",
                fix=f'install the package again that has "{GROUP}" in its entry_points.txt',
            )
        # The first one on the path is the one that would be imported.
        found.setdefault(name.lower().replace("_", "-"), offer)
    return iter([offer for _, offer in sorted(found.items())])


def _declared(package: str, entry: metadata.EntryPoint) -> tuple[Declaration, ...]:
    place = f'the entry point "{entry.name} = {entry.value}" of {package}'
    remove = f"mend the package, or remove it: pip uninstall {package.partition(' ')[0]}"
    try:
        return declarations_of(entry.load())
    except MeshError as error:
        raise PluginError(f"{place}: {error.message}", fix=error.fix or remove) from error
    except (Exception, SystemExit) as error:  # a package may raise anything when it is imported
        raise PluginError(f"{place} fails: {type(error).__name__}: {error}", fix=remove) from error


def _own_keywords(package: str, declared: Iterable[Declaration], owners: dict[str, str]) -> set[str]:
    own: set[str] = set()
    for keyword in (keyword for row in declared for keyword in (row.keyword, *row.aliases)):
        if keyword in own:
            raise PluginError(f'{package} declares "{keyword}" twice', fix="give one of the two another keyword")
        if keyword in owners:
            message = f'{package} declares "{keyword}", which is an instruction of {owners[keyword]} already'
            raise PluginError(message, fix="give it another keyword, or remove one of the packages")
        own.add(keyword)
    return own


def _own_types(package: str, declared: Iterable[Declaration], types: Mapping[str, type]) -> Mapping[str, type]:
    """The types of the results; two of one name could not be told apart, since it is the name that travels."""
    own = Vocabulary(declared).types
    for name, kind in own.items():
        if types.get(name, kind) is not kind:
            message = f'{package} gives results of a type called "{name}", and there is another type of that name'
            raise PluginError(message, fix="give the type another name")
    return own
