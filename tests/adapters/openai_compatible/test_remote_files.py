"""File stores of OpenAI's wire: the adapters of OpenAI and xAI against the simulator, over real sockets."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from perdure.actors.fetch import Refused, Unknown
from perdure.adapters.openai_compatible.files import list_files
from perdure.adapters.simulator import faults
from perdure.adapters.xai.remote_files import behind
from tests.adapters.openai_compatible.rig import AT, OPENAI, XAI, Provider, Stored, rig
from tests.secrets import wrong_key

pytestmark = [
    pytest.mark.trio,
    pytest.mark.parametrize("provider", [OPENAI, XAI], ids=lambda provider: provider.name),
]

DATA = b"The fjord is deep.\n" * 200


async def test_f4_a_file_is_stored_shown_found_and_deleted(provider: Provider) -> None:
    files = provider.files
    async with rig(provider) as it:
        stored = await files.upload(it.fetch, Stored(DATA).upload())
        assert (stored.filename, stored.size_bytes, stored.created_at) == ("log-file-0.txt", len(DATA), AT)
        assert (stored.readiness, stored.expires_at, stored.mime_type) == ("ready", None, "text/plain")
        assert stored.reference == stored.id
        assert await it.content(stored.id) == DATA
        (found,) = await files.find(it.fetch, filename="log-file-0.txt", size_bytes=len(DATA), since=AT)
        assert found.id == stored.id
        shown = await files.info(it.fetch, stored.id)
        assert shown is not None
        assert (shown.id, shown.size_bytes) == (stored.id, len(DATA))
        await files.delete(it.fetch, stored.id)
        assert await files.info(it.fetch, stored.id) is None
        await files.delete(it.fetch, stored.id)
        (purchase,) = it.simulator.account.purchases()
        assert (purchase.provider, purchase.kind, purchase.identity) == (provider.name, "file", "log-file-0.txt")


async def test_only_name_and_size_together_find_a_file(provider: Provider) -> None:
    async with rig(provider) as it:
        first = await provider.files.upload(it.fetch, Stored(b"abc").upload())
        second = await provider.files.upload(it.fetch, Stored(b"def").upload())
        await provider.files.upload(it.fetch, Stored(b"abcd").upload())
        await provider.files.upload(it.fetch, Stored(b"abc").upload(filename="other.txt"))
        found = await provider.files.find(it.fetch, filename="log-file-0.txt", size_bytes=3, since=AT)
        assert {file.id for file in found} == {first.id, second.id}
        assert [file.created_at for file in found] == sorted(file.created_at for file in found)


async def test_w55_listing_goes_over_all_pages(provider: Provider) -> None:
    async with rig(provider) as it:
        ids = {(await provider.files.upload(it.fetch, Stored(b"a").upload(filename=f"{n}"))).id for n in range(5)}
        listed = [file.id async for file in provider.files.listing(it.fetch)]
        following = {"following": behind} if provider is XAI else {}
        async with aclosing(list_files(it.fetch, limit=2, **following)) as pages:
            paged = [file.id async for file in pages]
        assert it.asked(f"GET {provider.prefix}/files") == 1 + 3
    assert sorted(listed) == sorted(paged) == sorted(ids)


async def test_an_upload_whose_answer_was_lost_is_unknown_and_found_again(provider: Provider) -> None:
    async with rig(provider) as it:
        it.simulator.faults.arm(faults.ActThenDrop(route=f"POST {provider.prefix}/files"))
        with pytest.raises(Unknown):
            await provider.files.upload(it.fetch, Stored(DATA).upload())
        (found,) = await provider.files.find(it.fetch, filename="log-file-0.txt", size_bytes=len(DATA), since=AT)
        assert await it.content(found.id) == DATA
        assert it.simulator.account.bought_twice() == []


async def test_an_upload_that_was_cut_in_its_middle_left_nothing(provider: Provider) -> None:
    async with rig(provider) as it:
        it.simulator.faults.arm(faults.CutRequest(route=f"POST {provider.prefix}/files", after_bytes=1_000))
        with pytest.raises(Unknown):
            await provider.files.upload(it.fetch, Stored(DATA).upload())
        assert await provider.files.find(it.fetch, filename="log-file-0.txt", size_bytes=len(DATA), since=AT) == []


async def test_an_upload_that_was_refused_bought_nothing_and_may_be_sent_again(provider: Provider) -> None:
    async with rig(provider) as it:
        it.simulator.faults.arm(faults.AnswerStatus(route=f"POST {provider.prefix}/files", status=503))
        with pytest.raises(Refused) as caught:
            await provider.files.upload(it.fetch, Stored(DATA).upload())
        assert caught.value.retryable
        assert it.simulator.account.purchases() == []
        assert await it.content((await provider.files.upload(it.fetch, Stored(DATA).upload())).id) == DATA


async def test_a_404_that_is_not_the_providers_proves_nothing(provider: Provider) -> None:
    async with rig(provider) as it:
        stored = await provider.files.upload(it.fetch, Stored(DATA).upload())
        page = faults.AnswerStatus(route=f"* {provider.prefix}/files/*", status=404, body="<html>", count=2)
        it.simulator.faults.arm(page)
        with pytest.raises(Refused) as caught:
            await provider.files.info(it.fetch, stored.id)
        assert caught.value.retryable
        with pytest.raises(Refused):
            await provider.files.delete(it.fetch, stored.id)
        assert await provider.files.info(it.fetch, stored.id) is not None


async def test_a_wrong_key_is_refused(provider: Provider) -> None:
    async with rig(provider, key=wrong_key()) as it:
        with pytest.raises(Refused) as caught:
            await provider.files.upload(it.fetch, Stored(DATA).upload())
        assert caught.value.kind == "auth"
        assert it.simulator.account.purchases() == []
