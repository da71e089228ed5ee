"""Values of every type of the language, made at random from their parts: hypothesis strategies by type."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from hypothesis import strategies as st

from grammar import (
    Allocation,
    AwardDetails,
    DailyUsageReport,
    DateRange,
    Destination,
    Destinations,
    DomainPattern,
    Link,
    MembershipControl,
    Note,
    Notification,
    PortalIdentifier,
    ProjectIdentifier,
    ProjectMapping,
    ProjectStorageReport,
    ProjectTemplate,
    ProjectUsageReport,
    Quota,
    QuotaLimit,
    StorageReport,
    StorageSize,
    StorageSnapshot,
    Usage,
    UsageReport,
    UserIdentifier,
    UserMapping,
    Volume,
)
from grammar.dates import RANGE_WORDS
from grammar.notifications import EVENTS
from grammar.quantities import MAX_AMOUNT

_LETTERS = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))


def _words(without: str, *, spaces: bool = True, edges: str = "") -> st.SearchStrategy[str]:
    """Texts that a name may be: not empty, with none of `without`, and no white space and none of `edges` around."""
    words = st.text(_LETTERS, min_size=1, max_size=12)
    legal = words.map(lambda word: "".join(one for one in word if one not in without).strip())
    inner = legal.filter(lambda word: bool(word) and word[0] not in edges and word[-1] not in edges)
    return inner if spaces else inner.filter(lambda word: " " not in word)


_NAMES = st.from_regex(r"[a-z0-9](?:[-_]?[a-z0-9]){0,9}", fullmatch=True)
_LABELS = st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,5}[A-Za-z0-9])?", fullmatch=True)
_DOMAINS = st.lists(_LABELS, min_size=1, max_size=4).map(".".join)
_AMOUNTS = st.one_of(
    st.integers(0, MAX_AMOUNT),
    st.sampled_from([1, 60, 3600, 86_400, *(2**n for n in range(0, 64, 10))]).flatmap(
        lambda unit: st.integers(-1, min(2_000, MAX_AMOUNT // unit - 1)).map(lambda n: max(0, n * unit + n % 3 - 1))
    ),
)
_PORTALS = _words(".:", spaces=False).map(PortalIdentifier.parse)
_PROJECTS = st.tuples(_words(".:"), _words(".:")).map(".".join).map(ProjectIdentifier.parse)
_USERS = st.tuples(_words(".:"), _words(".:"), _words(".:")).map(".".join).map(UserIdentifier.parse)
_LOCALS = _words(":", edges="./")
_PATHS = st.lists(_NAMES, min_size=2, max_size=16, unique=True).map(".".join).map(Destination.parse)
_SIZES = _AMOUNTS.map(StorageSize)
_LIMITS = st.none() | _SIZES
_DAYS = st.dates(date(1, 1, 1), date(9999, 12, 31))
_RANGES = st.one_of(
    st.sampled_from(RANGE_WORDS).map(lambda word: DateRange(None, None, word)),
    st.tuples(_DAYS, _DAYS).map(lambda days: DateRange(*days)),
)
_UNITS = st.sampled_from(["NHR", "gpu hours", "CPU hour", "corehr", "GB Hours", "BHR", "beans", "a  b"])
_ALLOCATIONS = st.one_of(
    st.just(Allocation()),
    st.tuples(st.decimals(0, Decimal("1e30"), allow_nan=False, places=None), _UNITS).map(
        lambda parts: Allocation.parse(f"{parts[0]:f} {parts[1]}")
    ),
)
_PATTERNS = st.tuples(st.sampled_from(["", "*.", "fred+x@"]), _DOMAINS).map("".join).map(DomainPattern.parse)
_TEMPLATES = st.text(
    st.characters(categories=("L", "N"), include_characters="-_", codec="utf-8"), min_size=1, max_size=9
).map(ProjectTemplate.parse)
_NOTIFICATIONS = st.sampled_from(sorted(EVENTS)).flatmap(
    lambda event: st.builds(
        Notification, st.just(event), _USERS if event.startswith("user") else _PROJECTS, st.none() | _PATHS
    )
)
_TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
_LINKS = st.builds(
    Link, id=st.none() | _TEXTS, url=st.none() | _NAMES.map(lambda name: f"https://example.org/{name}?a=b c")
)
_TIMES = st.datetimes(timezones=st.just(UTC))
_NOTES = st.builds(Note, timestamp=_TIMES, author=_TEXTS, text=_TEXTS)
_AWARDS = st.builds(
    AwardDetails,
    name=st.none() | _TEXTS,
    template=st.none() | _TEMPLATES,
    description=st.none() | _TEXTS,
    members=st.none() | st.dictionaries(_TEXTS, _TEXTS, max_size=2),
    start_date=st.none() | _DAYS,
    allocation=st.none() | _ALLOCATIONS,
    breakdown=st.dictionaries(_TEXTS, _TEXTS, max_size=2),
    award=st.none() | _LINKS,
    notes=st.lists(_NOTES, max_size=2).map(tuple),
    earliest_approve=st.none() | _TIMES,
    membership_control=st.none() | st.sampled_from(MembershipControl),
    allowed_domains=st.none() | st.lists(_PATTERNS, max_size=3).map(tuple),
)
_ACCOUNTS = st.sampled_from(["fred01", "jane01", "unknown", "é"])
_DAILY = st.builds(
    DailyUsageReport,
    reports=st.dictionaries(_ACCOUNTS, _AMOUNTS.map(Usage), max_size=2),
    components=st.dictionaries(_ACCOUNTS, st.dictionaries(_ACCOUNTS, _AMOUNTS.map(Usage), max_size=2), max_size=2),
    user_job_counts=st.dictionaries(_ACCOUNTS, st.integers(0, 2**53), max_size=2),
    user_wait_seconds=st.dictionaries(_ACCOUNTS, st.integers(0, 2**53), max_size=2),
    num_jobs=st.integers(0, 2**53),
    total_wait_seconds=st.integers(0, 2**53),
    is_complete=st.booleans(),
)
_PROJECT = ProjectIdentifier.parse("proj.org")
_ITS_USERS = st.sampled_from([UserIdentifier.parse(f"{name}.{_PROJECT}") for name in ("fred", "jane", "é ü")])
_QUOTAS = st.dictionaries(
    st.sampled_from([Volume.parse("home"), Volume.parse("scratch")]),
    st.builds(Quota, _LIMITS.map(QuotaLimit), _LIMITS),
    max_size=2,
)
_STORED = MappingProxyType(
    {
        "project": st.just(_PROJECT),
        "generated_at": _TIMES,
        "project_quotas": _QUOTAS,
        "user_quotas": st.dictionaries(_ITS_USERS, _QUOTAS, max_size=2),
    }
)
_NAMED = st.dictionaries(_ITS_USERS, _ACCOUNTS, max_size=2)
_USED_BY_PROJECT = st.builds(
    ProjectUsageReport, project=st.just(_PROJECT), reports=st.dictionaries(_DAYS, _DAILY, max_size=2), users=_NAMED
)
_STORED_BY_PROJECT = st.builds(
    ProjectStorageReport,
    **_STORED,
    users=_NAMED,
    daily_reports=st.dictionaries(_DAYS, st.builds(StorageSnapshot, **_STORED), max_size=2),
)
_PORTAL = st.just(PortalIdentifier.parse("org"))

VALUES: Final[Mapping[type, st.SearchStrategy[Any]]] = MappingProxyType(
    {
        Allocation: _ALLOCATIONS,
        AwardDetails: _AWARDS,
        DateRange: _RANGES,
        Destination: _PATHS,
        Destinations: st.lists(_PATHS, max_size=4).map(", ".join).map(lambda text: Destinations.parse(f"[{text}]")),
        DomainPattern: _PATTERNS,
        Notification: _NOTIFICATIONS,
        PortalIdentifier: _PORTALS,
        ProjectIdentifier: _PROJECTS,
        ProjectMapping: st.tuples(_PROJECTS, _LOCALS).map(":".join).map(ProjectMapping.parse),
        ProjectTemplate: _TEMPLATES,
        Quota: st.builds(Quota, _LIMITS.map(QuotaLimit), _LIMITS),
        QuotaLimit: _LIMITS.map(QuotaLimit),
        StorageSize: _SIZES,
        Usage: _AMOUNTS.map(Usage),
        UserIdentifier: _USERS,
        UserMapping: st.tuples(_USERS, _LOCALS, _LOCALS).map(":".join).map(UserMapping.parse),
        Volume: _words("", spaces=False).map(Volume.parse),
        DailyUsageReport: _DAILY,
        ProjectUsageReport: _USED_BY_PROJECT,
        UsageReport: st.builds(
            UsageReport, portal=_PORTAL, reports=st.dictionaries(st.just(_PROJECT), _USED_BY_PROJECT, max_size=1)
        ),
        StorageSnapshot: st.builds(StorageSnapshot, **_STORED),
        ProjectStorageReport: _STORED_BY_PROJECT,
        StorageReport: st.builds(
            StorageReport, portal=_PORTAL, reports=st.dictionaries(st.just(_PROJECT), _STORED_BY_PROJECT, max_size=1)
        ),
    }
)
"""Each type that an argument or a result of a known instruction, or a text that `mesh parse` reads, may have."""

ARGUMENTS: Final[Mapping[type, st.SearchStrategy[Any]]] = MappingProxyType(
    {**VALUES, str: st.text(st.characters(codec="utf-8"), max_size=30)}
)
"""The same, and plain text."""
