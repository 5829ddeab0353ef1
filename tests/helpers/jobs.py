"""What the processes of `benchmarks.runs` do in tests; imports next to nothing, as each of them imports it anew."""

import os
import signal
import sys
import time
from pathlib import Path


def note(folder: Path, prompt: str) -> int:
    """Writes down by which process, on which cores and GPU; ends as the prompt says."""
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    (folder / f"{prompt}.txt").write_text(f"{os.getpid()} {cores} {gpu}")
    print(f"this is {prompt}")
    match prompt.split("-")[0]:
        case "refused":
            print("error: it is said why", file=sys.stderr)
            return 2
        case "raises":
            raise RuntimeError("a mistake")
        case "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleeps":
            time.sleep(60)
    return 0
