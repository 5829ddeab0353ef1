"""gallery.html: one static page with every asset of a batch; it needs no server and no other host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sds3d.batch.failures import REASONS
from sds3d.batch.plan import RUNS
from sds3d.batch.store import Record, Store
from sds3d.files import atomic_write, read_json

PAGE = Path(__file__).with_name("gallery.html")
NAME = "gallery.html"
FAILURES = "failures.jsonl"
REFRESH_SECONDS = 15


def write_pages(store: Store, running: bool) -> None:
    """Writes gallery.html, which reloads itself while the batch is `running`, and failures.jsonl."""
    failed = store.records("failed")
    lines = [json.dumps(_failure(record), ensure_ascii=False) + "\n" for record in failed]
    atomic_write(store.folder / FAILURES, "".join(lines))
    cards = [_card(store.folder, record, state) for state in ("done", "failed") for record in store.records(state)]
    waiting = store.counts()
    data = {
        "name": store.folder.name,
        "running": running,
        "refresh": REFRESH_SECONDS,
        "waiting": sum(waiting[state] for state in ("pending", "optimized", "leased")),
        "cards": sorted(cards, key=lambda card: card["order"]),
    }
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")  # the prompt cannot end the script
    atomic_write(store.folder / NAME, PAGE.read_text(encoding="utf-8").replace('"DATA"', text))


def _card(folder: Path, record: Record, state: str) -> dict[str, Any]:
    card = {
        "order": record.order, "state": state, "prompt": record.prompt, "label": record.label, "seed": record.seed,
        "changes": list(record.changes), "seconds": record.seconds, "attempts": record.attempts,
        "run": f"{RUNS}/{quote(record.name)}",
    }  # fmt: skip
    if state == "failed":
        return card | {"failure": _failure(record)}
    try:
        report = read_json(folder / RUNS / record.name / "report.json")
        return card | {"outputs": list(report["outputs"]), "numbers": _numbers(report)}
    except (OSError, ValueError, KeyError, TypeError):  # removed by hand; the next `sds3d batch` makes it again
        return card | {"outputs": [], "numbers": {}}


def _numbers(report: dict[str, Any]) -> dict[str, Any]:
    """What the report measures of the asset: its single numbers and truths."""
    return {name: value for name, value in report.items() if isinstance(value, int | float) and name != "seed"}


def _failure(record: Record) -> dict[str, Any]:
    last = record.history[-1] if record.history else {}
    reason = last.get("reason", "unknown")
    remedy = REASONS[reason].remedy if reason in REASONS else ""
    return {
        "prompt": record.prompt, "id": record.label, "place": record.place, "run": f"{RUNS}/{record.name}",
        "attempts": record.attempts, "reason": reason, "message": last.get("message", ""), "remedy": remedy,
        "traceback": last.get("traceback", ""),
    }  # fmt: skip
