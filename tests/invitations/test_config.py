from __future__ import annotations

import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grammar.errors import MeshError
from invitations.config import Config, Rule, load_config, save_config, set_listen
from invitations.errors import AddressError, ConfigError
from invitations.fingerprint import fingerprint_text

FP = fingerprint_text(bytes(range(20)))
LEAST = 'version = 1\n[agent]\nname = "cluster"\n'
FULL = f"""
version = 1

[agent]
name = "cluster"      # ours
kind = "instance"
zone = "lab"
listen = "0.0.0.0:7000"
url = "wss://mesh.example.org/cluster"

[limits]
ping_s = 5
frame_bytes = 65519
jitter_s = 0.5

[access.portals]
proj = "{FP.upper()}"

[[access.allow]]
origin = "waldur"
instruction = "add_*"
zone = "lab"

[[access.allow]]
origin = "{FP}"

[[access.block]]
origin = "*.brics"
instruction = "remove_user"

[store]
keep_jobs = 5
max_bytes = 1_048_576

[log]
level = "debug"
format = "json"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mesh.toml"


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def trouble(path: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_config(written(path, text))
    assert str(path) in caught.value.message
    assert caught.value.fix
    return caught.value


def test_the_least_is_a_name(path: Path) -> None:
    config = load_config(written(path, LEAST))
    assert (config.agent.name, config.agent.kind, config.agent.zone) == ("cluster", "custom", "default")
    assert config.agent.listen is config.agent.url is None
    assert (config.limits, config.access.portals, config.access.allow) == ({}, {}, ())
    assert (config.store.keep_jobs, config.store.max_bytes) == (10_000, 4 * 1024**3)
    assert (config.log.level, config.log.format) == ("info", "text")


def test_all_of_it(path: Path) -> None:
    config = load_config(written(path, FULL))
    assert config.limits == {"ping_s": 5, "frame_bytes": 65519, "jitter_s": 0.5}
    assert config.access.portals == {"proj": FP}
    assert config.access.allow == (
        Rule(origin="waldur", instruction="add_*", zone="lab"),
        Rule(origin=FP, instruction="*"),
    )
    assert config.access.block == (Rule(origin="*.brics", instruction="remove_user"),)


@pytest.mark.parametrize("text", [LEAST, FULL])
def test_what_is_saved_is_what_is_loaded(path: Path, text: str) -> None:
    config = load_config(written(path, text))
    save_config(path, config)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_config(path) == config
    save_config(path, config)
    assert load_config(path) == config


def test_what_is_saved_can_be_read(path: Path) -> None:
    save_config(path, load_config(written(path, LEAST)))
    assert path.read_text().splitlines()[-6:] == [
        "version = 1",
        "",
        "[agent]",
        'name = "cluster"',
        'kind = "custom"',
        'zone = "default"',
    ]


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        (LEAST + 'knid = "portal"\n', "agent.knid", "kind"),
        (LEAST + "[stroe]\nkeep_jobs = 1\n", "stroe", "store"),
        (LEAST + "[store]\nmax_byte = 1\n", "store.max_byte", "max_bytes"),
        (
            LEAST + "[[access.allow]]\norigin = 'a'\n[[access.allow]]\norigins = 'a'\n",
            "access.allow[1].origins",
            "origin",
        ),
        (LEAST + 'kind = "protal"\n', "agent.kind", "portal"),
        (LEAST + '[log]\nlevel = "warn"\n', "log.level", "warning"),
    ],
)
def test_mistyped_keys_and_words(path: Path, text: str, key: str, nearest: str) -> None:
    error = trouble(path, text)
    assert (error.key, error.nearest) == (key, nearest)
    assert key in error.message


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", "version"),
        ("version = 1\n", "agent"),
        ("version = 2\n[agent]\nname = 'a'\n", "version"),
        ("version = 1\n[agent]\nkind = 'portal'\n", "agent.name"),
        ("version = 1\n[agent]\nname = 'Cluster'\n", "agent.name"),
        (LEAST + "zone = 'two words'\n", "agent.zone"),
        (LEAST + "listen = '7000'\n", "agent.listen"),
        (LEAST + "listen = 7000\n", "agent.listen"),
        (LEAST + "url = 'http://h'\n", "agent.url"),
        (LEAST + "[limits]\nping_s = '5'\n", "limits.ping_s"),
        (LEAST + "[limits]\nping_s = true\n", "limits.ping_s"),
        (LEAST + "[limits]\nping_s = inf\n", "limits.ping_s"),
        (LEAST + "[limits.more]\nping_s = 1\n", "limits.more"),
        (LEAST + "[access.portals]\nproj = 'abc'\n", "access.portals.proj"),
        (LEAST + "[[access.block]]\ninstruction = '*'\n", "access.block[0].origin"),
        (LEAST + "[[access.block]]\norigin = ''\n", "access.block[0].origin"),
        (LEAST + "[[access.block]]\norigin = 'a b'\n", "access.block[0].origin"),
        (LEAST + "[[access.block]]\norigin = 'a'\ninstruction = 'add.user'\n", "access.block[0].instruction"),
        (LEAST + "[store]\nkeep_jobs = -1\n", "store.keep_jobs"),
        (LEAST + "[store]\nmax_bytes = 1\n", "store.max_bytes"),
        (LEAST + "[store]\nkeep_jobs = 1.5\n", "store.keep_jobs"),
    ],
)
def test_bad_values_name_the_key(path: Path, text: str, key: str) -> None:
    error = trouble(path, text)
    assert error.key == key
    assert f'"{key}"' in error.message


def test_an_illegal_portal_name_is_refused(path: Path) -> None:
    assert "access.portals" in trouble(path, LEAST + f"[access.portals]\n'A b' = '{FP}'\n").key


def test_syntax_errors_have_a_place(path: Path) -> None:
    error = trouble(path, LEAST + "zone = lab\n")
    assert (error.line, error.column) == (4, 8)
    assert "line 4, column 8" in error.message


def test_a_missing_file_says_how_to_make_one(path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist") as caught:
        load_config(path)
    assert "mesh init" in caught.value.fix


def test_limits_are_judged_by_whoever_has_them(path: Path) -> None:
    seen: list[Mapping[str, int | float]] = []
    load_config(written(path, FULL), check_limits=seen.append)
    assert seen == [{"ping_s": 5, "frame_bytes": 65519, "jitter_s": 0.5}]

    def refuse(_limits: Mapping[str, int | float]) -> None:
        raise MeshError('there is no limit "pings_s"', fix='did you mean "ping_s"?')

    with pytest.raises(ConfigError, match=r"\[limits\]: there is no limit") as caught:
        load_config(path, check_limits=refuse)
    assert caught.value.fix == 'did you mean "ping_s"?'


@pytest.mark.parametrize("text", [LEAST, FULL, LEAST + "[log]\nlevel = 'info'", "# top\n" + LEAST + "# end"])
def test_a_port_is_noted_and_every_other_line_stays(path: Path, text: str) -> None:
    before = load_config(written(path, text))
    config = set_listen(path, "127.0.0.1:7001")
    assert load_config(path) == config
    assert config.agent.listen == "127.0.0.1:7001"
    assert config.agent.model_copy(update={"listen": before.agent.listen}) == before.agent
    lines = [line for line in text.splitlines() if not line.startswith("listen")]
    assert [line for line in path.read_text().splitlines() if not line.startswith("listen")] == lines


@pytest.mark.parametrize(
    "text",
    [
        'version = 1\nagent = { name = "a" }\n',
        'version = 1\nagent.name = "a"\n',
        'version = 1\n[ agent ]\nname = "a"\n"listen" = "h:1"\n',
        'version = 1\n[agent]\nname = "a"\n"listen" = "h:1"\n',
    ],
)
def test_a_port_is_noted_in_any_layout(path: Path, text: str) -> None:
    load_config(written(path, text))
    set_listen(path, "127.0.0.1:7001")
    assert load_config(path).agent.listen == "127.0.0.1:7001"


def test_a_bad_port_or_a_bad_file_is_left_alone(path: Path) -> None:
    written(path, LEAST)
    with pytest.raises(AddressError):
        set_listen(path, '"\nname = "x')
    assert path.read_text() == LEAST
    written(path, "version = 3")
    with pytest.raises(ConfigError):
        set_listen(path, "h:1")
    assert path.read_text() == "version = 3"


@given(st.integers(0, len(FULL)), st.text(max_size=4), st.integers(0, 6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_an_edited_file_is_loaded_or_refused(path: Path, at: int, insert: str, cut: int) -> None:
    written(path, "")
    path.write_bytes((FULL[:at] + insert + FULL[at + cut :]).encode())
    with suppress(ConfigError):
        assert isinstance(load_config(path), Config)
