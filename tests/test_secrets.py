"""The search for keys finds them, names the place, and sees every key that the tests use."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.secrets import MARK, assert_no_key, assert_no_key_below, holds_key, unique_key, wrong_key

pytest_plugins = ["pytester"]

TESTS = Path(__file__).parent

LEAKS = """
import logging, subprocess, tempfile

import pytest

from tests.secrets import unique_key

@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")

def test_innocent(tmp_path, shared, caplog):
    (tmp_path / "log.db").write_bytes(b"a batch")
    print("answers")

def test_file(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "7a").write_bytes(bytes(70_000) + unique_key().encode())

@pytest.fixture
def late(tmp_path):
    yield
    (tmp_path / "written-late").write_text(unique_key())

def test_file_of_a_fixture(late):
    pass

def test_output():
    print(unique_key())

def test_output_of_a_process():
    subprocess.run(["sh", "-c", "echo $0 >&2", unique_key()], check=True)

def test_log():
    logging.getLogger("perdure.network").debug("sent with %s", unique_key())

def test_shared_folder(shared):
    (shared / "output.jsonl").write_text(unique_key())

def test_left_behind():
    with tempfile.NamedTemporaryFile("w", prefix="left-behind", delete=False) as file:
        file.write(unique_key())
"""


def test_a_test_that_leaks_a_key_fails_and_the_place_is_named(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = "0123456789ab" * 2
    monkeypatch.setenv("MARK_OF_TEST_KEYS", mark)
    monkeypatch.setenv("PYTHONPATH", str(TESTS.parent))
    pytester.makepyfile(LEAKS)
    ended = pytester.runpytest_subprocess("-p", "tests.key_search", "-p", "no:randomly", "-vv", "-rfE")
    said = ended.stdout.str() + ended.stderr.str()
    assert mark not in said
    ended.assert_outcomes(passed=5, failed=3, errors=3)
    ended.stdout.re_match_lines_random(
        [
            r"FAILED .*::test_output - a key was found in captured stdout call",
            r"FAILED .*::test_output_of_a_process - a key was found in captured stderr call",
            r"FAILED .*::test_log - a key was found in captured log call",
            r"E +AssertionError: a key was found in .*/test_file0/blobs/7a",
            r"E +AssertionError: a key was found in .*/test_file_of_a_fixture0/written-late",
            r"E +AssertionError: a key was found in .*/shared0/output.jsonl, .*/temporary0/left-behind",
        ]
    )


@pytest.mark.parametrize("key", [unique_key(), unique_key("AIza"), wrong_key()], ids=["a", "another", "wrong"])
@pytest.mark.parametrize("before", range(3))
def test_a_key_is_found_in_any_form(key: str, before: int) -> None:
    header = f"{'x' * before}{key}"
    encoded = base64.b64encode(header.encode()).decode()
    percent = "".join(f"%{byte:02X}" for byte in header.encode())
    for form in (header, f"Bearer {key}", encoded, encoded.rstrip("="), header.encode().hex(), quote(header), percent):
        assert holds_key(f"before {form} after")
        with pytest.raises(AssertionError, match="a key was found in the answer") as caught:
            assert_no_key("the answer", form)
        assert MARK not in str(caught.value)
    assert_no_key("the answer", f"sk-test-{'0' * 48}")


def test_a_key_is_found_in_files_and_in_their_names(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "deep").mkdir()
    leak = tmp_path / "deep" / "log.db-wal"
    leak.write_bytes(b"\0\1 nothing here")
    assert_no_key_below(tmp_path)
    leak.write_bytes(bytes(5_000_000) + unique_key().encode())
    with pytest.raises(AssertionError, match=r"deep/log\.db-wal$"):
        assert_no_key_below(tmp_path)
    assert_no_key_below(tmp_path, apart_from=[tmp_path / "deep"])
    named = leak.rename(tmp_path / unique_key())
    named.write_bytes(b"")
    with pytest.raises(AssertionError, match=r"a key was found in .*sk-test-\[mark\]") as caught:
        assert_no_key_below(tmp_path)
    assert MARK not in str(caught.value)
    named.unlink()


def test_no_test_uses_a_key_from_elsewhere() -> None:
    literal = re.compile(
        r"""(?<!unique_key\()["'](sk-|AIza|xai-)\w|Secret\(["']|["']Bearer \w"""
        r"""|API_KEY["']?[=:,] ?["']\w|authorization["']: ["']\w"""
    )
    found = [
        f"{path.relative_to(TESTS)}: {line.strip()}"
        for path in sorted(TESTS.rglob("*.py"))
        if path not in (TESTS / "secrets.py", TESTS / "test_secrets.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if literal.search(line)
    ]
    assert found == []
