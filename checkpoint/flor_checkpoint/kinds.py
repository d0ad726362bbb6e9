"""What kind of thing a type's instances are to a checkpoint: one word per type, decided once."""

from __future__ import annotations

import collections
import copyreg
import csv
import functools
import io
import itertools
import random
import sys
import types
import weakref
from typing import Any

from flor_checkpoint.leaves import Encoder, leaf_encoder
from flor_checkpoint.project import Project

KEEP_ROOTS = frozenset(
    [
        "flor",
        "flor_replay",
        "flor_checkpoint",
        "flor_instrument",
        "logging",
        "threading",
        "_thread",
        "socket",
        "ssl",
        "select",
        "selectors",
        "multiprocessing",
        "_multiprocessing",
        "concurrent",
        "asyncio",
        "subprocess",
        "_io",
        "tqdm",
        "wandb",
        "mlflow",
        "tensorboard",
        "tensorboardX",
        "comet_ml",
        "neptune",
        "clearml",
        "aim",
        "rich",
        "click",
        "typing",
        "_typing",
        "inspect",
        "ctypes",
        "_ctypes",
        "git",
        "requests",
        "urllib3",
        "http",
        "boto3",
        "botocore",
        "matplotlib",
        "importlib",
        "_frozen_importlib",
        "_frozen_importlib_external",
        "zipimport",
        "signal",
        "atexit",
        "contextvars",
        "tempfile",
    ]
)
"""Packages whose objects stay as they are: resources, writers, progress bars and the like."""

KEEP_PREFIXES = (
    "torch.utils.tensorboard",
    "torch.cuda.streams",
    "torch.utils.data._utils",
    "torch._C._profiler",
)

HELD_KINDS = frozenset(
    {
        "function",
        "class",
        "keep",
        "file",
        "csv_writer",
        "named",
        "builtin",
        "method",
        "opaque",
        "dataset",
        "loader",
        "generator",
        "iterator",
    }
)
"""Kinds that a restore takes from the process as they are, whole or in part: a mistaken identity would go unseen."""

_ITERATORS: frozenset[type] = frozenset(
    {
        type(iter([])), type(iter(())), type(iter("")), type(iter("\xe9")), type(iter(b"")), type(iter(range(0))),
        type(iter(range(2**70))), type(iter({})), type(iter({}.values())), type(iter({}.items())), type(iter(set())),
        type(reversed([])), type(iter(bytearray())), enumerate, zip, map, filter, reversed, itertools.count,
        itertools.cycle, itertools.chain, itertools.islice, itertools.repeat, itertools.product,
        itertools.permutations, itertools.combinations, itertools.accumulate, itertools.zip_longest,
        itertools.starmap, itertools.takewhile, itertools.dropwhile, itertools.compress,
    }
)  # fmt: skip

_BUILTIN: dict[type, str] = {
    list: "list",
    dict: "dict",
    set: "set",
    frozenset: "frozenset",
    tuple: "tuple",
    collections.deque: "deque",
    collections.OrderedDict: "dict",
    collections.defaultdict: "dict",
    collections.Counter: "dict",
    bytearray: "bytearray",
    types.FunctionType: "function",
    types.MethodType: "method",
    types.BuiltinFunctionType: "builtin",
    types.MethodWrapperType: "opaque",
    types.WrapperDescriptorType: "named",
    types.MethodDescriptorType: "named",
    type(functools.lru_cache(int)): "named",
    functools.partial: "partial",
    types.CellType: "cell",
    types.ModuleType: "keep",
    types.CodeType: "keep",
    types.FrameType: "keep",
    types.TracebackType: "keep",
    types.MappingProxyType: "proxy",
    types.SimpleNamespace: "object",
    types.GeneratorType: "generator",
    types.CoroutineType: "generator",
    types.AsyncGeneratorType: "generator",
    property: "keep",
    staticmethod: "keep",
    classmethod: "keep",
    weakref.ref: "weakref",
    random.Random: "random",
    random.SystemRandom: "keep",
    io.StringIO: "opaque",
    io.BytesIO: "opaque",
    type(csv.writer(io.StringIO())): "csv_writer",
}


class TypeBook:
    """The kinds and leaf encoders of all types met so far."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._kinds: dict[type, str] = {}
        self.leaves: dict[type, tuple[str, Encoder] | None] = {}

    def leaf(self, cls: type) -> tuple[str, Encoder] | None:
        """The leaf encoder of a type, or None."""
        try:
            return self.leaves[cls]
        except KeyError:
            self.leaves[cls] = found = leaf_encoder(cls)
            return found

    def kind(self, cls: type) -> str:
        """The kind of a type's instances."""
        kind = self._kinds.get(cls)
        if kind is None:
            kind = self._kinds[cls] = self._classify(cls)
        return kind

    def _classify(self, cls: type) -> str:
        known = _BUILTIN.get(cls)
        if known is not None:
            return known
        if cls in _ITERATORS:
            return "iterator"
        if issubclass(cls, type):
            return "class"
        framework = _torch_kind(cls) or _numpy_kind(cls)
        if framework is not None:
            return framework
        if issubclass(cls, io.IOBase):
            return "file"
        module = getattr(cls, "__module__", "")
        if not self.project.owns(module) and _is_kept(str(module)):
            return "keep"
        return self._by_layout(cls)

    def _by_layout(self, cls: type) -> str:
        if issubclass(cls, types.ModuleType | weakref.ref):
            return "keep"
        for base, kind in (
            (dict, "dict"),
            (list, "list"),
            (set, "set"),
            (frozenset, "frozenset"),
            (tuple, "tuple"),
            (collections.deque, "deque"),
            (random.Random, "random"),
        ):
            if issubclass(cls, base):
                return kind
        if cls in copyreg.dispatch_table or not is_python_layout(cls) or _is_index(cls):
            return "opaque"
        return "own_iterator" if hasattr(cls, "__next__") else "object"


def _is_index(cls: type) -> bool:
    """Whether it is one of pandas' immutable indices: some hold what only their own pickling leaves out."""
    pandas: Any = sys.modules.get("pandas")
    return pandas is not None and hasattr(pandas, "Index") and issubclass(cls, pandas.Index)


def is_python_layout(cls: type) -> bool:
    """Whether instances hold nothing but ``__dict__`` and slots, so that these are their whole state."""
    if not cls.__flags__ & (1 << 9) or cls.__itemsize__:
        return False
    pointers = (cls.__dictoffset__ > 0) + (cls.__weakrefoffset__ > 0) + len(slots_of(cls))
    return cls.__basicsize__ == object.__basicsize__ + 8 * pointers


def slots_of(cls: type) -> dict[str, types.MemberDescriptorType]:
    """The slots of a class and its bases, by name; an inherited one of the same name as ``Base.name``."""
    found: dict[str, types.MemberDescriptorType] = {}
    for base in cls.__mro__:
        for name, member in base.__dict__.items():
            if type(member) is types.MemberDescriptorType:
                found[name if name not in found else f"{base.__qualname__}.{name}"] = member
    return found


def _is_kept(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in KEEP_ROOTS or module.startswith(KEEP_PREFIXES)


def _torch_kind(cls: type) -> str | None:
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "Tensor"):
        return None
    if issubclass(cls, torch.Tensor):
        return "tensor"
    if issubclass(cls, torch.nn.Module):
        return "opaque" if issubclass(cls, torch.jit.ScriptModule) else "nnmodule"
    if issubclass(cls, torch.optim.Optimizer):
        return "optimizer"
    if issubclass(cls, torch.Generator):
        return "torch_generator"
    if issubclass(cls, torch.utils.data.DataLoader):
        return "loader"
    if issubclass(cls, torch.utils.data.Dataset):
        return "dataset"
    if cls.__module__ == "torch.utils.data.dataloader" and cls.__name__ == "_MultiProcessingDataLoaderIter":
        return "workers"
    if cls.__module__ == "torch.utils.data._utils.fetch":
        return "object"
    return None


def _numpy_kind(cls: type) -> str | None:
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "ndarray"):
        return None
    if issubclass(cls, numpy.ndarray):
        return "array"
    if issubclass(cls, numpy.ufunc):
        return "keep"
    generators: Any = sys.modules.get("numpy.random")
    if generators is not None and issubclass(cls, generators.BitGenerator | generators.RandomState):
        return "numpy_state"
    if generators is not None and issubclass(cls, generators.Generator):
        return "numpy_generator"
    return None
