"""The bipartite latent (z_i, x_T): what CLIP sees, and everything else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from .errors import UserError
from .files import open_tensors, whole


@dataclass(frozen=True, repr=False)
class Latent:
    """A picture as two latents.  Ramesh et al. 2022, section 3.

    Args:
        z_i: (B, D), CLIP image embedding, in CLIP's own scale.
        x_T: (B, C, H, W), decoder noise.

    Raises:
        UserError: the two disagree about B, or one has the wrong number of dimensions.
    """

    z_i: Tensor
    x_T: Tensor

    def __post_init__(self):
        if self.z_i.ndim != 2 or self.x_T.ndim != 4 or len(self.z_i) != len(self.x_T):
            raise UserError(
                f"z_i is {tuple(self.z_i.shape)} and x_T is {tuple(self.x_T.shape)}: a Latent wants (B, D) and "
                "(B, C, H, W) with the same B; z_i.expand(B, -1) repeats one embedding"
            )

    def __repr__(self) -> str:
        return f"Latent(z_i {tuple(self.z_i.shape)}, x_T {tuple(self.x_T.shape)})"

    def __len__(self) -> int:
        return len(self.z_i)

    def __getitem__(self, rows: int | slice | Tensor) -> Latent:
        """The chosen rows; a single index keeps the batch dimension."""
        if isinstance(rows, int):
            if not -len(self) <= rows < len(self):
                raise IndexError(f"row {rows} of a Latent with {len(self)} rows")  # ends `for` loops too
            rows = slice(rows, rows + 1 or None)
        return Latent(self.z_i[rows], self.x_T[rows])

    @staticmethod
    def stack(latents: Iterable[Latent]) -> Latent:
        """Several latents as one batch."""
        latents = list(latents)
        return Latent(torch.cat([la.z_i for la in latents]), torch.cat([la.x_T for la in latents]))

    def to(self, *args, **kwargs) -> Latent:
        """Both tensors moved or cast, as `Tensor.to` does."""
        return Latent(self.z_i.to(*args, **kwargs), self.x_T.to(*args, **kwargs))

    def save(self, path: str | Path, metadata: dict[str, str] | None = None) -> None:
        """Write a safetensors file with z_i, x_T and the metadata, whole or not at all."""
        tensors = {"z_i": self.z_i.contiguous().cpu(), "x_T": self.x_T.contiguous().cpu()}
        with whole(path) as part:
            save_file(tensors, part, metadata={"format": "latentlab.Latent", **(metadata or {})})

    @staticmethod
    def load(path: str | Path) -> Latent:
        """Read what `save` wrote.

        Raises:
            UserError: no such file, not a latent, or values that are not finite.
        """
        hint = "`latentlab invert IMAGE --out DIR` writes such a file"
        with open_tensors(path, "z_i", "x_T", kind="latent", hint=hint) as file:
            latent = Latent(file.get_tensor("z_i"), file.get_tensor("x_T"))
        if not (latent.z_i.isfinite().all() and latent.x_T.isfinite().all()):
            raise UserError(f"{Path(path).name} holds values that are not finite: save the latent again")
        return latent
