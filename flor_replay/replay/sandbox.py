"""A tree of its own for each worker: the version at the project's own path, the user's files readable, nothing written.

Where Linux allows it (mount namespaces, with or without root), an overlay is mounted over the project's root, seen by this
worker alone: the version's tree on top, the user's ignored files (data, environments) below it, and every write, delete
and rename in scratch. Elsewhere the version is copied into scratch, and the ignored files with it up to a limit; the rest
are links, which an audit hook turns into copies when they are opened for writing.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence

from flor_replay.errors import ReplayError
from flor_replay.project import STORE
from flor_replay.replay.task import Task

_NEWNS, _NEWUSER = 0x00020000, 0x10000000
_BIND, _REC, _PRIVATE = 4096, 16384, 1 << 18
CHANGING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND | os.O_CREAT  # flags of an open that may write
MANY_LINKS = 20_000
COPIED_BYTES = 64 * 2**20  # of small ignored files: libraries that write through C would go through a link


def enter(task: Task) -> str:
    """Put this process into the task's sandbox; returns the path at which the project's root now stands.

    To be called before threads are started. Raises ReplayError where neither way works.
    """
    if os.environ.get("FLOR_SANDBOX", "overlay") != "links" and _overlay(task):
        return task.root
    return _links(task)


# -- overlay ------------------------------------------------------------------------------------------------------------


def available() -> bool:
    """Whether this system lets us mount overlays; tried in a child process."""
    if not sys.platform.startswith("linux"):
        return False
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if _private_namespace() else 1)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None) -> None:
    done = _libc().mount(
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        os.fsencode(options) if options else None,
    )
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount: {os.strerror(number)}", target)


def _private_namespace() -> bool:
    libc = _libc()
    uid, gid = os.getuid(), os.getgid()
    if uid != 0 or libc.unshare(_NEWNS) != 0:
        if libc.unshare(_NEWUSER | _NEWNS) != 0:
            return False
        try:
            for name, text in (
                ("setgroups", "deny"),
                ("uid_map", f"{uid} {uid} 1"),
                ("gid_map", f"{gid} {gid} 1"),
            ):
                with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                    file.write(text)
        except OSError:
            return False
    _mount("none", "/", None, _REC | _PRIVATE, None)
    return True


def _overlay(task: Task) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    root, scratch = os.path.realpath(task.root), task.scratch
    cwd = os.getcwd()
    try:
        if not _private_namespace():
            return False
        os.chdir("/")
        inner = _mounts_inside(root)
        for place, path in enumerate(inner):
            _mount_bind(path, os.path.join(scratch, f"mount{place}"))
        store = os.path.join(scratch, "store")
        _mount_bind(task.store, store)
        _mount_overlay([task.tree, root], root, scratch, "root")
        for place, path in enumerate(inner):
            if os.path.isdir(path) and not path.startswith(os.path.join(root, STORE)):
                _mount_overlay([os.path.join(scratch, f"mount{place}")], path, scratch, f"inner{place}")
        own = os.path.join(root, STORE)
        os.makedirs(own, exist_ok=True)
        if os.path.realpath(task.store) == own:
            _mount_bind(store, own)
        for place, path in enumerate(task.linked):
            if os.path.isdir(path):
                _mount_overlay([path], path, scratch, f"linked{place}")
        _as_it_was(task, root)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EINVAL, errno.ENODEV, errno.ENOSYS, errno.EACCES):
            os.chdir(cwd)
            return False
        raise ReplayError(f"the sandbox cannot be made: {error}") from error
    return True


def _mount_bind(source: str, target: str) -> None:
    os.makedirs(target, exist_ok=True)
    _mount(source, target, None, _BIND | _REC, None)


def _mount_overlay(lower: Sequence[str], target: str, scratch: str, name: str) -> None:
    upper, work = os.path.join(scratch, f"{name}.upper"), os.path.join(scratch, f"{name}.work")
    os.makedirs(upper, exist_ok=True)
    os.makedirs(work, exist_ok=True)
    layers = ":".join(path.replace("\\", "\\\\").replace(":", "\\:") for path in lower)
    options = f"lowerdir={layers},upperdir={upper},workdir={work}"
    if "," in "".join(lower) + scratch:
        raise OSError(errno.EINVAL, "a path with a comma cannot be an overlay's layer", target)
    _mount("overlay", target, "overlay", 0, options)


def _mounts_inside(root: str) -> list[str]:
    """File systems mounted below the project's root (an overlay over the root would show them empty)."""
    found = []
    with contextlib.suppress(OSError), open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            path = line.split()[4].encode().decode("unicode_escape")
            if path.startswith(root + os.sep):
                found.append(path)
    return found


def _as_it_was(task: Task, root: str) -> None:
    """Take away what the run did not find, and cut what has grown since: both stay in the overlay's upper layer."""
    folders = set()
    hidden, grown = _unseen(task)
    for path, size in grown.items():
        os.truncate(os.path.join(root, path), size)
    for path in hidden:
        full = os.path.join(root, path)
        with contextlib.suppress(OSError):
            os.unlink(full)
        folders.add(os.path.dirname(path))
    for folder in sorted(folders, key=len, reverse=True):
        while folder:
            try:
                os.rmdir(os.path.join(root, folder))
            except OSError:
                break
            folder = os.path.dirname(folder)


def _unseen(task: Task) -> tuple[Sequence[str], Mapping[str, int]]:
    """The files that this task must not see, and the lengths of those that it must see cut.

    A part of a run starts in the middle: it sees what came later, and gives up when it reads that (`reads.ReadWatch`).
    """
    states = task.states
    if task.segment.kind != "whole":
        return states.hidden, {}
    return [*states.hidden, *sorted(states.new)], states.grown


# -- links --------------------------------------------------------------------------------------------------------------


def _links(task: Task) -> str:
    tree = os.path.join(task.scratch, "tree")
    if not os.path.isdir(tree):
        shutil.copytree(task.tree, tree, symlinks=True)
    unseen, grown = _unseen(task)
    hidden = set(unseen)
    count = copied = 0
    for base, folders, files in os.walk(task.root):
        here = os.path.relpath(base, task.root)
        here = "" if here == "." else here
        folders[:] = [name for name in folders if not (here == "" and name in (STORE, ".git"))]
        for name in list(folders):
            source = os.path.join(base, name)
            if os.path.islink(source) or name in (".venv", "venv", "node_modules") or count > MANY_LINKS:
                folders.remove(name)
                _link(source, os.path.join(tree, here, name))
        for name in files:
            source, target = os.path.join(base, name), os.path.join(tree, here, name)
            path = os.path.join(here, name)
            if path in hidden or os.path.lexists(target):
                continue
            count += 1
            size = os.lstat(source).st_size
            if path in grown:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copy2(source, target)
                os.truncate(target, grown[path])
            elif os.path.isfile(source) and not os.path.islink(source) and copied + size <= COPIED_BYTES:
                copied += size
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copy2(source, target)
            else:
                _link(source, target)
    _copy_on_write(task)
    return tree


def _link(source: str, target: str) -> None:
    if os.path.lexists(target):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    os.symlink(source, target)


def _copy_on_write(task: Task) -> None:
    root = os.path.realpath(task.root) + os.sep
    store = os.path.realpath(task.store) + os.sep

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(path, (str, bytes, os.PathLike)) or not isinstance(flags, int) or not flags & CHANGING:
                return
            path = os.fsdecode(path)
            real = os.path.realpath(path)
            if os.path.islink(path) and os.path.isfile(real) and real.startswith(root):
                os.unlink(path)
                shutil.copy2(real, path)
                return
        elif event in ("os.truncate", "os.chmod", "os.utime"):
            if not isinstance(arguments[0], (str, bytes, os.PathLike)):
                return
            real = os.path.realpath(os.fsdecode(arguments[0]))
        else:
            return
        if real.startswith(root) and not real.startswith(store):
            raise PermissionError(errno.EACCES, "a replay does not write to the user's files", real)

    sys.addaudithook(hook)


def written(task: Task, since: float) -> dict[str, str]:
    """The files that the script wrote in this task's sandbox, by path relative to the root. `since`: unix seconds.

    Without an overlay those that are newer than `since`.
    """
    upper, tree = os.path.join(task.scratch, "root.upper"), os.path.join(task.scratch, "tree")
    overlaid = os.path.isdir(upper)
    base = upper if overlaid else tree
    found = {}
    for folder, folders, files in os.walk(base):
        here = os.path.relpath(folder, base)
        folders[:] = [name for name in folders if not (here == "." and name in (STORE, ".git"))]
        for name in files:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            # Not what an overlay keeps of deleted files, nor what was cut to its former length before the script ran.
            if stat.S_ISREG(status.st_mode) and status.st_mtime >= since and "__pycache__" not in here:
                found[os.path.normpath(os.path.join(here, name))] = path
    return found


def discard(folder: str) -> None:
    """Remove a scratch folder, with the unreadable work folders that overlays leave."""

    def again(function: object, path: str, info: object) -> None:
        with contextlib.suppress(OSError):
            os.chmod(path, 0o700)
            os.rmdir(path) if os.path.isdir(path) else os.unlink(path)

    shutil.rmtree(folder, onerror=again)
    shutil.rmtree(folder, ignore_errors=True)
