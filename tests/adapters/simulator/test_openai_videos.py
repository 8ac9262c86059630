"""Videos at the simulated OpenAI: by its own SDK, what goes wrong with them, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import openai
import pytest
from PIL import Image

from perdure.adapters.simulator import OPENAI_PREFIX
from tests.adapters.simulator.bench import PATIENCE_S, T0, VIDEO_S, Bench, bench
from tests.adapters.simulator.media.measuring import difference, film, picture_size
from tests.adapters.simulator.process import running
from tests.adapters.simulator.test_openai_sdk import client

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

SIZE: Any = "64x128"


def videos(sdk: openai.AsyncOpenAI) -> Any:
    """The SDK's calls for videos. It says of every one of them that OpenAI's own service has ended."""
    return sdk.videos


async def create(b: Bench, prompt: str = "a red fox", **fields: object) -> Any:
    return await b.ok("POST", "/videos", json={"prompt": prompt, "size": SIZE, **fields})


async def look(b: Bench, id_: str, *, after_s: float = 0.0) -> Any:
    b.simulator.clock.advance(after_s)
    return await b.ok("GET", f"/videos/{id_}")


async def content(b: Bench, id_: str, **options: Any) -> bytes:
    answer = await b.call("GET", f"/videos/{id_}/content", **options)
    assert answer.status_code in (200, 206), answer.text
    return answer.content


@pytest.mark.trio
async def test_the_sdk_makes_one_and_fetches_it() -> None:
    async with bench() as b, client(b, OPENAI_PREFIX) as sdk:
        made = await videos(sdk).create(prompt="a red fox", seconds="8", size=SIZE, model="sora-2-pro")
        assert (made.status, made.progress, made.seconds, made.size) == ("queued", 0, "8", SIZE)
        assert (made.model, made.prompt, made.created_at) == ("sora-2-pro", "a red fox", int(T0))
        assert (made.completed_at, made.expires_at, made.error) == (None, None, None)
        b.simulator.clock.advance(VIDEO_S * 0.3)
        runs = await videos(sdk).retrieve(made.id)
        assert (runs.status, runs.progress) == ("in_progress", 30)
        b.simulator.clock.advance(VIDEO_S * 0.7)
        done = await videos(sdk).retrieve(made.id)
        assert (done.status, done.progress) == ("completed", 100)
        assert (done.completed_at, done.expires_at) == (int(T0 + VIDEO_S), int(T0 + VIDEO_S) + 3_600)
        answer = await videos(sdk).download_content(made.id)
        assert answer.response.headers["content-type"] == "video/mp4"
        shown = film(answer.content)
        assert shown.size == (64, 128)
        assert shown.duration_s == pytest.approx(8.0, abs=shown.frame_s)
        sizes = {
            "thumbnail": picture_size((await videos(sdk).download_content(made.id, variant="thumbnail")).content),
            "spritesheet": picture_size((await videos(sdk).download_content(made.id, variant="spritesheet")).content),
        }
        assert sizes == {"thumbnail": (64, 128), "spritesheet": (64, 64)}
        (purchase,) = b.simulator.account.purchases()
        assert (purchase.kind, purchase.id, purchase.identity) == ("video", made.id, "a red fox")


@pytest.mark.trio
async def test_the_sdk_polls_as_often_as_the_hint_says() -> None:
    async with bench() as b, client(b, OPENAI_PREFIX) as sdk:
        b.simulator.clock.advance(0)
        answer = await b.call("POST", "/videos", json={"prompt": "a", "size": SIZE})
        assert answer.headers["openai-poll-after-ms"] == "10000"
        b.simulator.clock.advance(VIDEO_S)
        assert (await videos(sdk).poll(answer.json()["id"])).status == "completed"


@pytest.mark.trio
async def test_two_prompts_give_two_first_frames_and_one_prompt_the_same_film() -> None:
    async with bench() as b:
        ids = [(await create(b, prompt))["id"] for prompt in ("a red fox", "a white hen", "a red fox")]
        b.simulator.clock.advance(VIDEO_S)
        fox, hen, again = [await content(b, id_) for id_ in ids]
        assert difference(film(fox).first, film(hen).first) > 32
        assert fox == again


@pytest.mark.trio
async def test_a_first_frame_as_file_address_and_uploaded_file_makes_another_film() -> None:
    out = io.BytesIO()
    Image.new("RGB", (64, 128), (9, 9, 9)).save(out, "PNG")
    async with bench() as b, client(b, OPENAI_PREFIX) as sdk:
        file = await sdk.files.create(file=("a.png", out.getvalue()), purpose="vision")
        first = ("first.png", out.getvalue(), "image/png")
        sent = await videos(sdk).create(prompt="a red fox", size=SIZE, input_reference=first)
        # The SDK takes references by its types, and refuses to send them: a form of one's own has to do it.
        form = {"prompt": (None, "a red fox"), "size": (None, SIZE), "input_reference[file_id]": (None, file.id)}
        named = await b.ok("POST", "/videos", files=form)
        plain = await videos(sdk).create(prompt="a red fox", size=SIZE)
        b.simulator.clock.advance(VIDEO_S)
        films = [await content(b, id_) for id_ in (sent.id, named["id"], plain.id)]
        assert films[0] == films[1] != films[2]
        with pytest.raises(openai.BadRequestError):
            await videos(sdk).create(prompt="a", input_reference=("a.png", b"words", "image/png"))
        await b.error(404, "POST", "/videos", json={"prompt": "a", "input_reference": {"file_id": "file-unknown"}})


@pytest.mark.trio
async def test_one_that_is_completed_is_extended_edited_and_remixed() -> None:
    async with bench() as b, client(b, OPENAI_PREFIX) as sdk:
        first = await videos(sdk).create(prompt="a red fox", size=SIZE)
        with pytest.raises(openai.BadRequestError):
            await videos(sdk).remix(first.id, prompt="too early")
        b.simulator.clock.advance(VIDEO_S)
        source = {"video": {"id": first.id}}
        longer = await b.ok("POST", "/videos/extensions", json={"prompt": "it jumps", "seconds": "8", **source})
        form = {"prompt": (None, "a blue fox"), "video[id]": (None, first.id)}
        edited = await b.ok("POST", "/videos/edits", files=form)
        remixed = await videos(sdk).remix(first.id, prompt="a green fox")
        assert [longer["seconds"], edited["seconds"], remixed.seconds] == ["12", "4", "4"]
        assert (edited["remixed_from_video_id"], remixed.remixed_from_video_id) == (None, first.id)
        b.simulator.clock.advance(VIDEO_S)
        films = [film(await content(b, id_)) for id_ in (first.id, longer["id"], edited["id"], remixed.id)]
        assert [round(one.duration_s) for one in films] == [4, 12, 4, 4]
        assert difference(films[0].first, films[1].first) < 16
        assert min(difference(films[0].first, one.first) for one in films[2:]) > 32


@pytest.mark.trio
async def test_the_sdk_extends_and_edits_a_film_of_ones_own() -> None:
    async with bench() as b, client(b, OPENAI_PREFIX) as sdk:
        video = await create(b)
        b.simulator.clock.advance(VIDEO_S)
        own = await content(b, video["id"])
        longer = await videos(sdk).extend(prompt="on", seconds="4", video=("own.mp4", own, "video/mp4"))
        assert (longer.seconds, longer.size) == ("8", SIZE)
        with pytest.raises(openai.BadRequestError):
            await videos(sdk).edit(prompt="on", video=("own.mp4", b"words", "video/mp4"))
        edited = await videos(sdk).edit(prompt="on", video=("own.mp4", own, "video/mp4"))
        assert edited.seconds == "4"
        await b.error(404, "POST", "/videos/edits", json={"prompt": "on", "video": {"id": "video_unknown"}})
        assert (await b.error(400, "POST", "/videos/edits", json={"prompt": "on"}))["param"] == "video"


@pytest.mark.trio
async def test_the_sdk_lists_over_all_pages_and_deletes() -> None:
    async with bench() as b, client(b, OPENAI_PREFIX) as sdk:
        ids = [(await create(b, f"video {n}"))["id"] for n in range(5)]
        assert [video.id async for video in videos(sdk).list(limit=2)] == ids[::-1]
        assert [video.id async for video in videos(sdk).list(limit=2, order="asc")] == ids
        assert [video.prompt async for video in videos(sdk).list(limit=1, after=ids[1])] == ["video 0"]
        gone = await videos(sdk).delete(ids[0])
        assert (gone.id, gone.deleted, gone.object) == (ids[0], True, "video.deleted")
        for call in (videos(sdk).retrieve, videos(sdk).delete, videos(sdk).download_content):
            with pytest.raises(openai.NotFoundError):
                await call(ids[0])


@pytest.mark.trio
async def test_a_download_can_be_resumed_where_it_broke_off() -> None:
    async with bench() as b:
        video = await create(b)
        b.simulator.clock.advance(VIDEO_S)
        whole = await content(b, video["id"])
        assert await content(b, video["id"], headers={"range": "bytes=1000-"}) == whole[1000:]
        await b.arm("truncate", route="GET /openai/v1/videos/*/content", after_bytes=500, clean=True)
        assert await content(b, video["id"]) == whole[:500]


@pytest.mark.trio
async def test_a_video_can_be_fetched_from_its_end_until_an_hour_later() -> None:
    async with bench() as b:
        video = await create(b)
        path = f"/videos/{video['id']}/content"
        assert (await b.error(400, "GET", path))["code"] == "video_not_ready"
        b.simulator.clock.advance(VIDEO_S + 3_599)
        assert film(await content(b, video["id"])).frames > 1
        b.simulator.clock.advance(1)
        assert (await b.error(404, "GET", path))["code"] == "video_expired"
        assert (await look(b, video["id"]))["status"] == "completed"
        assert (await b.error(400, "GET", path + "?variant=sound"))["param"] == "variant"


@pytest.mark.trio
async def test_what_goes_wrong_with_the_next_videos() -> None:
    async with bench() as b:
        faults = [
            {"fault": "fail_video", "code": "server_error", "message": "It broke."},
            {"fault": "stuck_video", "done": 0.4},
            {"fault": "expired_download"},
            {"fault": "empty_output"},
            {"fault": "wrong_bytes", "content": ""},
        ]
        made: list[Any] = []
        for fault in faults:
            await b.control("POST", "/faults", json=fault)
            made.append(await create(b))
        made.append(await create(b))
        b.simulator.clock.advance(VIDEO_S * 10)
        seen = [await look(b, video["id"]) for video in made]
        assert [video["status"] for video in seen] == ["failed", "in_progress", *["completed"] * 4]
        assert seen[0]["error"] == {"code": "server_error", "message": "It broke."}
        assert (seen[0]["progress"], seen[1]["progress"]) == (50, 40)
        codes = [(await b.error(404, "GET", f"/videos/{seen[n]['id']}/content"))["code"] for n in (2, 3)]
        assert codes == ["video_expired", "video_content_not_found"]
        assert await content(b, seen[4]["id"]) == b""
        assert film(await content(b, seen[5]["id"])).frames == 32


@pytest.mark.trio
async def test_what_goes_wrong_with_a_video_that_exists() -> None:
    async with bench() as b:
        stuck, done = await create(b, "one"), await create(b, "two")
        await b.arm("stuck_video", operation=stuck["id"], done=0.2)
        b.simulator.clock.advance(VIDEO_S)
        assert (await look(b, stuck["id"]))["progress"] == 20
        await b.arm("expired_download", operation=done["id"])
        assert (await b.error(404, "GET", f"/videos/{done['id']}/content"))["code"] == "video_expired"
        for operation in (done["id"], "video_unknown"):
            refused = await b.http.post("/_sim/faults", json={"fault": "fail_video", "operation": operation})
            assert refused.status_code == 400
            assert "operation" in refused.json()["error"]["message"]
        assert (await look(b, done["id"]))["status"] == "completed"
        assert (await b.control("GET", "/faults"))["armed"] == []


@pytest.mark.trio
async def test_moderation_makes_a_video_fail() -> None:
    async with bench() as b:
        video = await look(b, (await create(b, "a fox, !block"))["id"], after_s=VIDEO_S)
        assert (video["status"], video["error"]["code"]) == ("failed", "moderation_blocked")


@pytest.mark.trio
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("prompt", "x" * 32_001),
        ("seconds", "5"),
        ("seconds", 4),
        ("size", "1x1"),
        ("size", "1808x64"),
        ("input_reference", "words"),
        ("colour", "red"),
    ],
)
async def test_a_parameter_that_is_wrong_is_refused_by_its_name(field: str, value: object) -> None:
    async with bench() as b:
        error = await b.error(400, "POST", "/videos", json={"prompt": "a", "size": SIZE} | {field: value})
        assert error["param"] == field
        assert b.units("video") == []


@pytest.mark.trio
async def test_a_lost_answer_leaves_a_video_that_the_list_shows() -> None:
    async with bench() as b:
        await b.arm("act_then_drop", route="POST /openai/v1/videos")
        with pytest.raises(Exception, match="disconnect"):
            await create(b, "lost")
        assert [video["prompt"] for video in (await b.ok("GET", "/videos"))["data"]] == ["lost"]
        assert b.units("video") == [1]


def test_videos_outlive_the_simulator_and_are_the_same_afterwards(tmp_path: Path) -> None:
    arguments = ("--port", "0", "--data", str(tmp_path), "--video-seconds", "100", "--seed", "7")
    with running(*arguments) as simulator:
        body = {"prompt": "a red fox", "size": SIZE}
        made = simulator.http.post(f"{OPENAI_PREFIX}/videos", json=body).json()
        assert made["status"] == "queued"
        simulator.http.post("/_sim/clock", json={"advance_s": 100})
        before = simulator.http.get(f"{OPENAI_PREFIX}/videos/{made['id']}/content").content
        simulator.process.kill()
        simulator.process.wait(PATIENCE_S)
    with running(*arguments) as simulator:
        assert simulator.http.get(f"{OPENAI_PREFIX}/videos/{made['id']}").json()["status"] == "completed"
        assert simulator.http.get(f"{OPENAI_PREFIX}/videos/{made['id']}/content").content == before
        assert film(before).size == (64, 128)
