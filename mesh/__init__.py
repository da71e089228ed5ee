"""Floor 2: how jobs travel.

A file directly in this folder does no I/O: it takes inputs and returns effects. A folder is named for the one outside
thing it touches (`storage/`, `transport/`), or for playing all of them (`simulation/`). PROTOCOL.md says what goes over
the wire and what is kept.

Import from the room that owns the word (`mesh.engine`, `mesh.limits`, `mesh.simulation`, ...).
"""
