"""Google's videos, simulated: Veo's long-running operations, and interactions in the background."""

from __future__ import annotations

from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest

from perdure.adapters.simulator.faults import Truncate
from perdure.adapters.simulator.media.faults import EmptyOutput, ExpiredDownload, FailVideo, StuckVideo, WrongBytes
from tests.adapters.simulator.bench import VIDEO_S
from tests.adapters.simulator.google_bench import GoogleBench, google_bench
from tests.adapters.simulator.media.measuring import difference, film

pytestmark = pytest.mark.trio

SMALL = {"resolution": "360p", "durationSeconds": 4}
HOURS_48 = 48 * 3_600


async def veo(b: GoogleBench, prompt: str = "a red fox", version: str = "v1", **fields: Any) -> str:
    parameters = {**SMALL, **fields.pop("parameters", {})}
    body = {"instances": [{"prompt": prompt, **fields.pop("instance", {})}], "parameters": parameters, **fields}
    made = await b.ok("POST", f"/{version}/models/veo-3:predictLongRunning", json=body)
    assert set(made) == {"name"}
    return str(made["name"])


async def look(b: GoogleBench, name: str, version: str = "v1", after_s: float = 0.0) -> Any:
    b.simulator.clock.advance(after_s)
    return await b.ok("GET", f"/{version}/{name}")


def samples(ended: Any) -> list[str]:
    shown = ended["response"]["generateVideoResponse"].get("generatedSamples", [])
    return [one["video"]["uri"] for one in shown]


async def fetch(b: GoogleBench, uri: str, **options: Any) -> bytes:
    answer = await b.call("GET", uri, **options)
    assert answer.status_code in (200, 206), answer.text
    assert answer.headers["content-type"] == "video/mp4"
    return answer.content


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
async def test_an_operation_says_nothing_until_it_is_done(version: str) -> None:
    async with google_bench() as b:
        name = await veo(b, version=version)
        assert name.startswith("models/veo-3/operations/")
        assert await look(b, name, version) == {"name": name}
        assert await look(b, name, version, VIDEO_S - 1) == {"name": name}
        ended = await look(b, name, version, 1)
        (uri,) = samples(ended)
        assert ended["done"] is True
        assert f"/google/{version}/files/" in uri
        assert uri.endswith(":download?alt=media")
        data = await fetch(b, uri)
        shown = film(data)
        assert shown.size == (640, 360)
        assert shown.duration_s == pytest.approx(4.0, abs=shown.frame_s)
        assert await fetch(b, uri, headers={"range": "bytes=100-"}) == data[100:]
        (purchase,) = b.simulator.account.purchases()
        assert (purchase.kind, purchase.identity) == ("video", "a red fox")


async def test_two_prompts_give_two_first_frames_and_samples_differ() -> None:
    async with google_bench() as b:
        one = await veo(b, parameters={"sampleCount": 2})
        other = await veo(b, "a blue fox")
        b.simulator.clock.advance(VIDEO_S)
        uris = [*samples(await look(b, one)), *samples(await look(b, other))]
        first, second, third = [film(await fetch(b, uri)).first for uri in uris]
        assert min(difference(first, second), difference(first, third)) > 20


async def test_a_video_needs_the_key_and_is_gone_after_48_hours() -> None:
    async with google_bench() as b:
        name = await veo(b)
        (uri,) = samples(await look(b, name, after_s=VIDEO_S))
        bare = await b.http.get(uri, headers={"x-goog-api-key": ""})
        assert bare.status_code == 403
        b.simulator.clock.advance(HOURS_48 - 1)
        await fetch(b, uri)
        b.simulator.clock.advance(1)
        await b.error(403, "PERMISSION_DENIED", "GET", uri)
        assert samples(await look(b, name)) == [uri]


async def test_moderation_leaves_samples_out_and_says_so() -> None:
    async with google_bench() as b:
        some = await veo(b, "a fox, !block", parameters={"sampleCount": 2})
        none = await veo(b, "!block")
        ended = await look(b, some, after_s=VIDEO_S)
        said = ended["response"]["generateVideoResponse"]
        assert (len(said["generatedSamples"]), said["raiMediaFilteredCount"]) == (1, 1)
        await fetch(b, samples(ended)[0])
        await b.error(403, "PERMISSION_DENIED", "GET", samples(ended)[0].replace("1:download", "0:download"))
        said = (await look(b, none))["response"]["generateVideoResponse"]
        assert "generatedSamples" not in said
        assert len(said["raiMediaFilteredReasons"]) == 1


async def test_what_goes_wrong_with_a_video() -> None:
    async with google_bench() as b:
        b.simulator.faults.arm(FailVideo(message="no luck"))
        failed = await veo(b)
        b.simulator.faults.arm(EmptyOutput())
        empty = await veo(b)
        b.simulator.faults.arm(ExpiredDownload())
        expired = await veo(b)
        b.simulator.faults.arm(WrongBytes(content=""))
        wrong = await veo(b)
        b.simulator.faults.arm(StuckVideo())
        stuck = await veo(b)
        b.simulator.clock.advance(VIDEO_S * 10)
        assert (await look(b, failed))["error"] == {"code": 13, "message": "no luck"}
        assert (await look(b, empty))["response"] == {"generateVideoResponse": {}}
        await b.error(403, "PERMISSION_DENIED", "GET", samples(await look(b, expired))[0])
        assert await fetch(b, samples(await look(b, wrong))[0]) == b""
        assert "done" not in await look(b, stuck)
        running = await veo(b)
        id_ = running.rpartition("/")[2]
        told = await b.http.post("/_sim/faults", json={"fault": "fail_video", "operation": id_})
        assert told.status_code == 200, told.text
        assert (await look(b, running, after_s=VIDEO_S))["done"] is True


async def test_a_download_breaks_off_as_told() -> None:
    async with google_bench() as b:
        (uri,) = samples(await look(b, await veo(b), after_s=VIDEO_S))
        b.simulator.faults.arm(Truncate(route="GET /google/*/files/{id}:download", after_bytes=100))
        with pytest.raises(Exception, match="peer closed"):
            await fetch(b, uri)
        await fetch(b, uri)


async def test_a_film_is_extended_and_pictures_are_looked_at() -> None:
    async with google_bench() as b:
        (uri,) = samples(await look(b, await veo(b), after_s=VIDEO_S))
        (longer,) = samples(await look(b, await veo(b, "more", instance={"video": {"uri": uri}}), after_s=VIDEO_S))
        assert film(await fetch(b, longer)).duration_s == pytest.approx(8.0, abs=0.2)
        for instance in (
            {"video": {"uri": "files/none"}},
            {"image": {"bytesBase64Encoded": b64encode(b"x").decode()}},
            {"lastFrame": {"bytesBase64Encoded": "?"}},
            {"prompt": " "},
        ):
            body = {"instances": [{"prompt": "x", **instance}]}
            await b.error(400, "INVALID_ARGUMENT", "POST", "/v1/models/veo-3:predictLongRunning", json=body)
        await b.error(404, "NOT_FOUND", "GET", "/v1/models/veo-3/operations/none")
        await b.error(404, "NOT_FOUND", "POST", "/v1/models/nope:predictLongRunning", json={"instances": []})


async def test_user_metadata_is_the_identity_and_a_restart_changes_nothing(tmp_path: Path) -> None:
    async with google_bench(data=tmp_path) as b:
        name = await veo(b, webhookConfig={"userMetadata": {"perdure_identity": "job-1"}})
        (purchase,) = b.simulator.account.purchases()
        assert purchase.identity == "job-1"
        data = await fetch(b, samples(await look(b, name, after_s=VIDEO_S))[0])
    async with google_bench(data=tmp_path) as b:
        assert await fetch(b, samples(await look(b, name, after_s=VIDEO_S))[0]) == data


def interaction(prompt: object = "a red fox", **fields: Any) -> dict[str, Any]:
    wanted = {"type": "video", "resolution": "360p", "duration": "4s", "delivery": "uri", **fields.pop("format", {})}
    return {"model": "omni", "input": prompt, "background": True, "response_format": wanted, **fields}


async def start(b: GoogleBench, prompt: object = "a red fox", **fields: Any) -> Any:
    return await b.ok("POST", "/v1beta/interactions", json=interaction(prompt, **fields))


async def read(b: GoogleBench, id_: str, after_s: float = 0.0) -> Any:
    b.simulator.clock.advance(after_s)
    return await b.ok("GET", f"/v1beta/interactions/{id_}")


async def test_an_interaction_goes_through_its_statuses_and_ends_with_a_video() -> None:
    async with google_bench() as b:
        made = await start(b, labels={"perdure-job": "j1"})
        assert (made["status"], made["labels"], made["model"]) == ("queued", {"perdure-job": "j1"}, "omni")
        assert "steps" not in made
        assert (await read(b, made["id"], VIDEO_S / 2))["status"] == "in_progress"
        ended = await read(b, made["id"], VIDEO_S / 2)
        assert ended["status"] == "completed"
        (step,) = ended["steps"]
        (block,) = step["content"]
        assert (step["type"], block["type"], block["mime_type"]) == ("model_output", "video", "video/mp4")
        assert film(await fetch(b, block["uri"])).size == (640, 360)
        usage = ended["usage"]
        assert usage["output_tokens_by_modality"] == [{"modality": "video", "tokens": usage["total_output_tokens"]}]
        assert usage["total_tokens"] == usage["total_input_tokens"] + usage["total_output_tokens"]
        (purchase,) = b.simulator.account.purchases()
        assert (purchase.kind, purchase.identity, purchase.id) == ("video", "j1", made["id"])


async def test_an_interaction_gives_bytes_in_place_when_asked() -> None:
    async with google_bench() as b:
        steps = [{"type": "user_input", "content": [{"type": "text", "text": "a fox"}]}]
        made = await start(b, steps, format={"delivery": "inline", "aspect_ratio": "9:16"})
        ((block,),) = [step["content"] for step in (await read(b, made["id"], VIDEO_S))["steps"]]
        assert film(b64decode(block["data"])).size == (360, 640)


async def test_an_interaction_is_cancelled_and_deleted() -> None:
    async with google_bench() as b:
        made = await start(b)
        cancelled = await b.ok("POST", f"/v1/interactions/{made['id']}/cancel")
        assert cancelled["status"] == (await read(b, made["id"], VIDEO_S))["status"] == "cancelled"
        await b.error(400, "FAILED_PRECONDITION", "POST", f"/v1/interactions/{made['id']}/cancel")
        assert await b.ok("DELETE", f"/v1/interactions/{made['id']}") == {}
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel")):
            await b.error(404, "NOT_FOUND", method, f"/v1/interactions/{made['id']}{path}")


async def test_an_interaction_fails_and_comes_to_nothing() -> None:
    async with google_bench() as b:
        blocked = await start(b, "!block")
        b.simulator.faults.arm(FailVideo(code="internal", message="no luck"))
        failed = await start(b)
        b.simulator.faults.arm(EmptyOutput(kind="video"))
        empty = await start(b)
        b.simulator.clock.advance(VIDEO_S)
        ended = await read(b, blocked["id"])
        assert (ended["status"], ended["errors"][0]["code"]) == ("failed", "PROHIBITED_CONTENT")
        ended = await read(b, failed["id"])
        assert ended["errors"] == [{"code": "internal", "message": "no luck"}]
        assert "steps" not in ended
        ended = await read(b, empty["id"])
        assert (ended["status"], ended["steps"]) == ("completed", [{"type": "model_output", "content": []}])


@pytest.mark.parametrize(
    "wrong",
    [
        {"background": False},
        {"stream": True},
        {"input": ""},
        {"input": 7},
        {"input": [{"type": "audio", "data": "x"}]},
        {"response_format": {"type": "image"}},
        {"response_format": []},
        {"response_format": {"type": "video", "duration": "8"}},
        {"response_format": {"type": "video", "resolution": "8k"}},
        {"labels": {"Perdure": "x"}},
        {"labels": {"perdure": "x" * 64}},
    ],
    ids=str,
)
async def test_a_bad_interaction_is_refused(wrong: dict[str, Any]) -> None:
    async with google_bench() as b:
        body = {**interaction(), **wrong}
        await b.error(400, "INVALID_ARGUMENT", "POST", "/v1/interactions", json=body)
        assert b.simulator.account.purchases() == []
