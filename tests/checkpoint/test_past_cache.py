"""What is written past the page cache is what was to be written, whatever the disk says to it."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest
from flor_checkpoint import past_cache
from hypothesis import given, settings
from hypothesis import strategies as st


def pieces_of(sizes: list[int]) -> list[bytes | memoryview]:
    found: list[bytes | memoryview] = [os.urandom(size) for size in sizes]
    return [memoryview(piece)[0:] if index % 2 else piece for index, piece in enumerate(found)]


def written(path: Path, pieces: list[bytes | memoryview], **options: bool) -> bytes:
    with open(path, "wb", buffering=0) as file:
        past_cache.write(file.fileno(), pieces, sum(map(len, pieces)), **options)
    return path.read_bytes()


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.one_of(st.integers(0, 20), st.integers(0, 20_000)), max_size=8),
    block=st.sampled_from([4096, 1000]),
)
def test_all_bytes_arrive_whether_or_not_the_disk_takes_such_blocks(
    sizes: list[int], block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pieces = pieces_of(sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(past_cache, "_LARGE_BYTES", 0)
        patch.setattr(past_cache, "_PIECE_BYTES", block)
        assert written(tmp_path_factory.mktemp("w") / "pack", pieces) == b"".join(pieces)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked for it")
def test_large_files_go_past_the_cache_and_the_last_of_a_loop_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    try:
        os.close(os.open(tmp_path / "asked", os.O_CREAT | os.O_WRONLY | os.O_DIRECT))
    except OSError:
        pytest.skip("this file system knows only its cache")
    flags: list[int] = []
    write = os.write

    def noting(descriptor: int, data: memoryview) -> int:
        flags.append(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", noting)
    pieces = pieces_of([8, 17 << 20])
    assert written(tmp_path / "pack", pieces) == b"".join(pieces)
    assert all(flags[:-1]) and not flags[-1]  # what is left over at the end is no whole block
    flags.clear()
    assert written(tmp_path / "last", pieces, cached=True) == b"".join(pieces)
    assert not any(flags)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.one_of(st.integers(0, 20), st.integers(0, 30_000)), min_size=1, max_size=12),
    apart=st.sets(st.integers(1, 11)),
    at=st.integers(0, 5000),
    before=st.integers(1, 5000),
)
def test_what_lies_in_one_stretch_of_memory_arrives(
    sizes: list[int], apart: set[int], at: int, before: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Pieces that follow one another in memory, but for gaps before some."""
    memory = memoryview(bytearray(os.urandom(at + sum(sizes) + 7 * len(sizes))))
    pieces: list[bytes | memoryview] = []
    for index, size in enumerate(sizes):
        at += 7 if index in apart else 0
        pieces.append(memory[at : at + size])
        at += size
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(past_cache, "_LARGE_BYTES", 0)
        patch.setattr(past_cache, "_PIECE_BYTES", 8192)
        patch.setattr(past_cache, "_WORTH_BYTES", 4096)
        head = os.urandom(before)
        head += b" " * past_cache.padding(before, pieces)
        assert written(tmp_path_factory.mktemp("w") / "pack", [head, *pieces]) == b"".join([head, *pieces])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked for it")
def test_a_large_stretch_is_written_from_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = memoryview(bytearray(os.urandom(20 << 20)))
    pieces: list[bytes | memoryview] = [memory[:100], memory[100 : 5 << 20], memory[5 << 20 :]]
    copied: list[int] = []
    copy = past_cache.ctypes.memmove
    monkeypatch.setattr(past_cache.ctypes, "memmove", lambda to, at, size: copied.append(size) or copy(to, at, size))
    head = b"h" * 37
    head += b" " * past_cache.padding(len(head), pieces)
    try:
        os.close(os.open(tmp_path / "asked", os.O_CREAT | os.O_WRONLY | os.O_DIRECT))
    except OSError:
        pytest.skip("this file system knows only its cache")
    assert written(tmp_path / "pack", [head, *pieces]) == head + bytes(memory)
    assert sum(copied) <= 3 * 4096


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, left = os.write, 6 << 20

    def until_full(descriptor: int, data: memoryview) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = write(descriptor, data[:left])
        left -= done
        return done

    monkeypatch.setattr(os, "write", until_full)
    with pytest.raises(OSError, match="No space"):
        written(tmp_path / "pack", pieces_of([20 << 20]))
