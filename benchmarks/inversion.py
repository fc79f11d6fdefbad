"""How exactly each inversion reconstructs pictures, against its cost: python benchmarks/inversion.py --figure FILE.

PSNR of the picture decoded from the inverted latent against the first stage's own picture, which is the best that any
inversion can do, over the decoder's evaluations for both.  For each budget a method's split into steps and
iterations is chosen on pictures of the gallery, and measured on scenes that neither the choice nor the training saw.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

import latentlab
from latentlab import decoding, inversion, models
from latentlab.analysis import intervals
from latentlab.diffusion import Conditioning, Decoder, evaluate
from latentlab.io import images
from latentlab.latents import PairLatent

TUNING = 8  # pictures of the gallery
Split = tuple[int, dict]  # steps, and the other parameters of `inversion.invert_steps`


def fixed_point(budget: int) -> list[Split]:
    """Steps and iterations that may fit a budget: until a tolerance is met, or a fixed number of times a step."""
    adaptive = [(budget // 4, {}), (budget // 5, {"tolerance": 1e-4})]
    loose = [(budget // 3, {"tolerance": 1e-3}), (budget // 4, {"tolerance": 1e-3})]
    fixed = [(budget // (1 + k), {"iterations": k, "tolerance": 0.0}) for k in (2, 3)]
    return adaptive + loose + fixed


SPLITS: dict[str, Callable[[int], list[Split]]] = {
    "diffusers' pair": lambda budget: [(budget // 2, {})],
    "naive": lambda budget: [(budget // 2, {"method": "naive"})],
    "fixed-point, plain": lambda budget: [(n, {**params, "memory": 0}) for n, params in fixed_point(budget)],
    "fixed-point, Anderson": fixed_point,
    "bdia": lambda budget: [((budget + 1) // 2, {"method": "bdia"})],
    "edict": lambda budget: [(budget // 4, {"method": "edict"})],
}


def stock(decoder: Decoder, x_0: Tensor, cond: Conditioning, steps: int) -> tuple[Tensor, int]:
    """diffusers' DDIMInverseScheduler and DDIMScheduler, evaluated as its pipelines do.

    Their inverse evaluates the present state's noise at the next time.
    """
    from diffusers import DDIMInverseScheduler, DDIMScheduler

    abar = decoder.abar.double()
    betas = 1 - abar / torch.cat([abar.new_ones(1), abar[:-1]])
    settings = {
        "num_train_timesteps": len(abar), "trained_betas": betas.numpy(), "clip_sample": False,
        "set_alpha_to_one": True, "timestep_spacing": "leading",
    }  # fmt: skip
    x_t = x_0
    for scheduler in (DDIMInverseScheduler(**settings), DDIMScheduler(**settings)):
        scheduler.set_timesteps(steps)
        for t in scheduler.timesteps.tolist():
            x_t = scheduler.step(evaluate(decoder, x_t, t, cond), t, x_t).prev_sample.to(x_0)
    return x_t, 2 * steps


def round_trip(decoder: Decoder, x_0: Tensor, cond: Conditioning, method: str, split: Split) -> tuple[Tensor, int]:
    """x_0 inverted and decoded, and the evaluations of the sample that needed most."""
    steps, params = split
    if method == "diffusers' pair":
        return stock(decoder, x_0, cond, steps)
    inverted = inversion.invert(decoder, x_0, cond, steps=steps, **params)
    decode_params = {} if isinstance(inverted.latent, PairLatent) else {"steps": steps}
    *_, last = decoding.sample_steps(decoder, inverted.latent, **decode_params)
    return last.x_t, inverted.evaluations + last.evaluations


def scenes(lab: models.Lab, count: int) -> tuple[str, Tensor]:
    """The report's held-out scenes where the drawings are here, else the gallery: (what they are, pictures)."""
    try:
        from latentlab.training.drawings import cache_dir, load_sprites
        from latentlab.training.rendering import Renderer
        from latentlab.training.report import _things_on_colours

        drawn = (cache_dir() / "drawings").is_dir()
    except ImportError:
        drawn = False
    if not drawn:
        return "gallery pictures", gallery(lab)[:count]
    sprites = load_sprites()
    return "held-out scenes", Renderer(sprites, lab.device)(_things_on_colours(sprites, 0)[:count])


def gallery(lab: models.Lab) -> Tensor:
    files = [path for path, _ in models.gallery(lab.name)]
    return torch.cat([images.load(path, lab.decoder.image_size) for path in files]).to(lab.device)


class RoundTrips:
    """Pictures that each method inverts and decodes."""

    def __init__(self, lab: models.Lab, pictures: Tensor):
        self.decoder, self.x_0 = lab.decoder, lab.decoder.to_x0(pictures)
        self.cond = Conditioning(lab.encoder.encode_image(pictures))
        self.floor = decoding.pictures(self.decoder, self.x_0)

    def measure(self, method: str, split: Split) -> dict:
        decoded, evaluations = round_trip(self.decoder, self.x_0, self.cond, method, split)
        psnr = images.psnr(self.floor, decoding.pictures(self.decoder, decoded))
        error = (decoded - self.x_0).double().square().mean((1, 2, 3))
        scale = self.x_0.double().square().mean()
        row = intervals.mean(psnr)
        return {
            "method": method, "steps": split[0], "params": split[1], "evaluations": evaluations,
            "psnr": round(row["value"], 2), "half_interval": round((row["high"] - row["low"]) / 2, 2), "n": row["n"],
            "worst": round(psnr.min().item(), 2),
            "x_0_snr": round(10 * torch.log10(scale / error.clamp_min(1e-20)).mean().item(), 2),
        }  # fmt: skip


def best(tuning: RoundTrips, held_out: RoundTrips, method: str, budget: int) -> dict | None:
    """The split that is best on the tuning pictures and stays within the budget on both."""
    splits = [split for split in SPLITS[method](budget) if split[0] >= 2]
    if len(splits) > 1:
        tried = [(tuning.measure(method, split), split) for split in splits]
        fits = [(row["psnr"], split) for row, split in tried if row["evaluations"] <= budget]
        splits = [split for _, split in sorted(fits, key=lambda psnr_and_split: -psnr_and_split[0])]
    for split in splits:
        row = held_out.measure(method, split)
        if row["evaluations"] <= budget:
            return {**row, "budget": budget}
    return None


def table(rows: list[dict]) -> str:
    """PSNR in dB with its 95% interval, the worst picture, and the split behind it."""
    lines = []
    for row in rows:
        params = ", ".join(f"{k} {v:g}" for k, v in row["params"].items() if k != "method") or "default"
        psnr = f"{row['psnr']:.1f} ± {row['half_interval']:.1f}", f"{row['worst']:.1f}", f"{row['x_0_snr']:.1f}"
        lines.append([row["method"], *(str(row[k]) for k in ("budget", "evaluations", "steps")), params, *psnr])
    heads = ["method", "budget", "evaluations", "steps", "parameters", "PSNR, dB", "worst", "x_0, dB"]
    return intervals.markdown(heads, lines)


def curves(rows: list[dict]):
    """PSNR against evaluations, one line per method."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.subplots()
    for method in SPLITS:
        points = [row for row in rows if row["method"] == method]
        columns = ([row[key] for row in points] for key in ("evaluations", "psnr", "half_interval"))
        axis.errorbar(*columns, marker="o", markersize=4, capsize=3, label=method)
    axis.set(
        xscale="log", xlabel="decoder evaluations, inversion and decoding", ylabel="PSNR against the first stage, dB"
    )
    ticks = sorted({row["budget"] for row in rows})
    axis.set_xticks(ticks, [str(t) for t in ticks])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def main(
    count: Annotated[int, typer.Option("--scenes", min=2, max=187, help="How many pictures.")] = 64,
    budgets: Annotated[
        str, typer.Option(help="Evaluations of inversion and decoding together, comma-separated.")
    ] = "20,50,100,200",
    figure: Annotated[Path | None, typer.Option(help="Where to draw the curves.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of the table.")] = False,
) -> None:
    """Measure every inversion on the embedded decoder."""
    lab = latentlab.load("emoji")
    kind, pictures = scenes(lab, count)
    held_out, tuning = RoundTrips(lab, pictures), RoundTrips(lab, gallery(lab)[-TUNING:])
    asked, rows = [int(b) for b in budgets.split(",")], []
    for method in SPLITS:
        for budget in asked:
            row = best(tuning, held_out, method, budget)
            rows += [row] if row else []
            typer.echo(f"{method}, {budget}: {row['psnr'] if row else 'nothing fits'}", err=True)
    if figure:
        curves(rows).savefig(figure, dpi=150)
    report = {"model": lab.name, "weights": lab.weights, "pictures": kind, "n": len(pictures), "rows": rows}
    heading = f"{len(pictures)} {kind}, weights {lab.weights}; mean ± half of the 95% interval.\n"
    print(json.dumps(report) if as_json else f"{heading}\n{table(rows)}")


if __name__ == "__main__":
    typer.run(main)
