"""The state of a batch, in a folder: one small file a job, which moves between folders by atomic renames.

    pending/NAME.json           waits
    leased/NAME.json@OWNER      OWNER works on it, and touches the file every few seconds
    optimized/                  waits for mesh and film, which need no prior
    done/  failed/  dropped/    finished; failed for good; no longer in the prompts

A rename succeeds for one process only, so no job is taken twice, on one host or on a folder that several share. The
owner of a lease writes the job's next record to its new place and then removes the lease; if it is killed between the
two, the next process that looks removes the lease. Clocks of other hosts are never compared: a lease is abandoned when
its owner is a dead process of this host, or when this process has seen no touch for LEASE_SECONDS of its own time.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from sds3d.batch.failures import REASONS
from sds3d.errors import UserError
from sds3d.files import atomic_write, read_json, refused

LEASE_SECONDS = 60.0
BEAT_SECONDS = 5.0
State = Literal["pending", "optimized", "done", "failed", "dropped"]
STATES: tuple[State, ...] = get_args(State)
LEASED = "leased"
SETTLING = ".settling"


@dataclass(frozen=True)
class Record:
    """What is known of a job."""

    name: str  # of its run folder, which is its identity
    order: int  # jobs are taken in this order
    prompt: str
    label: str = ""
    place: str = ""  # in the file of prompts
    seed: int = 0
    changes: tuple[str, ...] = ()  # key=value, other than the batch's config
    attempts: int = 0  # that ended in an error or a dead worker
    history: tuple[dict[str, Any], ...] = field(default=())  # one entry for each such attempt
    seconds: float = 0.0  # of the attempt that succeeded

    @property
    def file(self) -> str:
        """Its file's name; names sort in the order of jobs."""
        return f"{self.order:06d}.{self.name}.json"


class LeaseLost(Exception):
    """Another process has taken the job back, since it saw no sign of life."""


@dataclass(frozen=True)
class Lease:
    """A job that this process may work on."""

    store: Store
    record: Record
    path: Path
    came_from: State = "pending"

    def beat(self) -> None:
        """Shows that the owner lives; LeaseLost if the job has been taken back."""
        try:
            os.utime(self.path)
        except FileNotFoundError as error:
            raise LeaseLost(self.record.name) from error

    def settle(self, state: State, **changes: Any) -> None:
        """Ends the lease: the job goes to `state` with `changes` to its record. LeaseLost if it was taken back."""
        settling = self.path.with_name(f"{self.record.file}@{owner_name()}{SETTLING}")
        try:
            os.rename(self.path, settling)  # from here on nobody else takes it
        except FileNotFoundError as error:
            raise LeaseLost(self.record.name) from error
        self.store._write(state, replace(self.record, **changes))
        settling.unlink()


class Store:
    """The jobs of one batch folder."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds; it is this process's own."""
        self.folder, self.clock = folder, clock
        self._seen: dict[str, tuple[int, float]] = {}  # lease -> its last touch, and when this process noticed it

    def create(self) -> None:
        """Makes the folders."""
        try:
            for state in (*STATES, LEASED):
                (self.folder / state).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refused(error, self.folder) from error

    @contextmanager
    def planning(self) -> Iterator[None]:
        """Keeps other processes from changing the plan meanwhile; waits for one that does."""
        with (self.folder / ".lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def add(self, record: Record) -> None:
        """Adds a job that waits."""
        self._write("pending", record)

    def records(self, state: State) -> list[Record]:
        """The jobs in `state`, in their order."""
        return [record for name in self._names(state) if (record := self._read(self.folder / state / name))]

    def leased(self) -> list[Record]:
        """The jobs that someone works on."""
        return [record for name in self._names(LEASED) if (record := self._read(self.folder / LEASED / name))]

    def first(self, state: State) -> Record | None:
        """The first job in `state`, if there is one."""
        for name in self._names(state):
            if record := self._read(self.folder / state / name):
                return record
        return None

    def last_job_of(self, pid: int) -> str:
        """The job whose last failed attempt was that of a process of this host; empty if there is none."""
        for state in ("pending", "failed"):
            for record in self.records(state):
                if record.history and _pid_of(f"@{record.history[-1].get('owner')}") == pid:
                    return record.name
        return ""

    def counts(self) -> dict[str, int]:
        """The number of jobs in each state."""
        return {state: len(self._names(state)) for state in (*STATES, LEASED)}

    def claim(self, state: State = "pending") -> Lease | None:
        """A lease of the next job in `state`; None if there is none."""
        for name in self._names(state):
            target = self.folder / LEASED / f"{name}@{owner_name()}"
            try:
                os.utime(self.folder / state / name)  # the lease begins with a fresh touch
                os.rename(self.folder / state / name, target)
            except FileNotFoundError:  # another process was faster
                continue
            if record := self._read(target):
                return Lease(self, record, target, state)
        return None

    def may_bring(self, state: State) -> bool:
        """Whether work that goes on may bring another job into `state`."""
        earlier = STATES[: STATES.index(state)]
        return bool(self._names(LEASED)) or any(self._names(other) for other in earlier)

    def move(self, record: Record, before: State, after: State, **changes: Any) -> None:
        """Moves a job that nobody works on."""
        taken = self.folder / LEASED / f"{record.file}@{owner_name()}"
        with suppress(FileNotFoundError):  # another process has moved it
            os.rename(self.folder / before / record.file, taken)
            Lease(self, record, taken).settle(after, **changes)

    def forget(self, record: Record, state: State) -> None:
        """Removes a job that nobody works on from the batch."""
        (self.folder / state / record.file).unlink(missing_ok=True)

    def take_back(self, attempts: int, reasons: Mapping[int, str] = MappingProxyType({})) -> None:
        """Ends abandoned leases: such jobs wait again, or have failed if this was the last of `attempts`.

        `reasons` says why processes of this host were ended. Call it every few seconds, since a lease of another host
        counts as abandoned only after LEASE_SECONDS of watching.
        """
        names = self._names(LEASED)
        self._seen = {name: seen for name, seen in self._seen.items() if name in names}
        for name in names:
            path = self.folder / LEASED / name
            record = self._read(path) if self._abandoned(path) else None
            if record is None:
                continue
            if any((self.folder / state / record.file).exists() for state in STATES):  # killed while it settled
                path.unlink(missing_ok=True)
                continue
            reason = reasons.get(_pid_of(name), "worker died")
            limit = attempts if REASONS[reason].again else 0
            owner, message = _owner_of(name), "its process ended before the job did"
            state, changes = failure(record, limit, owner=owner, reason=reason, message=message)
            with suppress(LeaseLost):
                Lease(self, record, path).settle(state, **changes)

    def _abandoned(self, path: Path) -> bool:
        alive = owner_is_alive(_owner_of(path.name))
        if alive is not None:
            return not alive
        try:
            touched = path.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        before, since = self._seen.get(path.name, (0, 0.0))
        if before != touched:
            self._seen[path.name] = (touched, self.clock())
            return False
        return self.clock() - since > LEASE_SECONDS

    def _write(self, state: State, record: Record) -> None:
        text = json.dumps(asdict(record), indent=1, ensure_ascii=False)
        atomic_write(self.folder / state / record.file, text + "\n")

    def _names(self, folder: str) -> list[str]:
        try:
            names = os.listdir(self.folder / folder)
        except FileNotFoundError as error:
            raise UserError(f"{self.folder}: no batch there; give the folder that `sds3d batch` printed") from error
        return sorted(name for name in names if not name.startswith("."))

    def _read(self, path: Path) -> Record | None:
        """The record in `path`; None if it has just moved."""
        try:
            values = read_json(path)
            known = {item.name: values[item.name] for item in fields(Record)}
            return Record(**known | {"changes": tuple(known["changes"]), "history": tuple(known["history"])})
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not the record of a job ({str(error)[:100]}); delete it, run again") from error


def failure(record: Record, attempts: int, **entry: Any) -> tuple[State, dict[str, Any]]:
    """The next state of a job after a failed attempt of at most `attempts`, and the changes to its record.

    `entry` is added to its history.
    """
    entry = {"owner": owner_name(), "at": round(time.time(), 1)} | entry
    changes = {"attempts": record.attempts + 1, "history": (*record.history, entry)}
    return ("failed" if record.attempts + 1 >= attempts else "pending"), changes


def _owner_of(lease: str) -> str:
    return lease.partition("@")[2].removesuffix(SETTLING)


def _pid_of(lease: str) -> int:
    pid = _owner_of(lease).rpartition("-")[0].rpartition("-")[2]
    return int(pid) if pid.isdecimal() else 0


def owner_name() -> str:
    """This process, among all hosts and reboots: host, process id, start of the process."""
    pid = os.getpid()
    return f"{_host()}-{pid}-{_start_of(pid)}"


def owner_is_alive(owner: str) -> bool | None:
    """Whether the process `owner` lives; None if it belongs to another host."""
    host, _, rest = owner.rpartition("-")[0].rpartition("-")
    start = owner.rpartition("-")[2]
    if host != _host() or not rest.isdecimal() or not start:
        return None
    return _start_of(int(rest)) == start


def _host() -> str:
    """The host's name and boot, without the separators of file names."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip().replace("-", "")[:8]
        return f"{socket.gethostname().replace('/', '_').replace('@', '_')[:64]}.{boot}"
    return socket.gethostname().replace("/", "_").replace("@", "_")[:64]


def _start_of(pid: int) -> str:
    """The start time of a process in clock ticks since boot; empty if there is no such process, or no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
