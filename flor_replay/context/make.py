"""What GNU make is doing: the target whose recipe runs this script, its prerequisites and its recipe.

The make above us does not say which target it is at. So the same make is asked, with the same files, goals and variables, to
print what it would run for each target (``--dry-run --always-make --trace``) and its database (``--print-data-base``); the
target is the one whose recipe has the command that the make above us started. Reading a makefile can run programs (``$(shell
…)``) and write files (``$(file …)``, remade makefiles, recipe lines with ``$(MAKE)``): the make that is asked is confined so
that it can do neither, and where it cannot be confined it is not asked.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flor_replay.context import confined

SECONDS = 2.0  # a makefile that takes longer to read stays unknown
_NO_SHELL = "/dev/null/none"  # given as SHELL: what would be run is not even tried
_WITH_WORD = "CfIoWE"  # options of make that take an argument: in the same word or the next
_MAYBE_NUMBER = "jl"
_LONG_WITH_WORD = {
    "directory": "C", "file": "f", "makefile": "f", "include-dir": "I", "old-file": "o", "assume-old": "o",
    "what-if": "W", "new-file": "W", "assume-new": "W", "eval": "E",
}  # fmt: skip
_HEADER = re.compile(
    r"^(?P<file>[^\n:]+):(?P<line>\d+): (?:update )?target '(?P<target>.+?)' (?:does not exist|due to: .*)$"
)
_DATABASE = "# Make data base, printed on"
_COPYRIGHT = "# GNU Make "  # the first line before the database


@dataclass(frozen=True)
class Asked:
    """A command line of make, read: what it was asked to make, from which files, with which words to be passed on."""

    goals: tuple[str, ...]
    files: tuple[str, ...]
    words: tuple[str, ...]  # options and variables that change what the makefiles say


@dataclass(frozen=True)
class Rule:
    """One target that make would make: where its recipe stands, and the recipe as it would be run."""

    target: str
    makefile: str
    line: int
    recipe: str


def read_arguments(argv: Sequence[str]) -> Asked:
    """What a command line of make says (`argv` with the program's name)."""
    goals: list[str] = []
    files: list[str] = []
    words: list[str] = []
    rest = list(argv[1:])
    only_goals = False
    while rest:
        word = rest.pop(0)
        if only_goals or not word.startswith("-") or word == "-":
            (words if "=" in word and not only_goals else goals).append(word)
            continue
        if word == "--":
            only_goals = True
            continue
        if word.startswith("--"):
            name, found, value = word[2:].partition("=")
            letter = _LONG_WITH_WORD.get(name)
            if letter is not None and not found:
                value = rest.pop(0) if rest else ""
            _keep(letter or name, value, files, words)
            continue
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter in _WITH_WORD:
                value, letters = (letters, "") if letters else (rest.pop(0) if rest else "", "")
                _keep(letter, value, files, words)
            elif letter in _MAYBE_NUMBER:
                number = re.match(r"[\d.]*", letters)
                letters = letters[number.end() if number else 0 :]
                if not letters and rest and re.fullmatch(r"[\d.]+", rest[0]) and not (number and number.group()):
                    rest.pop(0)
            else:
                _keep(letter, "", files, words)
    return Asked(tuple(goals), tuple(files), tuple(words))


def _keep(option: str, value: str, files: list[str], words: list[str]) -> None:
    """Only what changes the rules is passed on; ``-C`` is not: the process's working directory says it."""
    if option == "f":
        files.append(value)
    elif option in ("I", "E"):
        words.append({"I": "-I", "E": "--eval="}[option] + value)
    elif option in ("r", "R", "e", "no-builtin-rules", "no-builtin-variables", "environment-overrides"):
        words.append(f"-{option}" if len(option) == 1 else f"--{option}")


def ask(process: Mapping[str, Any], child: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """What the make `process` (exe, cwd, argv) is doing that started the command `child`.

    {"goals", "target", "prerequisites", "order_only", "recipe", "makefile", "line"}; "candidates" instead of a target where
    several recipes have the same command. Only goals where make cannot be asked. `environ`: what it handed down.
    """
    asked = read_arguments(process["argv"])
    answer: dict[str, Any] = {"goals": list(asked.goals)}
    exe, cwd = process.get("exe"), process.get("cwd")
    if not exe or not cwd or any(file == "-" or file.startswith("/dev/") for file in asked.files):
        return answer
    words = [*(f"-f{file}" for file in asked.files), *asked.words, *_handed_down(environ), *asked.goals]
    options = ["-n", "-B", "-i", "-p", "--trace", "--no-print-directory", *words, f"SHELL={_NO_SHELL}"]
    # MAKEFLAGS names the jobserver of the make above us; the rest of it is in the words.
    env = {name: value for name, value in environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    env.update(LC_ALL="C", LANGUAGE="C")
    text = confined.run(exe, options, cwd=cwd, env=env, seconds=SECONDS)
    if text is None or _DATABASE not in text:
        return answer
    dry, _, database = text.rpartition(_DATABASE)
    found = _matching(list(rules(dry.partition(_COPYRIGHT)[0])), child)
    if len({rule.target for rule in found}) != 1:
        if found:
            answer["candidates"] = [rule.target for rule in found]
        return answer
    rule = found[0]
    needed, order_only = prerequisites(database, rule.target)
    return {
        **answer,
        "target": rule.target,
        "prerequisites": needed,
        "order_only": order_only,
        "recipe": rule.recipe,
        "makefile": rule.makefile,
        "line": rule.line,
    }


def _handed_down(environ: Mapping[str, str]) -> list[str]:
    """Variables from the command lines of the makes above, which a make passes down in MAKEFLAGS."""
    flags = environ.get("MAKEFLAGS", "")
    _, found, variables = f" {flags}".partition(" -- ")
    if not found:
        return []
    try:  # blanks in a value are escaped by a backslash, and dollars doubled
        return [word for word in shlex.split(variables) if re.match(r"[^=\s]+=", word)]
    except ValueError:
        return []


def rules(dry: str) -> Iterator[Rule]:
    """The targets of a dry run with ``--trace``, in the order in which they would be made."""
    rule: Rule | None = None
    lines: list[str] = []
    for line in dry.splitlines():
        header = _HEADER.match(line)
        if header:
            if rule is not None:
                yield Rule(rule.target, rule.makefile, rule.line, "\n".join(lines))
            rule, lines = Rule(header["target"], header["file"], int(header["line"]), ""), []
        else:
            lines.append(line)
    if rule is not None:
        yield Rule(rule.target, rule.makefile, rule.line, "\n".join(lines))


def _matching(found: Sequence[Rule], child: Sequence[str]) -> list[Rule]:
    """The rules whose recipe has the command; the ones that are surest: as text, then as words, then by likeness."""
    command = list(child)
    text = None
    if len(command) >= 3 and command[-2].startswith("-") and command[-2].endswith("c"):
        text = _plain(command[-1])  # a shell with the recipe's line
    if text:
        sure = [
            rule for rule in found if any(text == line for line in _lines(rule.recipe)) or text == _plain(rule.recipe)
        ]
        if sure:
            return sure
    words = [_plain(word) for word in command] if text is None else _words(text)
    sure = [rule for rule in found if any(_within(words, _words(line)) for line in _lines(rule.recipe))]
    if sure:
        return sure
    return _alike(found, words)


def _alike(found: Sequence[Rule], words: Sequence[str]) -> list[Rule]:
    """The rules that would have the command, had ``$(shell …)`` given something: it gives nothing to the make that is asked."""
    return [rule for rule in found if any(_lacking(_words(line), words) for line in _lines(rule.recipe))]


def _lacking(line: Sequence[str], words: Sequence[str]) -> bool:
    """Whether `line` is `words` with something left out; the program and what it runs are there."""
    if len(line) < 2 or list(line[:2]) != list(words[:2]):
        return False
    rest = iter(words[2:])
    return all(any(_left_out(word, whole) for whole in rest) for word in line[2:])


def _left_out(word: str, whole: str) -> bool:
    return len(word) <= len(whole) and any(
        whole.startswith(word[:cut]) and whole.endswith(word[cut:]) for cut in range(len(word) + 1)
    )


def _plain(text: str) -> str:
    return " ".join(text.replace("\\\n", " ").split())


def _lines(recipe: str) -> list[str]:
    """A recipe's lines, each a command for the shell."""
    return [_plain(line) for line in recipe.replace("\\\n", " ").splitlines() if line.strip()]


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _within(words: Sequence[str], line: Sequence[str]) -> bool:
    """Whether the words stand in the line one after the other; the program may have been found by its full path."""
    size = len(words)
    for start in range(len(line) - size + 1):
        part = line[start : start + size]
        if list(part[1:]) == list(words[1:]) and part[0].rpartition("/")[2] == words[0].rpartition("/")[2]:
            return size > 0
    return False


def prerequisites(database: str, target: str) -> tuple[list[str], list[str]]:
    """A target's prerequisites, and those that only order, as make's database has them."""
    blocks = re.split(r"\n\n", database.partition("\n# Files\n")[2])
    needed: list[str] = []
    order_only: list[str] = []
    for block in blocks:
        for line in block.splitlines():
            if line.startswith("#") or not line.startswith(f"{target}:"):
                continue
            if block.lstrip().startswith("# Not a target:"):
                break
            normal, _, order = line[len(target) + 1 :].lstrip(":").partition("|")
            needed += normal.split()
            order_only += order.split()
            break
    return list(dict.fromkeys(needed)), list(dict.fromkeys(order_only))
