"""What ``import flor`` offers to scripts: a face on `flor_replay.record.session` and `flor_replay.store`.

Kept light: nothing heavier than the standard library's basics is imported until it is used.
"""

from __future__ import annotations

from contextlib import contextmanager

from flor_replay.record import session as _session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TypeVar

    import pandas as pd

    T = TypeVar("T")


def log(name: str, value: T) -> T:
    """Record `value` under `name` at the present place in the named loops, and return it unchanged.

    Numbers, text, booleans, None, nested lists and dicts, numpy and torch scalars and arrays keep their types; anything
    else is kept as its ``repr`` with one warning. The value is taken as it is now. Never raises because of the value.
    """
    session = _session._current or _session._mine()
    if session is None:
        session = _session.current()
        if session is None:
            return value
    extend = session.extend
    if extend is None or type(value) is not float or type(name) is not str:
        session.log(name, value)
        return value
    # What `Session.log` does for these, without the call: it is in the innermost loop.
    level = session.stack.levels[-1]
    alone = level.alone
    extend((name, value, level, level.last if alone is None else level.last - alone.__length_hint__()))
    if len(session.queue) > session.full:
        session.relieve()
    return value


def arg(name: str, default: T) -> T:
    """The argument `name`: from ``--kwargs name=value`` on the script's command line, else from the variable
    ``FLOR_ARGS``, else `default`. It is cast to the default's type, recorded, and given back on replay.

    Raises `flor_replay.errors.UsageError` naming argument, value and type when the cast fails.
    """
    session = _session.current()
    if session is not None:
        return session.arg(name, default)  # type: ignore[return-value]
    from flor_replay.record import args

    given = args.given()
    return args.cast(name, given[name], default) if name in given else default


def loop(name: str, iterable: Iterable[T]) -> Iterable[T]:
    """Iterate over `iterable` as the loop called `name`: what is logged inside carries its index.

    The outermost one is the run's main loop: its state is checkpointed at iteration boundaries. Items are drawn one by
    one, never ahead; ``break``, ``return`` and exceptions close the loop.
    """
    session = _session.current()
    if session is None:
        return iterable
    return session.loop(name, iterable)


@contextmanager
def iteration(name: str, index: int | None = None, value: object = None) -> Iterator[None]:
    """One iteration of the loop called `name`, for callbacks that own no loop.

    `index` counts up from 0 within the surrounding iteration when left out; `value` is kept when it differs from it.
    """
    session = _session.current()
    if session is None:
        yield
        return
    with session.iteration(name, index, value):
        yield


@contextmanager
def checkpointing(**objects: object) -> Iterator[None]:
    """Name objects that belong in every checkpoint of the loops inside the ``with`` block.

    Everything else that the run could read is captured too; naming objects makes sure of these.
    """
    session = _session.current()
    if session is None:
        yield
        return
    before = session.explicit
    session.explicit = {**before, **objects}
    try:
        yield
    finally:
        session.explicit = before


def commit() -> None:
    """End the current run and make its records visible together; the next record begins a run with a new tstamp.

    For long-running processes. It happens by itself when the process ends. In a process whose code calls it, what is logged
    is not visible to others before, and every thread, every asyncio task and every forked worker of a server has a run of
    its own: requests that are served beside each other do not mix. Inside a loop the next run goes on at the same place.
    """
    _session.commit()


def dataframe(
    *names: str,
    root: str | None = None,
    last: int | None = None,
    runs: Sequence[str] | None = None,
    filename: str | None = None,
    source: str | None = None,
    diverged: bool = False,
    fidelity: bool = False,
    context: bool = False,
    where: str | None = None,
    live: bool | None = None,
) -> pd.DataFrame:
    """One row for each loop path at the deepest level that the `names` share, with a column for each name.

    Columns: projid, tstamp, filename, for each loop its 0-based index under the loop's name (and ``<loop>_value`` where
    it runs over scalars other than the index), then the names. Values of outer levels repeat on inner rows. Names are
    columns also where nothing was logged under them. Without names: one row for each run with its arguments.

    `root`: another project's folder. `last`: only the newest runs, this many. `runs`: only these run ids. `filename`:
    only runs of this script. `where`: only runs for which an SQL condition over run columns, arguments and (last) logged
    values holds. `live`: True for only the runs that are under way, False for none of them. `source`: "recorded" or "backfilled" only. `diverged`: also values of replays that did not
    reproduce the recorded ones. `fidelity`: adds the columns ``<name>_fidelity`` (the verdict on the value) and
    ``<name>_placed_by`` (who placed its statement: "recorded" for none but the run itself, "tool", or a person who
    "accepted" an unsure place or "edited" the version's file). `context`: adds columns of each run's build context
    (`flor_replay.store.contexts.COLUMNS`): caller, workflow, task, branch, host, packages aside.

    Raises `flor_replay.errors.StoreError` where there is no store.
    """
    from flor_replay.store import frames

    session = _session.running()
    if session is not None:
        session.flush()
    return frames.build(
        names,
        root,
        read_by=None if root else _session.note_values,
        last=last,
        runs=runs,
        filename=filename,
        source=source,
        diverged=diverged,
        fidelity=fidelity,
        context=context,
        where=where,
        live=live,
    )


def checkpoint(rows: object, *, root: str | None = None, **objects: object) -> pd.Series | None:
    """Load into `objects`, by the names that they had in the script, the state that a run had; the row that was loaded.

    `rows`: a frame of ``flor.dataframe``, best row first, or one of its rows: the first is taken whose state after that
    iteration of the main loop was kept; or the id of a run: its last state. None where there is none: fall back.

        found = flor.checkpoint(flor.dataframe("recall").sort_values("recall", ascending=False), model=model)

    The objects are changed in place. Raises `flor_replay.errors.QueryError` where they are not built like the recorded ones.
    """
    from flor_replay.store import registry

    return registry.load_first(rows, objects, root)


def query(sql: str, *, root: str | None = None) -> pd.DataFrame:
    """The result of a DuckDB query over the views ``runs``, ``logs``, ``loops``, ``checkpoints``, ``replays``, and of build context
    ``contexts``, ``callers`` and ``packages``.

    Raises `flor_replay.errors.QueryError` with DuckDB's own words when the query is wrong.
    """
    from flor_replay.store import views

    session = _session.running()
    if session is not None:
        session.flush()
    return views.run_query(sql, root)
