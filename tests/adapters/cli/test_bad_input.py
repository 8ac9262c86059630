"""What bad input gets: an error that names the thing, the value and the next step, and nothing half made."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest

from tests.adapters.cli.shell import SECRET, Shell, batch_line, prompt_line, read_until, run_arguments
from tests.secrets import wrong_key

LATER = "".join(batch_line(f"q{number}") for number in range(2_500))
"""Enough lines before a bad one that a command which did not judge all of them first would have begun."""

BAD_LINES: dict[str, tuple[str | bytes, Sequence[str]]] = {
    "malformed JSON": (LATER + '{"custom_id": \n', ["line 2501", "not valid JSON"]),
    "no object": ('["a"]\n', ["line 1", "Expected `object`, got `array`"]),
    "an unknown field": ('{"custom_id": "a", "promt": "b"}\n', ["line 1", "promt", "custom_id and prompt"]),
    "no custom_id": ('{"prompt": "b"}\n', ["line 1", "custom_id"]),
    "a custom_id that is no text": ('{"custom_id": 7, "prompt": "b"}\n', ["line 1", "$.custom_id"]),
    "an empty custom_id": (batch_line(""), ["line 1", "0 characters", "1 to 256"]),
    "a long custom_id": (batch_line("x" * 257), ["line 1", "257 characters", "1 to 256"]),
    "the same custom_id twice": (LATER + batch_line("q7"), ["line 2501", "'q7'", "used before"]),
    "two models": (LATER + batch_line("z", "other"), ["line 2501", "'other'", "'gpt'", "one batch for each model"]),
    "two endpoints": (
        batch_line("a") + batch_line("b", url="/v1/embeddings"),
        ["line 2", "'/v1/embeddings'", "'/v1/responses'", "one batch for each endpoint"],
    ),
    "an endpoint that there is not": (batch_line("a", url="/v1/videos"), ["line 1", "'/v1/videos'"]),
    "no url": ('{"custom_id": "a", "body": {"model": "gpt"}}\n', ["line 1", "no url"]),
    "another method": (batch_line("a").replace("POST", "GET"), ["line 1", "'GET'"]),
    "a body that is no object": ('{"custom_id": "a", "url": "/v1/responses", "body": []}\n', ["line 1", "JSON object"]),
    "a body without a model": ('{"custom_id": "a", "url": "/v1/responses", "body": {}}\n', ["line 1", "no model"]),
    "neither prompt nor body": ('{"custom_id": "a"}\n', ["line 1", "neither a prompt nor a body"]),
    "both prompt and body": ('{"custom_id": "a", "prompt": "b", "body": {}}\n', ["line 1", "both"]),
    "an empty line in the middle": (batch_line("a") + "\n" + batch_line("b"), ["line 2", "empty", "remove it"]),
    "no lines": ("", ["is empty", "at least one line"]),
    "empty lines alone": ("\n\n", ["is empty", "at least one line"]),
    "not UTF-8": (LATER.encode() + b'{"custom_id": "caf\xe9"}\n', ["line 2501", "not UTF-8", "0xe9", "save the file"]),
    "UTF-16": (batch_line("a").encode("utf-16"), ["line 1", "not UTF-8"]),
    "nesting without end": ('{"custom_id": "a", "body": ' + "[" * 100_000 + "\n", ["line 1", "not valid JSON"]),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_file_is_refused_before_anything_is_submitted(shell: Shell, name: str) -> None:
    text, words = BAD_LINES[name]
    shell.write("questions.jsonl", text)
    ended = shell.refused("batches", "run", "questions.jsonl", "-o", "answers.jsonl", "--model", "gpt")
    assert ended.code == 2, ended.err
    for word in ["Error: questions.jsonl", *words]:
        assert word in ended.err
    _check_nothing_made(shell)


def test_a_prompt_needs_a_model(shell: Shell) -> None:
    shell.write("questions.jsonl", prompt_line("a", "b"))
    ended = shell.refused("batches", "run", "questions.jsonl", "-o", "answers.jsonl")
    assert ended.code == 2
    assert "questions.jsonl: line 1: it has a prompt and no model: name one with --model" in ended.err
    _check_nothing_made(shell)


BAD_OPTIONS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "an unknown provider": (["--provider", "opnai"], ["'opnai'", "use one of anthropic, google, openai"]),
    "a key that looks like a credential": (["--key", SECRET], ["looks like a credential", "another name"]),
    "a credential that looks like one": (["--credential", SECRET], ["--credential", "environment"]),
    "a tag that looks like a credential": (["--tag", f"key={SECRET}"], ["--tag", "environment"]),
    "a key like an id": (["--key", "batch_1"], ["'batch_1'", "another name"]),
    "an empty key": (["--key", ""], ["1 to 512 characters"]),
    "a tag without a value": (["--tag", "team"], ["NAME=VALUE"]),
    "an endpoint without prompts": (["--endpoint", "/v1/moderations"], ["'/v1/moderations'"]),
    "an address that is none": (["--base-url", "localhost:80"], ["--base-url", "http://"]),
    "an address with a password": (["--base-url", f"http://me:{SECRET}@host/v1"], ["--base-url", "without a user"]),
    "a deadline that is over": (["--deadline", "0"], ["deadline", "above zero"]),
    "a length of time that is none": (["--poll", "soon"], ["'soon'", "seconds"]),
    "a number of errors that is none": (["--allow-errors=many"], ["'many'", "number of lines"]),
    "a directory as output": (["-o", "."], [". is a directory", "name a file"]),
    "an output in a folder that there is not": (["-o", "no/answers.jsonl"], ["no/answers.jsonl", "No such file"]),
    "the input as output": (["-o", "questions.jsonl"], ["questions.jsonl is the input", "another file"]),
    "a link to the input as output": (["-o", "link.jsonl"], ["link.jsonl is the input", "another file"]),
    "a log of another kind": (["--db", "postgresql://host/db"], ["postgresql://", "path"]),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_a_bad_option_is_refused_before_anything_is_submitted(shell: Shell, name: str) -> None:
    options, words = BAD_OPTIONS[name]
    shell.questions(2)
    (shell.folder / "link.jsonl").symlink_to("questions.jsonl")
    ended = shell.refused(*run_arguments(*options))
    assert ended.code == 2, ended.err
    for word in ["Error: ", *words]:
        assert word in ended.err
    _check_nothing_made(shell)


@pytest.mark.parametrize(("source", "word"), [(".", "is a directory"), ("no.jsonl", "No such file")])
def test_an_input_that_is_no_file(shell: Shell, source: str, word: str) -> None:
    ended = shell.refused(*run_arguments(source=source))
    assert ended.code == 2
    assert f"Error: {source} " in ended.err
    assert word in ended.err
    _check_nothing_made(shell)


def test_nowhere_to_put_the_results(shell: Shell) -> None:
    shell.questions(1)
    ended = shell.refused("batches", "run", "questions.jsonl", "--model", "gpt")
    assert ended.code == 2
    assert "--output FILE" in ended.err
    _check_nothing_made(shell)


def test_a_missing_key_is_found_out_before_anything_is_submitted(shell: Shell) -> None:
    shell.questions(1)
    ended = shell.refused(*run_arguments(), OPENAI_API_KEY="")
    assert ended.code == 6
    assert "set OPENAI_API_KEY" in ended.err
    assert "nothing was submitted" in ended.err
    _check_nothing_made(shell)


def test_a_wrong_key_fails_fast_and_with_the_right_one_it_goes_on(shell: Shell) -> None:
    shell.questions(3)
    wrong = shell.perdure(*run_arguments(), OPENAI_API_KEY=wrong_key())
    assert wrong.code == 6
    assert "The API key is not valid" in wrong.err, "the provider's own words"
    assert "run the same command again" in wrong.err
    ((id_, status),) = shell.operations()
    assert status == "blocked"
    assert not (shell.folder / "answers.jsonl").exists()
    right = shell.perdure(*run_arguments())
    assert right.code == 0, right.err
    assert f"goes on: {id_}" in right.err
    assert shell.operations() == [(id_, "succeeded")]
    assert len(shell.bought()) == 1


def test_a_key_that_belongs_to_another_input(shell: Shell) -> None:
    shell.questions(2)
    assert shell.perdure(*run_arguments("--key", "mine")).code == 0
    assert shell.perdure(*run_arguments("--key", "mine")).code == 0
    shell.questions(3)
    ended = shell.perdure(*run_arguments("--key", "mine"))
    assert ended.code == 4
    assert "'mine'" in ended.err
    assert "another input" in ended.err
    assert len(shell.bought()) == 1


def test_a_log_that_another_process_writes(shell: Shell) -> None:
    shell.questions(2)
    shell.arm(fault="stuck")
    with shell.started(*run_arguments("--key", "first")) as first:
        read_until(first, b"running")
        second = shell.perdure(*run_arguments("--key", "second"))
        assert second.code == 4
        for word in (f"process {first.pid} on {socket.gethostname()}", "--wait-for-lock SECONDS", "perdure.db"):
            assert word in second.err
        assert len(shell.operations()) == 1
        with shell.started(*run_arguments("--key", "second", "--wait-for-lock", "30")) as third:
            read_until(third, b"log: ")
            first.terminate()
            assert shell.ended(first).code == 143
            bridged = shell.ended(third)
    assert bridged.code == 0, bridged.err
    assert len(shell.bought()) == 2


@pytest.mark.parametrize(
    ("content", "code", "word"),
    [
        pytest.param(b"just text, " * 20, 5, "not an SQLite database", id="another file"),
        pytest.param(None, 5, "is a directory", id="a directory"),
    ],
)
def test_a_log_that_is_none(shell: Shell, content: bytes | None, code: int, word: str) -> None:
    shell.questions(1)
    place = shell.folder / "perdure.db"
    place.mkdir() if content is None else place.write_bytes(content)
    ended = shell.refused(*run_arguments())
    assert ended.code == code, ended.err
    assert word in ended.err
    assert shell.leftovers() == []
    assert content is None or place.read_bytes() == content


def _check_nothing_made(shell: Shell) -> None:
    assert shell.operations() == []
    assert not (shell.folder / "perdure.db").exists()
    assert not (shell.folder / "answers.jsonl").exists()
    assert shell.leftovers() == []
