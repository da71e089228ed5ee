"""What an agent counts while it runs, and the page `/metrics` that shows it, in the text format of Prometheus.

The page is for whoever reaches the port, so it has numbers only: no name of a peer, a job, a zone or a person. Counters
begin at 0 with each start of the process; everything else is read off the boards when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mesh.board import Board

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Traffic:
    """What went over the links of one agent, all of them together.

    Attributes:
        links: links that came up.
        refused: connections that were refused after their first message.
        frames_in, bytes_in, messages_in: what came, greetings apart; bytes are those of the sealed frames.
        frames_out, bytes_out, messages_out: what was given to the network.
        passed_over: Outcomes not passed ahead, because the link upstream had no room for more than its records.
    """

    links: int = 0
    refused: int = 0
    frames_in: int = 0
    bytes_in: int = 0
    messages_in: int = 0
    frames_out: int = 0
    bytes_out: int = 0
    messages_out: int = 0
    passed_over: int = 0


@dataclass(slots=True)
class Handled:
    """What handlers did: attempts that were started, and how many ended in which state.

    A handler that a clean stop takes away is in `ended` as `requeued`."""

    started: int = 0
    ended: dict[str, int] = field(default_factory=dict)

    def end(self, state: str) -> None:
        """An attempt ended."""
        self.ended[state] = self.ended.get(state, 0) + 1


@dataclass(frozen=True, slots=True)
class Metric:
    """One family: `samples` is a number, or numbers by the value of the label `label`."""

    name: str
    kind: str
    help: str
    samples: Mapping[str, float]
    label: str = ""

    def lines(self) -> Iterable[str]:
        """The family as the format has it."""
        name = f"hopboard_{self.name}"
        yield f"# HELP {name} {self.help}"
        yield f"# TYPE {name} {self.kind}"
        for value, number in self.samples.items():
            shown = f'{{{self.label}="{value}"}}' if self.label else ""
            yield f"{name}{shown} {number}"


def families(
    boards: Iterable[Board],
    traffic: Traffic,
    handled: Handled,
    *,
    queued: int,
    blocked: int,
    steps: int,
    started_s: float,
) -> list[Metric]:
    """Everything the page shows.

    Args:
        boards: those of the agent.
        traffic, handled: its counters.
        queued: messages that wait behind those that are being written, over all links.
        blocked: links whose socket takes no more.
        steps: turns of the agent's loop so far.
        started_s: when the process started, Unix time.
    """
    known = list(boards)
    jobs = {
        "waiting": sum(sum(board.waiting.values()) for board in known),
        "offered": sum(sum(board.offered.values()) for board in known),
        "accepted": sum(sum(board.accepted.values()) for board in known),
        "running": handled.started - sum(handled.ended.values()),
    }
    return [
        _one("start_time_seconds", "gauge", "When the agent started, Unix time.", started_s),
        _one("peers", "gauge", "Peers, and agents that were invited.", len(known)),
        _one("links", "gauge", "Links that stand.", sum(board.open for board in known)),
        _one("links_total", "counter", "Links that came up.", traffic.links),
        _one("links_refused_total", "counter", "Connections refused after their first message.", traffic.refused),
        Metric(
            "jobs",
            "gauge",
            "Unfinished jobs: waiting here to be offered, offered to a peer, accepted from one, running here.",
            jobs,
            "state",
        ),
        _one("handlers_started_total", "counter", "Attempts of handlers that were started.", handled.started),
        Metric("handlers_ended_total", "counter", "Attempts that ended, by state.", dict(handled.ended), "state"),
        _ways("frames_total", "Frames.", traffic.frames_in, traffic.frames_out),
        _ways("frame_bytes_total", "Bytes of frames.", traffic.bytes_in, traffic.bytes_out),
        _ways("messages_total", "Messages in frames.", traffic.messages_in, traffic.messages_out),
        _one("passed_over_total", "counter", "Outcomes not passed ahead on a link without room.", traffic.passed_over),
        _one("links_blocked", "gauge", "Links whose socket takes no more at the moment.", blocked),
        _one("queued_messages", "gauge", "Messages behind those that are being written.", queued),
        _one(
            "window_records",
            "gauge",
            "Records sent and not acknowledged.",
            sum(len(board.outbox.flight) for board in known),
        ),
        _one(
            "window_bytes",
            "gauge",
            "Bytes of the records sent and not acknowledged.",
            sum(board.outbox.flight_bytes for board in known),
        ),
        _one(
            "refusals_open",
            "gauge",
            "Records refused here whose sender has not confirmed that it knows.",
            sum(len(board.inbox.refused) for board in known),
        ),
        _one("steps_total", "counter", "Turns of the loop that steps the engine.", steps),
    ]


def exposition(metrics: Iterable[Metric]) -> str:
    """The page."""
    return "".join(f"{line}\n" for metric in metrics for line in metric.lines())


def _one(name: str, kind: str, text: str, value: float) -> Metric:
    return Metric(name, kind, text, {"": value})


def _ways(name: str, text: str, came: int, went: int) -> Metric:
    return Metric(name, "counter", f"{text} Direction as seen from here.", {"in": came, "out": went}, "direction")
