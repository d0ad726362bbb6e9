"""Where a script draws what no run has again."""

from __future__ import annotations

import pytest
from flor_instrument import unseeded


@pytest.mark.parametrize(
    "call",
    [
        "np.random.default_rng()", "np.random.default_rng(None)", "default_rng(seed=None)", "random.Random()",
        "np.random.RandomState()", "random.seed()", "np.random.seed(None)", "torch.seed()", "os.urandom(8)",
        "random.SystemRandom()", "uuid.uuid4()", "Generator(PCG64())", "secrets.token_hex(4)",
    ],
)  # fmt: skip
def test_what_the_operating_system_seeds(call: str) -> None:
    found = unseeded({"train.py": f"import flor\nx = {call}\n".encode()}, "train.py")
    assert found is not None
    assert found.endswith("(train.py line 2)")


@pytest.mark.parametrize(
    "call",
    [
        "np.random.default_rng(0)", "np.random.default_rng(seed)", "default_rng(seed=args.seed)", "random.Random(3)",
        "np.random.RandomState(**options)", "random.seed(1)", "torch.manual_seed(2)", "env.seed()", "random.random()",
        "np.random.Generator(np.random.PCG64(5))",
    ],
)  # fmt: skip
def test_what_has_a_seed(call: str) -> None:
    assert unseeded({"train.py": f"x = {call}\n".encode()}, "train.py") is None


def test_only_files_that_the_script_may_run() -> None:
    drawn = b"import os\nx = os.urandom(3)\n"
    files = {"train.py": b"import lib.data\n", "lib/data.py": b"y = 1\n", "tests/test_a.py": drawn, "bad.py": b"(\n"}
    assert unseeded(files, "train.py") is None
    assert unseeded({**files, "lib/data.py": drawn}, "train.py") == "`os.urandom(3)` (lib/data.py line 2)"
