"""What a large corpus costs: rates of embedding and PCA, and the plan of 100 million pictures that follows from them.

    python benchmarks/corpora.py rates           # pictures a CPU second: reading, the bare forward, the whole of embed
    python benchmarks/corpora.py pca             # PCA of many rows: seconds and memory beside scikit-learn's
    python benchmarks/corpora.py plan --write    # docs/corpora.md's table, from the assumptions in its options

CPU seconds are of one thread, and other work on the machine hardly lengthens them; wall time needs an idle machine.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import numpy as np
import torch
import typer
from PIL import Image

from latentlab import clip, models
from latentlab.analysis.covariance import Moments
from latentlab.analysis.intervals import markdown
from latentlab.analysis.pca import Directions
from latentlab.io import embeddings, images

app = typer.Typer(no_args_is_help=True)
PAGE = Path(__file__).resolve().parent.parent / "docs" / "corpora.md"
BEGINS, ENDS = "<!-- python benchmarks/corpora.py plan -->", "<!-- the plan ends here -->"


def cpu_seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def photographs(folder: Path, count: int, side: int) -> None:
    """JPEGs of smooth noise, which compress about as photographs do."""
    for k in range(count):
        small = np.random.default_rng(k).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{k:05d}.jpg", quality=90)


def random_encoder(architecture: str) -> clip.Encoder:
    """An architecture of open_clip with random weights, which are as fast as trained ones."""
    import open_clip

    model = open_clip.create_model(architecture, pretrained=None)
    with mock.patch.multiple(clip, _check=lambda *_: None, _create=lambda *_: (model, None)):
        return clip.Encoder(architecture)


@app.command()
def rates(
    model: Annotated[str, typer.Option(help="The model, or a CLIP of open_clip as NAME:TAG.")] = "emoji",
    architecture: Annotated[str, typer.Option(help="Instead of a model, one of open_clip with random weights.")] = "",
    count: Annotated[int, typer.Option(min=64, help="The number of pictures.")] = 512,
    side: Annotated[int, typer.Option(min=16, help="Their side in pixels.")] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, of which the shortest wall time counts.")] = 3,
) -> None:
    """Measure how many pictures are read, encoded, and embedded into a Parquet in a second.

    The forward has one thread. By CPU seconds, reading adds to it; by wall time it does not where another core is free.
    """
    torch.set_num_threads(1)
    encoder = random_encoder(architecture) if architecture else models.load(model, device="cpu").encoder
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "photographs"
        folder.mkdir()
        photographs(folder, count, side)
        paths = embeddings.list_files(folder)
        pixels = images.to_tensor(*(encoder.square(images.open_image(path)) for path in paths))
        encoder.encode_image(pixels[:64])  # what the first call sets up is not in the rate
        import pyarrow.parquet  # noqa: F401  (nor is what the first Parquet imports)

        works = {
            "reading alone": lambda: [encoder.square(images.open_image(path)) for path in paths],
            "bare forward": lambda: [encoder.encode_image(some) for some in pixels.split(64)],
            "embed, with the Parquet": lambda: embeddings.write(
                Path(temporary) / "z.parquet", embeddings.embed(encoder, folder)
            ),
        }
        seconds = {name: [float("inf")] * 2 for name in works}
        for _ in range(rounds):
            for name, work in works.items():
                start = time.perf_counter()
                cpu = cpu_seconds(work)
                seconds[name] = [min(cpu, seconds[name][0]), min(time.perf_counter() - start, seconds[name][1])]
    rows = [[name, *(f"{count / value:.1f}" for value in values)] for name, values in seconds.items()]
    print(markdown([f"{architecture or model}, {count} of {side} px", "a CPU second", "a second of wall time"], rows))
    shares = [seconds["bare forward"][k] / seconds["embed, with the Parquet"][k] for k in (0, 1)]
    print(f"\nThe rate of embed is {shares[0]:.2f} of the bare forward's by CPU seconds, {shares[1]:.2f} by wall time.")


def blocks(rows: int, width: int) -> Iterator[np.ndarray]:
    """Rows of falling variance far from the origin, the same in each pass."""
    scale = np.linspace(2, 0.1, width, dtype=np.float32)
    for k in range(0, rows, 20_000):
        count = min(20_000, rows - k)
        yield np.random.default_rng(k).standard_normal((count, width), dtype=np.float32) * scale + 3


@app.command()
def pca(
    rows: Annotated[int, typer.Option(min=1000, help="The number of rows.")] = 1_000_000,
    width: Annotated[int, typer.Option(min=8, help="Their width.")] = 512,
    keep: Annotated[int, typer.Option(min=1, help="The number of components.")] = 50,
) -> None:
    """Compare PCA in one pass with scikit-learn's, on the same rows, which scikit-learn has in memory."""
    from sklearn.decomposition import PCA, IncrementalPCA

    torch.set_num_threads(1)
    ours_seconds, ours = one_pass(rows, width, keep)
    incremental = IncrementalPCA(keep)
    incremental_seconds = sum(cpu_seconds(lambda b=b: incremental.partial_fit(b)) for b in blocks(rows, width))
    whole = np.concatenate([*blocks(rows, width)])
    table = [["ours, in one pass", ours_seconds, ours.components]]
    for name, dtype, solver in (
        ("covariance_eigh", np.float32, "covariance_eigh"),
        ("covariance_eigh, rows in float64", np.float64, "covariance_eigh"),
        ("full", np.float32, "full"),
    ):
        fitted = PCA(keep, svd_solver=solver)
        data = whole.astype(dtype, copy=False)
        table.append([f"scikit-learn, {name}", cpu_seconds(lambda f=fitted, d=data: f.fit(d)), fitted.components_])
        del data
    table.append(["scikit-learn, incremental", incremental_seconds, incremental.components_])
    exact = table[2][2]
    lines = [[name, f"{s:.1f}", f"{s / ours_seconds:.2f}", f"{sine(u, exact):.0e}"] for name, s, u in table]
    heads = [f"{rows:,} × {width}, {keep} components", "CPU seconds", "times ours", "sine of the angle to float64's"]
    print(markdown(heads, lines))


def one_pass(rows: int, width: int, keep: int) -> tuple[float, Directions]:
    """CPU seconds of our PCA, without those in which the rows are drawn, and the components."""
    seconds, moments = 0.0, None
    for block in blocks(rows, width):
        start = time.process_time()
        part = Moments.of(torch.from_numpy(block))
        moments = part if moments is None else moments.merge(part)
        seconds += time.process_time() - start
    assert moments is not None
    start = time.process_time()
    directions = Directions.from_moments(moments, keep)
    return seconds + time.process_time() - start, directions


@app.command()
def memory(
    rows: Annotated[str, typer.Option(help="Numbers of rows, the smallest first.")] = "1000000,10000000",
    width: Annotated[int, typer.Option(min=8, help="Their width.")] = 512,
) -> None:
    """Measure the peak memory of PCA in one pass, by Linux's own count, for each number of rows."""
    torch.set_num_threads(1)
    lines = []
    for count in map(int, rows.split(",")):
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        seconds, _ = one_pass(count, width, 50)
        lines.append([f"{count:,}", f"{seconds:.0f}", f"{seconds / count * 1e6:.1f}", f"{peak_megabytes():.0f}"])
    print(markdown([f"rows of width {width}", "CPU seconds", "µs a row", "peak MB of the process"], lines))


def peak_megabytes() -> float:
    """The most memory that this process held at once."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def sine(a: Any, b: Any) -> float:
    """The sine of the largest angle between two subspaces of orthonormal rows, exact for small ones too."""
    a, b = (torch.as_tensor(rows).double() for rows in (a, b))
    return float(torch.linalg.matrix_norm(a - a @ b.T @ b, 2))


@dataclass(frozen=True)
class Assumptions:
    """What the plan takes for granted; each is an option of the command."""

    pictures: float = 1e8
    layers: int = 24  # of the image tower: ViT-L/14
    hidden: int = 1024
    tokens: int = 257
    width: int = 768
    gpu_tflops: float = 989  # an H100's in bfloat16, by its data sheet
    utilisation: float = 0.4  # the share of it that a ViT reaches
    gpus: int = 8
    loader: float = 0.95  # the rate of embed over that of the bare forward: `rates` measures it
    read_rate: float = 332  # pictures of 256 px per second and core: `rates` measures it
    rows: int = 100_000  # of a shard
    pca_microseconds: float = 7.4  # of a row of width 512: `pca` measures it
    merge_seconds: float = 0.02  # of two moments of this width: `plan` measures it
    path_bytes: int = 40
    gpu_hour: float = 2.5  # dollars

    @property
    def flops(self) -> float:
        """Of one picture: 2 L (12 d² T + 2 d T²), multiplications and additions."""
        return 2 * self.layers * (12 * self.hidden**2 * self.tokens + 2 * self.hidden * self.tokens**2)

    @property
    def rate(self) -> float:
        """Pictures per second on one GPU."""
        return self.gpu_tflops * 1e12 * self.utilisation / self.flops

    @property
    def hours(self) -> float:
        return self.pictures / (self.rate * self.loader * self.gpus) / 3600


def lines(a: Assumptions) -> list[list[str]]:
    """The plan: each quantity, its formula, the formula with its numbers, and its value."""
    shards = -(-a.pictures // a.rows)
    moments = a.width * (a.width + 1) * 8
    row = 4 * a.width + a.path_bytes
    pca = a.pca_microseconds * (a.width / 512) ** 2
    n, rate = f"{a.pictures:.0e}".replace("e+0", "e"), f"{a.rate:,.0f}"
    return [
        [
            "operations of a picture",
            "2 L (12 d² T + 2 d T²)",
            f"2 · {a.layers} (12 · {a.hidden}² · {a.tokens} + 2 · {a.hidden} · {a.tokens}²)",
            f"{a.flops / 1e9:.0f} GFLOP",
        ],
        [
            "rate of a GPU",
            "peak × utilisation / operations",
            f"{a.gpu_tflops:g}e12 × {a.utilisation:g} / {a.flops / 1e9:.0f}e9",
            f"{rate} pictures/s",
        ],
        [
            "time",
            "pictures / (rate × loader × GPUs)",
            f"{n} / ({rate} × {a.loader:g} × {a.gpus}) s",
            f"{a.hours:.1f} hours on {a.gpus} GPUs",
        ],
        [
            "cost",
            "hours × GPUs × price",
            f"{a.hours:.2f} × {a.gpus} × ${a.gpu_hour:g}",
            f"${a.hours * a.gpus * a.gpu_hour:,.0f}",
        ],
        [
            "cores that read, per GPU",
            "rate of a GPU / rate of a core",
            f"{rate} / {a.read_rate:g}",
            f"{np.ceil(a.rate / a.read_rate):.0f}",
        ],
        ["shards", "pictures / rows", f"{n} / {a.rows:,}", f"{shards:,.0f}"],
        [
            "lost by a kill, at most",
            "rows / (rate × loader), of each GPU",
            f"{a.rows:,} / ({rate} × {a.loader:g}) s",
            f"{a.rows / (a.rate * a.loader):.0f} s of work",
        ],
        [
            "embeddings",
            "pictures × (4 width + path)",
            f"{n} × (4 · {a.width} + {a.path_bytes}) bytes",
            f"{a.pictures * row / 1e9:,.0f} GB",
        ],
        [
            "moments",
            "shards × 8 width (width + 1)",
            f"{shards:,.0f} × 8 · {a.width} · {a.width + 1} bytes",
            f"{shards * moments / 1e9:,.1f} GB",
        ],
        [
            "moments of all rows",
            "pictures × µs of a row × (width / 512)²",
            f"{n} × {a.pca_microseconds:g} × {(a.width / 512) ** 2:.2f} µs",
            f"{a.pictures * pca / 3.6e9:.2f} core hours, inside embed",
        ],
        [
            "PCA of all shards",
            "shards × seconds of a merge",
            f"{shards:,.0f} × {a.merge_seconds:.2g} s",
            f"{shards * a.merge_seconds:,.0f} s on one core",
        ],
        [
            "memory of the PCA",
            "log₂ shards × moments of one",
            f"{np.log2(max(shards, 2)):.1f} × {moments / 1e6:.1f} MB",
            f"{np.log2(max(shards, 2)) * moments / 1e6:,.0f} MB",
        ],
    ]


def measured_merge(width: int) -> float:
    moments = Moments.of(torch.randn(width, width))
    return cpu_seconds(lambda: [moments.merge(moments) for _ in range(5)]) / 5


@app.command()
def plan(
    pictures: float = Assumptions.pictures,
    gpus: int = Assumptions.gpus,
    gpu_tflops: float = Assumptions.gpu_tflops,
    utilisation: float = Assumptions.utilisation,
    gpu_hour: Annotated[float, typer.Option(help="Dollars.")] = Assumptions.gpu_hour,
    read_rate: Annotated[float, typer.Option(help="Pictures per second and core.")] = Assumptions.read_rate,
    rows: Annotated[int, typer.Option(help="Of a shard.")] = Assumptions.rows,
    write: Annotated[bool, typer.Option(help="Write the tables into docs/corpora.md.")] = False,
) -> None:
    """Plan the embedding of many pictures by ViT-L/14, and their PCA."""
    a = Assumptions(
        pictures=pictures,
        gpus=gpus,
        gpu_tflops=gpu_tflops,
        utilisation=utilisation,
        gpu_hour=gpu_hour,
        read_rate=read_rate,
        rows=rows,
        merge_seconds=measured_merge(Assumptions.width),
    )
    assumed = [[name.replace("_", " "), f"{value:,.4g}"] for name, value in vars(a).items()]
    text = (
        markdown(["assumption", "value"], assumed)
        + "\n\n"
        + markdown(["quantity", "formula", "in numbers", "value"], lines(a))
    )
    print(text)
    if write:
        PAGE.write_text(with_plan(PAGE.read_text("utf-8"), text), "utf-8")


def with_plan(page: str, tables: str) -> str:
    before, _, rest = page.partition(BEGINS)
    return f"{before}{BEGINS}\n\n{tables}\n\n{ENDS}{rest.partition(ENDS)[2]}"


if __name__ == "__main__":
    app()
