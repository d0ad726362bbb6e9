"""Random generators and the other state that a process has once: out as plain data, and back in."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Mapping
from typing import Any


def plain(state: Any) -> object:
    """A numpy bit generator's state with its arrays as tagged tuples."""
    if isinstance(state, dict):
        return {key: plain(value) for key, value in state.items()}
    if isinstance(state, tuple):
        return tuple(plain(value) for value in state)
    if hasattr(state, "dtype") and hasattr(state, "tobytes"):
        return ("ndarray", state.dtype.str, tuple(state.shape), state.tobytes())
    return state


def unplain(state: Any) -> Any:
    """The inverse of `plain`."""
    if isinstance(state, dict):
        return {key: unplain(value) for key, value in state.items()}
    if isinstance(state, tuple):
        if len(state) == 4 and state[0] == "ndarray":
            numpy: Any = sys.modules["numpy"]
            return numpy.frombuffer(state[3], dtype=state[1]).reshape(state[2]).copy()
        return tuple(unplain(value) for value in state)
    return state


def torch_state_bytes(tensor: Any) -> bytes:
    """A generator's state tensor as bytes."""
    return bytes(tensor.contiguous().numpy())


def torch_state_tensor(state: bytes) -> Any:
    """The inverse of `torch_state_bytes`."""
    torch: Any = sys.modules["torch"]
    return torch.frombuffer(bytearray(state), dtype=torch.uint8)


def process_state(environ: Mapping[str, str] | None = None) -> dict[str, object]:
    """The random generators' states and the settings that a process has once, as plain data.

    What belongs to numpy or torch is there only if the script has imported it. `environ`: the environment variables at loop
    entry; those that have changed since are in it, no others: they may be secrets.
    """
    state: dict[str, object] = {"python": random.getstate(), "cwd": _cwd()}
    if environ is not None:
        now = dict(os.environ)
        changed = {name: now.get(name) for name in {*now, *environ} if now.get(name) != environ.get(name)}
        state["environ"] = dict(sorted(changed.items()))
    generators: Any = sys.modules.get("numpy.random")
    if generators is not None:
        state["numpy"] = plain(generators.get_state(legacy=False))
    torch: Any = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_rng_state"):
        state["torch"] = _torch_state(torch)
    return state


def restore_process_state(state: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> None:
    """Put back what `process_state` returned; `environ`: the environment variables at this process's loop entry."""
    if environ is not None and "environ" in state:
        for name, value in {**dict.fromkeys(os.environ), **environ, **state["environ"]}.items():
            if value is None:
                os.environ.pop(name, None)
            elif os.environ.get(name) != value:
                os.environ[name] = value
    random.setstate(state["python"])
    cwd = state.get("cwd")
    if isinstance(cwd, str) and cwd != _cwd() and os.path.isdir(cwd):
        os.chdir(cwd)
    if "numpy" in state:
        import numpy

        numpy.random.set_state(unplain(state["numpy"]))
    if "torch" in state:
        import torch

        _restore_torch(torch, state["torch"])


def _cwd() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def _torch_state(torch: Any) -> dict[str, object]:
    state: dict[str, object] = {
        "cpu": torch_state_bytes(torch.get_rng_state()),
        "grad": torch.is_grad_enabled(),
        "dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "deterministic_warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
    }
    if torch.cuda.is_initialized():
        state["cuda"] = tuple(torch_state_bytes(part) for part in torch.cuda.get_rng_state_all())
    mps = getattr(torch, "mps", None)
    if mps is not None and torch.backends.mps.is_available():
        state["mps"] = torch_state_bytes(mps.get_rng_state())
    return state


def _restore_torch(torch: Any, state: Mapping[str, Any]) -> None:
    torch.set_rng_state(torch_state_tensor(state["cpu"]))
    torch.set_grad_enabled(state["grad"])
    torch.set_default_dtype(getattr(torch, state["dtype"]))
    torch.use_deterministic_algorithms(state["deterministic"], warn_only=state["deterministic_warn_only"])
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = state["cudnn"]
    if "cuda" in state and torch.cuda.is_available():
        for index, part in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(torch_state_tensor(part), index)
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(torch_state_tensor(state["mps"]))
