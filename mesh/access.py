"""One decision, taken at the origin, at each hop and at the destination just before the start (PROTOCOL.md 12).

Out of the box an agent does what it has a handler for, for origins in its own zone, when the path is legal and the
ownership rule holds; control instructions are for the local operator only. Rules narrow or widen this: `block` beats
everything, whatever the order; once an agent has any `allow` rule, what none of them matches is refused.

Every refusal names the agent, the rule and the fix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final, NamedTuple

from grammar.errors import GrammarError, UnknownInstruction
from grammar.instruction import Instruction
from grammar.vocabulary import Vocabulary
from invitations.fingerprint import fingerprint_text

CONTROL: Final = frozenset({"restart", "diagnostics", "drain"})
"""Instructions to the agent itself rather than to what it looks after: for the local operator only."""
BUILT_IN: Final = frozenset({"ping"})
"""Instructions without an effect that an agent does without a handler; peers are not told of them."""


class Denial(NamedTuple):
    """Why not: the kind of error for an Outcome, and a sentence with agent, rule and fix."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of `[[access.allow]]` or `[[access.block]]`: an origin (agent name, fingerprint text or "*") and a
    pattern for the keyword."""

    origin: str
    instruction: str
    zone: str | None = None

    def is_about(self, zone: str, name: str, fingerprint: str) -> bool:
        """Whether it says anything about that origin."""
        return self.zone in (None, zone) and self.origin in ("*", name, fingerprint)

    def matches(self, zone: str, name: str, fingerprint: str, keyword: str) -> bool:
        return self.is_about(zone, name, fingerprint) and fnmatchcase(keyword, self.instruction)


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of one agent.

    Attributes:
        agent: its name, for the messages.
        vocabulary: what it can parse.
        runs: keywords it has a handler for; None when one handler takes any instruction of the vocabulary.
        built_in: declarations of `BUILT_IN`, but those that it has handlers of its own for.
        told: the keywords that peers are told; None to say nothing, so that they put whatever they like.
        portals: portal name -> fingerprint, as the operator named it.
        allow, block: the rules of the configuration.
    """

    agent: str
    vocabulary: Vocabulary
    runs: frozenset[str] | None = frozenset()
    built_in: Vocabulary = field(default_factory=Vocabulary)
    told: tuple[str, ...] | None = None
    portals: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))
    allow: tuple[Rule, ...] = ()
    block: tuple[Rule, ...] = ()

    def read(self, text: str) -> Instruction | Denial:
        """Parse an instruction that is to run here."""
        keyword = text.split(" ", 1)[0]
        built_in = keyword in self.built_in
        try:
            instruction = (self.built_in if built_in else self.vocabulary).parse(text)
        except UnknownInstruction as error:
            return Denial("unknown_instruction", self._unknown(keyword, error.nearest))
        except GrammarError as error:
            return Denial("bad_argument", f'agent "{self.agent}" cannot read "{text}": {error.message}')
        if not built_in and self.runs is not None and instruction.keyword not in self.runs:
            return Denial("unknown_instruction", self._unknown(instruction.keyword, None))
        return instruction

    def _unknown(self, keyword: str, close: str | None) -> str:
        hint = f'; did you mean "{close}"?' if close and (self.runs is None or close in self.runs) else ""
        return f'agent "{self.agent}" has no instruction "{keyword}"{hint}'

    def by_rules(self, keyword: str, zone: str, name: str, fingerprint: bytes) -> Denial | None:
        """What the configured rules say of an instruction that came over a link from the origin `name`.

        What is built in is for whoever may put anything here, unless a block rule says otherwise.
        """
        if keyword in CONTROL:
            return Denial(
                "denied",
                f'agent "{self.agent}" takes "{keyword}" from its local operator only: run it on that machine',
            )
        if not self.block and not self.allow:
            return None
        who = fingerprint_text(fingerprint)
        for rule in self.block:
            if rule.matches(zone, name, who, keyword):
                return Denial("denied", self._refused(keyword, name, f"block rule for {rule.instruction}"))
        about = (rule for rule in self.allow if rule.is_about(zone, name, who))
        if self.allow and not any(keyword in self.built_in or rule.matches(zone, name, who, keyword) for rule in about):
            return Denial("denied", self._refused(keyword, name, "no allow rule matches"))
        return None

    def _refused(self, keyword: str, name: str, rule: str) -> str:
        return f'agent "{self.agent}" refuses "{keyword}" from "{name}" ({rule}): ask its operator to change [access]'

    def claims(self, portal: str, speaker: bytes, first: bytes | None, neighbour: bytes | None) -> Denial | None:
        """The ownership rule: whether `speaker` may speak for `portal`.

        Args:
            speaker: fingerprint of the origin (of the root of its lineage, for a child).
            first: who used this portal here first, if anybody did.
            neighbour: fingerprint of a neighbour or imported card of kind portal with that name, if there is one.
        """
        named = self.portals.get(portal)
        owner = named or neighbour or first
        if owner is None or owner == speaker:
            return None
        why = (
            "its operator named another origin for it"
            if named
            else "a portal of that name is its neighbour"
            if neighbour
            else "another origin used it here first"
        )
        return Denial(
            "denied",
            f'agent "{self.agent}" does not let {fingerprint_text(speaker)} speak for portal "{portal}": {why}; '
            f'to change that, its operator sets {portal} = "{fingerprint_text(speaker)}" under [access.portals]',
        )
