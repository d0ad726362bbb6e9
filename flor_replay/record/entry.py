"""How this process was started, so that a replay can start it the same way."""

from __future__ import annotations

import os
import platform
import socket
import sys

from flor_replay.project import main_file, relative

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Variables that change what a training script computes. Anything else of the environment stays out of the store:
# secrets live there.
ENVIRONMENT = (
    "CUBLAS_WORKSPACE_CONFIG", "CUDA_VISIBLE_DEVICES", "FLOR_ARGS", "LANG", "LC_ALL", "LOCAL_RANK", "MKL_CBWR",
    "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED",
    "PYTORCH_CUDA_ALLOC_CONF", "RANK", "TF_DETERMINISTIC_OPS", "TOKENIZERS_PARALLELISM", "TZ", "WORLD_SIZE",
)  # fmt: skip
PACKAGES = (
    "torch",
    "numpy",
    "sklearn",
    "scipy",
    "pandas",
    "torchvision",
    "transformers",
    "lightning",
    "jax",
    "tensorflow",
)


def how_started(root: str) -> dict[str, Any]:
    """Kind ("script", "module", "interactive"), what was run, arguments, working directory, interpreter flags."""
    script = main_file()
    entry: dict[str, Any] = {
        "argv": sys.argv[1:],
        "cwd": relative(os.getcwd(), root),
        "flags": interpreter_flags(),
        "paths": import_paths(root),
    }
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if script is None:
        entry["kind"] = "interactive"
        entry["path"] = _notebook() or "<interactive>"
    elif spec is not None and spec.name:
        name = spec.name
        entry["kind"] = "module"
        entry["module"] = name[: -len(".__main__")] if name.endswith(".__main__") else name
        entry["path"] = relative(script, root)
    else:
        entry["kind"] = "script"
        entry["path"] = relative(script, root)
    return entry


def hosted(root: str, application: str) -> dict[str, Any]:
    """As `how_started`, of the project's file `application` that an installed program (gunicorn, flask) runs."""
    entry = how_started(root)
    return {
        **entry,
        "kind": "hosted",
        "program": os.path.basename(main_file() or sys.argv[0]),
        "path": relative(application, root),
    }


def import_paths(root: str) -> list[str]:
    """The folders of PYTHONPATH, as the project names them."""
    known = os.environ.get("PYTHONPATH")
    return [relative(path, root) for path in known.split(os.pathsep)] if known else []


def _notebook() -> str | None:
    main = sys.modules.get("__main__")
    path = getattr(main, "__vsc_ipynb_file__", None) or os.environ.get("JPY_SESSION_NAME")
    return os.path.basename(path) if path else None


def interpreter_flags() -> list[str]:
    """Flags of the interpreter that change what code does (``-O``, ``-X``, ``-W`` …)."""
    flags: list[str] = []
    arguments = iter(getattr(sys, "orig_argv", [])[1:])
    for argument in arguments:
        if not argument.startswith("-") or argument in ("-m", "-c", "-"):
            break
        if argument in ("-X", "-W"):
            flags += [argument, next(arguments, "")]
        elif argument.startswith(("-O", "-X", "-W", "-I", "-E", "-s", "-S", "-B", "-b")):
            flags.append(argument)
    return flags


def world() -> tuple[int, int]:
    """(rank, size) of the process group that torch.distributed has set up in this process; (0, 1) where there is none."""
    distributed: Any = sys.modules.get("torch.distributed")
    try:
        if distributed is not None and distributed.is_available() and distributed.is_initialized():
            return int(distributed.get_rank()), int(distributed.get_world_size())
    except (AttributeError, RuntimeError, ValueError):  # half imported, or being taken down
        pass
    return 0, 1


def rank() -> int:
    """This process's number among those that train together; a RANK alone may mean anything."""
    mine, size = world()
    if size > 1:
        return mine
    for own, total in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        number, all_of_them = os.environ.get(own, ""), os.environ.get(total, "")
        if number.isdigit() and all_of_them.isdigit() and int(all_of_them) > 1:
            return int(number)
    return 0


def environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}


def machine() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "executable": sys.executable,
        "platform": sys.platform,
        "machine": os.uname().machine if hasattr(os, "uname") else "",
        "cpus": os.cpu_count(),
    }


def packages() -> dict[str, str]:
    """Versions of the libraries that this process has imported and that decide what it computes."""
    found = {}
    for name in PACKAGES:
        module = sys.modules.get(name)
        version = getattr(module, "__version__", None)
        if version is not None:
            found[name] = str(version)
    return found


def imported() -> list[str]:
    """Those libraries and their packages, two names deep, in the order in which they were imported."""
    found = []
    for name, module in list(sys.modules.items()):
        root, _, rest = name.partition(".")
        if root in PACKAGES and "." not in rest and hasattr(module, "__path__"):
            found.append(name)
    return found


def compute() -> dict[str, Any]:
    """Threads and devices: they decide the last bits of a sum."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_num_threads"):
        return {}
    found: dict[str, Any] = {"torch_threads": torch.get_num_threads()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        found["device"] = torch.cuda.get_device_name()
    return found
