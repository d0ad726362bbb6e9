"""What can be made whole again in a store, with nothing thrown away: broken files are set aside as ``*.broken``."""

from __future__ import annotations

import calendar
import contextlib
import os
import re
import time

from flor_replay.errors import StoreError
from flor_replay.gc.leftovers import unsealed
from flor_replay.store import database, index, layout, records, sealing
from flor_replay.store.runs import Run, all_runs

_ID = re.compile(r"(\d{8}T\d{6})\.(\d{6})-[0-9a-f]{8}")


def repair(store: str) -> list[str]:
    """Repair what can be repaired; a sentence for each thing that was done. Raises StoreError where nothing can be written."""
    if not os.access(store, os.W_OK):
        raise StoreError(f"the store {store} cannot be written: nothing was repaired")
    done = _records(store)
    for run in unsealed(all_runs(store), silent_seconds=0.0):
        if os.path.exists(run.folder.live) or os.path.exists(run.folder.live_1):
            done.append(_seal(run))
    done += [sentence for run in all_runs(store) if (sentence := _set_aside(run)) is not None]
    index.discard(store)
    return done


def _records(store: str) -> list[str]:
    """Make a record for runs whose own cannot be read: what their folder says."""
    done = []
    base = os.path.join(store, "runs")
    for name in sorted(os.listdir(base)) if os.path.isdir(base) else ():
        folder = layout.RunFolder(store, name)
        info = layout.read_json(folder.info)
        has_log = any(os.path.exists(path) for path in (folder.live, folder.live_1, folder.log))
        found = _ID.fullmatch(name)
        if (isinstance(info, dict) and info.get("run") == name and isinstance(info.get("args"), dict)) or not has_log:
            continue
        if found is None:
            continue
        moment = calendar.timegm(time.strptime(found[1], "%Y%m%dT%H%M%S")) + int(found[2]) / 1e6
        with contextlib.suppress(FileNotFoundError):
            os.replace(folder.info, folder.info + ".broken")
        known = {
            "format": layout.FORMAT if not os.path.exists(folder.live_1) else 1,
            "run": name,
            "projid": os.path.basename(os.path.dirname(os.path.abspath(store))),
            "filename": "",
            "tstamp": moment,
            "status": "crashed",
            "reason": "its record was broken: made anew from its log",
            "args": {},
        }
        layout.replace_json(folder.info, known)
        done.append(f"{name}: run.json could not be read; it is made anew, without script and arguments")
    return done


def _seal(run: Run) -> str:
    try:
        lost = sealing.seal(run.folder)
    except Exception as error:
        return f"{run.run}: its log stays unsealed ({type(error).__name__}: {str(error).splitlines()[0]})"
    more = f"; lost are {'; '.join(lost)}" if lost else ""
    return f"{run.run}: its log is sealed{more}"


def _set_aside(run: Run) -> str | None:
    """Take files that cannot be read out of readers' way."""
    if run.status == "running" or os.path.exists(run.folder.live) or os.path.exists(run.folder.live_1):
        return None
    broken = []
    with database.connect() as connection:
        for path, loops in ((run.folder.log, False), (run.folder.loops, True)):
            if os.path.exists(path) and records.broken(connection, run, loops=loops) is not None:
                os.replace(path, path + ".broken")
                broken.append(os.path.basename(path))
    return f"{run.run}: {' and '.join(broken)} cannot be read; set aside as *.broken" if broken else None
