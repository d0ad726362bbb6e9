"""Proposals and results as plain data, for ``--json``. The keys are documented in docs/propagation.md and stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flor_instrument import Placement

from flor_replay.cli.explain import diff
from flor_replay.replay.backfill import RunReport
from flor_replay.replay.proposal import FileResult, Proposal, VersionProposal


def proposal_data(proposal: Proposal) -> dict[str, Any]:
    """The proposal as plain data."""
    return {
        "files": [
            {
                "path": file.path,
                "statements": [
                    {"name": u.name, "line": u.line, "text": u.text, "changed": u.changed, "needs": list(u.needs)}
                    for u in file.patch.units
                ],
            }
            for file in proposal.files
        ],
        "versions": [_version_data(version) for version in proposal.versions],
        "left_out": [{"run": run.run, "reason": reason} for run, reason in proposal.left_out],
        "left_aside": list(proposal.left_aside),
        "since": {sentence: [run.run for run in runs] for sentence, runs in proposal.since.items()},
        "jobs": proposal.jobs,
        "estimated_seconds": proposal.estimate(),
    }


def _version_data(version: VersionProposal) -> dict[str, Any]:
    return {
        "version": version.commit,
        "patched": version.patched,
        "problem": version.problem,
        "placed": [_placement_data(file, placement) for file, placement in version.placed],
        "refused": [
            {
                "statement": one.statement,
                "reason": one.reason,
                "file": one.today,
                "line": one.line,
                "unsure": [_placement_data(one.file, placement) for placement in one.refusal.unsure],
            }
            for one in version.refused
        ],
        "diffs": {path: "".join(diff(version, path)) for path in version.sources},
        "has_already": version.already,
        "where": version.reason,
        "runs": [
            {
                "run": run.run,
                "reason": version.plans[run.run].reason if run.run in version.plans else None,
                "filled_before": version.filled.get(run.run),
                "segments": [s.as_data() for s in version.plans[run.run].segments] if run.run in version.plans else [],
            }
            for run in version.runs
        ],
    }


def _placement_data(file: FileResult, placement: Placement) -> dict[str, Any]:
    return {
        "path": file.path,
        "line": placement.line,
        "end_line": placement.end_line,
        "kind": placement.kind,
        "text": placement.text,
        "name": placement.name,
        "replaces": placement.replaces,
        "replaced": placement.original.decode("utf-8", "replace") if placement.replaces else None,
        "after": placement.after,
        "after_line": placement.after_line,
        "before": placement.before,
        "before_line": placement.before_line,
        "renames": [list(pair) for pair in placement.renames],
        "placed_by": placement.placed_by,
        "today": file.today,
    }


def result_data(proposal: Proposal, reports: Sequence[RunReport], seconds: float) -> dict[str, Any]:
    """The proposal with how it went."""
    data = proposal_data(proposal)
    data["seconds"] = seconds
    data["results"] = [
        {
            "run": report.run.run,
            "version": report.version.commit,
            "verdict": None if report.problem else report.verdict,
            "compared": sum(v.compared for v in report.verdicts),
            "problem": report.problem,
            "first_difference": report.first_difference,
            "cause": report.cause,
            "notes": report.notes,
            "seconds": report.seconds,
            "placed_by": report.version.placed_by,
        }
        for report in reports
    ]
    return data
