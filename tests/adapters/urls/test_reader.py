"""Fetching a URL: from where, over which redirects, how much; and that nothing else is ever connected to."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from perdure.actors.sources import Content, open_source
from perdure.adapters.urls import PublicUrls, parse_networks
from perdure.events.errors import InvalidRequest, InvalidSource, PerdureError, TooLarge, Unavailable
from perdure.events.messages import Url
from perdure.store.disk import InlineDisk
from tests.actors.sources.samples import PNG
from tests.adapters.network.certificate import certificate

PUBLIC = "93.184.216.34"
OTHER = "93.184.216.35"


def _ok(body: bytes = PNG, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _status(status: int, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", "Content-Length: 0", *headers]).encode() + b"\r\n\r\n"


def _to(location: str, status: int = 302) -> bytes:
    return _status(status, f"Location: {location}")


class Web:
    """Names, addresses and what is answered there. `asked`: (address, port, request) of each connection."""

    def __init__(self) -> None:
        self.names: dict[str, list[Sequence[str]]] = {"example.com": [[PUBLIC]], "other.com": [[OTHER]]}
        self.answers: dict[str, bytes | None] = {}
        self.asked: list[tuple[str, int, str]] = []
        self.resolved: list[str] = []
        self.hangs_after: int | None = None
        self.wrap: Callable[[trio.abc.Stream], trio.abc.Stream] = lambda stream: stream
        self._nursery: trio.Nursery | None = None

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """The next answer for a name; the last one stays. Addresses answer for themselves."""
        await trio.lowlevel.checkpoint()
        self.resolved.append(host)
        if host not in self.names:
            if host.replace(".", "").isdecimal() or ":" in host:
                return [host]
            raise OSError("Name or service not known")
        answers = self.names[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def connect(self, address: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if address == "93.184.216.1":
            raise OSError("Connection refused")
        near, far = trio.testing.memory_stream_pair()
        assert self._nursery is not None
        self._nursery.start_soon(self._serve, address, port, far)
        return near

    async def _serve(self, address: str, port: int, far: trio.abc.Stream) -> None:
        stream = self.wrap(far)
        try:
            request = b""
            while b"\r\n\r\n" not in request:
                data = await stream.receive_some(4_096)
                if not data:
                    return
                request += bytes(data)
            text = request.decode("latin-1")
            self.asked.append((address, port, text))
            answer = self.answers.get(text.split()[1], _ok())
            if answer is None:
                await trio.sleep_forever()
            assert answer is not None
            await stream.send_all(answer)
            await stream.aclose()
        except trio.BrokenResourceError:
            pass

    @asynccontextmanager
    async def up(self) -> AsyncGenerator[None]:
        """The web is there while the block runs."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            yield
            nursery.cancel_scope.cancel()


async def _all(content: Content) -> bytes:
    return b"".join([chunk async for chunk in content.chunks])


async def _fetch(web: Web, url: str, reader: PublicUrls | None = None) -> tuple[bytes, str, str, int | None]:
    """Bytes, safe name, MIME type and size of what a URL leads to."""
    urls = reader or PublicUrls(resolve=web.resolve, connect=web.connect)
    async with web.up(), open_source(Url(url), disk=InlineDisk(), urls=urls) as content:
        return await _all(content), content.name.safe, content.media_type.mime_type, content.size_bytes


async def _refusal(web: Web, url: str, reader: PublicUrls | None = None) -> PerdureError:
    """What fetching is refused with."""
    urls = reader or PublicUrls(resolve=web.resolve, connect=web.connect)
    refusal: PerdureError | None = None
    async with web.up():
        try:
            async with open_source(Url(url), disk=InlineDisk(), urls=urls) as content:
                await _all(content)
        except PerdureError as error:
            refusal = error
    assert refusal is not None
    return refusal


async def _reason(web: Web, url: str) -> str:
    refusal = await _refusal(web, url)
    assert isinstance(refusal, InvalidSource)
    assert refusal.field == "source.url"
    return refusal.reason


# ---------------------------------------------------------------- what is sent and what comes back


@pytest.mark.trio
async def test_a_url_is_fetched_from_the_address_that_was_checked() -> None:
    web = Web()
    web.answers["/pictures/f%20jord.png?size=2"] = _ok(PNG, "Content-Type: image/png; x=y")
    found = await _fetch(web, "http://example.com:8080/pictures/f%20jord.png?size=2#top")
    assert found == (PNG, "f jord.png", "image/png", len(PNG))
    ((address, port, request),) = web.asked
    assert (address, port) == (PUBLIC, 8080)
    lines = request.lower().split("\r\n")
    assert lines[0] == "get /pictures/f%20jord.png?size=2 http/1.1"
    assert "host: example.com:8080" in lines


@pytest.mark.trio
async def test_no_credential_is_ever_sent() -> None:
    web = Web()
    web.answers["/a"] = _status(302, "Location: http://other.com/b", "Set-Cookie: session=1")
    await _fetch(web, "http://example.com/a")
    assert len(web.asked) == 2
    for _, _, request in web.asked:
        names = {line.partition(":")[0].lower() for line in request.split("\r\n")[1:] if line}
        assert names == {"host", "user-agent", "accept", "accept-encoding", "connection"}


@pytest.mark.trio
@pytest.mark.parametrize("url", ["http://user:secret@example.com/", "http://token@example.com/"])
async def test_a_url_with_a_credential_is_refused_without_showing_it(url: str) -> None:
    refusal = await _refusal(Web(), url)
    assert "secret" not in str(refusal)
    assert "token" not in str(refusal)
    assert "credentials are not sent" in str(refusal)


@pytest.mark.trio
async def test_an_answer_without_a_length_has_an_unknown_size() -> None:
    web = Web()
    web.answers["/"] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert await _fetch(web, "http://example.com/") == (b"abcde", "file.txt", "text/plain", None)
    web.answers["/"] = b"HTTP/1.0 200 OK\r\n\r\nabcde"
    assert await _fetch(web, "http://example.com/") == (b"abcde", "file.txt", "text/plain", None)


@pytest.mark.trio
async def test_tls_is_held_to_the_name_and_not_to_the_address() -> None:
    web = Web()
    web.names["localhost"] = [[PUBLIC]]
    web.names["example.com"] = [[PUBLIC]]
    with certificate() as path:
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.load_cert_chain(path)
        named: list[str | None] = []
        server.sni_callback = lambda _, name, __: named.append(name)
        client = ssl.create_default_context(cafile=str(path))
        web.wrap = lambda stream: trio.SSLStream(stream, server, server_side=True, https_compatible=True)
        reader = PublicUrls(resolve=web.resolve, connect=web.connect, ssl_context=client)
        assert (await _fetch(web, "https://localhost/a.png", reader))[0] == PNG
        assert (web.asked[0][:2], named) == ((PUBLIC, 443), ["localhost"])
        refusal = await _refusal(web, "https://example.com/a.png", reader)
    assert isinstance(refusal, Unavailable)
    assert "certificate" in str(refusal).lower()


# ---------------------------------------------------------------- where it may come from


@pytest.mark.trio
async def test_a_name_that_turns_to_loopback_after_the_check_is_not_followed_there() -> None:
    web = Web()
    web.names["rebinding.example"] = [[PUBLIC], ["127.0.0.1"]]
    await _fetch(web, "http://rebinding.example/")
    assert web.resolved == ["rebinding.example"]
    assert [address for address, *_ in web.asked] == [PUBLIC]
    # Asked for again it is checked again, and refused before anything is connected to.
    assert await _reason(web, "http://rebinding.example/") == "not_allowed"
    assert len(web.asked) == 1


@pytest.mark.trio
async def test_a_redirect_to_the_same_name_is_checked_anew() -> None:
    web = Web()
    web.names["rebinding.example"] = [[PUBLIC], ["127.0.0.1"]]
    web.answers["/"] = _to("/again")
    assert await _reason(web, "http://rebinding.example/") == "not_allowed"
    assert [address for address, *_ in web.asked] == [PUBLIC]


@pytest.mark.trio
@pytest.mark.parametrize("addresses", [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["::1", PUBLIC], []])
async def test_every_address_of_a_name_must_be_public(addresses: list[str]) -> None:
    web = Web()
    web.names["example.com"] = [addresses]
    assert await _reason(web, "http://example.com/") == "not_allowed"
    assert web.asked == []


@pytest.mark.trio
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/latest", "http://[::ffff:10.0.0.1]/"]
)
async def test_an_address_in_the_url_is_checked_like_any_other(url: str) -> None:
    web = Web()
    assert await _reason(web, url) == "not_allowed"
    assert web.asked == []


@pytest.mark.trio
async def test_another_spelling_of_loopback_is_what_the_system_makes_of_it() -> None:
    urls = PublicUrls()
    for url in ("http://2130706433/", "http://0x7f.1/", "http://localhost/"):
        with pytest.raises(InvalidSource, match="not a public address"):
            async with urls.open(url):
                pass


@pytest.mark.trio
async def test_a_named_network_may_be_fetched_from() -> None:
    web = Web()
    networks = parse_networks(["127.0.0.0/8"], field="fetch_networks")
    reader = PublicUrls(networks=networks, resolve=web.resolve, connect=web.connect)
    assert (await _fetch(web, "http://127.0.0.1/", reader))[0] == PNG
    assert isinstance(await _refusal(web, "http://10.0.0.1/", reader), InvalidSource)


@pytest.mark.trio
async def test_the_next_address_is_tried_where_one_refuses() -> None:
    web = Web()
    web.names["example.com"] = [["93.184.216.1", PUBLIC]]
    assert (await _fetch(web, "http://example.com/"))[0] == PNG
    web.names["example.com"] = [["93.184.216.1"]]
    refusal = await _refusal(web, "http://example.com/")
    assert isinstance(refusal, Unavailable)
    assert "Connection refused" in str(refusal)


# ---------------------------------------------------------------- redirects


@pytest.mark.trio
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(status: int) -> None:
    web = Web()
    web.answers["/a"] = _to("../b.png", status)
    assert (await _fetch(web, "http://example.com/a"))[:2] == (PNG, "b.png")
    assert [request.split()[1] for *_, request in web.asked] == ["/a", "/b.png"]


@pytest.mark.trio
async def test_redirects_end_somewhere() -> None:
    web = Web()
    web.answers["/a"] = _to("/a")
    refusal = await _refusal(web, "http://example.com/a")
    assert isinstance(refusal, InvalidSource)
    assert "more than 5 redirects" in str(refusal)
    assert len(web.asked) == 6


@pytest.mark.trio
@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://127.0.0.1/", "not_allowed"),
        ("//localhost.example/", "not_allowed"),
        ("ftp://other.com/", "url"),
        ("file:///etc/passwd", "url"),
        ("http://user:secret@other.com/", "url"),
        ("http://other.com:99999/", "url"),
    ],
)
async def test_a_redirect_leads_only_where_a_url_may(location: str, reason: str) -> None:
    web = Web()
    web.names["localhost.example"] = [["127.0.0.1"]]
    web.answers["/a"] = _to(location)
    assert await _reason(web, "http://example.com/a") == reason
    assert len(web.asked) == 1


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.trio
@pytest.mark.parametrize(
    "url", ["", "example.com/a", "ftp://example.com/", "file:///etc/passwd", "http://", "http:///a"]
)
async def test_what_is_no_http_url_is_refused(url: str) -> None:
    assert await _reason(Web(), url) == "url"


@pytest.mark.trio
async def test_what_is_larger_than_allowed_is_refused_before_or_while_it_comes() -> None:
    web = Web()
    reader = PublicUrls(resolve=web.resolve, connect=web.connect, max_bytes=10_000)
    for answer in (_ok(bytes(10_001)), b"HTTP/1.0 200 OK\r\n\r\n" + bytes(10_001)):
        web.answers["/"] = answer
        refusal = await _refusal(web, "http://example.com/", reader)
        assert isinstance(refusal, TooLarge)
        assert (refusal.limit, refusal.size) == (10_000, 10_001)
    web.answers["/"] = _ok(bytes(10_000))
    assert len((await _fetch(web, "http://example.com/", reader))[0]) == 10_000


@pytest.mark.trio
@pytest.mark.parametrize(("status", "reason"), [(404, "missing"), (410, "missing"), (401, "refused"), (204, "refused")])
async def test_what_the_server_does_not_give_is_refused(status: int, reason: str) -> None:
    web = Web()
    web.answers["/"] = _status(status)
    assert await _reason(web, "http://example.com/") == reason


@pytest.mark.trio
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_in_trouble_may_be_asked_again(status: int) -> None:
    web = Web()
    web.answers["/"] = _status(status, "Retry-After: 7")
    refusal = await _refusal(web, "http://example.com/")
    assert isinstance(refusal, Unavailable)
    assert refusal.retry_after_s == 7


@pytest.mark.trio
async def test_an_encoding_that_was_not_asked_for_is_refused() -> None:
    web = Web()
    web.answers["/"] = _ok(PNG, "Content-Encoding: gzip")
    assert await _reason(web, "http://example.com/") == "refused"


@pytest.mark.trio
async def test_an_empty_answer_is_an_empty_file() -> None:
    web = Web()
    web.answers["/"] = _ok(b"")
    refusal = await _refusal(web, "http://example.com/")
    assert isinstance(refusal, InvalidSource)
    assert refusal.reason == "empty"


@pytest.mark.trio
@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + bytes(5_000), b"", b"no HTTP at all\r\n\r\n"],
    ids=["cut", "nothing", "something else"],
)
async def test_an_answer_that_is_not_whole_is_unavailable(answer: bytes) -> None:
    web = Web()
    web.answers["/"] = answer
    assert isinstance(await _refusal(web, "http://example.com/"), Unavailable)


@pytest.mark.trio
async def test_a_name_that_is_unknown_is_unavailable() -> None:
    refusal = await _refusal(Web(), "http://nowhere.example/")
    assert isinstance(refusal, Unavailable)
    assert "cannot be resolved" in str(refusal)


@pytest.mark.trio
async def test_a_silent_server_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    web = Web()
    web.answers["/"] = None
    refusal = await _refusal(web, "http://example.com/")
    assert isinstance(refusal, Unavailable)
    assert "silent" in str(refusal)


@pytest.mark.trio
async def test_a_name_that_resolves_for_ever_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await trio.sleep_forever()
        raise AssertionError

    web = Web()
    refusal = await _refusal(web, "http://example.com/", PublicUrls(resolve=never, connect=web.connect))
    assert isinstance(refusal, Unavailable)
    assert "within 10 s" in str(refusal)


@pytest.mark.trio
async def test_a_refused_url_is_an_invalid_request() -> None:
    assert isinstance(await _refusal(Web(), "http://127.0.0.1/"), InvalidRequest)
