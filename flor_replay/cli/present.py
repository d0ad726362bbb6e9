"""Proposals and reports as people see them on the terminal."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from flor_replay.cli.common import duration, plural, table_of
from flor_replay.cli.explain import alike, title
from flor_replay.replay.backfill import RunReport
from flor_replay.replay.execution import Outcome
from flor_replay.replay.proposal import Proposal, VersionProposal
from flor_replay.replay.task import Task

_COLOURS = {"exact": "green", "close": "yellow", "unchecked": "yellow", "diverged": "red"}


def show_proposal(proposal: Proposal, screen: Console, *, every_run: bool = False, brief: bool = False) -> None:
    """What was added today, and for each version what will be executed. `brief`: without the reasons of refusals."""

    def line(text: Text) -> None:
        if screen.is_terminal:
            screen.print(text, no_wrap=True, overflow="ellipsis")
        else:
            screen.print(text)

    for file in proposal.files:
        screen.print(Text(f"{file.path}: {plural(len(file.patch.units), 'new statement')}", style="bold"))
        for unit in file.patch.units:
            first = unit.text.strip().splitlines()[0]
            verb = "replaces" if unit.changed else "adds"
            line(Text(f"  line {unit.line:<4} {verb}  {first}"))
            if unit.needs:
                needed = "; ".join(need.strip().splitlines()[0] for need in unit.needs)
                line(Text(f"            with  {needed}", style="dim"))
    screen.print()
    counted = any(len(version.runs) > 1 for version in proposal.versions)
    columns = ["version", *(["runs"] if counted else []), "statements", "executed", "about"]
    table = table_of(*columns, wrapped=("statements", "executed"))
    for group in _rows(proposal, every_run):
        version = group[0]
        count = [str(sum(len(one.runs) for one in group))] if counted else []
        named = Text(title(version))
        if len(group) > 1:
            named.append(f"\nand {plural(len(group) - 1, 'version')} more", style="dim")
        seconds = sum(one.seconds for one in group)
        about = duration(seconds) if seconds else ""
        table.add_row(named, *count, _statements(version, brief), _executed(version, every_run), about)
    screen.print(table)
    replayed = sum(len(v.needs) for v in proposal.to_replay)
    for sentence, runs in proposal.since.items():
        whose = "" if len(runs) >= replayed else f" ({plural(len(runs), 'run')})"
        screen.print(Text(f"since then: {sentence}{whose}", style="yellow"))
    if proposal.fewer:
        screen.print(Text(proposal.fewer, style="yellow"))
    for sentence in proposal.left_aside:
        screen.print(Text(f"left aside: {sentence}", style="yellow"))
    for words in _left_out(proposal):
        screen.print(Text(words, style="yellow"))
    screen.print()


def _left_out(proposal: Proposal) -> Iterator[str]:
    """The runs left out, those of one script and one reason together."""
    groups: dict[tuple[str, str], list[str]] = {}
    for run, reason in proposal.left_out:
        groups.setdefault((run.filename, reason), []).append(run.run)
    for (filename, reason), runs in groups.items():
        which = runs[0] if len(runs) == 1 else f"{len(runs):,} runs"
        yield f"left out: {which} ({filename}): {reason}"


def _rows(proposal: Proposal, every_run: bool) -> Iterator[list[VersionProposal]]:
    """The versions, those together that would have equal rows."""
    for group in alike(proposal.versions):
        rows: dict[str, list[VersionProposal]] = {}
        for version in group:
            words = version.commit if every_run else _executed(version, every_run)
            rows.setdefault(words, []).append(version)
        yield from rows.values()


def _statements(version: VersionProposal, brief: bool) -> Text:
    if version.problem:
        return Text(version.problem, style="yellow")
    text = Text()
    if version.names:
        text.append(", ".join(version.names), style="green")
    elif not version.refused:
        text.append("has them already", style="dim")
    for name, how in version.placed_by.items():
        text.append(f"\n{name} placed by a person ({how})", style="magenta")
    if brief and version.refused:
        text.append(f"{', ' if version.names else ''}{len(version.refused)} refused", style="yellow")
        return text
    for one in version.refused:
        if text:
            text.append("\n")
        at = f" (today's line {one.line})" if one.line else ""
        text.append(f"{one.statement} refused: {one.reason}{at}", style="yellow")
    return text


def _executed(version: VersionProposal, every_run: bool) -> str:
    lines = []
    for run, plan in version.plans.items():
        if run in version.filled and not plan.segments:
            lines.append(f"nothing: filled before ({version.filled[run]})")
        elif not plan.segments:
            lines.append(f"nothing: {plan.reason}")
        else:
            what = "; ".join(segment.describe() for segment in plan.segments[:3])
            more = f" and {len(plan.segments) - 3} more" if len(plan.segments) > 3 else ""
            lines.append(f"{what}{more}" + (f" ({plan.reason})" if every_run else ""))
    return "\n".join(lines if every_run else dict.fromkeys(lines))


class Progress:
    """Bars while a backfill runs: one for all segments, one for each version."""

    def __init__(self, proposal: Proposal, screen: Console) -> None:
        self._proposal = proposal
        self._screen = screen
        self._lock = threading.Lock()
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("segments, left"),
            TimeRemainingColumn(),
            console=screen,
            disable=not screen.is_terminal,
            transient=True,
        )
        self._reports: dict[str, RunReport] = {}
        self._version_of = {run.run: v for v in proposal.versions for run in v.runs}
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Progress:
        self._bars.__enter__()
        to_replay = self._proposal.to_replay
        total = sum(len(plan.segments) for v in to_replay for plan in v.plans.values())
        self._all = self._bars.add_task("all versions", total=total)
        for version in to_replay:
            count = sum(len(plan.segments) for plan in version.plans.values())
            self._tasks[version.commit] = self._bars.add_task(title(version), total=count)
        return self

    def __exit__(self, *exc: Any) -> None:
        self._bars.__exit__(*exc)

    def watch(self, reports: dict[str, RunReport]) -> None:
        self._reports = reports

    def began(self, task: Task) -> None:
        """A task was handed to a worker."""

    def ended(self, outcome: Outcome) -> None:
        version = self._version_of[outcome.task.run]
        with self._lock:
            self._bars.advance(self._all)
            self._bars.advance(self._tasks[version.commit])
            report = self._reports.get(outcome.task.run)
            if report is None or report.waiting:
                return
            if not self._screen.is_terminal:
                self._screen.print(_run_line(report))


def _run_line(report: RunReport) -> Text:
    return Text(f"{title(report.version)}  {report.run.run[-8:]}  ").append(_verdict(report))


def _verdict(report: RunReport) -> Text:
    if report.problem:
        return Text("interrupted" if report.problem == "interrupted" else "failed", style="red")
    return Text(report.verdict, style=_COLOURS[report.verdict])


def _details(report: RunReport) -> Iterator[Text]:
    """What a verdict leaves open, a line each."""
    if report.problem and report.problem != "interrupted":
        yield Text(report.problem, style="red")
    if report.first_difference:
        yield Text(report.first_difference, style=_COLOURS[report.verdict])
    if report.cause:
        yield Text(report.cause, style=_COLOURS[report.verdict])
    left_out = sorted({name for v in report.verdicts for name in v.left_out})
    if left_out:
        yield Text(f"not compared, they read the clock: {', '.join(left_out)}", style="dim")
    moments = sorted({name for v in report.verdicts for name in v.of_the_replay})
    if moments:
        yield Text(
            f"{', '.join(moments)}: read from a clock or from the machine, so what stands there is about the replay",
            style="yellow",
        )
    for note in dict.fromkeys(report.notes):
        yield Text(note, style="dim")


def _compared(report: RunReport) -> str:
    """How much was compared: values that were logged again, or the state at checkpoints."""
    logged = sum(verdict.compared for verdict in report.verdicts)
    states = sum(verdict.states.compared for verdict in report.verdicts if verdict.states is not None)
    if states and not logged:
        return plural(states, "state")
    return f"{logged:,}" if report.verdicts else ""


def show_reports(proposal: Proposal, reports: Sequence[RunReport], seconds: float, screen: Console) -> None:
    """How it went: a line a run, then one sentence."""
    if reports:
        columns = ("version", "run", "verdict", "compared", "work", "arguments")
        table = table_of(*columns, wrapped=("arguments",))
        for report in reports:
            table.add_row(
                title(report.version),
                report.run.run[-8:],
                _verdict(report),
                _compared(report),
                duration(report.seconds),
                report.run.told,
            )
        screen.print(table)
        for report in reports:
            for text in _details(report):
                screen.print(Text(f"{report.run.run[-8:]}: ").append(text))
        screen.print()
    screen.print(_summary(proposal, reports, seconds))


def _summary(proposal: Proposal, reports: Sequence[RunReport], seconds: float) -> Text:
    filled = {r.version.commit for r in reports if r.filled} | {
        v.commit for v in proposal.versions for verdict in v.filled.values() if verdict != "diverged"
    }
    filled -= {r.version.commit for r in reports if not r.filled}
    has = [v for v in proposal.versions if v.already]
    refused = [v for v in proposal.versions if v.problem or (v.refused and not v.names)]
    partly = [v for v in proposal.versions if v.refused and v.names]
    bad = [r for r in reports if not r.filled]
    before = "" if reports or not filled else " before: nothing to replay"
    parts = [f"{len(filled)} of {plural(len(proposal.versions), 'version')} filled{before}"]
    if has:
        parts.append(f"{len(has)} had the statements already")
    if partly:
        parts.append(f"{len(partly)} with some statements refused")
    if refused:
        parts.append(f"{len(refused)} refused")
    if bad:
        parts.append(f"{plural(len(bad), 'run')} failed or diverged")
    took = f", in {duration(seconds)}" if reports else ""
    text = Text(", ".join(parts) + took, style="bold")
    if filled:
        names = " ".join(_quoted(name) for name in proposal.names)
        text.append(f"\nflor-replay show {names}", style="not bold")
    return text


def _quoted(name: str) -> str:
    import shlex

    return shlex.quote(name)
