"""Events are public: every class can be named, and the page lists them as they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import perdure
from perdure.adapters.composition import folds
from perdure.events.codec import tag_of

ROOT = Path(__file__).resolve().parent.parent


def test_every_event_is_exported_under_its_tag() -> None:
    classes = {event_type for fold in folds() for event_type in fold.codec.current}
    assert [tag_of(one) for one in classes if getattr(perdure, tag_of(one), None) is not one] == []


def test_the_page_of_events_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, "tools/write_events.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stderr}: run `make docs`"
