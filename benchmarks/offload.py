"""Networks in turns: latentlab's `Turns` beside accelerate's hooks, in any order of calls and on disk.

python benchmarks/offload.py

The first table needs no device: the networks pretend to move, and the hooks of accelerate are its own.  It counts the
networks that are on the device at once.  The second table reads real weights from disk on a CPU.
"""

from __future__ import annotations

import functools
import itertools
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import torch
import typer
from accelerate import cpu_offload_with_hook, disk_offload
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from latentlab.analysis import intervals
from latentlab.models import offload

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
ORDERS = {
    "generate": ["encoder", "prior", *["decoder"] * 5, "upsampler", "encoder"],
    "invert, and decode twice": ["encoder", *["decoder"] * 9, "encoder", "upsampler"],
    "guide, two scales": ["encoder", "prior", *["decoder"] * 5, "encoder", *["decoder"] * 5, "encoder"],
    "guided by CLIP": ["encoder", "prior", *["decoder", "encoder"] * 5, "upsampler"],
}


class Pretender(nn.Module):
    """A network that only says where its weights are."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.place = CPU

    def to(self, device: torch.device) -> Pretender:  # type: ignore[override]
        self.place = torch.device(device)
        return self

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        yield self  # type: ignore[misc]  # the hook asks the first parameter for its device

    @property
    def device(self) -> torch.device:
        return self.place

    def forward(self) -> None:
        pass


def at_once(order: Sequence[str]) -> tuple[int, int]:
    """The most networks of a chain of accelerate's hooks that are on the device at once, and the moves to it."""
    networks: dict[str, Pretender] = {name: Pretender() for name in dict.fromkeys(order)}
    hook, most, moves = None, 0, 0
    for name, network in networks.items():
        networks[name], hook = cpu_offload_with_hook(network, GPU, prev_module_hook=hook)
    for name in order:
        moves += networks[name].place == CPU
        networks[name]()
        most = max(most, sum(network.place == GPU for network in networks.values()))
    return most, moves


def moves_in_turns(order: Sequence[str]) -> int:
    """How often another network than the last one is called."""
    return 1 + sum(a != b for a, b in itertools.pairwise(order))


@contextmanager
def peak() -> Iterator[dict[str, float]]:
    """Seconds of the block inside, and megabytes of memory at its peak beyond those at its start."""
    measurement, done = {"MB": 0.0}, threading.Event()

    def used() -> float:
        return int(re.findall(r"VmRSS:\s*(\d+)", Path("/proc/self/status").read_text())[0]) / 1024

    def watch() -> None:
        while not done.wait(0.002):
            measurement["MB"] = max(measurement["MB"], used() - before)

    before, watcher, start = used(), threading.Thread(target=watch), time.perf_counter()
    watcher.start()
    yield measurement
    measurement["seconds"] = time.perf_counter() - start
    done.set()
    watcher.join()


def network(width: int, layers: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Linear(width, width, bias=False) for _ in range(layers))).requires_grad_(False)


def read(file: Path, width: int, layers: int) -> nn.Sequential:
    with torch.device("meta"):
        module = network(width, layers)
    module.load_state_dict(load_file(file), assign=True)
    return module


def by_turns(files: Sequence[Path], width: int, layers: int) -> list[nn.Module]:
    turns = offload.Turns(CPU, on_disk=True)
    readers = [functools.partial(read, file, width, layers) for file in files]
    return [turns.add(reader(), reader) for reader in readers]


def by_accelerate(files: Sequence[Path], width: int, layers: int) -> list[nn.Module]:
    return [disk_offload(read(file, width, layers), file.with_suffix(""), CPU) for file in files]


def in_memory(files: Sequence[Path], width: int, layers: int) -> list[nn.Module]:
    return [read(file, width, layers) for file in files]


def evaluate(modules: Sequence[nn.Module], x: Tensor, evaluations: int) -> None:
    for module in modules:
        for _ in range(evaluations):
            module(x)


def main(
    width: Annotated[int, typer.Option(help="Width of a layer.")] = 2048,
    layers: Annotated[int, typer.Option(help="Layers of each of the three networks.")] = 8,
    evaluations: Annotated[int, typer.Option(help="Evaluations of each network, one after another.")] = 25,
) -> None:
    cells = []
    for name, order in ORDERS.items():
        most, moves = at_once(order)
        cells.append([name, str(len(set(order))), str(most), str(moves), "1", str(moves_in_turns(order))])
    heads = ["calls", "networks", "accelerate: at once", "moves", "Turns: at once", "moves"]
    print(intervals.markdown(heads, cells), "\n")
    ways: dict[str, Callable[..., list[nn.Module]]] = {
        "all in memory": in_memory,
        "Turns, on disk": by_turns,
        "accelerate's disk_offload": by_accelerate,
    }
    x, cells = torch.randn(1, width), []
    for name, build in ways.items():
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / f"{k}.safetensors" for k in range(3)]
            for file in files:
                save_file(network(width, layers).state_dict(), file)
            with peak() as measurement:
                modules, built = build(files, width, layers), time.perf_counter()
                evaluate(modules, x, evaluations)
                seconds = time.perf_counter() - built
            written = sum(
                f.stat().st_size for f in Path(folder).rglob("*") if f.suffix != ".safetensors" and f.is_file()
            )
            del modules
        row = [measurement["seconds"] - seconds, seconds, measurement["MB"], written / 2**20]
        cells.append([name, *(f"{value:.1f}" for value in row)])
    size = 4 * width * width * layers / 2**20
    print(f"Three networks of {size:.0f} MB, {evaluations} evaluations of each, {torch.get_num_threads()} threads\n")
    print(intervals.markdown(["way", "build, s", "evaluate, s", "peak, MB", "written to disk, MB"], cells))


if __name__ == "__main__":
    typer.run(main)
