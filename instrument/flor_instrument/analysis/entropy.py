"""Where a script draws what no run has again: generators that the operating system seeds."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from flor_instrument.analysis.index import reachable
from flor_instrument.analysis.syntax import all_nodes, dotted, parsed, tail

_UNSEEDED = frozenset(
    {"default_rng", "RandomState", "Random", "PCG64", "MT19937", "Philox", "SFC64", "SeedSequence", "seed"}
)
"""Without an argument (or with None) these ask the operating system."""
_ALWAYS = frozenset({"SystemRandom", "urandom", "getrandom", "uuid1", "uuid4", "token_bytes", "token_hex", "randbits"})


def unseeded(files: Mapping[str, bytes], script: str) -> str | None:
    """The first call that draws from the operating system, in words: "`np.random.default_rng()` (train.py line 4)".

    Only of files whose code may run when `script` does.
    """
    for path in sorted(reachable(files, script), key=lambda path: (path != script, path)):
        source = files[path]
        try:
            nodes = all_nodes(parsed(source))
        except (SyntaxError, ValueError, RecursionError):
            continue
        calls = sorted((n for n in nodes if isinstance(n, ast.Call)), key=lambda node: (node.lineno, node.col_offset))
        for call in calls:
            if _asks_the_system(call):
                return f"`{ast.unparse(call)}` ({path} line {call.lineno})"
    return None


def _asks_the_system(call: ast.Call) -> bool:
    name = tail(call.func)
    if name in _ALWAYS:
        return True
    if name not in _UNSEEDED:
        return False
    given = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg in (None, "seed", "x", "entropy"))]
    if given:
        return all(isinstance(value, ast.Constant) and value.value is None for value in given)
    # `env.seed()` or a method of the script's own may be anything: only what a library is asked for counts.
    root = (dotted(call.func) or "").partition(".")[0]
    return name != "seed" or root in ("random", "np", "numpy", "torch")
