"""Pieces over the local door: in order, whole, and refused before they are too many."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from agents import chunks
from agents.calls import CallFailed
from agents.chunks import CHUNK_BYTES, LONGEST, download, read_payload, upload
from agents.doorway import MAX_LINE
from tests.agents.doors import COMMAND, in_loop, two_agents


def test_a_piece_fits_a_line() -> None:
    assert len(b64encode(bytes(CHUNK_BYTES))) < MAX_LINE - 1_000


@in_loop
async def test_an_upload_is_taken_by_one_put(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, await house.calls() as calls:
        number = await upload(calls, bytes(2 * CHUNK_BYTES + 7))
        answer = await calls.request("put", command=COMMAND, payload=number)
        assert answer["job"]["payload_bytes"] == 2 * CHUNK_BYTES + 7
        with pytest.raises(CallFailed, match=f"no payload {number} was handed over"):
            await calls.request("put", command=COMMAND, payload=number)


@in_loop
async def test_an_upload_that_is_too_long_is_refused(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house, await house.calls() as calls:
        with pytest.raises(CallFailed) as refused:
            await upload(calls, bytes(4_194_305))
        assert refused.value.code == "MESH-E404"
        assert await upload(calls, b"short")


@in_loop
async def test_a_result_in_a_fact_is_downloaded_like_any_other(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        job = (await house.put())["job"]
        await (await house.portal.job(job["id"])).wait()
        async with await house.calls() as calls:
            assert await download(calls, job["short"]) == b'"account created"'


@in_loop
async def test_a_job_without_a_result_has_none_to_download(tmp_path: Path) -> None:
    async with two_agents(tmp_path) as house:
        job = (await house.put("portal.cluster remove_user jane.admin.org"))["job"]
        await (await house.portal.job(job["id"])).wait()
        async with await house.calls() as calls:
            with pytest.raises(CallFailed, match="is error: it has no result"):
                await download(calls, job["id"])


def test_a_file_is_read_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "payload"
    file.write_bytes(b"abc")
    assert read_payload(file) == b"abc"
    monkeypatch.setattr(chunks, "LONGEST", 2)
    with pytest.raises(CallFailed, match="has more than 2 bytes") as refused:
        read_payload(file)
    assert refused.value.code == "MESH-E404"
    with pytest.raises(CallFailed, match="No such file") as missing:
        read_payload(tmp_path / "nothing")
    assert (missing.value.code, missing.value.fix) == ("MESH-E002", f"check it: ls -l {tmp_path / 'nothing'}")
    assert LONGEST > 4_194_304
