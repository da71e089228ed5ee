"""The public names of `agents`, loaded when they are first used.

`import agents` is what every command of the command line does first, and most need a socket and nothing else: loading
the whole house for them would cost four times what they do. So the package knows where its names are (PEP 562), and
the one import by string of this floor is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Final

NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Agent": "agents.agent",
        "Client": "agents.client",
        "Context": "agents.context",
        "Envelope": "agents.context",
        "JobFailed": "agents.errors",
        "JobHandle": "agents.handle",
        "NotKnownYet": "agents.errors",
        "Refused": "agents.errors",
    }
)


def load(target: str) -> Any:
    """What `module:name` names, one of our own modules."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def engine_is_compiled() -> bool:
    """Whether the engine of this installation is the one that is compiled to C. It is not loaded for that."""
    found = find_spec("mesh.engine")
    return found is not None and found.origin is not None and not found.origin.endswith(".py")


def __getattr__(name: str) -> Any:
    if name not in NAMES:
        raise AttributeError(f"module 'agents' has no attribute {name!r}")
    return load(f"{NAMES[name]}:{name}")
