"""How agents reach each other: one contract, websockets that keep it, a memory twin, and what keeps a link alive."""
