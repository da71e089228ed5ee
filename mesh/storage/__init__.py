"""Where an agent keeps what it must not lose: one contract, a durable store, its memory twin, and the writer thread."""
