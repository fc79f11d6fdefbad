"""A top-k sparse autoencoder of z_i, fitted on any number of pictures by its seed, which gives a `Dictionary`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import UserError
from .covariance import Moments, rows
from .dictionary import Dictionary, top_k

BUFFER = 65_536  # rows that are shuffled together, for files whose rows are in an order
DEAD_AFTER = 200  # steps without being active, after which a feature learns from the error of the others
REVIVAL = 1 / 32  # weight of the loss that revives dead features

Source = Tensor | Callable[[], Iterable[Tensor]]  # (N, D), or what gives its batches anew for each pass


class FitStep(NamedTuple):
    """How far a fit is; `error` is the share of the variance that the features miss in its batch."""

    stage: str
    step: int
    steps: int
    error: float


class Autoencoder(nn.Module):
    """W, b and f of a dictionary while it is fitted; f begins as W's own rows."""

    def __init__(self, count: int, width: int, active: int, generator: torch.Generator) -> None:
        super().__init__()
        rows = nn.functional.normalize(torch.randn(count, width, generator=generator), dim=1)
        self.encoder, self.bias = nn.Parameter(rows.clone()), nn.Parameter(torch.zeros(count))
        self.features, self.active = nn.Parameter(rows), active
        self.idle = torch.zeros(count, dtype=torch.long)  # steps since a feature was active

    def loss(self, x: Tensor) -> tuple[Tensor, float]:
        """The share of the variance that the features miss, with the revival of dead ones.  Gao et al. 2024, A.2.

        ‖x - x̂‖² / ‖x‖² + ‖e - ê‖² / ‖e‖² / 32, e = x - x̂ and ê what the strongest dead features make of it;
        without their ReLU, which would let no gradient through.
        """
        pre = (x @ self.encoder.T + self.bias).relu()
        a = top_k(pre, self.active)
        error = x - a @ self.features
        missed = error.square().sum() / x.square().sum()
        self.idle = torch.where((a > 0).any(0), 0, self.idle + 1)
        dead = (self.idle > DEAD_AFTER).nonzero().flatten()
        if not len(dead):
            return missed, missed.item()
        rest = error.detach()
        k = min(len(dead), max(x.shape[1] // 2, 1))
        revived = top_k(x @ self.encoder[dead].T + self.bias[dead], k) @ self.features[dead]
        return missed + REVIVAL * (rest - revived).square().sum() / rest.square().sum().clamp_min(1e-12), missed.item()

    @torch.no_grad()
    def normalise(self) -> None:
        self.features.copy_(nn.functional.normalize(self.features, dim=1))


def fit(z_i: Source, features: int = 512, active: int = 8, **params: int | float | dict[str, str] | None) -> Dictionary:
    """`fit_steps` to its end, with the same parameters."""
    for value in fit_steps(z_i, features, active, **params):  # type: ignore[arg-type]
        last = value
    assert isinstance(last, Dictionary)
    return last


def fit_steps(
    z_i: Source,
    features: int = 512,
    active: int = 8,
    *,
    steps: int = 2000,
    batch: int = 512,
    rate: float = 1e-3,
    seed: int = 0,
    metadata: dict[str, str] | None = None,
) -> Iterator[FitStep | Dictionary]:
    """Fit a dictionary, and yield its progress and, last, the dictionary.

    Adam on the loss of `Autoencoder`, with rows f_k of length 1; the rate falls to zero in the last fifth.

    Args:
        z_i: (N, D), in CLIP's own scale; or a function that returns its batches (B, D), called once for each pass.
        features: K. active: how many of them describe one picture.
        steps, batch: of the fit; the same seed gives the same dictionary on the same machine.

    Raises:
        UserError: fewer pictures than features, no two that differ, widths that differ, or parameters out of range.
    """
    if not (1 <= active <= features and steps >= 1 and batch >= 1 and rate > 0):
        raise UserError(
            f"features {features}, active {active}, steps {steps}, batch {batch}, rate {rate}: give active from 1 to "
            "as many as there are features, and steps, batch and rate above 0"
        )
    passes = (lambda: z_i.split(BUFFER)) if isinstance(z_i, Tensor) else z_i
    moments = _moments(passes)
    variance = moments.scatter.diagonal().sum().item() / max(moments.count, 1)
    if moments.count < features or variance <= 0:
        raise UserError(
            f"{moments.count} pictures for {features} features: give more pictures that differ, or fewer features"
        )
    mean, scale = moments.mean.float(), (variance / len(moments.mean)) ** 0.5
    generator = torch.Generator().manual_seed(seed)
    network = Autoencoder(features, len(mean), active, generator)
    optimizer = torch.optim.Adam(network.parameters(), rate)
    for step, z in enumerate(_shuffled(passes, steps, batch, generator), 1):
        optimizer.param_groups[0]["lr"] = rate * min(1.0, 5 * (steps - step + 1) / steps)
        loss, missed = network.loss((z - mean) / scale)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        network.normalise()
        if step % 10 == 0 or step == steps:
            yield FitStep("features", step, steps, missed)
    yield _measured(network, mean, scale, passes, moments, metadata or {})


def _moments(passes: Callable[[], Iterable[Tensor]]) -> Moments:
    moments = None
    for z in passes():
        moments = Moments.of(z) if moments is None else moments.update(z)
    if moments is None:
        raise UserError("there is no z_i to fit: give the embeddings of some pictures")
    return moments


def _shuffled(
    passes: Callable[[], Iterable[Tensor]], steps: int, batch: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """As many batches as steps, drawn from a buffer that is shuffled anew whenever it is full or the pass ends."""
    while True:
        buffer: list[Tensor] = []
        for z in passes():
            buffer.append(rows(z).float())
            if sum(map(len, buffer)) >= BUFFER:
                steps -= yield from _drawn(torch.cat(buffer), steps, batch, generator)
                buffer = []
        if buffer:
            steps -= yield from _drawn(torch.cat(buffer), steps, batch, generator)
        if steps <= 0:
            return


def _drawn(z: Tensor, steps: int, batch: int, generator: torch.Generator) -> Generator[Tensor, None, int]:
    parts = z[torch.randperm(len(z), generator=generator)].split(batch)[:steps]
    yield from parts
    return len(parts)


@torch.no_grad()
def _measured(
    network: Autoencoder,
    mean: Tensor,
    scale: float,
    passes: Callable[[], Iterable[Tensor]],
    moments: Moments,
    metadata: dict[str, str],
) -> Dictionary:
    """The dictionary with its frequencies and strengths, and the share of the variance that it holds."""
    network.normalise()
    encoder, bias, features = (p.detach().clone() for p in (network.encoder, network.bias, network.features))
    times, total = torch.zeros(len(bias), dtype=torch.float64), torch.zeros(len(bias), dtype=torch.float64)
    missed = 0.0
    for z in passes():
        for part in rows(z).float().split(8192):
            x = (part - mean) / scale
            a = top_k((x @ encoder.T + bias).relu(), network.active)
            times, total = times + (a > 0).double().sum(0), total + a.double().sum(0)
            missed += (x - a @ features).double().square().sum().item() * scale**2
    explained = 1 - missed / moments.scatter.diagonal().sum().item()
    strength = torch.where(times > 0, total / times.clamp_min(1), 1.0)
    return Dictionary(
        mean,
        scale,
        encoder,
        bias,
        features,
        network.active,
        (times / moments.count).float(),
        strength.float(),
        explained,
        moments.count,
        metadata,
    )
