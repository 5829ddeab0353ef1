"""sds3d VERB: finds the verb's file and turns the user's errors into one line and exit code 2."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from importlib import import_module
from typing import NoReturn

from sds3d import __version__
from sds3d.cli.terminal import lost_output, steady_streams
from sds3d.errors import UserError, as_user_error

VERBS = {
    "generate": "make a textured 3D asset from a prompt",
    "batch": "make an asset for each prompt of a file; stop it, continue it, watch it",
    "worker": "work on a batch beside other workers, on this machine or another",
    "resume": "continue a run that was stopped",
    "export": "write the asset of a finished run as glb, obj or ply",
    "prior": "preview a prior; fetch, convert or train one",
    "estimate": "estimate the memory of a run, and whether this machine has it",
    "doctor": "check this machine: what is missing, and how to get it",
}
LEAVE_AT_ONCE = ("generate", "resume", "worker")  # they need no cleanup at exit: their files are on disk
USAGE = """\
usage: sds3d VERB ...

{verbs}

`sds3d VERB --help` says more about each; --debug shows where an error came from."""


def program() -> NoReturn:
    """`main` as a process.

    Python would take 0.2 s, and longer with a GPU, to free memory that the system frees with the process.
    """
    steady_streams()
    try:
        code = main()
    except SystemExit as end:  # argparse: --help, or a mistake
        code = end.code if isinstance(end.code, int) else 1
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if (why := lost_output()) is not None:
        print(f"warning: some of the output is lost: {why}", file=sys.stderr)
        code = code if verb in LEAVE_AT_ONCE else code or 1  # the output of the other verbs is their result
    if verb in LEAVE_AT_ONCE:
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main(argv: list[str] | None = None) -> int:
    """Runs one verb; returns 0 done, 1 something is missing or too large, 2 an error the user can fix, 75 stopped."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(USAGE.format(verbs="\n".join(f"  {verb:<10}{text}" for verb, text in VERBS.items())))
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"sds3d {__version__}")
        return 0
    # OpenMP's threads spin while they wait, which makes every step slower beside a busy process.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    atexit.register(gc.freeze)  # otherwise Python collects garbage in all imported modules at exit
    try:
        if argv[0] not in VERBS:
            raise UserError(_unknown(argv[0]))
        return import_module(f"sds3d.cli.{argv[0]}").main(argv[1:])
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        problem = as_user_error(error)
        if problem is None or "--debug" in argv:
            raise
        print(f"error: {problem}", file=sys.stderr)
        return 2


def _unknown(word: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(word, VERBS, n=1)
    if close:
        return f"no verb {word!r}, did you mean '{close[0]}'?"
    return f'no verb {word!r}; to make an asset: sds3d generate "PROMPT"'


if __name__ == "__main__":
    program()
