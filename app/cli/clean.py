"""``tilechord clean``: what may go from the store, and removing it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import Json
from app.cli.output import note, say, say_json, say_table, spoken_bytes

if TYPE_CHECKING:
    from app.domain.retention import Removal, RetentionRules

_NAMES = {
    "intermediates": "what pictures were made from",
    "folder": "plans that no result needs, and what lies under them",
    "job": "records of jobs",
    "input": "uploads that no job names",
    "mark": "marks",
}


def clean(
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without, it is shown.")] = False,
    intermediates_ttl: Annotated[
        float | None, typer.Option(min=0, help="Seconds, instead of the setting.")
    ] = None,
    results_ttl: Annotated[
        float | None, typer.Option(min=0, help="Seconds, instead of the setting; 0 is for ever.")
    ] = None,
    limit_gb: Annotated[
        float | None, typer.Option(min=0, help="Size of the store, instead of the setting.")
    ] = None,
    json: Json = False,
) -> None:
    """Remove from the store what its settings no longer keep; shows it unless --yes is given.

    Nothing that an open job uses goes. Ctrl-C leaves nothing half: what is left goes next time.
    """
    from app.bootstrap import runtime
    from app.cli.progress import progress
    from app.retention.cleaning import Cleaner, rules_of

    app = runtime()
    rules = _changed(rules_of(app.settings), intermediates_ttl, results_ttl, limit_gb)
    cleaner = Cleaner(app)
    with progress("blobs looked at", is_quiet=json) as show:
        chosen = cleaner.choose(rules, show)
    if not yes:
        _tell(chosen, as_json=json)
        return
    with progress("removed", is_quiet=json) as show:
        done = cleaner.remove(chosen, show)
    if json:
        say_json({"removed": done.removed, "bytes": done.size_bytes, "left": done.left})
        return
    say(f"removed {spoken_bytes(done.size_bytes)}")
    if done.left:
        note(f"{done.left} of {len(chosen)} are left: jobs have begun to use them")


def _changed(
    rules: RetentionRules,
    intermediates_ttl_s: float | None,
    results_ttl_s: float | None,
    limit_gb: float | None,
) -> RetentionRules:
    if intermediates_ttl_s is not None:
        rules = replace(rules, intermediates_ttl_s=intermediates_ttl_s)
    if results_ttl_s is not None:
        rules = replace(rules, results_ttl_s=results_ttl_s)
    if limit_gb is not None:
        rules = replace(rules, max_store_bytes=round(limit_gb * 1e9))
    return rules


def _tell(chosen: list[Removal], *, as_json: bool) -> None:
    """Show what would go."""
    total = sum(removal.size_bytes for removal in chosen)
    if as_json:
        found = [
            {"what": str(each.what), "name": each.name, "bytes": each.size_bytes} for each in chosen
        ]
        say_json({"removals": found, "bytes": total})
        return
    rows = []
    for what, name in _NAMES.items():
        if of_kind := [removal for removal in chosen if removal.what == what]:
            size = spoken_bytes(sum(removal.size_bytes for removal in of_kind))
            rows.append((str(len(of_kind)), size, name))
    if rows:
        say_table(("count", "size", "what"), rows)
    say(f"{spoken_bytes(total)} would go" if chosen else "nothing would go")
    if chosen:
        note("remove it with: tilechord clean --yes")
