"""The page of defaults says what the code does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perdure.actors.batch.strategy import BatchStrategy
from perdure.adapters.config import Config
from perdure.events.errors import InvalidRequest
from tests.secrets import assert_no_key, unique_key

ROOT = Path(__file__).resolve().parent.parent


def test_the_page_of_defaults_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, "tools/write_defaults.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stderr}: run `make docs`"


def test_a_variable_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    (tmp_path / "perdure.toml").write_text("[polling]\nevery_s = 7\nfirst_s = 3\n[limits]\ngrace_s = 2.5\n")
    config = Config.load(directory=tmp_path, environ={"PERDURE_POLLING_EVERY_S": "9"})
    assert (config.polling.every_s, config.polling.first_s) == (9, 3)
    assert config.limits.grace_s == 2.5
    assert config.limits.stop_s == 5.0


def test_what_a_program_sets_wins_and_leaves_the_rest(tmp_path: Path) -> None:
    environ = {"PERDURE_POLLING_EVERY_S": "9", "PERDURE_BATCHING_MINIMUM": "7"}
    config = Config.load(directory=tmp_path, environ=environ, batching=BatchStrategy(window_s=1.0))
    assert config.polling.every_s == 9
    assert (config.batching.window_s, config.batching.minimum) == (1.0, 3)
    assert Config.load(directory=tmp_path, environ=environ).batching.minimum == 7


def test_a_base_url_is_set_by_a_variable_named_for_its_provider(tmp_path: Path) -> None:
    config = Config.load(directory=tmp_path, environ={"PERDURE_OPENAI_BASE_URL": "http://127.0.0.1:9/v1"})
    assert config.providers["openai"].base_url == "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("polling = 3", "polling"),
        ("[polling]\nevery = 3", "every"),
        ("[", "TOML"),
        ("synchronous = 'OFF'", "synchronous"),
    ],
    ids=["not a table", "unknown setting", "not TOML", "unknown value"],
)
def test_a_bad_file_is_refused_and_the_place_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "perdure.toml").write_text(text)
    with pytest.raises(InvalidRequest, match=named) as caught:
        Config.load(directory=tmp_path, environ={})
    assert "perdure.toml" in str(caught.value)


def test_a_variable_that_is_no_number_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="PERDURE_LIMITS_GRACE_S"):
        Config.load(directory=tmp_path, environ={"PERDURE_LIMITS_GRACE_S": "soon"})


def test_a_secret_never_shows_itself() -> None:
    from perdure.adapters.config import ProviderConfig, Secret

    config = Config(providers={"openai": ProviderConfig(credentials={"default": Secret(unique_key())})})
    assert_no_key("the text of the configuration", repr(config))


def test_urls_are_fetched_only_where_a_setting_says_so(tmp_path: Path) -> None:
    assert Config().fetch_urls is False
    assert Config.load(directory=tmp_path, environ={"PERDURE_FETCH_URLS": "true"}).fetch_urls is True
    (tmp_path / "perdure.toml").write_text('fetch_urls = true\nfetch_networks = ["10.0.0.0/8"]\n')
    config = Config.load(directory=tmp_path, environ={"PERDURE_FETCH_URLS": "False"})
    assert (config.fetch_urls, list(config.fetch_networks)) == (False, ["10.0.0.0/8"])
    environ = {"PERDURE_FETCH_NETWORKS": "127.0.0.0/8, fd00::/8"}
    assert list(Config.load(directory=tmp_path, environ=environ).fetch_networks) == ["127.0.0.0/8", "fd00::/8"]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("PERDURE_FETCH_URLS", "yes", "give true or false"),
        ("PERDURE_FETCH_NETWORKS", "localhost", "fetch_networks"),
        ("PERDURE_FETCH_NETWORKS", "10.0.0.1/8", "fetch_networks"),
    ],
)
def test_settings_of_fetching_that_make_no_sense_are_named(tmp_path: Path, name: str, text: str, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        Config.load(directory=tmp_path, environ={name: text})
