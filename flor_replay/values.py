"""Logged values to stored fields and back, with their types.

A value is stored as (kind, number, text): ``float`` and ``int`` in `number` where they fit (a float64, an int64),
everything else in `text`. Files are named by a digest of their content, so equal values have equal fields. Kinds:

=========  ==============================================================================
bool       number 0 or 1
int        number; beyond int64 the digits in text: decimal, or hexadecimal (0x…) where there are thousands
float      number; nan, inf, -inf in text
str        text; "wstr" where it holds lone surrogates: text is its JSON escape
none       nothing
json       text: lists, tuples (as lists), dicts with text keys, nested
array      text: {"dtype", "shape", "data"} of a small array
npy        text: file name under the run's ``files/`` folder, an array in numpy's format
file       text: "<kind> <file name>": the text of a value of that kind, too large for a record, in a file as above
bytes      text: base64
repr       text: repr() of something that cannot be kept; a warning was given
=========  ==============================================================================
"""

from __future__ import annotations

import json
import math
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Keep = Callable[[bytes, str], str]  # writes bytes to a file of the run with this suffix, returns its name

Fields = tuple[str, "int | float | None", "str | None"]

_INT64 = 1 << 63
_DIGITS_BITS = 2048  # Python refuses to write much longer numbers in decimal
SMALL_ARRAY = 256  # elements; larger ones become files
LARGE_TEXT = 1 << 20  # characters of stored text; longer ones become files
_DEPTH = 64


class _Unkept(Exception):  # noqa: N818
    """Raised inside the encoder where an object has no stored form."""


def encode(value: object, keep: Keep, warn: Callable[[str], None]) -> Fields:
    """`value` as stored fields, taken now: later changes to a list or an array do not show.

    `keep` writes bytes to a file of the run, named by their digest, and returns its name. Never raises for any value.
    """
    try:
        fields = _encode(value, keep)
        text = fields[2]
        if text is not None and len(text) > LARGE_TEXT:
            return "file", None, f"{fields[0]} {keep(text.encode(), '.txt')}"
        return fields
    except Exception:
        try:
            text = str(repr(value))
        except Exception:
            text = f"<{type(value).__name__} without repr>"
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        warn(f"a value of type {kind} cannot be kept: its repr is logged instead")
        return "repr", None, _clean(text[:LARGE_TEXT])


def encode_plain(value: object) -> Fields:
    """The stored fields of a float, an int, a bool, a str of moderate length or None."""
    if type(value) is float:
        return _float(value)
    return _encode(value, _keep_nothing)


def _keep_nothing(_data: bytes, _suffix: str) -> str:
    raise AssertionError("a plain value needs no file")


def _encode(value: object, keep: Keep) -> Fields:
    if value is None:
        return "none", None, None
    kind = type(value)
    if kind is float:
        return _float(value)  # type: ignore[arg-type]
    if kind is bool:
        return "bool", int(value), None  # type: ignore[call-overload]
    if kind is int:
        return _int(value)  # type: ignore[arg-type]
    if kind is str:
        return _str(value)  # type: ignore[arg-type]
    if isinstance(value, (list, tuple, dict, set, frozenset)):
        text = json.dumps(_plain(value, 0), ensure_ascii=True)
        return "json", None, text
    array = _as_array(value)
    if array is not None:
        return _array(array, keep)
    if isinstance(value, bool):
        return "bool", int(value), None
    if isinstance(value, int):
        return _int(int(value))
    if isinstance(value, float):
        return _float(float(value))
    if isinstance(value, str):
        return _str(str.__str__(value))
    if isinstance(value, (bytes, bytearray)):
        import base64

        return "bytes", None, base64.b64encode(bytes(value)).decode()
    if isinstance(value, os.PathLike):
        return _str(os.fspath(value))
    raise _Unkept


def _float(value: float) -> Fields:
    if math.isfinite(value):
        return "float", value, None
    return "float", None, repr(value)


def _int(value: int) -> Fields:
    if -_INT64 <= value < _INT64:
        return "int", value, None
    return "int", None, str(value) if value.bit_length() < _DIGITS_BITS else hex(value)


def _str(value: str) -> Fields:
    try:
        value.encode()
    except UnicodeEncodeError:
        return "wstr", None, json.dumps(value)
    if "\x00" in value:
        return "wstr", None, json.dumps(value)
    return "str", None, value


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def clean_name(name: object) -> str:
    """A name as stored: text without lone surrogates, NULs, and the separator that readers use."""
    text = name if isinstance(name, str) else str(name)
    return _clean(text).replace("\x1f", "\\x1f")


def _as_array(value: object) -> Any:
    """`value` as a numpy array or scalar if it is an array or a tensor of any library; None if not."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        return value
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        tensor = value.detach()
        if tensor.is_sparse or tensor.is_quantized:
            tensor = tensor.to_dense() if tensor.is_sparse else tensor.dequantize()
        tensor = tensor.cpu().resolve_conj().resolve_neg()
        if tensor.ndim == 0:
            return tensor.item()
        try:
            return tensor.numpy()
        except TypeError:  # bfloat16 and the 8-bit kinds: every value of theirs is a float32 too
            return tensor.float().numpy()
    if hasattr(value, "__array__") and hasattr(value, "dtype") and hasattr(value, "shape"):
        import numpy as np

        return np.asarray(value)
    return None


def _array(array: Any, keep: Keep) -> Fields:
    if type(array) in (bool, int, float, complex):  # numpy's float64 is a float too, and must not come back here
        return _encode(array, keep)
    if array.ndim == 0:
        item = array.item()
        if type(item) in (bool, int, float, str, bytes):
            return _encode(item, keep)
        raise _Unkept
    if array.dtype.hasobject:
        return "json", None, json.dumps(_plain(array.tolist(), 0))
    if array.size <= SMALL_ARRAY and array.dtype.kind in "biuf":
        data = {"dtype": array.dtype.str, "shape": list(array.shape), "data": array.ravel().tolist()}
        return "array", None, json.dumps(data)
    import io

    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return "npy", None, keep(buffer.getvalue(), ".npy")


def _plain(value: Any, depth: int) -> Any:
    """`value` as JSON can say it."""
    if depth > _DEPTH:
        raise _Unkept
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if isinstance(value, dict):
        plain = {_key(k): _plain(v, depth + 1) for k, v in value.items()}
        if len(plain) < len(value):  # 1 and "1": one of them would be lost
            raise _Unkept
        return plain
    if isinstance(value, (list, tuple)):
        return [_plain(v, depth + 1) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(v, depth + 1) for v in value), key=lambda v: (str(type(v)), str(v)))
    array = _as_array(value)
    if array is not None:
        return array if isinstance(array, (bool, int, float)) else array.tolist()
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise _Unkept


def _key(key: object) -> str:
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, (bool, int, float)):
        return str(key)
    raise _Unkept


def decode(kind: str, number: int | float | None, text: str | None, files: str | None = None) -> Any:
    """The value that was encoded; `files` is the folder of the run's files."""
    if kind == "float":
        return float(text) if number is None else float(number)  # type: ignore[arg-type]
    if kind == "int":
        return int(text, 0) if number is None else int(number)  # type: ignore[arg-type]
    if kind == "bool":
        return bool(number)
    if kind in ("str", "repr"):
        return text
    if kind == "none":
        return None
    if kind in ("json", "wstr"):
        return json.loads(text or "null")
    if kind == "array":
        import numpy as np

        data = json.loads(text or "{}")
        return np.array(data["data"], dtype=np.dtype(data["dtype"])).reshape(data["shape"])
    if kind == "npy":
        import numpy as np

        path = os.path.join(files or "", text or "")
        try:
            _check(path)
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            return f"<array file {path} cannot be read: {error}>"
    if kind == "file":
        inner, _, name = (text or "").partition(" ")
        path = os.path.join(files or "", name)
        try:
            _check(path)
            with open(path, encoding="utf-8", newline="") as file:
                return decode(inner, None, file.read())
        except (OSError, ValueError) as error:
            return f"<file {path} cannot be read: {error}>"
    if kind == "bytes":
        import base64

        return base64.b64decode(text or "")
    return text


def _check(path: str) -> None:
    """Raises ValueError where a file's content is not what its name says."""
    import xxhash

    hashing = xxhash.xxh3_128()
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(1 << 20):
            hashing.update(piece)
    if hashing.hexdigest() != os.path.splitext(os.path.basename(path))[0]:
        raise ValueError("its bytes have changed since it was written")


def same_bits(a: Fields, b: Fields) -> bool:
    """Whether two stored values are the same bits; nan equals nan, 0.0 is not -0.0, 1 is not 1.0."""
    if a[0] != b[0] or a[2] != b[2]:
        return False
    x, y = a[1], b[1]
    if isinstance(x, float) and isinstance(y, float):
        if math.isnan(x) or math.isnan(y):
            return math.isnan(x) and math.isnan(y)
        return x == y and math.copysign(1.0, x) == math.copysign(1.0, y)
    return x == y
