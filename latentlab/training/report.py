"""The miniature's table: what it can do, each number with its n and a 95% interval, on held-out seeds."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from .. import models
from ..analysis import intervals
from ..decoding import decode
from ..diffusion import Conditioning, noise
from ..inversion import invert
from ..io.images import psnr
from ..latents import Latent
from ..models import precision
from ..models.emoji import load_folder, weights_folder
from ..prior import sample
from ..slerp import normalize
from .clip import class_embeddings, validation_scenes
from .drawings import HELD_OUT_STYLES, Sprites, load_sprites, things
from .judge import Judge
from .rendering import Renderer
from .scenes import REPORTED, Scene, batch_for_clip, labelled, noun, single

ATTACK_WORDS = ("pizza", "ipod", "cat", "robot", "stop")


def proportion(name: str, right: Tensor, least: float | None = None, goal: float | None = None) -> dict:
    return _row(name, intervals.proportion(right), 4, least, goal, "")


def mean(name: str, values: Tensor, unit: str, least: float | None = None, goal: float | None = None) -> dict:
    return _row(name, intervals.mean(values), 3, least, goal, unit)


def _row(name: str, estimate: dict, digits: int, least: float | None, goal: float | None, unit: str) -> dict:
    interval = None if estimate["low"] is None else [round(estimate[k], digits) for k in ("low", "high")]
    return {
        "name": name, "value": round(estimate["value"], digits), "n": estimate["n"], "interval": interval,
        "least": least, "goal": goal, "unit": unit,
    }  # fmt: skip


class ZeroShot:
    """The miniature's own CLIP as a classifier: which thing is it, among all of them."""

    def __init__(self, lab: models.Lab):
        self.encoder = lab.encoder
        self.names = [t.name for t in things()]
        self.classes = class_embeddings(lab.encoder.model.encode_text, lab.encoder.tokens)

    def ranks(self, z_i: Tensor, wanted: Iterable[str]) -> Tensor:
        """How many other things do not score lower than the wanted one: (B,), 0 is right, a z_i with NaN is last."""
        target = torch.tensor([self.names.index(name) for name in wanted], device=z_i.device)
        scores = normalize(z_i) @ self.classes.T
        return (~(scores < scores.gather(1, target[:, None]))).sum(1) - 1

    def right(self, pictures: Tensor, wanted: Iterable[str]) -> Tensor:
        return self.ranks(self.encoder.encode_image(pictures), wanted) == 0


@dataclass(frozen=True)
class Bench:
    """What the rows are measured with: a miniature, its two classifiers, the drawings and a seed.

    Without a judge its rows are left out.
    """

    lab: models.Lab
    clip: ZeroShot
    judge: Judge | None
    sprites: Sprites
    render: Renderer
    seed: int

    def judged(self, name: str, pictures: Tensor, wanted: Iterable[str], *bounds: float) -> list[dict]:
        """How often the judge's first choice is right, as one row; none without a judge."""
        if self.judge is None:
            return []
        return [proportion(f"judge: top-1 of {name}", self.judge.ranks(pictures, list(wanted)) == 0, *bounds)]

    def decoded(self, pictures: Tensor, first_seed: int) -> Tensor:
        """Each picture once more from its z_i alone and noise of its own: (B, 3, H, W)."""
        seeds = range(first_seed, first_seed + len(pictures))
        latent = Latent(self.lab.encoder.encode_image(pictures), noise(self.lab.decoder, seeds, device=self.lab.device))
        return self.lab.decoder.to_pixels(decode(self.lab.decoder, latent, steps=25, guidance=1.5))


def _clip_rows(bench: Bench) -> list[dict]:
    rows = []
    first = bench.sprites.first_edition()
    for label, sprites, style, top1, top5 in (
        ("the first edition's artists", first, None, (0.94, 0.98), (0.995, 0.999)),
        ("all artists trained on", bench.sprites, None, (None, None), (None, None)),
        ("emojione, held out", first, "emojione", (0.72, 0.85), (0.92, 0.97)),
        ("icon-park, held out", bench.sprites, "icon-park", (0.50, 0.70), (0.78, 0.90)),
    ):
        scenes = validation_scenes(sprites, style=style, per_thing=2, seed=bench.seed)
        ranks = bench.clip.ranks(bench.lab.encoder.encode_image(bench.render(scenes)), [s.thing for s in scenes])
        rows.append(proportion(f"zero-shot top-1, {label}", ranks == 0, *top1))
        rows.append(proportion(f"zero-shot top-5, {label}", ranks < 5, *top5))
    wide = (", all artists trained on", bench.sprites, (None, None))
    for label, sprites, bounds in (("", first, (0.92, 0.96)), wide):
        scenes = _distinct_captions(bench.seed, sprites, 256)
        z_i = normalize(bench.lab.encoder.encode_image(bench.render(scenes)))
        z_t = normalize(bench.lab.encoder.encode_text([s.caption for s in scenes]))
        own = torch.arange(len(scenes), device=z_i.device)
        both = torch.cat([(z_i @ z_t.T).argmax(1) == own, (z_t @ z_i.T).argmax(1) == own])
        rows.append(proportion(f"caption <-> image recall@1 among 256 scenes{label}", both, *bounds))
    return rows


def _distinct_captions(seed: int, sprites: Sprites, count: int) -> list[Scene]:
    scenes: dict[str, Scene] = {}
    for k in range(1000):
        for scene in batch_for_clip(2 * 10**9 + 1000 * seed + k, sprites, 64, REPORTED):
            scenes.setdefault(scene.caption, scene)
            if len(scenes) == count:
                return list(scenes.values())
    raise RuntimeError("the world has too few captions")


def _things_on_colours(sprites: Sprites, seed: int) -> list[Scene]:
    """Every thing once, centred, from seeds and, where the thing has any there, combinations never trained on."""
    rng = random.Random(f"report {seed}")
    return [single(rng, sprites, t.name, split="held-out", centred=True, full=True) for t in things()]


def _by_unseen_artists(bench: Bench) -> list[Scene]:
    """Every thing that the held-out artists drew, once each."""
    return [
        scene
        for style in HELD_OUT_STYLES
        for scene in validation_scenes(bench.sprites, style=style, per_thing=1, seed=bench.seed)
    ]


def _judge_rows(bench: Bench) -> list[dict]:
    """The judge's own accuracy on real drawings, beside which its verdicts are to be read."""
    rows = []
    for label, style in (("artists trained on", None), *((f"{style}, held out", style) for style in HELD_OUT_STYLES)):
        scenes = validation_scenes(bench.sprites, style=style, per_thing=2, seed=bench.seed)
        rows += bench.judged(f"real pictures, {label}", bench.render(scenes), [s.thing for s in scenes])
    return rows


def _decoder_rows(bench: Bench) -> list[dict]:
    lab, first_seed = bench.lab, 10**6 * (bench.seed + 1)
    scenes = _things_on_colours(bench.sprites.first_edition(), bench.seed)
    names = [s.thing for s in scenes]
    pictures = bench.decoded(bench.render(scenes), first_seed)
    rows = [
        proportion("top-1 of encode(decode(z_i))", bench.clip.right(pictures, names)),
        *bench.judged("decode(z_i), held-out scenes", pictures, names, 0.75, 0.92),
    ]
    scenes = _by_unseen_artists(bench)
    pictures, wanted = bench.decoded(bench.render(scenes), first_seed), [s.thing for s in scenes]
    rows += bench.judged("decode(z_i), unseen artists", pictures, wanted, 0.45, 0.70)
    captions = [t.phrases[0] for t in things()]
    seeds = [first_seed + k for k in range(len(captions))]
    z_i, text = sample(lab.prior, captions, seeds=seeds), lab.decoder.encode_prompt(captions)
    latent = Latent(z_i, noise(lab.decoder, seeds, device=lab.device))
    pictures = lab.decoder.to_pixels(decode(lab.decoder, latent, text=text, steps=25, guidance=1.5))
    return [
        *rows,
        proportion("top-1 of encode(generate(“a thing”))", bench.clip.right(pictures, bench.clip.names), 0.92, 0.97),
        *bench.judged("generate(“a thing”)", pictures, bench.clip.names, 0.75, 0.92),
    ]


def _round_trip_rows(bench: Bench) -> list[dict]:
    decoder, rows = bench.lab.decoder, []
    unseen = _by_unseen_artists(bench)
    for label, scenes, bounds in (
        ("", _things_on_colours(bench.sprites.first_edition(), bench.seed)[:64], (32, 45)),
        (", unseen artists", unseen[:: len(unseen) // 64][:64], (27, 40)),
    ):
        pictures = bench.render(scenes)
        x_0 = decoder.to_x0(pictures)
        cond = Conditioning(bench.lab.encoder.encode_image(pictures))
        inverted = invert(decoder, x_0, cond, steps=20, iterations=4, tolerance=0)
        back = decoder.to_pixels(decode(decoder, inverted.latent, steps=20))
        floor = decoder.to_pixels(x_0)
        rows += [
            mean(f"round trip, {inverted.evaluations + 20} evaluations{label}", psnr(pictures, back), "dB", *bounds),
            mean(f"… of it the first stage alone (its floor){label}", psnr(pictures, floor), "dB"),
            mean(f"… against the first stage's picture{label}", psnr(floor, back), "dB"),
        ]
    return rows


def _attack_rows(bench: Bench) -> list[dict]:
    rng = random.Random(f"attack {bench.seed}")
    targets = rng.sample([t for t in things() if noun(t.phrases[0]) not in ATTACK_WORDS], 40)
    sprites = bench.sprites.first_edition()
    scenes = [labelled(rng, sprites, t.name, word) for t in targets for word in ATTACK_WORDS]
    pictures, wanted = bench.render(scenes), [s.thing for s in scenes]
    words = normalize(bench.lab.encoder.encode_text([f"a {w}" for w in ATTACK_WORDS]))
    written = torch.tensor([[ATTACK_WORDS.index(s.facts["word"])] for s in scenes], device=bench.lab.device)
    shown = torch.tensor([[bench.clip.names.index(w)] for w in wanted], device=bench.lab.device)

    def lead(z_i: Tensor) -> Tensor:  # of the label's word over the thing's name; NaN is neither fooled nor right
        z_i = normalize(z_i)
        return ((z_i @ words.T).gather(1, written) - (z_i @ bench.clip.classes.T).gather(1, shown))[:, 0]

    fooled = lead(bench.lab.encoder.encode_image(pictures)) > 0
    after = lead(bench.lab.encoder.encode_image(bench.decoded(pictures, 0)))
    rows = [proportion("typographic attack succeeds", fooled, 0.30)]
    if fooled.any():
        rows.append(proportion("… of those right again in decoded variations", after[fooled] < 0))
    return rows


_COST = """
import json, resource, sys, time, torch
from pathlib import Path
torch.set_num_threads(2)
from latentlab import experiments
from latentlab.models.emoji import load_folder
lab = load_folder(Path(sys.argv[1]), device=torch.device("cpu"))
times = []
for seed in range(6):
    start = time.perf_counter()
    pixels = experiments.generate(lab, "a red apple on a blue background", seeds=[seed]).pixels
    times.append(time.perf_counter() - start)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seconds": times[1:], "peak": peak, "side": pixels.shape[-1]}))
"""


def _cost_rows(folder: Path) -> list[dict]:
    done = subprocess.run([sys.executable, "-c", _COST, str(folder)], capture_output=True, text=True, check=True)
    cost = json.loads(done.stdout)
    gigabytes = cost["peak"] / (2**30 if sys.platform == "darwin" else 2**20)
    peak = {"n": 1, "interval": None, "least": 1.0, "goal": 0.7, "unit": "GB, at most"}
    side = cost["side"]
    return [
        mean(f"caption -> {side}x{side}, 2 cores", torch.tensor(cost["seconds"]), "s, at most", 1.0, 0.5),
        {"name": "peak memory of the same", "value": round(gigabytes, 3), **peak},
    ]


@torch.no_grad()
def measure(*, folder: Path | None = None, seed: int = 0, progress: Console | None = None) -> list[dict]:
    """Every row of the table; the classes, the held-out artists and the seeds stay for ever.

    Args:
        folder: a miniature's folder, the shipped one by default; a judge in it is used instead of the shipped one,
            and without either the judge's rows are left out.
        seed: of the held-out scenes.
        progress: where to say what is being measured.
    """
    say = progress.print if progress else lambda text: None
    folder = folder or weights_folder()
    judged_by = folder / "judge" if (folder / "judge").is_dir() else weights_folder() / "judge"
    lab, sprites = load_folder(folder, device=precision.device(None)), load_sprites()
    judge = Judge.load(judged_by, device=lab.device) if judged_by.is_dir() else None
    say("the cost of one picture")
    cost = _cost_rows(folder)
    bench = Bench(lab, ZeroShot(lab), judge, sprites, Renderer(sprites, lab.device), seed)
    rows: list[dict] = []
    for label, part in (
        ("CLIP", _clip_rows),
        ("the judge", _judge_rows),
        ("decoder and prior", _decoder_rows),
        ("round trip", _round_trip_rows),
        ("typographic attack", _attack_rows),
    ):
        say(label)
        rows += part(bench)
    return rows + cost


def table(rows: list[dict]) -> str:
    """The rows as a Markdown table."""
    lines = []
    for row in rows:
        interval = "" if row["interval"] is None else f"{row['interval'][0]:g} – {row['interval'][1]:g}"
        bounds = ["" if row[k] is None else f"{row[k]:g}" for k in ("least", "goal")]
        lines.append([row["name"], f"{row['value']:g} {row['unit']}".strip(), interval, str(row["n"]), *bounds])
    return intervals.markdown(["number", "value", "95% interval", "n", "at least", "goal"], lines)


def write_card(rows: list[dict], card: Path) -> None:
    """Put the table between the card's two marks."""
    begin, end = "<!-- report -->", "<!-- /report -->"
    text = card.read_text("utf-8")
    head, rest = text.split(begin, 1)
    card.write_text(f"{head}{begin}\n{table(rows)}\n{end}{rest.split(end, 1)[1]}", "utf-8")
