"""Find out whether a chain is whole: nothing changed, removed or put in between.

Every event's hash is computed again, and compared with what the next event, the chain's end and the signed
checkpoints say, and with hashes that are known from elsewhere. Events are streamed, however many.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db.models import OuterRef, Subquery, Value
from django.db.models.functions import Coalesce

from gateway_project.lib.progress import SILENT, ProgressLine
from tenants.audit import chain, checkpoints
from tenants.audit.known_hashes import NOTHING_KNOWN, KnownHashes
from tenants.models import AuditChain, AuditCheckpoint, AuditEvent, Tenant
from tenants.models.audit import PLATFORM

CHUNK = 2_000


@dataclass(frozen=True, slots=True)
class ChainReport:
    """The result for one chain. `bad_sequence` is the first number that is not as it should be.

    Up to `signed_sequence` the chain is what was signed. What comes after is consistent in itself; if its
    end had been cut off and the chain's end set back, only a hash that is known from elsewhere would tell.
    """

    chain: int
    first_sequence: int = 0
    last_sequence: int = 0
    last_hash: str = ""
    signed_sequence: int = 0
    compared: int = 0  # events whose hash was known, and is still that
    unjoined: int = 0  # committed events that have no place yet
    bad_sequence: int | None = None
    problem: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        return not self.problem


class _Broken(Exception):
    """The chain is broken at this number."""

    def __init__(self, sequence: int, problem: str) -> None:
        super().__init__(problem)
        self.sequence = sequence


def chains() -> list[int]:
    """Return every chain that anything is left of."""
    kinds = (AuditChain.objects, AuditCheckpoint.objects, AuditEvent.objects)
    found: set[int] = set()
    for rows in kinds:
        found.update(rows.order_by().values_list("chain", flat=True).distinct())
    return sorted(found)


def verify(
    number: int, progress: ProgressLine = SILENT, known: KnownHashes = NOTHING_KNOWN
) -> ChainReport:
    """Verify a chain. Pruning meanwhile is no damage: then it is looked at again."""
    while True:
        end = AuditChain.objects.filter(chain=number).first() or AuditChain(chain=number)
        verdict = _Walk(end, known).result(progress)
        pruned = AuditChain.objects.filter(chain=number).values_list("pruned_sequence", flat=True)
        if verdict.is_whole or (pruned.first() or 0) == end.pruned_sequence:
            return verdict


class _Walk:
    """One pass over a chain, from what is pruned to its end."""

    def __init__(self, end: AuditChain, known: KnownHashes) -> None:
        self._end = end
        self._known = known
        self._compared = 0
        self._keys = checkpoints.keyring()
        signed = AuditCheckpoint.objects.filter(
            chain=end.chain, sequence__gte=end.pruned_sequence
        ).order_by("sequence")
        self._checkpoints = {each.sequence: each for each in signed}
        self._sequence = end.pruned_sequence
        self._hash = chain.START
        self._signed = 0
        self._notes: list[str] = []

    def result(self, progress: ProgressLine = SILENT) -> ChainReport:
        try:
            self._check_pruned()
            for event in progress.over(self._events(), f"events of {name_of(self._end.chain)}"):
                self._step(event)
            self._check_end()
        except _Broken as broken:
            return self._verdict(broken.sequence, str(broken))
        return self._verdict(None, "")

    def _events(self) -> Iterator[AuditEvent]:
        kept = AuditEvent.objects.filter(
            chain=self._end.chain,
            sequence__gt=self._end.pruned_sequence,
            sequence__lte=self._end.last_sequence,
        )
        return kept.order_by("sequence").iterator(chunk_size=CHUNK)

    def _check_pruned(self) -> None:
        """Begin where pruning ended: at a checkpoint, whose hash the first event was chained to."""
        if self._sequence == 0:
            return
        if self._sequence not in self._checkpoints:
            raise _Broken(self._sequence, "it is pruned up to a number without a checkpoint")
        self._hash = self._checkpoints[self._sequence].hash
        self._check_checkpoint()
        self._check_known()
        if pruned := sum(number < self._sequence for number in self._known):
            self._notes.append(f"{pruned} of the known events are pruned")

    def _step(self, event: AuditEvent) -> None:
        number = self._sequence + 1
        if event.sequence != number:
            raise _Broken(number, "it was removed")
        if event.previous_hash != self._hash:
            before = max(self._sequence, self._end.pruned_sequence + 1)
            raise _Broken(before, f"it is not the one that event {number} was chained to")
        if chain.digest(event) != event.hash:
            raise _Broken(number, "it was changed: its hash is not that of what it says")
        self._sequence, self._hash = number, event.hash
        self._check_checkpoint()
        self._check_known()

    def _check_checkpoint(self) -> None:
        signed = self._checkpoints.get(self._sequence)
        if signed is None:
            return
        is_genuine = checkpoints.is_genuine(signed, self._keys)
        if is_genuine is None:
            self._notes.append(
                f"the checkpoint at {signed.sequence} cannot be checked: key {signed.key_id!r} is not here"
            )
        elif not is_genuine:
            raise _Broken(self._sequence, "the signature of its checkpoint is not ours")
        elif signed.hash != self._hash:
            raise _Broken(
                self._sequence, f"it is not what was signed on {signed.at:%Y-%m-%d %H:%M} UTC"
            )
        else:
            self._signed = self._sequence

    def _check_known(self) -> None:
        known = self._known.get(self._sequence)
        if known is None:
            return
        if known != {self._hash}:
            raise _Broken(self._sequence, "it is not the one whose hash is known")
        self._compared += 1

    def _check_end(self) -> None:
        last = self._end.last_sequence
        if self._sequence < last:
            raise _Broken(self._sequence + 1, f"it was removed: the chain goes on to {last}")
        if self._sequence > 0 and self._hash != self._end.last_hash:
            raise _Broken(self._sequence, "it is not what the end of the chain says")
        beyond = [number for number in self._checkpoints if number > last]
        if beyond:
            raise _Broken(last + 1, f"it was removed: the chain was signed up to {max(beyond)}")
        if self._known and (furthest := max(self._known)) > last:
            raise _Broken(last + 1, f"it was removed: event {furthest} is known")
        if put_in := _first_beyond(self._end.chain):
            raise _Broken(put_in, "it was put in after the end of the chain")

    def _verdict(self, bad: int | None, problem: str) -> ChainReport:
        pending = AuditEvent.objects.filter(chain=self._end.chain, sequence=None)
        return ChainReport(
            chain=self._end.chain,
            first_sequence=self._end.pruned_sequence + 1,
            last_sequence=self._sequence,
            last_hash=self._hash if self._sequence else "",
            signed_sequence=self._signed,
            compared=self._compared,
            unjoined=pending.count(),
            bad_sequence=bad,
            problem=problem,
            notes=self._notes,
        )


def _first_beyond(number: int) -> int | None:
    """Return the first event after the end of its chain: in one query, because the chain grows meanwhile."""
    end = AuditChain.objects.filter(chain=OuterRef("chain")).values("last_sequence")[:1]
    events = AuditEvent.objects.filter(chain=number).annotate(end=Subquery(end))
    beyond = events.filter(sequence__gt=Coalesce("end", Value(0)))
    found: int | None = beyond.order_by("sequence").values_list("sequence", flat=True).first()
    return found


def name_of(number: int) -> str:
    """Name a chain for people; a deleted tenant by its number."""
    if number == PLATFORM:
        return "platform"
    slug = Tenant.objects.filter(pk=number).values_list("slug", flat=True).first()
    return slug or f"tenant {number}, deleted"
