import random
from collections import Counter, OrderedDict, defaultdict, deque
from types import SimpleNamespace

import numpy as np
from harness import log, loop

rng = np.random.default_rng(0)
legacy = np.random.RandomState(4)
mine = random.Random(9)
X = rng.normal(size=(500, 40))
y = X @ rng.normal(size=40)
W = np.zeros(40)
grid = np.zeros((300, 40))
column = grid[:, 3]
recent = deque(maxlen=3)
byclass = defaultdict(list)
seen = Counter()
order = OrderedDict()
cfg = SimpleNamespace(lr=0.01, nested={"a": [1, 2]})
alias = cfg.nested["a"]
cycle = [cfg]
cycle.append(cycle)
velocity = None


def schedule():
    calls = 0

    def step():
        nonlocal calls
        calls += 1
        return cfg.lr / calls

    return step


def remember(value, memory=[]):  # noqa: B006
    memory.append(value)
    return len(memory)


step = schedule()
for epoch in loop(range(9)):
    pick = rng.permutation(500)[:64]
    error = X[pick] @ W - y[pick]
    gradient = X[pick].T @ error / 64
    velocity = gradient if velocity is None else 0.9 * velocity + gradient
    W -= step() * velocity
    grid[epoch] += W * legacy.rand()
    recent.append(float(error @ error))
    byclass[epoch % 2].append(mine.random())
    seen[epoch % 3] += 1
    order[f"e{epoch % 4}"] = epoch
    order.move_to_end(f"e{epoch % 4}", last=epoch % 2 == 0)
    alias.append(np.random.rand())
    grown = np.concatenate([W, W]) if epoch == 0 else np.concatenate([grown, W])  # noqa: F821
    log("W", W)
    log("column", column.copy())
    log("view", column.base is grid)
    log("recent", list(recent))
    log("containers", (dict(byclass), seen, list(order.items()), cfg.nested["a"] is alias, alias))
    log("cycle", cycle[1] is cycle and cycle[0] is cfg)
    log("remember", remember(epoch))
    log("grown", grown)
    log("factory", byclass.default_factory)
