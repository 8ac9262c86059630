"""A file against a model of it: what its copies are, what is deleted, and that nothing at a provider is forgotten.

The model knows the outside too: uploads that are on their way, what the provider made of them, and what it has. So what
is checked is not only each status, but that whatever is there can be used, is about to be deleted, or is still owed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from msgspec import Struct
from msgspec.structs import replace

from perdure.actors.file.asks import Delete, EndLife, LapseCopy, LetGo, Put, Watch
from perdure.actors.file.state import MARGIN_US, FileState, current_copy, life_at
from perdure.actors.kind import Effect
from perdure.actors.purchase import SECOND_US
from perdure.events.command import Command, Orphan
from perdure.events.event import Event
from perdure.events.file import (
    FILE_EVENTS,
    CopySessionKept,
    ExpireCopy,
    ExpireFile,
    FailCopy,
    LeaveCopy,
    LoseCopy,
    NoteCopyDeleted,
    NoteCopyReady,
    NoteCopyStored,
    ReleaseContent,
    RemoveFile,
    ResumeCopies,
    WithdrawCopy,
)
from perdure.events.purchase import (
    DoubtPurchase,
    DuplicatePurchase,
    IntendPurchase,
    MissPurchase,
    NoteDuplicate,
    PurchaseAbsent,
    PurchaseUncertain,
    RefusePurchase,
)
from tests.actors.file.test_laws import Run
from tests.actors.file.test_state import CREATE, PUSH, TTL_US
from tests.actors.living import EPOCH_US as AT

HOUR_US: Final = 3_600 * SECOND_US
LIFE_US: Final = 10 * HOUR_US
"""How long a copy lives at its provider."""

PLACES: Final = [("google", "default"), ("openai", "default"), ("openai", "other")]
Place = tuple[str, str]
WEIGHED: Final = (
    ["outside"] * 14 + ["push"] * 4 + ["lose"] * 3 + ["time"] * 3 + ["death"] * 2 + ["withdraw", "resume", "remove"]
)
"""What happens, as often as it does."""

UNDER_WAY: Final = ("pending", "processing", "uploaded")


class Wanted(Struct):
    """The current copy at a place, as the model has it. `owed`: an intent is on record, that of `attempt`."""

    ordinal: int
    status: str = "pending"
    attempt: int = 1
    owed: bool = False
    blocked: bool = False
    replaces: bool = False
    remote: str = ""
    at: int = 0
    expires_at: int = 0


class There(Struct):
    """Something that a provider has."""

    place: Place
    ordinal: int
    expires_at: int


class Flight(Struct):
    """An upload by this process. `remote` is what it became, "" as long as the provider has not all of it.

    `doubted`: its answer was not waited for any more, and may still come.
    """

    effect: Put
    remote: str = ""
    doubted: bool = False


class FileModel(RuleBasedStateMachine):
    """A file, and the model beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.run = Run()
        self.now = AT
        self.life = "kept"
        self.until = 0
        self.everywhere = False
        self.copies: dict[Place, Wanted] = {}
        self.doomed: set[str] = set()
        self.there: dict[str, There] = {}
        self.made: dict[str, int] = {}
        """When each thing that a provider ever had ends there, by what it said of it first."""
        self.left: set[str] = set()
        """What may stay: nobody asked to delete it, or the provider refused to, or it has been replaced."""
        self.flights: list[Flight] = []
        self.ordinals = 0
        self.uploads = 0

    @initialize(persistent=st.booleans())
    def create(self, persistent: bool) -> None:
        """There is a file."""
        self.tell(replace(CREATE, ttl_us=0) if persistent else CREATE)
        self.until = 0 if persistent else AT + TTL_US

    # ---------------------------------------------------------------- helpers

    @property
    def state(self) -> FileState:
        """The state under test."""
        state: FileState = self.run.live.state
        return state

    def tell(self, command: Command) -> None:
        """What somebody says."""
        self.run.at = self.now
        self.run.tell(command)

    def report(self, effect: Effect, command: Command) -> None:
        """What an effect says: when nobody asks for it any more, only of what was bought."""
        if effect.id in {asked.id for asked in self.run.asked()}:
            self.tell(command)
        elif command.bought:
            self.tell(Orphan(effect=effect.id, report=command))

    def asked(self, kind: type[Effect]) -> list[Effect]:
        """What of a kind is asked for and not being done by this process."""
        flying = {flight.effect.ordinal for flight in self.flights if not flight.doubted}
        return [
            effect
            for effect in self.run.asked()
            if isinstance(effect, kind) and not (isinstance(effect, Put) and effect.ordinal in flying)
        ]

    def status(self, copy: Wanted) -> str:
        """A copy's status now: one that was uploaded is over a margin before its provider says so."""
        over = copy.expires_at - min(MARGIN_US, max(0, copy.expires_at - copy.at) // 10)
        return "expired" if copy.status == "uploaded" and self.now >= over else copy.status

    def place_of(self, ordinal: int) -> tuple[Place, Wanted] | None:
        """Where the copy with an ordinal is the current one."""
        return next(((place, copy) for place, copy in self.copies.items() if copy.ordinal == ordinal), None)

    def order(self, place: Place, *, replaces: bool = False) -> None:
        """A new copy is wanted."""
        self.copies[place] = Wanted(self.ordinals, replaces=replaces)
        self.ordinals += 1

    def end(self, life: str) -> None:
        """The file is over: nothing more is begun, and what is there goes if that was asked for."""
        if self.life == "kept":
            self.life = life
        for copy in self.copies.values():
            if copy.status == "pending" and not copy.owed:
                copy.status = "error"
            elif copy.status in ("processing", "uploaded") and self.everywhere:
                self.doom(copy.remote)
                copy.status = "deleting"

    def doom(self, remote: str) -> None:
        """Something is to be deleted."""
        self.doomed.add(remote)
        self.left.discard(remote)

    def over_now(self) -> bool:
        """Whether the file's time is over, on record or not."""
        return self.life != "kept" or bool(self.until and self.now >= self.until)

    def arrive(self, effect: Put, remote: str, *, processing: bool, failed: bool = False) -> None:
        """The service hears that an upload became `remote`: what nobody waits for is to be deleted."""
        found = self.place_of(effect.ordinal)
        copy = found[1] if found is not None and found[1].status == "pending" else None
        if copy is None or (effect.attempt != copy.attempt and copy.owed):
            if all(other.remote != remote for other in self.copies.values()):
                self.doom(remote)
            return
        copy.remote, copy.owed, copy.blocked, copy.expires_at = remote, False, False, self.there_until(remote)
        copy.status, copy.at = "error" if failed else "processing" if processing else "uploaded", self.now
        if failed:
            self.doom(remote)
        if self.life != "kept":
            self.end(self.life)

    def there_until(self, remote: str) -> int:
        """When something ends at its provider."""
        return self.made[remote]

    def stored(
        self, effect: Put, remote: str, *, processing: bool, reconciled: bool, failed: str = ""
    ) -> NoteCopyStored:
        """The report that an upload became `remote`."""
        return NoteCopyStored(
            ordinal=effect.ordinal,
            attempt=effect.attempt,
            provider=effect.order.provider,
            credential=effect.order.credential,
            remote_id=remote,
            reference=f"ref-{remote}",
            expires_at=self.there_until(remote),
            processing=processing,
            reconciled=reconciled,
            failed=failed,
        )

    # ---------------------------------------------------------------- what may happen

    # One rule for all: of many, hypothesis would leave out some in each life, and hardly any upload came to its end.
    @rule(data=st.data(), what=st.sampled_from(WEIGHED))
    def happen(self, data: st.DataObject, what: str) -> None:
        """Somebody asks for something, something happens outside, time passes, the process dies."""
        possible = self.possible()
        if what == "outside" and possible:
            data.draw(st.sampled_from(possible), "outside")(data)
        elif what == "time":
            self.wait(data.draw(st.sampled_from([0.1, 1.0, 5.0, 9.9]), "hours"))
            if data.draw(st.booleans(), "ring"):
                self.ring()
        elif what == "death":
            self.die(data)
        elif what == "remove":
            self.remove(data.draw(st.booleans(), "everywhere"))
        elif what == "resume":
            self.resume()
        else:
            usable = (
                [place for place, copy in self.copies.items() if copy.status == "uploaded"] if what == "lose" else []
            )
            ask = {"lose": self.lose, "withdraw": self.withdraw}.get(what, self.push)
            ask(data.draw(st.sampled_from(usable or PLACES), "place"))

    def die(self, data: st.DataObject) -> None:
        """Nobody hears of the uploads any more, and the next process knows what the log says."""
        self.run.crash(data.draw(st.integers(0, len(self.run.stored)), "cut"))
        owed = {copy.ordinal for copy in self.copies.values() if copy.owed}
        # An upload that came later than everybody looked, and that nobody heard of: only the list of orphans tells.
        self.left.update(flight.remote for flight in self.flights if flight.effect.ordinal not in owed)
        self.flights.clear()

    def possible(self) -> list[Callable[[st.DataObject], None]]:
        """What can happen outside now."""
        puts = [put for put in self.asked(Put) if isinstance(put, Put)]
        arrived = [flight for flight in self.flights if flight.remote]
        ways: list[Callable[[st.DataObject], None]] = []
        ways += [self.begin] * any(not put.intended for put in puts)
        ways += [self.reconcile] * any(put.intended for put in puts)
        ways += [self.accept] * (len(arrived) < len(self.flights))
        ways += [self.hear] * bool(arrived)
        ways += [self.refuse] * any(not flight.remote and not flight.doubted for flight in self.flights)
        ways += [self.break_off] * any(not flight.doubted for flight in self.flights)
        ways += [self.process] * bool(self.asked(Watch))
        ways += [self.delete] * bool(self.asked(Delete))
        return ways

    # ---------------------------------------------------------------- people

    def push(self, place: Place) -> None:
        """Somebody wants it at a place."""
        self.tell(replace(PUSH, provider=place[0], credential=place[1]))
        current = self.copies.get(place)
        if not self.over_now() and (current is None or self.status(current) not in (*UNDER_WAY, "deleting")):
            if current is not None and current.remote in self.there:
                self.left.add(current.remote)
            self.order(place)

    def lose(self, place: Place) -> None:
        """A request was told that there is no such file."""
        current = self.copies.get(place)
        if current is None or not current.remote:
            return
        self.tell(LoseCopy(place[0], f"ref-{current.remote}"))
        if current.status == "uploaded":
            current.status = "expired"
            self.there.pop(current.remote, None)
            if not self.over_now() and not current.replaces:
                self.order(place, replaces=True)

    def withdraw(self, place: Place) -> None:
        """Somebody gives it up there."""
        current = self.copies.get(place)
        if current is not None:
            self.tell(WithdrawCopy(current.ordinal))
            if current.status == "pending" and not current.owed:
                current.status = "error"

    def resume(self) -> None:
        """Somebody wants what is blocked to be tried again."""
        self.tell(ResumeCopies())
        for copy in self.copies.values():
            if copy.status == "pending" and copy.blocked:
                copy.blocked, copy.attempt = False, copy.attempt + 1

    def remove(self, everywhere: bool) -> None:
        """Somebody deletes it."""
        self.tell(RemoveFile(everywhere=everywhere))
        life = "expired" if self.over_now() and self.life == "kept" else "deleted"
        self.everywhere = self.everywhere or everywhere
        self.end(life)

    # ---------------------------------------------------------------- uploads

    def begin(self, data: st.DataObject) -> None:
        """An upload begins: its intent goes on record, or it is refused to begin."""
        puts = [put for put in self.asked(Put) if isinstance(put, Put) and not put.intended]
        if not puts:
            return
        put = data.draw(st.sampled_from(puts))
        self.report(put, IntendPurchase(put.ordinal, put.attempt, "i"))
        found = self.place_of(put.ordinal)
        assert found is not None
        found[1].owed, found[1].blocked = True, False
        self.flights.append(Flight(put))

    def accept(self, data: st.DataObject) -> None:
        """A provider has all of an upload; now and then twice, and then no answer comes."""
        flight = data.draw(st.sampled_from([flight for flight in self.flights if not flight.remote]))
        flight.remote = self.store(flight.effect)
        if not flight.doubted and data.draw(st.integers(0, 3), "twice") == 0:
            self.store(flight.effect)
            self.flights.remove(flight)
            self.report(flight.effect, DoubtPurchase(flight.effect.ordinal, flight.effect.attempt, "cut"))

    def store(self, effect: Put) -> str:
        """Something new at a provider."""
        remote = f"r-{self.uploads}"
        self.uploads += 1
        place = effect.order.provider, effect.order.credential
        self.made[remote] = self.now + LIFE_US
        self.there[remote] = There(place, effect.ordinal, self.made[remote])
        return remote

    def hear(self, data: st.DataObject) -> None:
        """An answer arrives."""
        processing = data.draw(st.booleans(), "processing")
        flight = data.draw(st.sampled_from([flight for flight in self.flights if flight.remote]))
        self.flights.remove(flight)
        report = self.stored(flight.effect, flight.remote, processing=processing, reconciled=False)
        self.report(flight.effect, report)
        self.arrive(flight.effect, flight.remote, processing=processing)

    def break_off(self, data: st.DataObject) -> None:
        """A connection breaks, or nobody waits any more: what became of the upload is not known."""
        flight = data.draw(st.sampled_from([flight for flight in self.flights if not flight.doubted]))
        flight.doubted = True
        if not data.draw(st.booleans(), "may still come"):
            self.flights.remove(flight)
        self.report(flight.effect, DoubtPurchase(flight.effect.ordinal, flight.effect.attempt, "cut"))

    def refuse(self, data: st.DataObject) -> None:
        """A provider says no: for good, for now, or until somebody does something."""
        kind = data.draw(st.sampled_from(["invalid_request", "server_error", "auth"]), "kind")
        waiting = [flight for flight in self.flights if not flight.remote and not flight.doubted]
        flight = data.draw(st.sampled_from(waiting))
        self.flights.remove(flight)
        self.report(flight.effect, RefusePurchase(flight.effect.ordinal, flight.effect.attempt, kind, "m"))
        self.close(flight.effect.ordinal, final=kind == "invalid_request", blocked=kind == "auth")

    def close(self, ordinal: int, *, final: bool, blocked: bool = False) -> None:
        """An attempt is surely over and left nothing."""
        found = self.place_of(ordinal)
        if found is not None and found[1].status == "pending":
            _, copy = found
            copy.owed, copy.blocked, copy.attempt = False, blocked, copy.attempt + 1
            if final or self.life != "kept":
                copy.status = "error"

    def reconcile(self, data: st.DataObject) -> None:
        """After a doubt or a crash the provider is asked what it has."""
        processing, works = data.draw(st.booleans(), "processing"), data.draw(st.booleans(), "works")
        puts = [put for put in self.asked(Put) if isinstance(put, Put) and put.intended]
        if not puts:
            return
        put = data.draw(st.sampled_from(puts))
        found = [remote for remote, thing in self.there.items() if thing.ordinal == put.ordinal]
        if not found:
            self.report(put, MissPurchase(put.ordinal, put.attempt))
            self.close(put.ordinal, final=False)
            return
        for other in found[1:]:
            self.report(put, NoteDuplicate(put.ordinal, other))
            self.doom(other)
        failed = "" if works else "no film"
        self.report(put, self.stored(put, found[0], processing=processing, reconciled=True, failed=failed))
        self.arrive(put, found[0], processing=processing, failed=not works)

    def process(self, data: st.DataObject) -> None:
        """What was processed can be used, or never will be."""
        ready = data.draw(st.booleans(), "ready")
        watches = self.asked(Watch)
        if not watches:
            return
        watch = data.draw(st.sampled_from(watches))
        assert isinstance(watch, Watch)
        ordinal = watch.order.ordinal
        found = self.place_of(ordinal)
        assert found is not None
        _, copy = found
        if ready:
            copy.status, copy.expires_at = "uploaded", self.now + LIFE_US
            if copy.remote in self.there:
                self.there[copy.remote].expires_at = copy.expires_at
            self.report(watch, NoteCopyReady(ordinal, f"ref-{copy.remote}", copy.expires_at))
        else:
            self.report(watch, FailCopy(ordinal, "processing_failed", "m"))
            copy.status = "error"
            self.doom(copy.remote)

    def delete(self, data: st.DataObject) -> None:
        """Something is deleted at its provider, or the provider refuses."""
        works = data.draw(st.booleans(), "works")
        deletes = self.asked(Delete)
        if not deletes:
            return
        effect = data.draw(st.sampled_from(deletes))
        assert isinstance(effect, Delete)
        one = effect.deletion
        self.doomed.remove(one.remote_id)
        if works:
            self.there.pop(one.remote_id, None)
            self.report(effect, NoteCopyDeleted(one.provider, one.credential, one.remote_id))
        else:
            self.left.add(one.remote_id)
            self.report(effect, LeaveCopy(one.provider, one.credential, one.remote_id, "forbidden", "m"))
        for copy in self.copies.values():
            if copy.status == "deleting" and copy.remote == one.remote_id:
                copy.status = "deleted" if works else "error"

    # ---------------------------------------------------------------- time

    def wait(self, hours: float) -> None:
        """Time passes; what is over at a provider goes."""
        self.now += round(hours * HOUR_US)
        self.there = {remote: thing for remote, thing in self.there.items() if self.now < thing.expires_at}

    def ring(self) -> None:
        """All timers that are due go off."""
        for effect in self.run.asked():
            if isinstance(effect, EndLife) and self.now >= effect.not_before:
                self.report(effect, ExpireFile())
                self.end("expired")
            elif isinstance(effect, LapseCopy) and self.now >= effect.not_before:
                self.report(effect, ExpireCopy(effect.ordinal))
                found = self.place_of(effect.ordinal)
                assert found is not None
                if found[1].status == "uploaded" and self.life == "kept":
                    found[1].status = "expired"
            elif isinstance(effect, LetGo):
                self.report(effect, ReleaseContent())

    # ---------------------------------------------------------------- what holds

    @invariant()
    def the_laws_hold(self) -> None:
        """Those of `test_laws`."""
        self.run.check()

    @invariant()
    def every_copy_is_what_the_model_says(self) -> None:
        """The life, the copies, their statuses and references, what is to be deleted."""
        if not self.run.stored:
            return
        assert life_at(self.state, self.now) == ("expired" if self.life == "kept" and self.over_now() else self.life)
        for place in PLACES:
            copy, wanted = current_copy(self.state, *place), self.copies.get(place)
            assert (copy is None) == (wanted is None)
            if copy is not None and wanted is not None:
                assert copy.order.ordinal == wanted.ordinal
                assert copy.status_at(self.now) == self.status(wanted)
                assert copy.remote_id == wanted.remote
                assert copy.purchase.owed == wanted.owed
        assert {deletion.remote_id for deletion in self.state.deletions} == self.doomed

    @invariant()
    def nothing_at_a_provider_is_forgotten(self) -> None:
        """What is there is a current copy, or about to be deleted, or owed, or may stay; only that when all is done."""
        flying = {flight.remote for flight in self.flights}
        current = {copy.remote for copy in self.copies.values()}
        owed = {copy.ordinal for copy in self.copies.values() if copy.owed}
        for remote, thing in self.there.items():
            known = remote in self.doomed | self.left | flying | current or thing.ordinal in owed
            assert known, f"{remote} of copy {thing.ordinal} is an orphan"


def lives(examples: int, *, derandomize: bool) -> None:
    """Lives `examples` lives of forty steps. Fails when an event of files never came about."""
    produced: set[type[Event]] = set()

    class Noting(FileModel):
        def teardown(self) -> None:
            produced.update(self.run.produced)

    run_state_machine_as_test(
        Noting,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            derandomize=derandomize,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
    expected: set[type[Event]] = {*FILE_EVENTS, DuplicatePurchase, PurchaseAbsent, PurchaseUncertain}
    never = expected - produced - {CopySessionKept}
    assert not never, f"never produced: {sorted(event.__name__ for event in never)}"


def test_a_file_is_what_its_model_says() -> None:
    lives(300, derandomize=True)


@pytest.mark.sweep
def test_a_file_is_what_its_model_says_in_many_more_lives() -> None:
    lives(600, derandomize=False)
