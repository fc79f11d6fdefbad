"""A dictionary of features of z_i: a top-k sparse autoencoder, fitted on any number of pictures by its seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..io.atomic import open_tensors, save_tensors
from .covariance import Moments, rows
from .naming import Name, name_directions

BUFFER = 65_536  # rows that are shuffled together, for files whose rows are in an order
DEAD_AFTER = 200  # steps without being active, after which a feature learns from the error of the others
REVIVAL = 1 / 32  # weight of the loss that revives dead features
TENSORS = ("mean", "scale", "encoder", "bias", "features", "frequency", "strength", "explained", "count")

Source = Tensor | Callable[[], Iterable[Tensor]]  # (N, D), or what gives its batches anew for each pass


class FitStep(NamedTuple):
    """How far a fit is; `error` is the share of the variance that the features miss in its batch."""

    stage: str
    step: int
    steps: int
    error: float


@dataclass(frozen=True, repr=False, eq=False)
class Dictionary:
    """Features of z_i, of which few are active at a time: z_i ≈ mean + s Σ_k a_k f_k.  Gao et al. 2024, section 2.

    a = TopK(ReLU(W (z_i - mean) / s + b)).  The names of its methods are those of `pca.Directions`.

    Args:
        mean: (D,). scale: s, the root of the variance per dimension. encoder: (K, D), W. bias: (K,), b.
        features: (K, D), the rows f_k, of length 1. active: how many a_k are not zero, at most.
        frequency: (K,), the share of the fitted pictures in which a feature is active.
        strength: (K,), the mean of a_k where it is active; 1 where it never is.
        explained: the share of the variance that the features hold. count: of the pictures.
        metadata: what is known of them, like the model; `save` and `load` keep it.
        file: the name of the file that they were loaded from.

    Raises:
        UserError: shapes that disagree, or values that are not finite.
    """

    mean: Tensor
    scale: float
    encoder: Tensor
    bias: Tensor
    features: Tensor
    active: int
    frequency: Tensor
    strength: Tensor
    explained: float
    count: int
    metadata: dict[str, str] = field(default_factory=dict)
    file: str = ""

    kind, unit = "feature", "×"  # what a figure calls one of them, and its distances: multiples of its strength

    def __post_init__(self) -> None:
        count, width = self.features.shape if self.features.ndim == 2 else (0, 0)
        wanted = {"mean": (width,), "encoder": (count, width), "bias": (count,), "frequency": (count,)}
        wrong = [name for name, shape in wanted.items() if tuple(getattr(self, name).shape) != shape]
        if wrong or not count or not 1 <= self.active <= count:
            raise UserError(f"features are {tuple(self.features.shape)}, {wrong or 'active'} disagree: fit makes them")
        if not all(getattr(self, name).isfinite().all() for name in (*wanted, "features", "strength")):
            raise UserError("the dictionary holds values that are not finite: fit it again")

    def __repr__(self) -> str:
        return (
            f"Dictionary({len(self)} features of width {len(self.mean)}, {self.active} active, {self.count} pictures)"
        )

    def __len__(self) -> int:
        """K, how many features there are."""
        return len(self.features)

    def as_setting(self) -> dict[str, str | int]:
        """How many features and pictures, a checksum of all numbers, and the file, as a result records them."""
        checksum = hashlib.sha256()
        for tensor in (self.mean, self.encoder, self.bias, self.features):
            checksum.update(tensor.contiguous().numpy().tobytes())
        identity: dict[str, str | int] = {"features": len(self), "rows": self.count}
        return identity | {"checksum": checksum.hexdigest()[:12]} | ({"file": self.file} if self.file else {})

    def encode(self, z_i: Tensor) -> Tensor:
        """a: (B, D) to (B, K), at most `active` of them above 0 in each row.

        Raises:
            UserError: z_i is not (B, D) of this D, or not finite.
        """
        x = (rows(z_i, width=len(self.mean)).float() - self.mean) / self.scale
        return top_k((x @ self.encoder.T + self.bias).relu(), self.active).to(z_i.device)

    def reconstruct(self, z_i: Tensor) -> Tensor:
        """What the features keep of z_i: (B, D) to (B, D).

        Raises:
            UserError: as for `encode`.
        """
        return (self.mean + self.scale * self.encode(z_i).cpu() @ self.features).to(z_i)

    def traverse(self, z_i: Tensor, feature: int, strengths: Sequence[float] | Tensor) -> Tensor:
        """z_i + a strength_k s f_k for each a: (1, D) to (S, D).

        Raises:
            UserError: not one z_i, a feature that is not there, or strengths that are not finite.
        """
        z = rows(z_i, width=len(self.mean))
        strengths = torch.as_tensor(strengths, dtype=torch.float64).cpu()
        if len(z) != 1 or not 0 <= feature < len(self):
            raise UserError(f"{len(z)} z_i and feature {feature}: give one z_i, and a feature below {len(self)}")
        if strengths.ndim != 1 or not len(strengths) or not strengths.isfinite().all():
            raise UserError(f"strengths are {strengths.tolist()}: give a list of finite numbers, like [0, 1, 2]")
        step = self.scale * self.strength[feature].item() * self.features[feature].double()
        return (z + strengths[:, None] * step).to(z_i)

    def name(self, z_t: Tensor, captions: Sequence[str], *, top: int = 5) -> tuple[Name, ...]:
        """The captions of a vocabulary that go most with and against each feature (`naming.name_directions`).

        Raises:
            UserError: as for `name_directions`.
        """
        return name_directions(self.features.double(), z_t, captions, top=top)

    def save(self, path: str | Path, metadata: dict[str, str] | None = None) -> None:
        """Write a safetensors file with everything, and more metadata if given, whole or not at all."""
        values = {name: getattr(self, name) for name in TENSORS} | {"active": self.active}
        tensors = {name: torch.as_tensor(value).contiguous().clone() for name, value in values.items()}
        save_tensors(path, tensors, {**self.metadata, **(metadata or {}), "format": "latentlab.Dictionary"})

    @staticmethod
    def load(path: str | Path) -> Dictionary:
        """Read what `save` wrote, with its metadata.

        Raises:
            UserError: no such file, not a Dictionary, or values that are not finite.
        """
        names, hint = (*TENSORS, "active"), "`latentlab features fit` writes such a file"
        with open_tensors(path, *names, kind="dictionary", hint=hint) as file:
            tensors = {name: file.get_tensor(name) for name in names}
            metadata = {k: v for k, v in (file.metadata() or {}).items() if k != "format"}
        if any(tensors[name].numel() != 1 for name in ("scale", "explained", "count", "active")):
            raise UserError(f"{Path(path).name} wants one number as scale, explained, count and active: fit it again")
        numbers = {name: kind(tensors.pop(name)) for name, kind in NUMBERS.items()}
        return Dictionary(**tensors, **numbers, metadata=metadata, file=Path(path).name)


NUMBERS = {"scale": float, "explained": float, "count": int, "active": int}


def top_k(activations: Tensor, k: int) -> Tensor:
    """The k largest of each row; the others are zero."""
    values, indices = activations.topk(k, dim=-1)
    return torch.zeros_like(activations).scatter(-1, indices, values)


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
        raise UserError(f"{moments.count} pictures for {features} features: give more pictures that differ, or fewer")
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
