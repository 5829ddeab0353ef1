"""A job for the processes of `benchmarks.runs`. It imports little, since each process imports it again."""

import os
import signal
import sys
import time
from pathlib import Path


def note(folder: Path, prompt: str) -> int:
    """Writes the process, its cores and its GPU to a file; ends in the way that the prompt names."""
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    (folder / f"{prompt}.txt").write_text(f"{os.getpid()} {cores} {gpu}")
    print(f"this is {prompt}")
    match prompt.split("-")[0]:
        case "refused":
            print("error: the reason", file=sys.stderr)
            return 2
        case "raises":
            raise RuntimeError("a mistake")
        case "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleeps":
            time.sleep(60)
    return 0
