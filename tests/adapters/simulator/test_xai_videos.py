"""xAI's videos, simulated: they are asked about until they are done, and land in Files under a name of the buyer's."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import trio

from perdure.adapters.simulator.faults import ActThenDrop, Truncate
from perdure.adapters.simulator.media.faults import EmptyOutput, ExpiredDownload, FailVideo, StuckVideo, WrongBytes
from tests.adapters.simulator.bench import VIDEO_S, Bench, bench
from tests.adapters.simulator.media.measuring import difference, film
from tests.adapters.simulator.test_xai import call, error, ok

pytestmark = pytest.mark.trio

HOUR_S = 3_600


async def start(b: Bench, prompt: str = "a red fox", route: str = "generations", **fields: object) -> str:
    made = await ok(b, "POST", f"/videos/{route}", json={"prompt": prompt, **fields})
    assert set(made) == {"request_id"}
    return str(made["request_id"])


async def done(b: Bench, id_: str, after_s: float = VIDEO_S) -> Any:
    b.simulator.clock.advance(after_s)
    said = await ok(b, "GET", f"/videos/{id_}")
    assert said["status"] == "done"
    return said


async def fetch(b: Bench, said: Any) -> bytes:
    answer = await b.http.get(said["video"]["url"], headers={"authorization": ""})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "video/mp4"
    return answer.content


async def listed(b: Bench) -> list[str]:
    return [file["filename"] for file in (await ok(b, "GET", "/files"))["data"]]


async def test_a_video_is_pending_with_202_and_then_done() -> None:
    async with bench() as b:
        id_ = await start(b, duration=3, resolution="480p", aspect_ratio="16:9")
        first = await call(b, "GET", f"/videos/{id_}")
        assert (first.status_code, first.content) == (202, b"")
        b.simulator.clock.advance(VIDEO_S / 2)
        second = await call(b, "GET", f"/videos/{id_}")
        assert (second.status_code, second.json()) == (202, {"status": "pending", "progress": 50})
        said = await done(b, id_, VIDEO_S / 2)
        assert said["usage"] == {"cost_in_usd_ticks": 1_500_000_000}
        assert (said["progress"], said["model"]) == (100, "grok-imagine-video")
        assert (said["video"]["duration"], said["video"]["respect_moderation"]) == (3.0, True)
        shown = film(await fetch(b, said))
        assert shown.size == (854, 480)
        assert shown.duration_s == pytest.approx(3.0, abs=shown.frame_s)
        (purchase,) = b.simulator.account.purchases()
        assert (purchase.provider, purchase.kind, purchase.identity) == ("xai", "video", "a red fox")
        await error(b, 404, "GET", "/videos/video_none")


async def test_two_prompts_and_two_first_frames_give_two_films() -> None:
    async with bench() as b:
        drawn = await ok(b, "POST", "/images/generations", json={"prompt": "x", "response_format": "b64_json"})
        image = {"url": "data:image/jpeg;base64," + drawn["data"][0]["b64_json"]}
        ids = [
            await start(b, duration=1),
            await start(b, "a blue fox", duration=1),
            await start(b, duration=1, image=image),
            await start(b, duration=1, reference_images=[image, image]),
        ]
        b.simulator.clock.advance(VIDEO_S)
        first, *others = [film(await fetch(b, await done(b, id_, 0))).first for id_ in ids]
        assert min(difference(first, other) for other in others) > 20


async def test_an_address_and_the_request_are_over_after_an_hour() -> None:
    async with bench() as b:
        id_ = await start(b, duration=1)
        said = await done(b, id_)
        b.simulator.clock.advance(HOUR_S - 1)
        await fetch(b, said)
        b.simulator.clock.advance(1)
        assert (await b.http.get(said["video"]["url"])).status_code == 404
        assert await ok(b, "GET", f"/videos/{id_}") == {"status": "expired"}
        assert (await call(b, "GET", "/results/video_none.mp4")).status_code == 404


async def test_a_named_video_is_in_files_though_nobody_asked_about_it(tmp_path: Path) -> None:
    async with bench(data=tmp_path) as b:
        storage = {"filename": "mark.mp4", "expires_after": HOUR_S}
        b.simulator.faults.arm(ActThenDrop(route="POST /xai/v1/videos/generations"))
        with pytest.raises(Exception, match="disconnected"):
            await start(b, duration=1, storage_options=storage)
        (purchase,) = b.simulator.account.purchases()
        assert (purchase.kind, purchase.identity) == ("video", "mark.mp4")
        assert await listed(b) == []
    async with bench(data=tmp_path) as b:
        b.simulator.clock.advance(VIDEO_S)
        (file,) = (await ok(b, "GET", "/files"))["data"]
        assert file["filename"] == "mark.mp4"
        content = await call(b, "GET", f"/files/{file['id']}/content")
        said = await done(b, purchase.id, 0)
        assert said["video"]["file_output"] == {"file_id": file["id"], "filename": "mark.mp4"}
        assert content.content == await fetch(b, said)
        assert len(b.simulator.account.purchases()) == 1
        b.simulator.clock.advance(HOUR_S)
        assert await listed(b) == []


async def test_many_that_look_at_once_find_one_file_each() -> None:
    async with bench() as b:
        ids = [await start(b, duration=1, storage_options={"filename": f"{n}.mp4"}) for n in range(3)]
        b.simulator.clock.advance(VIDEO_S)
        async with trio.open_nursery() as nursery:
            for id_ in ids:
                nursery.start_soon(done, b, id_, 0)
                nursery.start_soon(listed, b)
        assert sorted(await listed(b)) == ["0.mp4", "1.mp4", "2.mp4"]


async def test_what_goes_wrong_with_a_video() -> None:
    async with bench() as b:
        storage = {"filename": "a.mp4"}
        b.simulator.faults.arm(FailVideo(code="internal", message="no luck"))
        failed = await start(b, storage_options=storage)
        b.simulator.faults.arm(StuckVideo())
        stuck = await start(b, storage_options=storage)
        b.simulator.faults.arm(EmptyOutput(kind="video"))
        empty = await start(b, storage_options=storage)
        b.simulator.faults.arm(WrongBytes(content="<html>", kind="video"))
        wrong = await start(b)
        b.simulator.faults.arm(ExpiredDownload())
        expired = await start(b)
        blocked = await start(b, "!block it", storage_options=storage)
        b.simulator.clock.advance(VIDEO_S)
        said = await ok(b, "GET", f"/videos/{failed}")
        assert (said["status"], said["error"]) == ("failed", {"code": "internal", "message": "no luck"})
        assert (await call(b, "GET", f"/videos/{stuck}")).json()["progress"] == 50
        said = await done(b, empty, 0)
        assert "url" not in said["video"]
        assert said["usage"]["cost_in_usd_ticks"] > 0
        assert await fetch(b, await done(b, wrong, 0)) == b"<html>"
        assert await ok(b, "GET", f"/videos/{expired}") == {"status": "expired"}
        said = await done(b, blocked, 0)
        assert (said["video"]["respect_moderation"], "url" in said["video"]) == (False, False)
        assert await listed(b) == []
        told = await b.http.post("/_sim/faults", json={"fault": "fail_video", "operation": stuck})
        assert told.status_code == 200, told.text
        assert (await ok(b, "GET", f"/videos/{stuck}"))["status"] == "failed"


async def test_a_download_breaks_off_as_told_and_goes_on_by_range() -> None:
    async with bench() as b:
        said = await done(b, await start(b, duration=1))
        b.simulator.faults.arm(Truncate(route="GET /xai/v1/results/{id}.mp4", after_bytes=100))
        with pytest.raises(Exception, match="peer closed"):
            await fetch(b, said)
        whole = await fetch(b, said)
        rest = await b.http.get(said["video"]["url"], headers={"range": "bytes=100-"})
        assert (rest.status_code, rest.content) == (206, whole[100:])


async def test_edits_keep_the_length_and_extensions_add_to_it() -> None:
    async with bench() as b:
        said = await done(b, await start(b, duration=2))
        source = await fetch(b, said)
        inline = {"url": "data:video/mp4;base64," + b64encode(source).decode()}
        file = await ok(b, "POST", "/files", files={"file": ("a.mp4", source)})
        for video in ({"url": said["video"]["url"]}, inline, {"file_id": file["id"]}):
            edited = await done(b, await start(b, "a hat", "edits", video=video))
            shown = film(await fetch(b, edited))
            assert (shown.size, round(shown.duration_s)) == ((854, 480), 2)
            longer = await done(b, await start(b, "more", "extensions", video=video, duration=3))
            assert film(await fetch(b, longer)).duration_s == pytest.approx(5.0, abs=0.2)


@pytest.mark.parametrize(
    ("route", "fields", "status"),
    [
        ("generations", {"prompt": ""}, 400),
        ("generations", {"duration": 0}, 400),
        ("generations", {"duration": 16}, 400),
        ("generations", {"resolution": "4k"}, 400),
        ("generations", {"aspect_ratio": "wide"}, 400),
        ("generations", {"image": {"url": "data:image/png;base64,eHg="}}, 400),
        ("generations", {"image": {"file_id": "file_none"}}, 404),
        ("generations", {"storage_options": {"filename": "a", "expires_after": 3_599}}, 400),
        ("generations", {"seed": 7}, 400),
        ("generations", {"model": "nope"}, 404),
        ("edits", {}, 400),
        ("edits", {"video": {"url": "data:video/mp4;base64,eHg="}}, 400),
        ("edits", {"video": {"url": "film.mp4"}}, 400),
        ("extensions", {"video": {"file_id": "file_none"}}, 404),
        ("extensions", {"video": {"url": "http://127.0.0.1:1/xai/v1/results/video_none.mp4"}}, 400),
    ],
    ids=str,
)
async def test_a_bad_video_request_is_refused(route: str, fields: dict[str, object], status: int) -> None:
    async with bench() as b:
        await error(b, status, "POST", f"/videos/{route}", json={"prompt": "x", **fields})
        assert b.simulator.account.purchases() == []
