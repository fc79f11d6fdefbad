"""What the commands about components and about features share: reading or making z_i, and moving pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UserError
from .inputs import Inputs
from .options import ModelChoice
from .output import run_with_progress_bar, save_result, slug

if TYPE_CHECKING:
    from torch import Tensor

    from ..analysis.dictionary import Dictionary
    from ..analysis.pca import Directions
    from ..experiments import ComponentWalkResult
    from ..io.embeddings import Shard
    from ..models import Lab


Source = Annotated[
    Path,
    typer.Argument(
        help="Folder of pictures or of the shards of `latentlab embed`, or a .parquet, .npy or .safetensors file."
    ),
]


def check_new_file(out: Path) -> None:
    """Refuse a place where no new .safetensors file can be written.

    Raises:
        UserError: it has another ending, is there already, or its folder can't be written.
    """
    from ..io import atomic

    if out.suffix != ".safetensors" or out.exists():
        raise UserError(f"--out is {out}: give a file that ends in .safetensors and is not there yet")
    atomic.writable_folder(out.parent)


def batches_of(shards: Iterable[Shard], skipped: dict[str, str]) -> Iterator[Tensor]:
    """Yield the shards' embeddings, and add the files that they skipped to `skipped`."""
    for shard in shards:
        skipped.update(shard.skipped)
        yield shard.z_i


def read_or_embed(model: ModelChoice, source: Path, fit: str, quiet: bool) -> tuple[Iterator[Shard], dict[str, str]]:
    """The z_i of a file, or of a folder of pictures, and what is known of their CLIP."""
    from ..io import embeddings

    if not source.is_dir():
        return embeddings.shards(source), {**embeddings.clip_metadata(source), "fitted on": source.name}
    embeddings.list_files(source)  # refuse an empty one before loading the model
    lab = model.load(quiet)
    recorded = {"normalised": "no", **lab.clip_metadata(), "fitted on": str(source)}
    return embeddings.embed(lab.encoder, source, fit=fit), recorded


def walk_pictures(
    lab: Lab,
    inputs: Inputs,
    directions: Directions | Dictionary,
    folder: Path,
    suffix: str,
    *,
    steps: int,
    quiet: bool,
    **params: Any,
) -> Iterator[tuple[ComponentWalkResult, dict[str, str], dict[str, Any]]]:
    """Move each picture along components or features, and write it; parameters as in `experiments.walk_components`."""
    from .. import experiments

    for picture in inputs:
        content, back = picture.load(lab, inputs.fit), picture.steps(steps)
        stream = experiments.walk_components.stream(
            lab, content, directions, steps=back, captions=lab.things, preview_every=0, **params
        )
        result = run_with_progress_bar(stream, quiet)
        extra: dict[str, Any] = {"image": picture.name}
        paths = save_result(result, folder, f"{slug(picture.stem)}-{suffix}", fit=inputs.fit, **extra)
        yield result, paths, extra
