"""The training loop of all parts: what a part is, and training it for a budget of time."""

from __future__ import annotations

import copy
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .session import Session

if TYPE_CHECKING:
    from diffusers.models.modeling_utils import ModelMixin

N = TypeVar("N", bound=nn.Module)
SAVE_EVERY = 180  # seconds


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
    session = Session(part, folder, device, fast=bfloat16_pays(device), compiled=compiled)
    if resume:
        session.resume()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
    with _attention(device), _stop_cleanly() as signals, Progress(*columns) as progress:
        bar = progress.add_task(part.name, total=minutes * 60, note="")
        for elapsed, loss in _train_until(session, minutes * 60, signals):
            progress.update(bar, completed=elapsed, note=f"step {session.step}  loss {loss:.4f}")
        session.save()
        session.report()
    return session.summary()


def _attention(device: torch.device) -> AbstractContextManager[None]:
    """On a CPU the backward pass of the flash kernel takes a third of a step on such short sequences."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def _train_until(session: Session[N], budget: float, signals: list[int]) -> Iterator[tuple[float, float]]:
    """Train for so many seconds or until a signal, saving and reporting meanwhile; yield the seconds and the loss."""
    first, part = session.step, session.part
    elapsed = last_save = last_report = 0.0
    before = time.perf_counter()
    while elapsed < budget and not signals:
        loss = session.advance(min(1.0, (session.step - first + 1) / 100, max(1 - elapsed / budget, 0.01) / part.fall))
        now = time.perf_counter()
        spent = min(now - before, 30.0)  # a stopped process does not use up its budget
        elapsed, session.seconds, before = elapsed + spent, session.seconds + spent, now
        yield elapsed, loss
        if elapsed - last_save > SAVE_EVERY:
            session.save()
            last_save = elapsed
            if elapsed - last_report > part.preview_every:
                session.report()
                last_report = elapsed
            before = time.perf_counter()
