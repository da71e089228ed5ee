"""Floor 1: who may talk to whom.

Identities, cards, invitations, the book of peers, the rules for accepting a link, secrets at rest and an
agent's configuration file. May import `grammar` only. Nothing here opens a socket or a store: rows are
returned, and a floor above keeps them; the only files read and written are an agent's own TOML documents.

Import from the room that owns the word (`invitations.card`, `invitations.admission`, ...).
"""
