"""What can be said in the mesh: names, identifiers, paths, instructions and their results.

Everything here is a value or a pure function: no I/O, no clock, no randomness. GRAMMAR.md is the manual.
"""

from __future__ import annotations

from grammar.awards import AwardDetails, Link, MembershipControl, Note, ProjectDetails, ProjectTemplate
from grammar.command import Command, split
from grammar.dates import DateRange, parse_date
from grammar.destination import MAX_HOPS, Destination, Destinations
from grammar.documents import Document
from grammar.domains import DomainPattern
from grammar.errors import GrammarError, MeshError, UnknownInstruction
from grammar.identifiers import (
    PortalIdentifier,
    ProjectIdentifier,
    ProjectMapping,
    UserIdentifier,
    UserMapping,
    portal_of,
    portals_of,
)
from grammar.instruction import MAX_INSTRUCTION, Declaration, Instruction, Right, check_keyword
from grammar.kinds import KINDS, parse_kind
from grammar.names import nearest, parse_name
from grammar.nodes import Node, allocation_of, usage_of
from grammar.notifications import EVENTS, Notification
from grammar.openportal import VOCABULARY
from grammar.parameters import REQUIRED, Form, Parameter
from grammar.quantities import Allocation, StorageSize, Usage
from grammar.quotas import Quota, QuotaLimit, Volume
from grammar.quoting import join_arguments, quote, split_arguments
from grammar.results import decode, encode
from grammar.schema import describe, json_schema, manual, rows
from grammar.signatures import declarations_of, declare
from grammar.storage_reports import ProjectStorageReport, StorageReport, StorageSnapshot
from grammar.usage_reports import DailyUsageReport, ProjectUsageReport, UsageReport
from grammar.values import Value
from grammar.vocabulary import Vocabulary

__all__ = [
    "EVENTS",
    "KINDS",
    "MAX_HOPS",
    "MAX_INSTRUCTION",
    "REQUIRED",
    "VOCABULARY",
    "Allocation",
    "AwardDetails",
    "Command",
    "DailyUsageReport",
    "DateRange",
    "Declaration",
    "Destination",
    "Destinations",
    "Document",
    "DomainPattern",
    "Form",
    "GrammarError",
    "Instruction",
    "Link",
    "MembershipControl",
    "MeshError",
    "Node",
    "Note",
    "Notification",
    "Parameter",
    "PortalIdentifier",
    "ProjectDetails",
    "ProjectIdentifier",
    "ProjectMapping",
    "ProjectStorageReport",
    "ProjectTemplate",
    "ProjectUsageReport",
    "Quota",
    "QuotaLimit",
    "Right",
    "StorageReport",
    "StorageSize",
    "StorageSnapshot",
    "UnknownInstruction",
    "Usage",
    "UsageReport",
    "UserIdentifier",
    "UserMapping",
    "Value",
    "Vocabulary",
    "Volume",
    "allocation_of",
    "check_keyword",
    "declarations_of",
    "declare",
    "decode",
    "describe",
    "encode",
    "join_arguments",
    "json_schema",
    "manual",
    "nearest",
    "parse_date",
    "parse_kind",
    "parse_name",
    "portal_of",
    "portals_of",
    "quote",
    "rows",
    "split",
    "split_arguments",
    "usage_of",
]
