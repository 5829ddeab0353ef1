"""From rows of prompts to the jobs of a batch, and from an old plan to a new one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sds3d.batch.failures import REASONS
from sds3d.batch.prompts import MAX_PROBLEMS, Row
from sds3d.batch.store import STATES, Record, Store
from sds3d.config.load import load_config, with_prompt
from sds3d.config.schema import Config, Device
from sds3d.errors import UserError
from sds3d.files import atomic_write, read_json, user_path
from sds3d.runs.folder import RunFolder
from sds3d.runs.identity import run_name, slug

SETTINGS = "batch.json"
RUNS = "runs"
STOP = "stop"  # a file that tells all workers to save and end
OF_THE_BATCH = ("out", "device")


@dataclass(frozen=True)
class Job:
    """One asset to make."""

    cfg: Config
    prior_ids: tuple[str, ...]
    row: Row
    changes: tuple[str, ...]  # key=value of its row and of the sweep

    @property
    def name(self) -> str:
        """The name of its run folder: a hash of prompt, config, seed, weights and version."""
        return run_name(self.cfg, self.prior_ids)


@dataclass(frozen=True)
class Changes:
    """What a new plan did to a batch."""

    new: int = 0
    kept: int = 0
    finished: int = 0
    dropped: int = 0
    repeated: int = 0

    def __str__(self) -> str:
        text = f"{self.new} new jobs, {self.kept} to continue, {self.finished} already finished"
        text += f", {self.dropped} no longer in the prompts" if self.dropped else ""
        return text + (f", {self.repeated} listed twice (use --seeds for variants)" if self.repeated else "")


@dataclass(frozen=True)
class Request:
    """The options of a batch, beside its prompts."""

    config: Path | None = None  # a file or the name of a preset
    overrides: tuple[str, ...] = ()  # key=value, of all rows; those of a row come after them
    sweep: tuple[str, ...] = ()  # key=a,b
    num_seeds: int = 1

    def folder(self, prompts: Path) -> Path:
        """The batch's folder, by the name of the file of prompts, inside the config's `out`."""
        out = load_config(self.config, list(self.overrides), "an asset").out
        return user_path(out) / (slug(prompts.stem) or "batch")


def make_jobs(
    rows: Sequence[Row], request: Request, folder: Path, find_ids: Callable[[Config], Sequence[str]]
) -> list[Job]:
    """A job for each row, seed and combination of swept values; UserError lists all bad rows.

    `find_ids` returns the ids of the weights of a config's priors.
    """
    configs: dict[tuple[str, ...], Config | UserError] = {}
    ids: dict[Config, tuple[str, ...]] = {}
    jobs: list[Job] = []
    problems: list[str] = []
    for row in rows:
        for changes in _combinations(row.overrides, request.sweep):
            try:
                _check_changes(changes)
                all_changes = (*request.overrides, *changes, f"out={folder / RUNS}")
                first = with_prompt(_config(request.config, all_changes, configs), row.prompt)
                plain = replace(first, prompt="", seed=0)
                if plain not in ids:
                    ids[plain] = tuple(find_ids(first))
            except UserError as error:
                problems.append(f"{row.place}: {error}")
                break
            for seed in range(first.seed, first.seed + request.num_seeds):
                jobs.append(Job(replace(first, seed=seed), ids[plain], row, changes))
    if problems:
        more = f"; and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        raise UserError("; ".join(problems[:MAX_PROBLEMS]) + more)
    return jobs


def put_into(store: Store, jobs: Iterable[Job], attempts: int) -> Changes:
    """Makes `jobs` the plan of a batch: adds new ones, keeps known ones, drops those that are no longer in it.

    A finished job whose files are gone or changed waits again, and so does a failed one if `attempts` allows it.
    """
    known = {record.name: (state, record) for state in STATES for record in store.records(state)}
    leased = {record.name for record in store.leased()}
    order = 1 + max((record.order for _, record in known.values()), default=-1)
    changes = Changes()
    wanted: set[str] = set()
    for job in jobs:
        if job.name in wanted:
            changes = replace(changes, repeated=changes.repeated + 1)
            continue
        wanted.add(job.name)
        if job.name in leased:
            changes = replace(changes, kept=changes.kept + 1)
            continue
        run = RunFolder.create(job.cfg, job.prior_ids)
        if job.name not in known:
            store.add(_record(job, order))
            order += 1
            changes = replace(changes, new=changes.new + 1)
            continue
        state, record = known[job.name]
        if state == "done" and run.finished:
            changes = replace(changes, finished=changes.finished + 1)
            continue
        if state in ("done", "dropped") or (state == "failed" and _may_try_again(record, attempts)):
            store.move(record, state, "pending")
        changes = replace(changes, kept=changes.kept + 1)
    for name, (state, record) in known.items():
        if name not in wanted and state != "dropped":
            store.move(record, state, "dropped")
            changes = replace(changes, dropped=changes.dropped + 1)
    return changes


def _may_try_again(record: Record, attempts: int) -> bool:
    """Whether a job that failed has an attempt left that can help."""
    reason = record.history[-1].get("reason", "") if record.history else ""
    return record.attempts < attempts and (reason not in REASONS or REASONS[reason].again)


@dataclass(frozen=True)
class Settings:
    """What workers need to know of a batch."""

    attempts: int = 3
    device: Device = "auto"

    def save(self, folder: Path) -> None:
        """Writes them into the batch's folder."""
        atomic_write(folder / SETTINGS, json.dumps(asdict(self)) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Settings:
        """Those of the batch in `folder`; UserError if there is none."""
        try:
            return cls(**read_json(folder / SETTINGS))
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{folder}: no batch there; give the folder that `sds3d batch` printed") from error


def _record(job: Job, order: int) -> Record:
    return Record(
        name=job.name, order=order, prompt=job.cfg.prompt, label=job.row.label, place=job.row.place,
        seed=job.cfg.seed, changes=job.changes,
    )  # fmt: skip


def _config(path: Path | None, overrides: tuple[str, ...], known: dict[tuple[str, ...], Config | UserError]) -> Config:
    """The config with `overrides` and any prompt, loaded once: files with thousands of prompts have few of them."""
    if overrides not in known:
        try:
            known[overrides] = load_config(path, list(overrides), "an asset")
        except UserError as error:
            known[overrides] = error
    found = known[overrides]
    if isinstance(found, UserError):
        raise found
    return found


def _check_changes(changes: Sequence[str]) -> None:
    for change in changes:
        if (key := change.partition("=")[0]) in OF_THE_BATCH:
            raise UserError(f"{key}: belongs to the whole batch; give {key}=... on the command line")


def _combinations(own: tuple[str, ...], sweep: Sequence[str]) -> list[tuple[str, ...]]:
    """The overrides of a row with each combination of the swept values."""
    choices = []
    for text in sweep:
        key, equals, values = text.partition("=")
        if not equals or not key or not values:
            raise UserError(f"--sweep: expected key=value,value such as mesh.faces=5000,20000, got {text!r}")
        choices.append([f"{key}={value}" for value in values.split(",")])
    return [(*own, *combination) for combination in itertools.product(*choices)]
