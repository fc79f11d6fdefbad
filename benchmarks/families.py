"""The published architectures at full size with random weights: time and memory of every experiment on every family.

    python benchmarks/families.py            on a GPU, float16 and float32
    python benchmarks/families.py --tiny     a trial on tiny networks, in seconds on a CPU

No weights are needed, and no network: the times do not depend on the weights.  z_t of stable-unclip-h, which
comes from open_clip, is drawn at random and not timed.  `difference` compares one evaluation of the decoder with
float32's on the same weights, as a share of its spread.
"""

from __future__ import annotations

import functools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated
from unittest import mock

import torch
import typer

from latentlab import models
from latentlab.analysis import intervals
from latentlab.diffusion import Conditioning
from latentlab.noise import draw_x_T

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import checkpoints
import family_matrix
import small_runs


def random_z_t(width: int, device: torch.device):
    """An encoder of captions that draws z_t."""
    return SimpleNamespace(encode_text=lambda captions: torch.randn(len(captions), width, device=device))


def build(name: str, device: torch.device, dtype: torch.dtype, *, tiny: bool, tokenizer: Path) -> models.Lab:
    """A family's lab with random weights, the same for every precision."""
    module = import_module(f"latentlab.models.{models.spec(name).family}")
    unread = functools.partial(checkpoints.Unread, tiny=tiny, tokenizer=tokenizer)
    width = 32 if tiny else 1024
    torch.manual_seed(0)
    with (
        mock.patch.object(module, "Checkpoint", unread),
        mock.patch("latentlab.models.stable_unclip.z_t_encoder", lambda *_: random_z_t(width, device)),
    ):
        lab = module.load(name, device=device, dtype=dtype)
        if not isinstance(lab.encoder.text, torch.nn.Module):
            lab.encoder.other  # noqa: B018  (built on first use: now, while it is patched)
    return lab


@torch.no_grad()
def evaluation(lab: models.Lab) -> torch.Tensor:
    """One evaluation of the decoder, of a seed."""
    x = draw_x_T(lab.decoder, [0], device=lab.device)
    z_i = torch.randn(1, lab.encoder.width, generator=torch.Generator().manual_seed(0)).to(lab.device)
    return lab.decoder.eps(x, 500, Conditioning(z_i, lab.decoder.encode_prompt(["a red cat"]))).double().cpu()


@contextmanager
def measured(device: torch.device) -> Iterator[dict]:
    """Seconds, and gigabytes at the peak, of the block inside; memory is measured on a GPU alone."""
    measurement: dict[str, float | None] = {"GB": None}
    gpu = device.type == "cuda"
    if gpu:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    yield measurement
    if gpu:
        torch.cuda.synchronize(device)
        measurement["GB"] = round(torch.cuda.max_memory_allocated(device) / 1e9, 2)
    measurement["seconds"] = round(time.perf_counter() - start, 3)


def rows(
    names: list[str], device: torch.device, dtypes: list[torch.dtype], steps: int, tiny: bool, only: list[str]
) -> Iterator[dict]:
    """A row for each family, precision and experiment."""
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder) / "tokenizer"
        checkpoints.write_tokenizer(words, "<|endoftext|>")
        for name in names:
            exact = None
            for dtype in dtypes:  # float32 first
                lab = build(name, device, dtype, tiny=tiny, tokenizer=words)
                eps = evaluation(lab)
                exact = eps if exact is None else exact
                row = {"family": name, "precision": str(dtype).removeprefix("torch.")}
                row["difference"] = round(float((eps - exact).square().mean().sqrt() / exact.std()), 5)
                for experiment in only or small_runs.RUNS:
                    family_matrix.run(experiment, lab, 1)  # warm
                    with measured(device) as measurement:
                        status, _, _ = family_matrix.run(experiment, lab, steps)
                    yield {**row, "experiment": experiment, "runs": status, **measurement}
                family_matrix.directions.cache_clear()
                del lab
                if device.type == "cuda":
                    torch.cuda.empty_cache()


def main(
    family: Annotated[list[str] | None, typer.Option(help="A family to measure; repeat the option for more.")] = None,
    experiment: Annotated[
        list[str] | None, typer.Option(help="An experiment to measure; repeat the option for more.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps of the decoder, the prior and the inversion.")] = 25,
    tiny: Annotated[bool, typer.Option("--tiny", help="Tiny networks, for a trial.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not tiny:
        raise typer.BadParameter("the full sizes need a GPU; --tiny tries this command on a CPU")
    dtypes = [torch.float32, torch.float16 if device.type == "cuda" else torch.bfloat16]
    device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    settings = {
        "date": str(date.today()),
        "device": device_name,
        "torch": torch.__version__,
        "steps": steps,
        "tiny": tiny,
    }
    table_rows = list(rows(family or family_matrix.FAMILIES, device, dtypes, steps, tiny, experiment or []))
    if as_json:
        print(json.dumps({**settings, "rows": table_rows}))
        return
    print(", ".join(f"{key} {value}" for key, value in settings.items()) + "\n")
    cells = (["–" if value is None else str(value) for value in row.values()] for row in table_rows)
    print(intervals.markdown([*table_rows[0]], cells))


if __name__ == "__main__":
    typer.run(main)
