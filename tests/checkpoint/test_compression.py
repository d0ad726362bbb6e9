"""What is compressed comes back byte for byte, or is refused; and it is smaller, where numbers are in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flor_checkpoint import compression
from flor_checkpoint.compression import PAYS, Compression, compress, decompress
from flor_checkpoint.digest import digest
from flor_checkpoint.errors import BadCheckpoint
from flor_checkpoint.pack_reader import PackReader
from flor_checkpoint.packs import read_header, write_pack
from hypothesis import given
from hypothesis import strategies as st

RANDOM = np.random.default_rng(0)
FLOATS = (RANDOM.standard_normal(50_000) * 0.02).astype(np.float32)
CONTENTS = {
    "float32": FLOATS.tobytes(),
    "bfloat16": np.ascontiguousarray(FLOATS.view(np.uint16)[1::2]).tobytes(),
    "float64": np.cumsum(RANDOM.standard_normal(20_000)).tobytes(),
    "int64": np.arange(30_000).tobytes(),
    "zeros": bytes(100_001),
}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("chunk", [8 << 20, 10_007])
def test_numbers_become_smaller_and_come_back(name: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "_CHUNK_BYTES", chunk)
    done = compress(CONTENTS[name])
    assert done is not None
    stored = b"".join(done[0])
    assert len(stored) < PAYS * len(CONTENTS[name])
    assert decompress(stored, done[1]) == CONTENTS[name]


def test_bfloat16_shrinks_to_three_quarters() -> None:
    done = compress(CONTENTS["bfloat16"])
    assert done is not None
    assert len(CONTENTS["bfloat16"]) / sum(map(len, done[0])) > 1.3


@given(st.binary(max_size=300), st.integers(1, 300), st.binary(max_size=9))
def test_anything_comes_back(piece: bytes, times: int, end: bytes) -> None:
    content = piece * times + end
    done = compress(content)
    if done is None:
        return
    assert decompress(b"".join(done[0]), done[1]) == content


def test_noise_and_small_things_stay_as_they_are() -> None:
    assert compress(RANDOM.bytes(100_000)) is None
    assert compress(bytes(1_000)) is None
    assert compress(b"") is None


@given(st.data())
def test_damage_is_told_or_shows_in_the_digest(data: st.DataObject) -> None:
    content = CONTENTS["float32"]
    done = compress(content)
    assert done is not None
    stored = bytearray(b"".join(done[0]))
    kind = data.draw(st.sampled_from(["flip", "cut", "longer", "size", "width"]))
    form = done[1]
    if kind == "flip":
        stored[data.draw(st.integers(0, len(stored) - 1))] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del stored[data.draw(st.integers(0, len(stored) - 1)) :]
    elif kind == "longer":
        stored += data.draw(st.binary(min_size=1, max_size=20))
    elif kind == "size":
        form = Compression(
            form.width, data.draw(st.integers(0, 2 * form.bytes).filter(lambda size: size != form.bytes))
        )
    else:
        form = Compression(data.draw(st.sampled_from([0, 1, 2, 3, 8])), form.bytes)
    try:
        found = decompress(stored, form)
    except BadCheckpoint:
        return
    assert digest(found) != digest(content) or found == content


@pytest.mark.parametrize("text", ["lz4 4 10", "zstd 4", "zstd 4 10 2", "zstd a b", "", "zstd -1 4"])
def test_a_form_of_another_version_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="does not know"):
        Compression.parse(text)


def test_a_pack_holds_both(tmp_path: Path) -> None:
    plain, content = b"plain" * 10, CONTENTS["float32"]
    done = compress(content)
    assert done is not None
    names = digest(plain), digest(content)
    pack, size = write_pack(tmp_path, [(names[0], [plain]), (names[1], done[0])], {names[1]: done[1]})
    assert size == (tmp_path / pack).stat().st_size
    assert [place.compressed for place in read_header(tmp_path / pack)[0].values()] == [None, done[1]]
    read = PackReader(tmp_path).read_all(dict.fromkeys(names, pack))
    assert [bytes(read[name]) for name in names] == [plain, content]
    data = bytearray((tmp_path / pack).read_bytes())
    data[-100] ^= 1
    (tmp_path / pack).write_bytes(data)
    with pytest.raises(BadCheckpoint, match="damaged"):
        PackReader(tmp_path).read(names[1], pack)


def test_a_size_that_somebody_made_up_allocates_nothing() -> None:
    done = compress(CONTENTS["zeros"])
    assert done is not None
    with pytest.raises(BadCheckpoint, match="does not fit"):
        decompress(b"".join(done[0]), Compression(1, 1 << 60))
    with pytest.raises(BadCheckpoint, match="another one"):
        decompress(b"".join(done[0]), Compression(1, 50_000))
