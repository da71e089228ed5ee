"""`mesh init`: make an agent's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from agents.cli.session import Session, pass_session
from agents.cli.showing import say
from agents.doorway import CONFIG
from agents.settings import HANDLERS, make_home
from invitations.card import KINDS
from invitations.config import DEFAULT_ZONE
from invitations.files import write_private
from invitations.fingerprint import fingerprint_words

_EXAMPLE: Final = '''\
"""What this agent does: each handler is one instruction, typed by its signature."""

from __future__ import annotations

from agents import Agent, Context
from grammar import UserIdentifier

agent = Agent()


@agent.handler
async def add_user(user: UserIdentifier, context: Context) -> str:
    await context.progress(0.5, "creating home")
    return "account created"


@agent.handler
async def remove_user(user: UserIdentifier) -> str:
    if user.project == "admin":
        raise agent.Refused(f'You are not allowed to remove the account for "{user.username}"')
    return "account removed"


if __name__ == "__main__":
    agent.run()
'''


@click.command()
@click.argument("name")
@click.option("--kind", default="custom", show_default=True, help=f"What it is for: {', '.join(KINDS)}.")
@click.option("--zone", default=DEFAULT_ZONE, show_default=True, help="The zone it belongs to.")
@click.option("--listen", metavar="HOST:PORT", help="Where it listens; without it the first `invite` picks a port.")
@click.option("--example", is_flag=True, help="Write a handlers.py to start from.")
@pass_session
def init(session: Session, name: str, kind: str, zone: str, listen: str | None, example: bool) -> None:
    """Make an agent called NAME in ./NAME, or in the folder that -C or MESH_HOME names."""
    given = session.named or session.home != Path()
    home = session.home if given else Path(name)
    settings = make_home(home, name, kind=kind, zone=zone, listen=listen)
    written = ["mesh.toml", "identity.toml (0600)"]
    if example and not (home / HANDLERS).exists():
        write_private(home / HANDLERS, _EXAMPLE)
        written.append(HANDLERS)
    say(f'made agent "{name}" ({settings.kind}, zone {settings.zone}) in {home}: {", ".join(written)}')
    say(f"its key in words: {fingerprint_words(settings.identity.fingerprint)}")
    there = Session(home, named=True)
    if (home / CONFIG).exists():
        there.hint("invite", "PEER")
        there.hint("run")
