"""Media that the simulator makes: what other libraries find in it, the same every time, another for another prompt."""

from __future__ import annotations

import array
import io
import subprocess
import sys
import wave

import pytest
from msgspec.structs import replace
from PIL import Image

from perdure.adapters.simulator.media.clips import Clip, NotAFilm, Scene, measure_film
from perdure.adapters.simulator.media.pictures import NotAPicture, Picture, PictureFormat, measure_picture
from perdure.adapters.simulator.media.shelf import Shelf
from perdure.adapters.simulator.media.sounds import CHARACTERS_PER_S, Sound, SoundFormat, makeable
from perdure.adapters.simulator.storage import Storage
from perdure.adapters.simulator.world import World
from perdure.store.disk import InlineDisk
from tests.adapters.simulator.bench import still
from tests.adapters.simulator.media.measuring import difference, duration_s, film, picture_size, played_s

FOX = Picture(seed=1, prompt="a red fox", width=320, height=192)
TEXT = "thirty characters are two secs"
VOICE = Sound(seed=1, text=TEXT)
FILM = Clip(seed=1, width=128, height=64, scenes=(Scene("a red fox", 4.0),))
SIGNATURES = {"png": b"\x89PNG\r\n\x1a\n", "jpeg": b"\xff\xd8\xff", "webp": b"RIFF"}


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("size", [(16, 16), (320, 192), (1024, 1536)], ids=str)
def test_a_picture_has_the_format_and_the_size_that_were_asked_for(
    format_: PictureFormat, size: tuple[int, int]
) -> None:
    made = replace(FOX, format=format_, width=size[0], height=size[1]).make()
    assert made.startswith(SIGNATURES[format_])
    assert picture_size(made) == size


@pytest.mark.parametrize(
    "other",
    [
        replace(FOX, prompt="a red fix"),
        replace(FOX, seed=2),
        replace(FOX, salt="1"),
        replace(FOX, prompt=FOX.prompt + " " * 5_000 + "unseen"),
    ],
    ids=["prompt", "seed", "salt", "what is not drawn"],
)
def test_pictures_are_decided_by_seed_and_prompt(other: Picture) -> None:
    assert FOX.make() == replace(FOX).make()
    assert difference(Image.open(io.BytesIO(FOX.make())), Image.open(io.BytesIO(other.make()))) > 16


def test_the_prompt_is_drawn_into_the_picture() -> None:
    """Without a background only the text is left: its pixels are there, and not those of a prompt of blanks."""
    drawn, blank = (replace(FOX, transparent=True, prompt=prompt).paint() for prompt in ("MMMM", "    "))
    assert drawn.getchannel("A").getbbox() is not None
    assert blank.getchannel("A").getbbox() is None


@pytest.mark.parametrize("prompt", ["\x00\ud7ff\U0001f98a", "длинный " * 4_000, "x" * 32_000, "\n\n", "a\u202eb"])
def test_no_prompt_is_too_odd_to_be_drawn(prompt: str) -> None:
    assert picture_size(replace(FOX, prompt=prompt).make()) == (320, 192)


def test_an_edit_changes_only_what_its_mask_lets_through() -> None:
    source = Image.new("RGB", (64, 64), (250, 10, 10))
    mask = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (32, 0, 64, 64))
    edited = replace(FOX, width=64, height=64, under=_png(source), mask=_png(mask))
    made = Image.open(io.BytesIO(edited.make()))
    assert difference(made.crop((0, 0, 32, 64)), source.crop((0, 0, 32, 64))) == 0
    assert difference(made.crop((32, 0, 64, 64)), source.crop((32, 0, 64, 64))) > 16


@pytest.mark.parametrize("data", [b"", b"words", FOX.make()[:400], b"\x89PNG\r\n\x1a\n" + bytes(60)])
def test_what_is_no_whole_picture_is_told(data: bytes) -> None:
    assert measure_picture(FOX.make()).width == 320
    with pytest.raises(NotAPicture):
        measure_picture(data)


@pytest.mark.parametrize("format_", ["mp3", "flac", "wav"])
@pytest.mark.parametrize("speed", [0.5, 1.0, 4.0])
def test_the_length_of_a_recording_follows_its_text(format_: SoundFormat, speed: float) -> None:
    sound = replace(VOICE, format=format_, speed=speed)
    wanted = len(TEXT) / CHARACTERS_PER_S / speed
    assert sound.duration_s == pytest.approx(wanted, abs=0.01)
    # An MP3 consists of frames of 1,152 or 576 samples: its last two may be filled up.
    assert duration_s(sound.make(), f"a.{format_}") == pytest.approx(wanted, abs=0.1)


@pytest.mark.parametrize("format_", ["mp3", "opus", "aac", "flac", "wav"])
def test_a_recording_can_be_played_to_its_end(format_: SoundFormat) -> None:
    assert makeable(format_)
    assert played_s(replace(VOICE, format=format_).make()) == pytest.approx(2.0, abs=0.1)


def test_a_wav_has_one_channel_of_16_bits_at_the_rate_that_was_asked_for() -> None:
    sound = replace(VOICE, format="wav", sample_rate=16_000)
    with wave.open(io.BytesIO(sound.make())) as file:
        assert file.getparams()[:3] == (1, 2, 16_000)
        frames = file.readframes(file.getnframes())
    assert frames == replace(sound, format="pcm").make()
    assert max(array.array("h", frames)) > 4_000


@pytest.mark.parametrize("format_", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_recordings_are_decided_by_seed_voice_and_text(format_: SoundFormat) -> None:
    sound = replace(VOICE, format=format_)
    assert sound.make() == replace(sound).make()
    others = {replace(sound, seed=3).make(), replace(sound, voice="b").make(), replace(sound, text=TEXT[::-1]).make()}
    assert sound.make() not in others


@pytest.mark.parametrize("wanted_s", [1.0, 2.3, 4.0, 12.0])
def test_the_length_of_a_film_is_what_was_asked_for_within_a_frame(wanted_s: float) -> None:
    made = film(replace(FILM, scenes=(Scene("a red fox", wanted_s),)).make())
    assert made.size == (128, 64)
    assert made.duration_s == pytest.approx(wanted_s, abs=made.frame_s)
    assert made.frames * made.frame_s == pytest.approx(wanted_s, abs=made.frame_s)


def test_a_film_moves_and_shows_its_prompt_from_the_first_frame_on() -> None:
    fox, hen = film(FILM.make()), film(replace(FILM, scenes=(Scene("a white hen", 4.0),)).make())
    assert difference(fox.first, hen.first) > 32
    assert difference(fox.first, fox.last) > 64
    drawn = Picture(seed=1, prompt="a red fox", width=128, height=64).paint()
    above = (0, 0, 128, 56)  # below is the bar
    shown, other = fox.first.crop(above), hen.first.crop(above)
    assert _mean(shown, drawn.crop(above)) < _mean(other, drawn.crop(above)) / 2


def test_a_film_of_two_scenes_begins_with_the_first_and_is_as_long_as_both() -> None:
    both = film(replace(FILM, scenes=(*FILM.scenes, Scene("a white hen", 2.0))).make())
    assert both.duration_s == pytest.approx(6.0, abs=both.frame_s)
    assert difference(both.first, film(FILM.make()).first) < 16


def test_films_are_decided_by_seed_and_prompt() -> None:
    assert FILM.make() == replace(FILM).make()
    assert FILM.make() != replace(FILM, seed=2).make()


def test_a_film_has_a_thumbnail_and_a_sheet() -> None:
    thumbnail, sheet = (replace(FILM, variant=variant).make() for variant in ("thumbnail", "spritesheet"))
    assert thumbnail.startswith(b"RIFF")
    assert picture_size(thumbnail) == (128, 64)
    assert sheet.startswith(b"\xff\xd8\xff")
    assert picture_size(sheet) == (128, 32)


@pytest.mark.parametrize("data", [b"", b"words" * 40, FOX.make(), VOICE.make(), FILM.make()[:2_000]])
def test_what_is_no_film_is_told(data: bytes) -> None:
    assert measure_film(FILM.make()).duration_s == 4.0
    with pytest.raises(NotAFilm):
        measure_film(data)


@pytest.mark.trio
async def test_the_shelf_keeps_the_last_of_what_it_made_and_no_more() -> None:
    storage = Storage(None, InlineDisk())
    try:
        made = replace(FOX).make()
        shelf = Shelf(World(0, still(), storage), kept_bytes=2 * len(made) + 100)
        first = await shelf.get(FOX)
        assert first == made
        assert await shelf.get(replace(FOX)) is first
        for n in range(4):
            await shelf.get(replace(FOX, salt=str(n)))
        assert shelf.kept_bytes <= 2 * len(made) + 100
        again = await shelf.get(FOX)
        assert again == first
        assert again is not first
    finally:
        storage.close()


def test_the_libraries_are_not_loaded_before_something_is_made() -> None:
    script = "import sys, perdure.adapters.simulator as s; s.Simulator().close(); print({'PIL', 'av'} & {*sys.modules})"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.strip() == "set()"


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _mean(one: Image.Image, other: Image.Image) -> float:
    first, second = one.convert("RGB").tobytes(), other.convert("RGB").tobytes()
    return sum(abs(a - b) for a, b in zip(first, second, strict=True)) / len(first)
