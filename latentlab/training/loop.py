"""The training loop of all parts: a time budget, EMA, atomic checkpoints, previews and a loss curve."""

from __future__ import annotations

import copy
import json
import math
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..errors import UserError
from ..io.atomic import atomic_write

if TYPE_CHECKING:
    from diffusers.models.modeling_utils import ModelMixin

N = TypeVar("N", bound=nn.Module)


class Part(ABC, Generic[N]):
    """A part of the miniature as the loop trains it: its network, its loss, its held-out numbers and its preview."""

    name: str
    lr = 1e-3
    muon_lr = 3e-3
    weight_decay = 0.02
    batch = 64
    ema_decay = 0.999
    fall = 0.2  # the share of the session over which the rate falls to zero
    preview_every = 900  # seconds
    network: N

    def matrices(self) -> list[nn.Parameter]:
        """Hidden weight matrices, which Muon trains at `muon_lr` where bfloat16 is fast; AdamW trains the rest."""
        return []

    def adopt(self, state: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
        """Turn the weights that this part has in the miniature in `folder` into weights of this network."""
        return state

    @abstractmethod
    def loss(self, step: int) -> Tensor:
        """The loss on the batch of a step; the same step draws the same batch."""

    @abstractmethod
    def measure(self, network: N) -> dict[str, float]:
        """A few held-out numbers of the averaged network."""

    @abstractmethod
    def preview(self, network: N) -> Image.Image:
        """A picture by which the averaged network can be judged."""

    @abstractmethod
    def export(self, network: N, folder: Path) -> None:
        """Write the averaged network as it ships, in half precision."""


def bfloat16_pays(device: torch.device) -> bool:
    """Whether autocast to bfloat16 is faster than float32: always on CUDA, and on a CPU if a short trial shows it."""
    if device.type != "cpu":
        return device.type == "cuda"
    timings = []
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.ones(512, 256, dtype=dtype), torch.ones(256, 512, dtype=dtype)
        a @ b
        trials = []
        for _ in range(6):  # few trials, because slow bfloat16 is a hundred times slower
            start = time.perf_counter()
            a @ b
            trials.append(time.perf_counter() - start)
        timings.append(min(trials))  # other processes may have interrupted some of them
    return timings[1] < 0.6 * timings[0]


@torch.no_grad()
def _average(ema: nn.Module, network: nn.Module, decay: float) -> None:
    for average, weight in zip(ema.state_dict().values(), network.state_dict().values()):
        if average.is_floating_point():
            average.lerp_(weight.to(average.dtype), 1 - decay)
        else:
            average.copy_(weight)


@contextmanager
def _stop_cleanly() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT in a list, so that the loop can write a checkpoint and end."""
    signals: list[int] = []
    old = {s: signal.signal(s, lambda number, _: signals.append(number)) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield signals
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def save_half(network: ModelMixin, folder: Path) -> None:
    """Write a diffusers model in half precision by `save_pretrained`, without changing the network itself."""
    half = copy.deepcopy(network)
    half.half()
    half.save_pretrained(folder)


def _draw_curve(curve: list[dict[str, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure((6, 3.2), layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel="loss", yscale="log")
    axes.plot([c["step"] for c in curve], [c["loss"] for c in curve], lw=1)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def _append(path: Path, line: str) -> None:
    """Add a line to a file; half a line that a killed run left is removed."""
    with path.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(line.encode() + b"\n")


def _optimizers(part: Part[N], network: N, *, muon: bool) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the part's hidden matrices, AdamW for everything else.

    torch's Muon multiplies in bfloat16, which takes twice as long as the step itself on hardware without bfloat16.
    """
    matrices = part.matrices() if muon else []
    hidden = {id(p) for p in matrices}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in hidden]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": part.weight_decay, "peak": part.lr},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0, "peak": part.lr},
    ]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=part.lr, betas=(0.9, 0.98))]
    if matrices:
        group = {"params": matrices, "weight_decay": part.weight_decay, "peak": part.muon_lr}
        optimizers.append(torch.optim.Muon([group], lr=part.muon_lr, adjust_lr_fn="match_rms_adamw"))
    return optimizers


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """What `train` saved.

    Raises:
        UserError: the file is truncated or damaged.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises RuntimeError, EOFError, UnpicklingError and more
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path} can't be loaded ({first}): --restart begins anew, or copy the checkpoint there again"
        ) from error


def train(
    part: Part[N], folder: Path, *, minutes: float, device: torch.device, resume: bool = True, compiled: bool = False
) -> dict[str, Any]:
    """Train a part for some minutes of its own running time, and export it.

    The learning rate warms up over 100 steps and falls to zero over the last fifth of the budget (`fall`), so that
    every session ends with a usable network. A run that is killed loses at most three minutes.

    Args:
        folder: receives checkpoint.pt, log.jsonl, preview.png, loss.png and `export/`.
        minutes: the budget; time in which the process is stopped does not count.
        resume: continue from folder/checkpoint.pt if that file exists.
        compiled: let torch.compile fuse the network's operations, which takes two minutes and a C++ compiler.

    Returns:
        step, hours (over all sessions), loss and the part's held-out numbers.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    folder.mkdir(parents=True, exist_ok=True)
    network = part.network.to(device).train()
    ema = copy.deepcopy(network).eval().requires_grad_(False)
    if compiled:
        network.compile(dynamic=False)
    fast = bfloat16_pays(device)
    optimizers = _optimizers(part, network, muon=fast)
    step, seconds_before = 0, 0.0
    curve: list[dict[str, float]] = []
    checkpoint = folder / "checkpoint.pt"
    if resume and checkpoint.exists():
        state = load_checkpoint(checkpoint, device)
        network.load_state_dict(state["network"])
        ema.load_state_dict(state["ema"])
        if len(state["optimizers"]) == len(optimizers):  # a machine of another kind starts with fresh optimizers
            for optimizer, optimizer_state in zip(optimizers, state["optimizers"]):
                optimizer.load_state_dict(optimizer_state)
        step, seconds_before, curve = state["step"], state["seconds"], state["curve"]
    autocast = torch.autocast(device.type, torch.bfloat16) if fast else nullcontext()
    # On a CPU the backward pass of the flash kernel takes a third of a step on such short sequences.
    attention = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
    elapsed, first = 0.0, step
    smooth: float | None = None
    numbers: dict[str, float] = {}

    def save() -> None:
        state = {
            "network": network.state_dict(),
            "ema": ema.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "step": step,
            "seconds": seconds_before + elapsed,
            "curve": curve,
        }
        with atomic_write(checkpoint) as part_file:
            torch.save(state, part_file)

    def report() -> None:
        """Measure, preview and export the averaged network, which takes longer than a checkpoint."""
        nonlocal numbers
        with torch.no_grad():
            numbers = {k: round(v, 4) for k, v in part.measure(ema).items()}
            part.preview(ema).save(folder / "preview.png")
            part.export(ema, folder / "export")
        _draw_curve(curve, folder / "loss.png")
        line = {"step": step, "hours": round((seconds_before + elapsed) / 3600, 3), "loss": smooth, **numbers}
        _append(folder / "log.jsonl", json.dumps(line))

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
    with attention, _stop_cleanly() as signals, Progress(*columns) as progress:
        bar = progress.add_task(part.name, total=minutes * 60, note="")
        last_save, last_report, before = 0.0, 0.0, time.perf_counter()
        while elapsed < minutes * 60 and not signals:
            left = 1 - elapsed / (minutes * 60)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * min(1.0, (step - first + 1) / 100, max(left, 0.01) / part.fall)
                optimizer.zero_grad(set_to_none=True)
            with autocast:
                loss = part.loss(step)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            step += 1
            _average(ema, network, min(part.ema_decay, (1 + step) / (10 + step)))
            value = loss.item()
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the loss of {part.name} is {value} at step {step}: resume with a smaller rate"
                )
            smooth = value if smooth is None else 0.98 * smooth + 0.02 * value
            now = time.perf_counter()
            elapsed += min(now - before, 30.0)  # a stopped process does not use up its budget
            before = now
            if step % 20 == 0:
                curve.append({"step": step, "loss": round(smooth, 5)})
            progress.update(bar, completed=elapsed, note=f"step {step}  loss {smooth:.4f}")
            if elapsed - last_save > 180:
                save()
                last_save = elapsed
                if elapsed - last_report > part.preview_every:
                    report()
                    last_report = elapsed
                before = time.perf_counter()
        save()
        report()
    return {"part": part.name, "step": step, "hours": (seconds_before + elapsed) / 3600, "loss": smooth, **numbers}
