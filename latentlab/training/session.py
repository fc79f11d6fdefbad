"""One part under training: its network, the average of its weights, its optimizers, and what it writes."""

from __future__ import annotations

import copy
import json
import math
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import nn

from ..errors import UserError
from ..io.atomic import atomic_write

if TYPE_CHECKING:
    from .loop import Part

N = TypeVar("N", bound=nn.Module)


class Session(Generic[N]):
    """A part's network as it is trained, beside the average of its weights (EMA), which is measured and exported.

    Args:
        folder: receives checkpoint.pt, log.jsonl, preview.png, loss.png and `export/`.
        fast: compute in bfloat16, and let Muon train the part's matrices.
        compiled: let torch.compile fuse the network's operations.
    """

    def __init__(self, part: Part[N], folder: Path, device: torch.device, *, fast: bool, compiled: bool) -> None:
        self.part, self.folder, self.device, self.checkpoint = part, folder, device, folder / "checkpoint.pt"
        self.network = part.network.to(device).train()
        self.ema = copy.deepcopy(self.network).eval().requires_grad_(False)
        if compiled:
            self.network.compile(dynamic=False)
        self.optimizers = _optimizers(part, self.network, muon=fast)
        self.autocast = torch.autocast(device.type, torch.bfloat16) if fast else nullcontext()
        self.step, self.seconds = 0, 0.0  # of all sessions
        self.loss: float | None = None  # an average over about fifty steps
        self.curve: list[dict[str, float]] = []
        self.numbers: dict[str, float] = {}

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        if not self.checkpoint.exists():
            return
        state = load_checkpoint(self.checkpoint, self.device)
        self.network.load_state_dict(state["network"])
        self.ema.load_state_dict(state["ema"])
        if len(state["optimizers"]) == len(self.optimizers):  # a machine of another kind starts with fresh optimizers
            for optimizer, optimizer_state in zip(self.optimizers, state["optimizers"]):
                optimizer.load_state_dict(optimizer_state)
        self.step, self.seconds, self.curve = state["step"], state["seconds"], state["curve"]

    def save(self) -> None:
        """Write the checkpoint, by which `resume` goes on."""
        state = {
            "network": self.network.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "seconds": self.seconds,
            "curve": self.curve,
        }
        with atomic_write(self.checkpoint) as part_file:
            torch.save(state, part_file)

    def advance(self, rate: float) -> float:
        """Train for one step at this share of the peak learning rates; return the smoothed loss.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate
            optimizer.zero_grad(set_to_none=True)
        with self.autocast:
            loss = self.part.loss(self.step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        _average(self.ema, self.network, min(self.part.ema_decay, (1 + self.step) / (10 + self.step)))
        return self._record(loss.item())

    def _record(self, loss: float) -> float:
        """Add a step's loss to the smoothed one, and that to the curve."""
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss of {self.part.name} is {loss} at step {self.step}: resume with a smaller rate"
            )
        self.loss = loss if self.loss is None else 0.98 * self.loss + 0.02 * loss
        if self.step % 20 == 0:
            self.curve.append({"step": self.step, "loss": round(self.loss, 5)})
        return self.loss

    def report(self) -> None:
        """Measure, preview and export the averaged network, which takes longer than a checkpoint."""
        with torch.no_grad():
            self.numbers = {k: round(v, 4) for k, v in self.part.measure(self.ema).items()}
            self.part.preview(self.ema).save(self.folder / "preview.png")
            self.part.export(self.ema, self.folder / "export")
        _draw_curve(self.curve, self.folder / "loss.png")
        line = {"step": self.step, "hours": round(self.seconds / 3600, 3), "loss": self.loss, **self.numbers}
        _append(self.folder / "log.jsonl", json.dumps(line))

    def summary(self) -> dict[str, Any]:
        """The part's name, its steps and hours over all sessions, its loss and its held-out numbers."""
        return {
            "part": self.part.name,
            "step": self.step,
            "hours": self.seconds / 3600,
            "loss": self.loss,
            **self.numbers,
        }


@torch.no_grad()
def _average(ema: nn.Module, network: nn.Module, decay: float) -> None:
    for average, weight in zip(ema.state_dict().values(), network.state_dict().values()):
        if average.is_floating_point():
            average.lerp_(weight.to(average.dtype), 1 - decay)
        else:
            average.copy_(weight)


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
