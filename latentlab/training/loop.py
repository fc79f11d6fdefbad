"""One training loop for every part: a time budget, EMA, atomic checkpoints, previews and a loss curve."""

from __future__ import annotations

import copy
import json
import math
import signal
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..io.atomic import atomic_write


class Part(ABC):
    """What a part of the stack adds to the loop: its network, its loss, and what to look at."""

    name: str
    lr = 1e-3
    muon_lr = 3e-3
    weight_decay = 0.02
    batch = 64
    ema_decay = 0.999
    fall = 0.2  # share of the session over which the rate falls to zero
    shown_every = 900  # seconds
    network: nn.Module

    def matrices(self) -> list[nn.Parameter]:
        """Hidden weight matrices, which Muon trains at `muon_lr` where bfloat16 is fast; AdamW takes the rest."""
        return []

    def adopt(self, state: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
        """The weights of this part in an earlier miniature, the one in `folder`, as weights of this network."""
        return state

    @abstractmethod
    def loss(self, step: int) -> Tensor:
        """The loss on the batch of `step`; the same step draws the same batch."""

    @abstractmethod
    def measure(self, network: nn.Module) -> dict[str, float]:
        """A few held-out numbers of the averaged network."""

    @abstractmethod
    def preview(self, network: nn.Module) -> Image.Image:
        """A picture that shows how far the averaged network is."""

    @abstractmethod
    def export(self, network: nn.Module, folder: Path) -> None:
        """Write the averaged network as it ships, in half precision."""


def bfloat16_pays(device: torch.device) -> bool:
    """Whether autocast to bfloat16 is faster here: always on CUDA, on a CPU as a short trial says."""
    if device.type != "cpu":
        return device.type == "cuda"
    timings = []
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.ones(512, 256, dtype=dtype), torch.ones(256, 512, dtype=dtype)
        a @ b
        trials = []
        for _ in range(6):  # little work: where it does not pay, bfloat16 is a hundred times slower
            start = time.perf_counter()
            a @ b
            trials.append(time.perf_counter() - start)
        timings.append(min(trials))  # other processes may have interrupted some of them
    return timings[1] < 0.6 * timings[0]


@torch.no_grad()
def _average(ema: nn.Module, network: nn.Module, decay: float) -> None:
    for mine, theirs in zip(ema.state_dict().values(), network.state_dict().values()):
        if mine.is_floating_point():
            mine.lerp_(theirs.to(mine.dtype), 1 - decay)
        else:
            mine.copy_(theirs)


@contextmanager
def _stop_cleanly():
    """SIGTERM and SIGINT ask the loop to write a checkpoint and end."""
    asked: list[int] = []
    old = {s: signal.signal(s, lambda number, _: asked.append(number)) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def save_half(network: nn.Module, folder: Path) -> None:
    """A diffusers model in half precision, by `save_pretrained`; the network itself stays as it is."""
    copy.deepcopy(network).half().save_pretrained(folder)


def _draw_curve(curve: list[dict], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure((6, 3.2), layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel="loss", yscale="log")
    axes.plot([c["step"] for c in curve], [c["loss"] for c in curve], lw=1)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def _optimizers(part: Part, network: nn.Module, *, muon: bool) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the part's hidden matrices, AdamW for everything else.

    torch's Muon multiplies in bfloat16: without it in hardware that takes twice as long as the step itself.
    """
    matrices = part.matrices() if muon else []
    taken = {id(p) for p in matrices}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": part.weight_decay, "peak": part.lr},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0, "peak": part.lr},
    ]
    found: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=part.lr, betas=(0.9, 0.98))]
    if matrices:
        hidden = [{"params": matrices, "weight_decay": part.weight_decay, "peak": part.muon_lr}]
        found.append(torch.optim.Muon(hidden, lr=part.muon_lr, adjust_lr_fn="match_rms_adamw"))
    return found


def train(
    part: Part, folder: Path, *, minutes: float, device: torch.device, resume: bool = True, compiled: bool = False
) -> dict:
    """Train a part for some minutes of its own running time, and export it.

    The learning rate warms up over 100 steps and falls to zero over the last fifth of the budget (`fall`), so every
    session ends on a usable network. A run that was killed loses at most three minutes.

    Args:
        part: network and loss.
        folder: checkpoint.pt, log.jsonl, preview.png, loss.png and `export/` go there.
        minutes: budget; time in which the process was stopped does not count.
        device: where the network trains.
        resume: go on from folder/checkpoint.pt if it is there.
        compiled: let torch.compile fuse the network's operations, which takes two minutes and a C++ compiler.

    Returns:
        step, hours (over all sessions), loss and the part's own held-out numbers.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    folder.mkdir(parents=True, exist_ok=True)
    network = part.network.to(device).train()
    ema = copy.deepcopy(network).eval().requires_grad_(False)
    if compiled:
        network.compile(dynamic=False)
    fast = bfloat16_pays(device)
    optimizers = _optimizers(part, network, muon=fast)
    step, seconds_before, curve = 0, 0.0, []
    checkpoint = folder / "checkpoint.pt"
    if resume and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        ema.load_state_dict(state["ema"])
        if len(state["optimizers"]) == len(optimizers):  # on a machine of another kind they begin anew
            for optimizer, own in zip(optimizers, state["optimizers"]):
                optimizer.load_state_dict(own)
        step, seconds_before, curve = state["step"], state["seconds"], state["curve"]
    autocast = torch.autocast(device.type, torch.bfloat16) if fast else nullcontext()
    # On a CPU the backward pass of the flash kernel takes a third of a step on sequences as short as ours.
    attention = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
    elapsed, smooth, first, numbers = 0.0, None, step, {}

    def save() -> None:
        state = {
            "network": network.state_dict(), "ema": ema.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "step": step, "seconds": seconds_before + elapsed, "curve": curve,
        }  # fmt: skip
        with atomic_write(checkpoint) as part_file:
            torch.save(state, part_file)

    def show() -> None:
        """Measure, preview and export: slower than a checkpoint, so done less often."""
        nonlocal numbers
        with torch.no_grad():
            numbers = {k: round(v, 4) for k, v in part.measure(ema).items()}
            part.preview(ema).save(folder / "preview.png")
            part.export(ema, folder / "export")
        _draw_curve(curve, folder / "loss.png")
        line = {"step": step, "hours": round((seconds_before + elapsed) / 3600, 3), "loss": smooth, **numbers}
        with (folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
    with attention, _stop_cleanly() as asked, Progress(*columns) as progress:
        bar = progress.add_task(part.name, total=minutes * 60, note="")
        saved, shown, before = 0.0, 0.0, time.perf_counter()
        while elapsed < minutes * 60 and not asked:
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
            if elapsed - saved > 180:
                save()
                saved = elapsed
                if elapsed - shown > part.shown_every:
                    show()
                    shown = elapsed
                before = time.perf_counter()
        save()
        show()
    return {"part": part.name, "step": step, "hours": (seconds_before + elapsed) / 3600, "loss": smooth, **numbers}
