"""Which reason is given for a possible effect, and that reading alone is none."""

from __future__ import annotations

import pytest
from flor_instrument import possible_effect

HEAD = "import os\nimport flor\nimport numpy as np\nfrom torch import nn\n{more}\nnet = nn.Linear(2, 2)\n"


def effect(*statements: str, more: str = "") -> str | None:
    source = HEAD.format(more=more) + "".join(f"flor.log('x', {statement})\n" for statement in statements)
    return possible_effect({"train.py": source.encode()}, {"train.py": [(7, 6 + len(statements))]})


@pytest.mark.parametrize(
    "statement", ["np.random.rand()", "np.random.default_rng().normal()", "float(np.random.choice([1, 2]))"]
)
def test_of_several_the_one_that_draws_is_told(statement: str) -> None:
    found = effect("os.environ.get('A')", statement, "os.getpid()")
    assert found is not None and found.startswith("line 8: it calls `np.random.")


def test_of_several_that_do_not_draw_the_first_is_told() -> None:
    assert str(effect("net.weight.norm()", "os.environ.get('A')", "os.getpid()")).startswith(
        "line 8: it calls `os.environ.get`"
    )


@pytest.mark.parametrize(
    "more",
    ["from torch.nn.utils.parametrizations import spectral_norm", "nn.utils.parametrize.register_parametrization"],
)
def test_a_parameter_that_is_computed_when_it_is_read(more: str) -> None:
    assert effect("float(net.weight.norm())") is None
    assert "may be computed when it is read" in str(effect("float(net.weight.norm())", more=more))
    assert effect("len(list(net.children()))", more=more) == effect("len(list(net.children()))")
