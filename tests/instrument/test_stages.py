"""Each stage of propagation by itself: what it is asked, and what it says."""

from __future__ import annotations

import ast
import gc
import weakref

import pytest
from flor_instrument import hindsight, propagate
from flor_instrument.align import Likeness, align
from flor_instrument.anchor import find_spot
from flor_instrument.bound import bindings, bound_at
from flor_instrument.choice import Side, choose
from flor_instrument.confirmed import confirm
from flor_instrument.effects import acts, binds, changes, reads_state
from flor_instrument.imported import imports
from flor_instrument.logs import log_calls, logged_name
from flor_instrument.loops import check_loop
from flor_instrument.neighbours import counterpart, neighbours
from flor_instrument.renames import Votes, votes_of
from flor_instrument.source import Source, Stmt, parse
from flor_instrument.spots import Unplaced, first_index
from flor_instrument.uses import any_touch, header_use, use_of
from flor_instrument.view import View, words_of


def view(today: str, version: str, added: str = "") -> View:
    """The two files; the statement that `added` begins is the patch's own."""
    source = Source(today.encode())
    own = frozenset(one for one in source.statements() if added and source.text_of(one).startswith(added))
    assert bool(own) == bool(added)
    return View(source, Source(version.encode()), own)


def find(source: Source, text: str) -> Stmt:
    return next(one for one in source.statements() if source.text_of(one).startswith(text))


# ---- sources


def test_what_is_known_of_a_source_goes_with_it() -> None:
    source = Source(b"import math\nx = math.pi\n")
    assert list(bindings(source.module)) == ["math", "x"]
    assert imports(source) is imports(source)
    gone = weakref.ref(source)
    del source
    gc.collect()
    assert gone() is None


def test_only_so_many_parsed_files_are_kept() -> None:
    first = parse(b"first = 1\n")
    assert parse(b"first = 1\n") is first
    filler = b"".join(b"value_%d = %d\n" % (number, number) for number in range(5_000))
    for number in range(12):
        parse(filler + b"last = %d\n" % number)
    assert parse(b"first = 1\n") is not first


def test_the_same_lines_are_the_same_text() -> None:
    one = Source(b"def f(x):\n    return x\n")
    two = Source(b"\n\ndef f(x):\n    return x\n")
    other = Source(b"def f(x):\n    return -x\n")
    assert one.module.flat[0].same_text(two.module.flat[0])
    assert not one.module.flat[0].same_text(other.module.flat[0])


# ---- what statements do to names


@pytest.mark.parametrize(
    ("text", "reads", "given", "changed"),
    [
        ("x = a.b + c", {"a.b", "c"}, {"x"}, set()),
        ("x[i] = y", {"x", "i", "y"}, set(), {"x"}),
        ("model.step(batch)", {"model.step", "batch"}, set(), {"model", "batch"}),
        ("total = [t for t in ts]", {"ts"}, {"total"}, set()),
    ],
)
def test_uses(text: str, reads: set[str], given: set[str], changed: set[str]) -> None:
    use = use_of(Source(text.encode()).module.flat[0])
    assert (use.reads, use.binds, use.changes) == (reads, given, changed)


def test_a_header_is_not_its_suite() -> None:
    loop = Source(b"for x in xs:\n    y = x\n").module.flat[0]
    assert header_use(loop).binds == {"x"}
    assert use_of(loop).binds == {"x", "y"}


def test_any_touch_sees_through_attributes() -> None:
    assert any_touch(["a.b"], ["a"])
    assert any_touch(["a"], ["a.b"])
    assert not any_touch(["a.b"], ["a.c"])


def test_a_name_has_a_value_only_where_what_binds_it_comes_first() -> None:
    source = Source(b"def f():\n    if a:\n        x = 1\n    else:\n        y = 2\n    z = 3\n")
    then, otherwise, after = find(source, "x = 1"), find(source, "y = 2"), find(source, "z = 3")
    assert not bound_at("x", then.block, (then.line, 0))
    assert not bound_at("x", otherwise.block, (otherwise.line + 1, 0))  # the other branch
    assert bound_at("x", after.block, (after.line, 0))
    assert bound_at("len", after.block, (1, 0))


def test_log_calls_under_any_name() -> None:
    source = Source(b"from flor import log as note\nnote('loss', 1)\nprint('loss')\n")
    assert [logged_name(call) for one in source.statements() for call in log_calls(source, one.node)] == ["loss"]


# ---- alignment


def test_functions_go_by_name_where_there_is_a_namesake() -> None:
    today = Source(b"def a():\n    x = 1\n    y = 2\n\ndef b():\n    z = 3\n")
    version = Source(b"def b():\n    x = 1\n    y = 2\n\ndef c():\n    z = 3\n")
    pairs = {
        getattr(new.node, "name", ""): getattr(old.node, "name", "")
        for new, old in align(today.module.flat, version.module.flat).forward.items()
    }
    assert pairs.get("b") == "b"
    assert pairs.get("a") != "b"


def test_a_function_without_a_namesake_goes_by_its_contents() -> None:
    body = b"    one = compute(1)\n    two = compute(one)\n    return two\n"
    today, version = Source(b"def new_name():\n" + body), Source(b"def old_name():\n" + body)
    assert Likeness()(today.module.flat[0], version.module.flat[0]) >= 0.75


def test_votes_say_what_a_name_has_become() -> None:
    today = Source(b"net = Net()\nout = net(x)\nnet.step(out)\n")
    version = Source(b"model = Net()\nout = model(x)\nmodel.step(out)\n")
    found = align(today.module.flat, version.module.flat)
    assert votes_of(found).renames()["net"] == "model"


def test_equal_statements_vote_for_themselves() -> None:
    source, same = Source(b"a.b = f(a.c)\n"), Source(b"a.b = f(a.c)\n")
    votes = votes_of(align(source.module.flat, same.module.flat))
    assert votes.counts["a"] == {"a": 2.0}
    assert votes.counts["f"] == {"f": 1.0}


# ---- the view


def test_words_of_a_scope_are_its_own() -> None:
    source = Source(b"top = 1\ndef f(arg=default):\n    inside = arg\nlast = 2\n")
    assert {"top", "last", "default"} <= words_of(source.module)
    assert "inside" not in words_of(source.module)
    assert "inside" in words_of(source.by_name["f"])


def test_votes_about_a_name_come_from_the_scopes_that_mention_it() -> None:
    today = "def f(x):\n    net = Net(x)\n    return net\n\n\ndef g(y):\n    other = Other(y)\n    return other\n"
    seen = view(today, today.replace("net", "model").replace("other", "thing"))
    assert seen.votes_about("net").renames() == {"net": "model"}
    assert "thing" in seen.votes_about("net", "thing").renames().values()
    assert seen.renames_of_lost(["net.weight", "other"]) == {"net": "model", "other": "thing"}


# ---- neighbours, loops, what stands between


def test_a_lost_compound_statement_is_known_by_its_last_matched_part() -> None:
    seen = view("with a:\n    x = f(1)\n    y = g(x)\nlog(y)\n", "x = f(1)\ny = g(x)\n", "log(y)")
    alignment, _ = seen.alignment(seen.today.module, seen.target.module)
    before, after = neighbours(seen, find(seen.today, "log(y)"))
    assert not after
    found = counterpart(before[0], alignment, last=True)
    assert found is not None and seen.target.text_of(found) == "y = g(x)"


def test_a_statement_stays_in_its_loop() -> None:
    seen = view("for x in xs:\n    y = f(x)\n    log(y)\n", "y = f(x)\nprint(y)\n", "log(y)")
    alignment, _ = seen.alignment(seen.today.module, seen.target.module)
    assert seen.target.module.body is not None
    with pytest.raises(Unplaced, match="loop"):
        check_loop(seen, find(seen.today, "log(y)"), seen.target.module.body, False, alignment)


def test_effects() -> None:
    step = Source(b"optimizer.step()\n").module.flat[0]
    assert acts(step)
    assert not binds(step, frozenset({"loss"}))
    assert changes(step, frozenset({"optimizer"}), False)
    assert not changes(step, frozenset({"model"}), False)
    assert changes(step, frozenset({"model"}), True)  # norm(model) is another value after a step
    assert reads_state(ast.parse("flor.log('n', norm(model))").body[0])
    assert not reads_state(ast.parse("flor.log('n', float(loss))").body[0])


def test_between_two_sure_neighbours_what_matters_is_not_guessed() -> None:
    seen = view("a = f()\nlog(a)\nb = g()\n", "a = f()\na = h(a)\nb = g()\n", "log(a)")
    body = seen.target.module.body
    assert body is not None
    sure, log = Side(1.0, True), find(seen.today, "log(a)")
    with pytest.raises(Unplaced, match="before or after line 2"):
        choose(seen, log, body, 1, 2, frozenset({"a"}), sure, sure)
    with pytest.raises(Unplaced, match="before or after line 2"):  # a has another value there
        choose(seen, log, body, 1, 2, frozenset({"a"}), sure, Side(0.6, True))
    assert choose(seen, log, body, 1, 2, frozenset({"a"}), sure, Side(0.4, True)) == 1
    with pytest.raises(Unplaced, match="another value"):  # the neighbour has changed, and gives it as well
        choose(seen, log, body, 1, 2, frozenset({"a"}), Side(0.6, True), sure)


@pytest.mark.parametrize("docstring", ["", "    'What it is.'\n"])
def test_first_in_its_block_it_does_not_go_behind_another_value(docstring: str) -> None:
    today = f"def f(a):\n{docstring}    log(a)\n    return g(a)\n"
    version = "def f(a):\n    'What it was.'\n    a = h(a)\n    return g(a)\n"
    seen = view(today, version, "log(a)")
    body = find(seen.target, "a = h(a)").block
    with pytest.raises(Unplaced, match="line 3 gives what it reads another value"):
        choose(seen, find(seen.today, "log(a)"), body, 1, 2, frozenset({"a"}), Side(0.0, True), Side(1.0, True))


def test_nothing_goes_before_a_docstring() -> None:
    body = Source(b'"""What it is."""\nfrom __future__ import annotations\nx = 1\n').module.body
    assert body is not None and first_index(body) == 2


# ---- anchors


def spot_line(today: str, version: str, added: str) -> int:
    seen = view(today, version, added)
    return find_spot(seen, find(seen.today, added), lambda _new, _old: frozenset(), {}).line


def test_the_place_is_between_the_neighbours() -> None:
    assert spot_line("a = f()\nlog()\nb = g()\n", "z = 0\na = f()\nb = g()\n", "log()") == 3


def test_a_next_sibling_in_another_block_takes_the_statement_with_it() -> None:
    today = "if main():\n    show('seed', seed)\n    show('start', True)\n    log()\nrun(1)\n"
    version = (
        "if main():\n    show('seed', seed)\nx = 1\nif train:\n    if main():\n        show('start', True)\nrun(1)\n"
    )
    assert spot_line(today, version, "log()") == 6


# ---- renames


@pytest.mark.parametrize(("new", "old"), [("loss", "objective"), ("loss.item", "objective.item")])
def test_a_rename_is_borne_out_by_what_binds_the_names(new: str, old: str) -> None:
    seen = view("loss = f(x)\nlog(loss.item())\n", "objective = f(x)\n", "log(")
    confirm(seen, find(seen.today, "log("), seen.target.module, {new: old}, Votes())


def test_a_rename_that_nothing_bears_out_is_refused() -> None:
    seen = view("loss = f(x)\nlog(loss)\n", "x = f(x)\nepoch = 2\n", "log(")
    with pytest.raises(Unplaced, match="not certain"):
        confirm(seen, find(seen.today, "log("), seen.target.module, {"loss": "epoch"}, Votes())


# ---- along a history


def test_a_history_is_gone_through_once() -> None:
    base = b"import flor\nnet = Net()\nfor x in xs:\n    out = net(x)\n    loss = crit(out)\n    back(loss)\n"
    today = base.replace(b"    back(loss)\n", b"    flor.log('loss', loss)\n    back(loss)\n")
    history = [base, base.replace(b"crit", b"measure"), base.replace(b"crit", b"measure").replace(b"net", b"model")]
    history.append(b"import flor\nwhile True:\n    pass\n")  # has no place for it
    history.append(history[-1] + b"x = 1\n")
    patch = hindsight(base, today)
    ends = [propagate(patch, one, tuple(history[:place])) for place, one in enumerate(history)]
    assert [bool(one.placed) for one in ends] == [True, True, True, False, False]
    (trail,) = patch.trails.values()
    assert trail.path == history[:4]
    afresh = hindsight(base, today)
    assert propagate(afresh, history[4], tuple(history[:4])).refused == ends[4].refused


# ---- flor, where the version printed


def test_what_printed_was_not_called_flor() -> None:
    version = b"import numpy as np\nw = np.ones(3)\nfor epoch in range(3):\n    w -= 1\n    print(w.sum())\n"
    recorded = (
        version.replace(b"import numpy", b"import flor\nimport numpy")
        .replace(b"range(3)", b'flor.loop("epoch", range(3))')
        .replace(b"print(w.sum())", b'flor.log("total", w.sum())')
    )
    added = b'    flor.log("norm", float(np.linalg.norm(w)))\n'
    result = propagate(hindsight(recorded, recorded + added), version)
    assert result.source == version.replace(b" as np\n", b" as np\nimport flor\n") + added


# ---- neighbours that went different ways


def placed(base: str, added: str, target: str) -> str:
    """Where the marked line of `base` (`# here`) takes the statement, or why it is refused."""
    today = base.replace("# here", added)
    result = propagate(hindsight(base.encode(), today.encode()), target.encode())
    return result.refused[0].reason if result.refused else result.source.decode()


_STEP = """import flor
def fit(model, data):
    for x in data:
        y = model(x)
        model.back(y)
        # here
        model.step(y)
"""


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("with guard():", "It could stand before or after line 7"),
        ("for _ in range(2):", "Its neighbour stands in a loop"),
    ],
)
def test_a_neighbour_that_went_deeper_with_another_value(header: str, said: str) -> None:
    inside = f"        {header}\n            model.back(y)\n            y = model.checked(y)\n"
    told = placed(_STEP, 'flor.log("y", y)', _STEP.replace("        model.back(y)\n", inside))
    assert told.startswith(said)


def test_what_begins_its_block_does_not_go_behind_another_value() -> None:
    base = "import flor\ndef fit(x, y):\n    if y:\n        # here\n        x += y\n    return x\n"
    target = "import flor\ndef more(x, y):\n    x += y\n    return x\ndef fit(x, y):\n    if y:\n        x = more(x, y)\n    return x\n"
    assert placed(base, 'flor.log("x", x)', target).startswith("It begins its block")


@pytest.mark.parametrize("twin", ["        y = model(x)\n", "        model.step(y)\n"])
def test_a_neighbour_that_stands_twice_there(twin: str) -> None:
    base = _STEP.replace("        model.back(y)\n", "")
    target = base.replace(twin, 2 * twin)
    told = placed(base, 'flor.log("y", y)', target)
    if "model.step" in twin:
        assert told == target.replace("        # here", '        flor.log("y", y)\n        # here'), told
    else:
        assert "stands twice" in told


def test_what_follows_it_left_the_loop_whose_header_stands_there() -> None:
    base = "import flor\ndef fit(a):\n    for _ in range(2):\n        # here\n        if a:\n            work(a)\n        a += 1\n    return a\n"
    target = (
        "import flor\ndef fit(a):\n    if a:\n        work(a)\n    for _ in range(2):\n        a += 1\n    return a\n"
    )
    assert placed(base, 'flor.log("a", a)', target).endswith("not in this version.")


def test_two_equal_statements_where_today_has_two_different_ones() -> None:
    base = "import flor\ndef fit(m, a, b):\n    m.step(a)\n    # here\n    m.step(b)\n    return m\n"
    target = base.replace("    m.step(a)\n    # here\n", "    # here\n    m.step(b)\n")
    assert "stands twice" in placed(base, 'flor.log("norm", m.norm())', target)


def test_a_new_giver_where_todays_stands_as_it_did() -> None:
    base = "import flor\ndef fit(x):\n    y = f(x)\n    z = g(x)\n    # here\n    done(y, z)\n"
    target = "import flor\ndef fit(x):\n    y = f(x)\n    y = y / 2\n    done(y, z)\n"
    assert "today nothing there does" in placed(base, 'flor.log("y", y)', target)
    edited = target.replace("    y = f(x)\n", "")  # the giver itself has changed: behind it is right
    assert placed(base.replace("    z = g(x)\n", ""), 'flor.log("y", y)', edited) == edited.replace(
        "    done", '    flor.log("y", y)\n    done'
    )


def test_where_a_function_of_another_name_begins_tells_nothing() -> None:
    base = "import flor\ndef part(y):\n    # here\n    show(y)\n    for _ in range(1):\n        best(y)\n"
    target = "import flor\ndef step(y):\n    for _ in range(1):\n        if y:\n            show(y)\n            best(y)\n    y += 1\n"
    assert placed(base, 'flor.log("y", y)', target).endswith(".")


def test_what_stands_under_a_header_that_stayed_does_not_go_elsewhere() -> None:
    base = (
        "import flor\ndef a(s):\n    for j in range(2):\n        s.add(j)\n        g = f(s, j)\n        s.keep(g)\n        # here\n"
        "    return s\ndef b(s):\n    return s\n"
    )
    target = (
        "import flor\ndef a(s):\n    for j in range(2):\n        for _ in range(1):\n            s.add(j)\n        g = f(s, j)\n    return s\n"
        "def b(s):\n    for j in range(2):\n        g = f(s, j)\n        s.keep(3)\n    return s\n"
    )
    told = placed(base, 'flor.log("g", g)', target)
    assert told.endswith(".") or told == target.replace(
        "        g = f(s, j)\n    return s\ndef b", '        g = f(s, j)\n        flor.log("g", g)\n    return s\ndef b'
    )
