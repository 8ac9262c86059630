"""Images at the simulated OpenAI: by its own SDK, and what is refused."""

from __future__ import annotations

import io
from base64 import b64decode, b64encode
from typing import Any

import openai
import pytest
from PIL import Image

from perdure.adapters.simulator import OPENAI_PREFIX
from tests.adapters.simulator.bench import bench
from tests.adapters.simulator.media.measuring import difference, picture_size
from tests.adapters.simulator.test_openai_sdk import client

pytestmark = pytest.mark.trio

MODEL = "gpt-image-2.5-flare"
SMALL = "64x64"


def picture(size: tuple[int, int] = (64, 64), *, mode: str = "RGB", format_: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, (200, 30, 30) if mode == "RGB" else (0, 0, 0, 0)).save(out, format_)
    return out.getvalue()


def opened(item: openai.types.Image) -> Image.Image:
    assert item.b64_json is not None
    return Image.open(io.BytesIO(b64decode(item.b64_json)))


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp"])
async def test_the_sdk_makes_an_image_of_each_format(format_: Any) -> None:
    async with bench() as b, client(b, OPENAI_PREFIX) as sdk:
        answer = await sdk.images.generate(
            model=MODEL, prompt="a red fox!!!", size="96x64", quality="low", output_format=format_
        )
        assert answer.data is not None
        assert answer.data[0].b64_json is not None
        assert picture_size(b64decode(answer.data[0].b64_json)) == (96, 64)
        assert opened(answer.data[0]).format == format_.upper()
        assert (answer.output_format, answer.size, answer.quality, answer.background) == (
            format_,
            "96x64",
            "low",
            "opaque",
        )
        assert answer.usage is not None
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3, round(272 * 96 * 64 / 1024**2))
        assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


async def test_the_contracts_usage_is_that_of_a_square_of_low_quality() -> None:
    async with bench() as b, client(b, OPENAI_PREFIX) as sdk:
        answer = await sdk.images.generate(model=MODEL, prompt="a" * 56, quality="low")
        assert answer.usage is not None
        assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (14, 272, 286)
        assert (answer.size, answer.output_format) == ("1024x1024", "png")


async def test_several_images_differ_and_the_same_prompt_gives_the_same_again() -> None:
    async with bench() as b, client(b, OPENAI_PREFIX) as sdk:
        first = await sdk.images.generate(model=MODEL, prompt="a red fox", size=SMALL, n=3)
        again = await sdk.images.generate(model=MODEL, prompt="a red fox", size=SMALL, n=3)
        other = await sdk.images.generate(model=MODEL, prompt="a white hen", size=SMALL)
        assert first.data is not None
        assert other.data is not None
        assert first.data == again.data
        assert len({item.b64_json for item in first.data}) == 3
        assert difference(opened(first.data[0]), opened(other.data[0])) > 16
        assert first.usage is not None
        assert other.usage is not None
        assert first.usage.output_tokens == 3 * other.usage.output_tokens
        assert b.units("image") == [1, 1, 1]
        assert b.simulator.account.bought_twice() != []


async def test_a_transparent_background_is_one() -> None:
    async with bench() as b, client(b, OPENAI_PREFIX) as sdk:
        answer = await sdk.images.generate(
            model=MODEL, prompt="a fox", size=SMALL, background="transparent", output_format="webp"
        )
        assert answer.data is not None
        assert opened(answer.data[0]).convert("RGBA").getpixel((63, 63)) == (0, 0, 0, 0)
        assert answer.background == "transparent"


async def test_the_sdk_edits_one_image_and_several_with_a_mask() -> None:
    async with bench() as b, client(b, OPENAI_PREFIX) as sdk:
        one = await sdk.images.edit(model=MODEL, image=picture((96, 64)), prompt="a hat on it")
        assert one.size == "96x64"
        two = await sdk.images.edit(
            model=MODEL,
            image=[("a.png", picture()), ("b.webp", picture((32, 32), format_="WEBP"))],
            mask=("m.png", picture(mode="RGBA")),
            prompt="a hat on it",
            size="128x64",
            n=2,
        )
        assert two.data is not None
        assert [opened(item).size for item in two.data] == [(128, 64)] * 2
        assert two.usage is not None
        assert two.usage.input_tokens_details.image_tokens == 512


async def test_an_edit_is_bought_under_one_payload_whatever_its_boundary() -> None:
    async with bench() as b:
        for _ in range(2):
            await b.ok("POST", "/images/edits", data={"prompt": "a"}, files={"image": ("a.png", picture())})
        await b.ok("POST", "/images/edits", data={"prompt": "b"}, files={"image": ("a.png", picture())})
        payloads = [purchase.payload for purchase in b.simulator.account.purchases()]
        assert payloads[0] == payloads[1] != payloads[2]


async def test_an_edit_takes_references_as_json() -> None:
    url = "data:image/png;base64," + b64encode(picture((32, 32))).decode()
    async with bench() as b:
        file = await b.upload(picture((32, 32)), filename="a.png", purpose="vision")
        for image in ({"image_url": url}, {"file_id": file["id"]}, {"image_url": "https://elsewhere/a.png"}):
            answer = await b.ok("POST", "/images/edits", json={"prompt": "a hat", "size": SMALL, "images": [image]})
            assert picture_size(b64decode(answer["data"][0]["b64_json"])) == (64, 64)
        for image, status in (
            ({"image_url": "data:image/png;base64,????"}, 400),
            ({"image_url": "words"}, 400),
            ({"image_url": "data:image/png;base64," + b64encode(b"words").decode()}, 400),
            ({"file_id": "file-unknown"}, 404),
            ({}, 400),
            ({"image_url": url, "file_id": file["id"]}, 400),
        ):
            await b.error(status, "POST", "/images/edits", json={"prompt": "a hat", "images": [image]})


@pytest.mark.parametrize(
    ("parts", "param", "code"),
    [
        ({"mask": picture((32, 64), mode="RGBA")}, "mask", "invalid_mask_size"),
        ({"mask": picture(format_="JPEG")}, "mask", "invalid_image_format"),
        ({"mask": b"words"}, "mask", "invalid_image"),
        ({"image": b"words"}, "image", "invalid_image"),
        ({"image": b""}, "image", "invalid_image"),
        ({"image": picture()[:50]}, "image", "invalid_image"),
        ({"markup": picture()}, "markup", "unsupported_value"),
        ({"other": picture()}, "other", "unknown_parameter"),
    ],
)
async def test_an_edit_of_what_is_no_image_or_with_another_mask_is_refused(
    parts: dict[str, bytes], param: str, code: str
) -> None:
    async with bench() as b:
        files = [(name, (name, data)) for name, data in ({"image": picture()} | parts).items()]
        error = await b.error(400, "POST", "/images/edits", data={"prompt": "a hat"}, files=files)
        assert (error["param"], error["code"]) == (param, code)
        assert b.units("image") == []


async def test_an_edit_without_an_image_or_with_seventeen_is_refused() -> None:
    async with bench() as b:
        assert (await b.error(400, "POST", "/images/edits", json={"prompt": "a"}))["param"] == "image"
        many = [("image[]", ("a.png", picture((16, 16))))] * 17
        assert (await b.error(400, "POST", "/images/edits", data={"prompt": "a"}, files=many))["param"] == "image"
        await b.error(
            413,
            "POST",
            "/images/edits",
            data={"prompt": "a"},
            files={"image": ("a.png", picture()), "mask": ("m.png", bytes(4_000_001))},
        )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("prompt", "x" * 32_001),
        ("n", 0),
        ("n", 11),
        ("n", "2"),
        ("size", "1000x1000"),
        ("size", "0x16"),
        ("size", "64x16"),
        ("size", "4096x4096"),
        ("size", "big"),
        ("quality", "huge"),
        ("output_format", "gif"),
        ("output_format", "svg"),
        ("output_format", "bmp"),
        ("output_compression", 50),
        ("output_compression", 101),
        ("stream", True),
        ("partial_images", 2),
        ("response_format", "url"),
        ("response_format", "b64_json"),
        ("svg", {"model": "m"}),
        ("colour", "red"),
    ],
)
async def test_a_parameter_that_is_wrong_is_refused_by_its_name(field: str, value: object) -> None:
    async with bench() as b:
        body = {"model": MODEL, "prompt": "a", "size": SMALL, field: value}
        assert (await b.error(400, "POST", "/images/generations", json=body))["param"] == field
        assert b.units("image") == []


async def test_other_refusals_are_the_sdks_own_classes() -> None:
    async with bench() as b, client(b, OPENAI_PREFIX) as sdk:
        with pytest.raises(openai.NotFoundError):
            await sdk.images.generate(model="nope", prompt="a")
        with pytest.raises(openai.BadRequestError) as told:
            await sdk.images.generate(model=MODEL, prompt="a fox, !block")
        assert told.value.code == "moderation_blocked"
        with pytest.raises(openai.BadRequestError):
            await sdk.images.generate(model=MODEL, prompt="a", background="transparent", output_format="jpeg")
        await b.error(400, "POST", "/images/generations", data={"prompt": "a"})
        await b.error(400, "POST", "/images/generations", content=b"[]")
        assert b.units("image") == []


async def test_the_mark_of_a_request_is_its_identity_on_the_account() -> None:
    async with bench() as b:
        for mark in ("job-1", "job-2"):
            headers = {"x-client-request-id": mark}
            await b.ok("POST", "/images/generations", json={"prompt": mark, "size": SMALL}, headers=headers)
        assert [purchase.identity for purchase in b.simulator.account.purchases(kind="image")] == ["job-1", "job-2"]
        assert b.simulator.account.bought_twice() == []


async def test_an_answer_that_was_dropped_was_bought() -> None:
    async with bench() as b:
        await b.arm("act_then_drop", route="POST /openai/v1/images/generations")
        with pytest.raises(Exception, match="disconnect"):
            await b.call("POST", "/images/generations", json={"prompt": "a", "size": SMALL})
        assert b.units("image") == [1]


async def test_an_answer_can_be_empty_or_hold_what_is_no_image() -> None:
    async with bench() as b:
        await b.control("POST", "/faults", json=[{"fault": "empty_output", "kind": "audio"}, {"fault": "fail_video"}])
        ask: dict[str, Any] = {"json": {"prompt": "a", "size": SMALL, "n": 2}}
        assert len((await b.ok("POST", "/images/generations", **ask))["data"]) == 2
        await b.arm("empty_output", kind="image")
        assert (await b.ok("POST", "/images/generations", **ask))["data"] == []
        await b.arm("wrong_bytes", content="words")
        wrong = await b.ok("POST", "/images/generations", **ask)
        assert [b64decode(item["b64_json"]) for item in wrong["data"]] == [b"words"] * 2
        assert len(await b.ok("POST", "/images/generations", **ask)) == 7
        assert b.units("image") == [1] * 4
