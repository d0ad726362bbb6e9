"""Which libraries a warm parent may import ahead of the script, and which settings come too late then."""

from __future__ import annotations

from collections.abc import Sequence

from flor_replay.store.runs import Run

LIBRARIES = frozenset({"torch", "numpy", "scipy", "sklearn", "pandas", "torchvision", "transformers", "lightning"})
# What their imports may start: processes and threads that compile.
_NEVER = ("torch._inductor", "torch.distributed.elastic", "torch.utils.tensorboard")
# Variables that libraries read while they are imported, by how they begin. A script that sets one before it imports its
# libraries finds them imported in a child of a nursery: it is run in a fresh process then.
SENSITIVE = (
    "ATEN", "BLIS", "CUBLAS", "CUDA", "CUDNN", "DNNL", "GLIBC", "GOMP", "GOTO", "JAX", "JOBLIB", "KMP", "LANG", "LC_", "LD_",
    "LOKY", "MALLOC", "MKL", "NCCL", "NPY", "NUMEXPR", "NUMPY", "OMP", "ONEDNN", "OPENBLAS", "PANDAS", "PYTHON", "PYTORCH",
    "SCIPY", "SKLEARN", "TF_", "TORCH", "TRANSFORMERS", "TZ", "VECLIB", "XLA",
)  # fmt: skip


def wanted(modules: Sequence[str]) -> tuple[str, ...]:
    """Those of the modules of a recorded run that a nursery imports."""
    return tuple(
        name
        for name in modules
        if name.partition(".")[0] in LIBRARIES and not any((name + ".").startswith(never + ".") for never in _NEVER)
    )


def of_run(run: Run) -> tuple[str, ...]:
    """What a nursery imports for replays of `run`: libraries that it had imported itself."""
    return wanted(run.info.get("libraries") or list(run.info.get("packages", {})))
