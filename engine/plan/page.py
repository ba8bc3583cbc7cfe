"""Plans, applied plans and data diffs as pages for people; the same documents are printed by --json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from engine.words import counted

Document = Mapping[str, Any]
SHOWN_SYMBOLS = 12
SHOWN_MODELS = 12


def page(document: Document, changes: Sequence[str] | None) -> str:
    """Return the plan of pipelines and models as one readable page."""
    lines = [f"profile {document['profile']}", ""]
    if changes is None:
        lines += ["First plan: nothing has run with this profile yet.", ""]
    else:
        lines += ["Changes since the last run:", *(f"  {line}" for line in changes or ["none"])]
        never = document.get("never_ran", ())
        lines += [*([f"Never ran: {', '.join(never)}"] if never else []), ""]
    lines += ["Assets", *_assets(document), "", "Calls", *_calls(document), "", "Tables"]
    lines += [
        f"  landing.{table}: {counted(len(columns), 'declared column')}"
        for table, columns in document["tables"].items()
    ]
    lines += ["", *_layers(document["models"])]
    for plan in document.get("transforms", ()):
        lines += [f"  {line}" for line in model_lines(plan)]
    lines += ["", "Pipelines"]
    for name, block in document["pipelines"].items():
        when = (
            f"{block['schedule']} {block['timezone']}, next {block['next_run']}" if block["schedule"] else "on request"
        )
        lines.append(f"  {name}: {when}")
        lines.append(f"    {', '.join(block['extract'])} -> {', '.join(block['load']) or 'the lake only'}")
    lines += ["", *(f"skipped: {name}: {reason}" for name, reason in document["skipped"].items())]
    lines += [f"note: {note}" for note in document["notes"]]
    return "\n".join(lines).rstrip()


def _assets(document: Document) -> list[str]:
    lines = []
    for name, assets in document["assets"].items():
        lines.append(f"  {name}: {len(assets['symbols'])}")
        for source, symbols in assets["not_carried"].items():
            more = " ..." if len(symbols) > SHOWN_SYMBOLS else ""
            lines.append(f"    {source} does not carry {', '.join(symbols[:SHOWN_SYMBOLS])}{more}")
    return lines


def _calls(document: Document) -> list[str]:
    lines = []
    for row in document["calls"]:
        runs = ", ".join(f"{use['calls_per_run']} a run of {use['pipeline']}" for use in row["uses"])
        mark = {"ok": "", "warn": "WARN ", "refuse": "REFUSED "}[row["verdict"]]
        lines.append(f"  {row['source']}: {mark}{runs}; {row['sentence'] or 'within its limits'}")
    return lines


def _layers(models: Sequence[str]) -> list[str]:
    layers = Counter(name.split(".")[0] for name in models)
    return [f"Models: {len(models)} ({', '.join(f'{layer} {count}' for layer, count in layers.items())})"]


def model_lines(plan: Document) -> list[str]:
    """Return what a plan changes in the models of one warehouse, line by line."""
    where = plan["warehouse"] if plan["environment"] == "prod" else f"{plan['warehouse']}, {plan['environment']}"
    if plan["status"] == "busy":
        return [f"on {where}: not compared: {plan['reason']}"]
    if plan["status"] == "unchanged":
        same = "what production runs" if plan["environment"] == "prod" else "what the environment has, or production"
        return [f"on {where}: no change, the files are {same}"]
    if plan["status"] == "first":
        head = [f"on {where}: a first build of {counted(len(plan['added']), 'model')}"]
    else:
        head = [f"on {where}:", *(f"  {line}" for line in _changes(plan))]
    return head + [f"  {line}" for line in _building(plan)]


def _changes(plan: Document) -> list[str]:
    own = [row for row in plan["changed"] if not row["because"]]
    following = [row for row in plan["changed"] if row["because"]]
    lines = [f"+ {name}" for name in plan["added"]] + [f"- {name}" for name in plan["removed"]]
    lines += [f"~ {row['model']}: {row['change']}" for row in own if row["change"] != "metadata"]
    described = [row["model"] for row in own if row["change"] == "metadata"]  # descriptions, tags, audits: no data
    lines += [f"~ {_some(described)}: metadata"] if described else []
    by_cause: dict[tuple[str, str], list[str]] = {}
    for row in following:
        by_cause.setdefault((row["change"], " and ".join(row["because"])), []).append(row["model"])
    lines += [f"~ {_some(names)}: {change}, because of {cause}" for (change, cause), names in sorted(by_cause.items())]
    return lines or ([] if plan["build"] else ["no model changes, only tests of several models do"])


def _building(plan: Document) -> list[str]:
    tables = [row for row in plan["build"] if not row["view"]]
    views = len(plan["build"]) - len(tables)
    lines = []
    if plan["status"] != "first":
        lines += [
            f"build {row['model']}: what arrived {row['from'][:16]} to {row['to'][:16]} UTC{_rows(row)}"
            for row in tables[:SHOWN_MODELS]
        ]
        if len(tables) > SHOWN_MODELS:
            lines.append(f"build {len(tables) - SHOWN_MODELS} more")
    known = [row["rows"] for row in tables if row.get("rows") is not None]
    if tables:
        spans = f"{min(row['from'] for row in tables)[:16]} to {max(row['to'] for row in tables)[:16]} UTC"
        estimate = f", about {counted(sum(known), 'row')}" if known else ""
        lines.append(f"in all {counted(len(tables), 'table')} to build for what arrived {spans}{estimate}")
    if views:
        lines.append(f"{counted(views, 'view')} to make anew, which moves no rows")
    return lines


def _rows(row: Document) -> str:
    if row.get("rows") is None:
        return ""
    return f", about {counted(row['rows'], 'row')} ({row['rows_from']})"


def applied(done: Document) -> list[str]:
    """Return what `engine apply` did on one warehouse, line by line."""
    if "dropped" in done:
        return [f"{done['warehouse']}: {done['environment']} is dropped ({counted(len(done['dropped']), 'view')})"]
    where = "production" if done["environment"] == "prod" else done["environment"]
    if done["status"] == "unchanged":
        return [f"{done['warehouse']}: {where} is as the files are already"]
    changed = len(done["added"]) + len(done["changed"]) + len(done["removed"])
    built = _some(done["built"]) if done["built"] else "no table"
    head = f"{done['warehouse']}: {where} has {counted(changed, 'changed model')}; built {built}, "
    lines = [f"{head}made {counted(len(done['views']), 'view')} anew, {done['seconds']:.1f} s"]
    lines += [f"  WARN {warning}" for warning in done["warnings"]]
    if not done["published"]:
        lines.append("  production's last run did not end well: readers see this after the next that does")
    return lines


def diff_lines(document: Document) -> list[str]:
    """Return a data diff, line by line."""
    if not document["models"]:
        return [f"{document['environment']} has every model as production has it"]
    lines = [f"{document['environment']} against production, on {document['warehouse']}"]
    for model in document["models"]:
        lines += ["", *_model_diff(model)]
    return lines


def _model_diff(model: Document) -> list[str]:
    rows = model["rows"]
    if model["status"] != "changed":
        side = "env" if model["status"] == "added" else "prod"
        return [f"{model['model']}: {model['status']}, {counted(rows[side], 'row')}"]
    columns = model["columns"]
    lines = [f"{model['model']}: {counted(rows['prod'], 'row')}, now {rows['env']:,}"]
    lines += [f"  + column {name}" for name in columns["added"]] + [f"  - column {name}" for name in columns["removed"]]
    lines += [f"  ~ column {name}: {old} -> {new}" for name, (old, new) in columns["retyped"].items()]
    how = f"by {', '.join(model['by'])}" if model["by"] else "row by row (no grain, or one that is not unique)"
    counts = [f"{model['equal']:,} equal"]
    counts += [f"{model['differing']:,} differ"] if model["by"] else []
    counts += [f"{model['only_in_prod']:,} only in production", f"{model['only_in_env']:,} only here"]
    lines.append(f"  {how}: {', '.join(counts)}")
    lines += [
        f"  {column}: {counted(count, 'row')} differ{'s' if count == 1 else ''}"
        for column, count in model.get("differs", {}).items()
    ]
    samples = model["samples"]
    for found in samples.get("differing", ()):
        values = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in found["columns"].items())
        lines.append(f"    ~ {_key(found['key'])}: {values}")
    for sign, side in (("-", "only_in_prod"), ("+", "only_in_env")):
        lines += [f"    {sign} {_key(found.get('key', found))}" for found in samples[side]]
    return lines


def _key(key: Document) -> str:
    return ", ".join(f"{name} {value}" for name, value in key.items())


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_MODELS} more" if len(names) > SHOWN_MODELS else ""
    return ", ".join(names[:SHOWN_MODELS]) + more
