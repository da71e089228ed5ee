"""A whole mesh in one process, in virtual time, decided by a seed: everything of it that people write is here.

The one folder of this floor that touches nothing outside: it plays the outside (links, stores, clocks, handlers,
callers, chance) for real engines. `Simulation` says how to use it.
"""

from mesh.simulation.history import Alarm, History, Loss, Told
from mesh.simulation.life import Habits, random_life
from mesh.simulation.simulation import Simulation
from mesh.simulation.verdict import disagreements, violations
from mesh.simulation.world import Faults

__all__ = [
    "Alarm",
    "Faults",
    "Habits",
    "History",
    "Loss",
    "Simulation",
    "Told",
    "disagreements",
    "random_life",
    "violations",
]
