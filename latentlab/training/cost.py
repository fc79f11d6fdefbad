"""The time and the memory that one generated picture takes, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

CAPTION = "a red apple on a blue background"


class Cost(NamedTuple):
    """The seconds of every picture after the first, the peak memory, and the pictures' side in pixels."""

    seconds: list[float]
    gigabytes: float
    side: int


def measure_cost(folder: Path) -> Cost:
    """Generate six pictures with the miniature in a folder, in a new process on two cores."""
    command = [sys.executable, "-m", __name__, str(folder)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    return Cost(**json.loads(process.stdout))


def _generate(folder: Path) -> Cost:
    import torch

    torch.set_num_threads(2)
    from .. import experiments
    from ..models.loading import triton_hidden

    with triton_hidden():  # as in latentlab.load
        from ..models.emoji import load_folder

        lab = load_folder(folder, device=torch.device("cpu"))
    seconds = []
    for seed in range(6):
        start = time.perf_counter()
        pixels = experiments.generate(lab, CAPTION, seeds=[seed]).pixels
        seconds.append(time.perf_counter() - start)
    return Cost(seconds[1:], peak_gigabytes(), pixels.shape[-1])


def peak_gigabytes() -> float:
    """The most memory that this process has had so far, in units of 2^30 bytes.

    On Linux `ru_maxrss` of a new process begins with what its parent had, so the kernel's own mark is read there.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**20
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS, in kilobytes elsewhere
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


if __name__ == "__main__":
    print(json.dumps(_generate(Path(sys.argv[1]))._asdict()))
