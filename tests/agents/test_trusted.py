from __future__ import annotations

from agents.trusted import trust_records


def test_each_key_says_why_it_is_believed() -> None:
    key = bytes(range(20))
    rows = trust_records((), [("z", "cluster.account", key)], [("z", "org", key), ("z", "com", key)], {"org": key})
    assert [(row["what"], row["name"], row["zone"], row["because"]) for row in rows] == [
        ("agent", "cluster.account", "z", "first sight, vouched for by the agents between"),
        ("portal", "org", None, "[access.portals]"),
        ("portal", "com", "z", "first use here"),
    ]
    assert all(len(row["words"].split()) == 6 for row in rows)
