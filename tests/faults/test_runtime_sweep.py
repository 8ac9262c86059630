"""The toy kinds die at every crash point and go on: nothing acknowledged is lost, nothing is bought twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.simulated import simulate
from tests.faults.sweep import Death, World, live_through, sweep
from tests.faults.toy_case import POINTS, Toys


def test_sample_of_deaths(tmp_path: Path) -> None:
    swept = sweep(Toys, tmp_path / "lives", expected=POINTS, every=5)
    assert swept.deaths >= len(POINTS)


@pytest.mark.sweep
def test_every_death(tmp_path: Path) -> None:
    swept = sweep(Toys, tmp_path / "lives", expected=POINTS)
    assert swept.names == POINTS


@pytest.mark.sweep
@pytest.mark.parametrize("then", sorted(POINTS))
def test_every_death_followed_by_a_second_one(tmp_path: Path, then: str) -> None:
    kind = "" if then == "commit.after" else "order"
    sweep(lambda: Toys(2), tmp_path / "lives", expected=POINTS, then=[Death(then, kind, 1)], every=2)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(50))
def test_seeds(tmp_path: Path, seed: int) -> None:
    sweep(Toys, tmp_path / "lives", expected=POINTS, every=9, seed=seed * 1_000)


def test_a_sweep_fails_for_a_point_that_was_never_hit(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"never hit: \['blob.renamed'\]"):
        sweep(Toys, tmp_path / "lives", expected={"commit.before", "blob.renamed"}, every=1_000)


class Forgetful(Toys):
    """A shop that forgets what it sold when it is asked, so that reconcile buys again."""

    async def live(self, world: World) -> None:
        async def find(identity: str) -> str | None:
            return None

        self.shop.find = find  # type: ignore[method-assign]
        await super().live(world)


def test_a_sweep_sees_a_double_purchase(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="identity-order"):
        live_through(Forgetful, tmp_path / "lives", [Death("answer.received", "order", 1)])


def test_the_same_seed_gives_the_same_run(tmp_path: Path) -> None:
    def trace(name: str, seed: int) -> tuple[list[tuple[str, str]], bytes]:
        passed: list[tuple[str, str]] = []
        directory = tmp_path / name
        directory.mkdir()
        world = World(directory, seed=seed)

        def probe(point: str, kind: str) -> None:
            passed.append((point, kind))

        simulate(lambda: Toys().live(world), seed=seed, probe=probe)
        return passed, (directory / "log.db").read_bytes()

    assert trace("a", 7) == trace("b", 7)
    assert trace("c", 8)[0] != trace("d", 9)[0]
