"""The axes along which many pictures differ: PCA of z_i, exact and in one pass, with words for each axis."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..errors import UserError
from ..io.atomic import open_tensors, save_tensors
from .covariance import EPS, Moments, rows
from .naming import Name, name_directions


@dataclass(frozen=True, repr=False, eq=False)
class Directions:
    """The principal components of many z_i: z_i ≈ mean + Σ_k c_k u_k.  Ramesh et al. 2022, sections 2.2 and 4.

    Everything is float64 inside; results have the dtype and the device of the argument. The components are as in
    scikit-learn's PCA, each with its largest entry positive.

    Args:
        mean: (D,).
        components: (K, D), the rows u_k, orthonormal, by falling variance.
        variance: (K,), of c_k among the pictures, with n - 1.
        total: the variance in all directions together, the dropped ones too.
        count: of the pictures.
        metadata: what is known of them, like the model; `save` and `load` keep it.
        file: the name of the file that they were loaded from.

    Raises:
        UserError: shapes that disagree, components that are not orthonormal, or a variance that is not positive.
    """

    mean: Tensor
    components: Tensor
    variance: Tensor
    total: float
    count: int
    metadata: dict[str, str] = field(default_factory=dict)
    file: str = ""

    kind, unit = "component", "σ"  # what a figure calls one of them, and its distances: standard deviations

    def __post_init__(self) -> None:
        shapes = [tuple(t.shape) for t in (self.mean, self.components, self.variance)]
        if [len(s) for s in shapes] != [1, 2, 1] or shapes[1] != (*shapes[2], *shapes[0]):
            shapes_text = "mean is {}, components are {}, variance is {}".format(*shapes)
            raise UserError(f"{shapes_text}: Directions want (D,), (K, D) and (K,); Directions.fit makes them")
        for name in ("mean", "components", "variance"):
            object.__setattr__(self, name, getattr(self, name).detach().cpu().double().contiguous())
        off = self.components @ self.components.T - torch.eye(len(self), dtype=torch.float64)
        if not len(self) or not (off.abs() < 1e-6).all() or not (self.variance > 0).all():
            raise UserError("Directions want orthonormal components of positive variance: Directions.fit makes them")

    def __repr__(self) -> str:
        explained = f"{self.explained(len(self)):.1%} of the variance of {self.count} pictures"
        return f"Directions({len(self)} of width {len(self.mean)}, {explained})"

    def __len__(self) -> int:
        """K, how many components there are."""
        return len(self.components)

    def as_setting(self) -> dict[str, str | int]:
        """How many components and pictures, a checksum of all numbers, and the file, as a result records them."""
        checksum = hashlib.sha256()
        for tensor in (self.mean, self.components, self.variance):
            checksum.update(tensor.numpy().tobytes())
        identity: dict[str, str | int] = {"components": len(self), "rows": self.count}
        return identity | {"checksum": checksum.hexdigest()[:12]} | ({"file": self.file} if self.file else {})

    @staticmethod
    def fit(
        z_i: Tensor | Iterable[Tensor], n: int | None = None, *, metadata: dict[str, str] | None = None
    ) -> Directions:
        """The first n principal components of z_i, or of batches of it that are seen once.

        Args:
            z_i: (N, D), or an iterable of (B, D) such as `embeddings.batches(path)`; in CLIP's own scale, or
                normalised if only the direction of z_i should count.
            n: as many as the pictures span by default, at most N - 1 and D.

        Raises:
            UserError: no pictures, n above what they span, widths that differ, or values that are not finite.

        >>> z_i = torch.tensor([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
        >>> Directions.fit(z_i, 1)
        Directions(1 of width 2, 100.0% of the variance of 3 pictures)
        """
        moments = None
        for batch in [z_i] if isinstance(z_i, Tensor) else z_i:
            moments = Moments.of(batch) if moments is None else moments.update(batch)
        if moments is None:
            raise UserError("there is no z_i to fit: give at least two pictures")
        return Directions.from_moments(moments, n, metadata=metadata)

    @staticmethod
    def from_moments(moments: Moments, n: int | None = None, *, metadata: dict[str, str] | None = None) -> Directions:
        """The first n eigenvectors of scatter / (count - 1), as `fit` gives them.

        Raises:
            UserError: fewer than two different pictures, or n above what they span.
        """
        values, vectors = (part.flip(-1) for part in torch.linalg.eigh(moments.scatter))  # the largest first
        rank = _rank(values, moments)
        if rank == 0:
            raise UserError(
                f"of {moments.count} z_i no two differ, so there is no direction: give at least two pictures that do"
            )
        if n is not None and not 1 <= n <= rank:
            raise UserError(
                f"n is {n}, but {moments.count} pictures of width {len(moments.mean)} span {rank} directions: "
                f"give n from 1 to {rank}, or more pictures"
            )
        variance = values[:rank] / (moments.count - 1)
        u = vectors[:, : n or rank].T
        peak = u.gather(1, u.abs().argmax(1, keepdim=True))
        return Directions(
            moments.mean, u * peak.sign(), variance[: n or rank], variance.sum().item(), moments.count, metadata or {}
        )

    def project(self, z_i: Tensor) -> Tensor:
        """c = (z_i - mean) Uᵀ: (B, D) to (B, K).

        Raises:
            UserError: z_i is not (B, D) of this D, or not finite.
        """
        return self._project(z_i).to(z_i)

    def reconstruct(self, z_i: Tensor, n: int) -> Tensor:
        """What the first n components keep of z_i: mean + Σ_{k<n} c_k u_k.  Ramesh et al. 2022, section 4, figure 7.

        Args:
            z_i: (B, D).
            n: 0 gives the mean; with all D components z_i comes back.

        Returns:
            (B, D).

        Raises:
            UserError: n is not within 0 to K, z_i is not (B, D) of this D, or not finite.
        """
        self._check(n)
        return (self.mean + self._project(z_i)[:, :n] @ self.components[:n]).to(z_i)

    def leading(self, z_i: Tensor, count: int) -> list[int]:
        """The components of the largest variance, whatever the z_i, as `Dictionary.leading` gives the strongest."""
        return [*range(min(count, len(self)))]

    def traverse(self, z_i: Tensor, component: int, sigmas: Sequence[float] | Tensor) -> Tensor:
        """z_i + σ s_k u_k: one picture moved along one component, s_k being its standard deviation.

        The length of z_i is not kept, since PCA is of the space and not of the sphere.

        Args:
            z_i: (1, D).
            component: k, from 0.
            sigmas: (S,), how far; 0 is z_i itself.

        Returns:
            (S, D).

        Raises:
            UserError: z_i is not (1, D) of this D or not finite, no such component, or sigmas that are not (S,)
                finite numbers.
        """
        z = rows(z_i, width=len(self.mean))
        if len(z) != 1:
            raise UserError(f"z_i is {tuple(z.shape)}, a traversal wants (1, {len(self.mean)}): z_i[k : k + 1]")
        if not 0 <= component < len(self):
            raise UserError(f"component is {component}: give one from 0 to {len(self) - 1}")
        sigmas = torch.as_tensor(sigmas, dtype=torch.float64).cpu()
        if sigmas.ndim != 1 or not len(sigmas) or not sigmas.isfinite().all():
            raise UserError(f"sigmas are {sigmas.tolist()}: give a list of finite numbers, like [-2, 0, 2]")
        s = self.variance[component].sqrt()
        return (z + sigmas[:, None] * s * self.components[component]).to(z_i)

    @property
    def shares(self) -> Tensor:
        """(K + 1,): `shares[n]` is what the first n components keep of the total variance."""
        return torch.cat([self.variance.new_zeros(1), self.variance.cumsum(0) / self.total])

    def explained(self, n: int) -> float:
        """What the first n components keep of the total variance, 0 to 1.

        Raises:
            UserError: n is not within 0 to K.
        """
        self._check(n)
        return self.shares[n].item()

    def needed(self, share: float = 0.99) -> int:
        """The least n whose first components keep that share of the total variance.

        Raises:
            UserError: the share is not within 0 to 1, or all K components keep less.
        """
        if not 0 <= share <= 1:
            raise UserError(f"share is {share}: give a fraction from 0 to 1, like 0.99")
        enough = self.shares >= share - 1e-12  # the sum of all shares is 1 but for rounding
        if not enough.any():
            share_of_all = f"the first {len(self)} keep {self.explained(len(self)):.4f} of the variance"
            raise UserError(f"{share_of_all}, not {share}: fit with a larger n")
        return int(enough.int().argmax())

    def name(self, z_t: Tensor, captions: Sequence[str], *, top: int = 5) -> tuple[Name, ...]:
        """The captions of a vocabulary that go most with and against each component (`naming.name_directions`).

        Args:
            z_t: (V, D), of any length.
            captions: V of them.
            top: at most so many captions on either side; only such as have that sign.

        Raises:
            UserError: as for `name_directions`.
        """
        return name_directions(self.components, z_t, captions, top=top)

    def save(self, path: str | Path, metadata: dict[str, str] | None = None) -> None:
        """Write a safetensors file with everything, and more metadata if given, whole or not at all."""
        numbers = {"total": torch.tensor(self.total, dtype=torch.float64), "count": torch.tensor(self.count)}
        tensors = {"mean": self.mean, "components": self.components, "variance": self.variance, **numbers}
        save_tensors(path, tensors, {**self.metadata, **(metadata or {}), "format": "latentlab.Directions"})

    @staticmethod
    def load(path: str | Path) -> Directions:
        """Read what `save` wrote, with its metadata.

        Raises:
            UserError: no such file, not one of Directions, or values that are not finite.
        """
        names = ("mean", "components", "variance", "total", "count")
        with open_tensors(path, *names, kind="PCA", hint="Directions.fit(z_i).save(path) writes such a file") as file:
            tensors = {name: file.get_tensor(name) for name in names}
            metadata = {k: v for k, v in (file.metadata() or {}).items() if k != "format"}
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise UserError(f"{Path(path).name} holds values that are not finite: save the PCA again")
        mean, components, variance, total, count = tensors.values()
        if total.numel() != 1 or count.numel() != 1:
            raise UserError(f"{Path(path).name} wants one number as total and one as count: save the PCA again")
        return Directions(mean, components, variance, float(total), int(count), metadata, Path(path).name)

    def _project(self, z_i: Tensor) -> Tensor:
        return (rows(z_i, width=len(self.mean)) - self.mean) @ self.components.T

    def _check(self, n: int) -> None:
        if not 0 <= n <= len(self):
            raise UserError(f"n is {n}: give how many components to keep, from 0 to {len(self)}")


def _rank(values: Tensor, moments: Moments) -> int:
    """How many of the falling eigenvalues are more than rounding, of the scatter or of the mean itself."""
    of_scatter = EPS * values[0].item() * max(moments.count, len(values))
    of_mean = moments.count * (8 * EPS * moments.mean.norm().item()) ** 2
    return min(int((values > max(of_scatter, of_mean)).sum()), max(moments.count - 1, 0))
