"""Runs in SQL: the queue, who runs, what ended how. What a run printed stands in its event log, not here.

Web workers submit, ask for a cancel and list; the dispatcher takes, follows and ends. Any number of processes may
use one database at once. While it does not answer, every function raises `sqlalchemy.exc.DBAPIError`, and the next
call after it is back succeeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Executable,
    and_,
    delete,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from ..errors import ConflictError, TooManyError
from ..events import Status
from .database import reading, writing
from .models import Time, runs
from .records import (
    NewRun,
    RetentionPolicy,
    RunRecord,
    columns_of,
    cursor_after,
    final_status,
    read_cursor,
    storable,
    tidy,
)

__all__ = ["NewRun", "RunRecord", "RunStore"]

LIVE = (Status.STARTING, Status.RUNNING)
"""The statuses of a run that has, or is about to have, a runner."""

LONGEST_PAGE = 500
"""Runs in one answer of `RunStore.list`."""

_UNENDED = (Status.QUEUED, *LIVE)
_ENDED = tuple(status for status in Status if status.is_final)
_FIRST_CHUNK = 8


# Within the class `list` is its function of that name.
Records = list[RunRecord]
_Conditions = list[ColumnElement[bool]]

_COLUMNS = [runs.c[field.name] for field in fields(RunRecord)]


class RunStore:
    """The table of runs. Every function is one transaction; an instance may be used from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # -- submitting ----------------------------------------------------------------------------------

    def submit(self, run: NewRun, *, limit: int = 0) -> tuple[RunRecord, bool]:
        """Queue a run; returns its record, and whether this call made it.

        A repeat, by the same token with the same idempotency key, gets the run that is there already; so does a
        second retry of the same run. Raises `ConflictError` when the earlier request had another digest,
        `TooManyError` when the token has `limit` runs queued (0: no limit), `UsageError` for text that a database
        can't keep.
        """
        values = columns_of(run)
        try:
            with writing(self._engine) as connection:
                self._take_turns(connection, run.token)
                earlier = self._earlier(connection, run)
                if earlier is None:
                    self._check_limit(connection, run.token, limit)
                    return self._insert(connection, values), True
        except IntegrityError:
            # Only a retry submitted under another token in the same moment, or an id given twice, comes here.
            with reading(self._engine) as connection:
                earlier = self._earlier(connection, run)
            if earlier is None:
                raise ConflictError(f"There is a run {run.id} already. Submit it under a new id.") from None
        if run.idempotency_key is not None:
            _check_same(earlier, run.request_digest)
        return earlier, False

    def submitted(self, token: str, key: str, digest: str) -> RunRecord | None:
        """The run that a token has submitted with an idempotency key; None if it has not.

        Raises `ConflictError` when its request had another digest.
        """
        same = and_(runs.c.token == token, runs.c.idempotency_key == key)
        with reading(self._engine) as connection:
            found = _records(connection, select(*_COLUMNS).where(same)) if storable(key) else []
        if not found:
            return None
        _check_same(found[0], digest)
        return found[0]

    def _take_turns(self, connection: Connection, token: str) -> None:
        """Let one submit of a token at a time count its runs and look for an earlier one. SQLite does so anyway."""
        if self._engine.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(token, 0))))

    def _earlier(self, connection: Connection, run: NewRun) -> RunRecord | None:
        if run.idempotency_key is not None:
            same = and_(runs.c.token == run.token, runs.c.idempotency_key == run.idempotency_key)
        elif run.retry_of is not None:
            same = runs.c.retry_of == run.retry_of
        else:
            return None
        found = _records(connection, select(*_COLUMNS).where(same))
        return found[0] if found else None

    def _check_limit(self, connection: Connection, token: str, limit: int) -> None:
        if limit <= 0:
            return
        mine = and_(runs.c.status == Status.QUEUED, runs.c.token == token)
        queued = connection.execute(select(func.count()).where(mine)).scalar_one()
        if queued >= limit:
            raise TooManyError(
                f"{queued} runs of this token are queued already, and {limit} may be. Wait until some have started, "
                "cancel some, or raise the setting `max_queued`."
            )

    def _insert(self, connection: Connection, values: dict[str, Any]) -> RunRecord:
        (record,) = _records(connection, insert(runs).values(values).returning(*_COLUMNS))
        if record.retry_of is not None:
            connection.execute(update(runs).where(runs.c.id == record.retry_of).values(retried_as=record.id))
        return record

    # -- reading -------------------------------------------------------------------------------------

    def get(self, id: str) -> RunRecord:
        """One run. Raises KeyError if there is none of that id."""
        with reading(self._engine) as connection:
            return _one(connection, id)

    def list(
        self,
        *,
        name: str | None = None,
        status: str | None = None,
        build: str | None = None,
        token: str | None = None,
        text: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> tuple[Records, str | None]:
        """A page of runs, newest first, and the cursor of the next one, None at the end.

        Runs submitted in between move nothing: they come before the first page. `build` is ``JOB#NUMBER``, or
        ``JOB`` for all builds of it. `text` is a part of the id, name, build, kernel, token or reason, in any case.
        Raises `UsageError` for a cursor that no earlier page gave.
        """
        query = select(*_COLUMNS).order_by(runs.c.created.desc(), runs.c.id.desc())
        for column, value in ((runs.c.name, name), (runs.c.status, status), (runs.c.token, token)):
            if value is not None:
                query = query.where(column == value if storable(value) else false())
        if build is not None:
            query = query.where(_is_build(build) if storable(build) else false())
        if text is not None:
            query = query.where(_holds(text) if storable(text) else false())
        if cursor is not None:
            query = query.where(tuple_(runs.c.created, runs.c.id) < _place(*read_cursor(cursor)))
        limit = min(max(limit, 1), LONGEST_PAGE)
        with reading(self._engine) as connection:
            page = _records(connection, query.limit(limit + 1))
        return page[:limit], cursor_after(page[limit - 1]) if len(page) > limit else None

    def active(self) -> Records:
        """The runs with a runner, or about to have one; oldest first."""
        return self._all(runs.c.status.in_(LIVE), runs.c.created)

    def cancel_requested(self) -> Records:
        """The runs that have not ended yet though somebody asked for it; oldest first."""
        return self._all(and_(runs.c.status.in_(_UNENDED), runs.c.cancel_requested), runs.c.created)

    def ended(self) -> Records:
        """All runs that have ended, in the order in which they did."""
        return self._all(runs.c.status.in_(_ENDED), runs.c.finished)

    def expired(self, policy: RetentionPolicy) -> Records:
        """The ended runs that are older, or more, than `policy` keeps; the first to end comes first.

        What is over its ``max_bytes`` is not among them: sizes lie on disk, see `retention.collect_garbage`.
        """
        beyond: _Conditions = []
        if policy.max_age_days > 0:
            beyond.append(runs.c.finished < datetime.now(UTC) - timedelta(days=policy.max_age_days))
        if policy.max_runs > 0:
            newest = select(runs.c.id).where(runs.c.status.in_(_ENDED))
            newest = newest.order_by(runs.c.finished.desc(), runs.c.id.desc()).limit(policy.max_runs)
            beyond.append(runs.c.id.not_in(newest))
        if not beyond:
            return []
        return self._all(and_(runs.c.status.in_(_ENDED), or_(*beyond)), runs.c.finished)

    def _all(self, which: ColumnElement[bool], order: ColumnElement[Any]) -> Records:
        with reading(self._engine) as connection:
            return _records(connection, select(*_COLUMNS).where(which).order_by(order, runs.c.id))

    def queue_places(self, records: Sequence[RunRecord]) -> dict[str, int]:
        """The place in the queue of each of some runs that waits in it: 1 is the next that fits."""
        waiting = {record.id for record in records if record.status == Status.QUEUED}
        if not waiting:
            return {}
        order = select(runs.c.id).where(_waiting())
        with reading(self._engine) as connection:
            queue = connection.execute(order.order_by(runs.c.priority.desc(), runs.c.created, runs.c.id)).scalars()
            return {id: place for place, id in enumerate(queue, 1) if id in waiting}

    def queue_length(self) -> int:
        """How many runs are queued."""
        return self.counts()[Status.QUEUED]

    def counts(self) -> dict[Status, int]:
        """How many runs there are of each status; 0 of those that none has."""
        with reading(self._engine) as connection:
            found = connection.execute(select(runs.c.status, func.count()).group_by(runs.c.status)).all()
        return dict.fromkeys(Status, 0) | {Status(status): count for status, count in found}

    # -- dispatching ---------------------------------------------------------------------------------

    def take_next(self, fits: Callable[[RunRecord], bool]) -> RunRecord | None:
        """Take the first queued run that fits, by priority, then age, and make it ``starting``; None if none does.

        However many callers there are, each run is given to one of them. A run that was cancelled while queued is
        left out. `fits` is called within the transaction, so it decides from the record alone and at once.
        """
        with writing(self._engine) as connection:
            for candidate in self._queue(connection):
                if not fits(candidate):
                    continue
                waiting = _waiting(runs.c.id == candidate.id)
                mine = select(runs.c.id).where(waiting).with_for_update(skip_locked=True)
                if connection.execute(mine).first() is not None:
                    taken = update(runs).where(waiting).values(status=Status.STARTING).returning(*_COLUMNS)
                    return _records(connection, taken)[0]
        return None

    def _queue(self, connection: Connection) -> Iterator[RunRecord]:
        """The queue in its order, in chunks that grow, for it may be long and the first mostly fits."""
        after: ColumnElement[bool] | None = None
        size = _FIRST_CHUNK
        while True:
            query = select(*_COLUMNS).where(_waiting() if after is None else _waiting(after))
            chunk = _records(connection, query.order_by(runs.c.priority.desc(), runs.c.created, runs.c.id).limit(size))
            yield from chunk
            if len(chunk) < size:
                return
            size *= 4
            last = chunk[-1]
            younger = tuple_(runs.c.created, runs.c.id) > _place(last.created, last.id)
            after = or_(runs.c.priority < last.priority, and_(runs.c.priority == last.priority, younger))

    def put_back(self, id: str) -> bool:
        """Queue a run again that was taken and with which no runner has begun; false if it runs, or has ended."""
        nobody: dict[str, object] = {"runner_pid": None, "runner_ticks": None, "gpu_ids": []}
        return self._change(id, [Status.STARTING], status=Status.QUEUED, **nobody)

    def set_runner(self, id: str, pid: int, started_at_ticks: int, gpus: Sequence[str]) -> bool:
        """Note which process runs it, and on which GPUs. False if the run has ended meanwhile."""
        return self._change(id, LIVE, runner_pid=pid, runner_ticks=started_at_ticks, gpu_ids=[*gpus])

    def set_running(self, id: str) -> bool:
        """From ``starting`` to ``running``: its first cell is about to start. False if it was not starting."""
        return self._change(id, [Status.STARTING], status=Status.RUNNING, started=datetime.now(UTC))

    def finish(self, id: str, status: str, reason: str, exit_code: int | None, seconds: float) -> bool:
        """Enter how a run ended. The first end stays: false if it had ended already, or is not there."""
        return self._change(
            id,
            _UNENDED,
            status=final_status(status),
            reason=tidy(reason),
            exit_code=exit_code,
            seconds=seconds,
            finished=datetime.now(UTC),
        )

    def request_cancel(self, id: str) -> RunRecord:
        """Ask for a run to be ended; the dispatcher does it. Nothing happens to one that has ended.

        Returns the run as it is then. Raises KeyError if there is none of that id.
        """
        self._change(id, _UNENDED, cancel_requested=True)
        return self.get(id)

    def delete(self, id: str) -> bool:
        """Forget a run that has ended; false if it has not, or is not there."""
        with writing(self._engine) as connection:
            gone = delete(runs).where(runs.c.id == id, runs.c.status.in_(_ENDED))
            return connection.execute(gone).rowcount == 1

    def _change(self, id: str, statuses: Sequence[Status], **values: object) -> bool:
        """Set columns of a run that has one of these statuses; whether there was one."""
        if not storable(id):
            return False
        with writing(self._engine) as connection:
            changed = update(runs).where(runs.c.id == id, runs.c.status.in_(statuses)).values(values)
            return connection.execute(changed).rowcount == 1


def _records(connection: Connection, statement: Executable) -> Records:
    rows = connection.execute(statement).mappings()
    return [RunRecord(**{**row, "status": Status(row["status"])}) for row in rows]


def _one(connection: Connection, id: str) -> RunRecord:
    found = _records(connection, select(*_COLUMNS).where(runs.c.id == id)) if storable(id) else []
    if not found:
        raise KeyError(id)
    return found[0]


def _check_same(earlier: RunRecord, digest: str) -> None:
    if earlier.request_digest != digest:
        raise ConflictError(
            f"The idempotency key {earlier.idempotency_key!r} was used for another request, which became run "
            f"{earlier.id}. Use a new key for each request, and the same one only to repeat it unchanged.",
            run=earlier.id,
        )


def _waiting(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return and_(runs.c.status == Status.QUEUED, runs.c.cancel_requested.is_(False), *conditions)


def _is_build(build: str) -> ColumnElement[bool]:
    return or_(runs.c.build_key == build, runs.c.build_key.startswith(f"{build}#", autoescape=True))


def _holds(text: str) -> ColumnElement[bool]:
    columns = (runs.c.id, runs.c.name, runs.c.build_key, runs.c.kernel, runs.c.token, runs.c.reason)
    return or_(*(column.icontains(text, autoescape=True) for column in columns))


def _place(created: datetime, id: str) -> ColumnElement[Any]:
    """A run's place in the order of submission, to compare columns with."""
    return tuple_(literal(created, Time()), literal(id))
