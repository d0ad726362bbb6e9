"""The machine and its Python: operating system, CPU, memory, accelerators, packages. Read from files, nothing is imported."""

from __future__ import annotations

import glob
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from flor_replay.processes import cpus

_RELEASES = ("/etc/os-release", "/usr/lib/os-release")


def describe() -> dict[str, Any]:
    """{"os", "kernel", "machine", "host", "user", "python", "implementation", "executable", "cpu", "cpus", "cpus_usable",
    "memory_bytes", "accelerators"}; None where the system does not say."""
    return {
        "os": _os_name(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "host": platform.node(),
        "user": _user(),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "environment": sys.prefix if sys.prefix != sys.base_prefix else None,
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "cpus_usable": cpus(),
        "memory_bytes": _memory(),
        "accelerators": accelerators(),
    }


def _os_name() -> str:
    for path in _RELEASES:
        match = re.search(r'^PRETTY_NAME="?([^"\n]*)', _text(path), re.MULTILINE)
        if match:
            return match[1]
    return f"{platform.system()} {platform.release()}"


def _user() -> str | None:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return None


def _cpu() -> str | None:
    text = _text("/proc/cpuinfo")
    match = re.search(r"^(?:model name|Model|Hardware|cpu model)\s*:\s*(.+)$", text, re.MULTILINE)
    if match:
        return match[1].strip()
    return platform.processor() or None


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return None


def accelerators() -> list[str]:
    """The models of the machine's accelerators, one entry each."""
    found = [
        match[1].strip()
        for path in sorted(glob.glob("/proc/driver/nvidia/gpus/*/information"))
        if (match := re.search(r"^Model:\s*(.+)$", _text(path), re.MULTILINE))
    ]
    if not found and (glob.glob("/dev/nvidia[0-9]*") or os.path.exists("/dev/dxg")):
        found = _lines_of("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    for path in sorted(glob.glob("/sys/class/kfd/kfd/topology/nodes/*")):
        if re.search(r"^simd_count [1-9]", _text(os.path.join(path, "properties")), re.MULTILINE):
            found.append(_text(os.path.join(path, "name")).strip() or "AMD GPU")
    found += ["TPU"] * len(glob.glob("/dev/accel[0-9]*"))
    return found


def _lines_of(program: str, *words: str) -> list[str]:
    path = shutil.which(program)
    if path is None:
        return []
    try:
        done = subprocess.run([path, *words], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 16)
    except OSError:
        return ""


def packages(path: Sequence[str] | None = None) -> dict[str, str]:
    """Name and version of every installed package, by the names of their folders: no metadata is read.

    `path`: where packages are looked for, ``sys.path`` when left out; the first place that has one counts.
    """
    found: dict[str, str] = {}
    for folder in dict.fromkeys(sys.path if path is None else path):
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            stem, dot, suffix = name.rpartition(".")
            if dot and suffix in ("dist-info", "egg-info"):
                package, _, version = stem.partition("-")
                version = version.partition("-")[0]  # eggs name the Python version too
                if package and version:
                    found.setdefault(re.sub(r"[-_.]+", "-", package).lower(), version)
    return dict(sorted(found.items()))
