"""The miniature's table: what it can do, each number with its n and a 95% interval, on held-out seeds."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterable
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
from ..prior import sample
from ..slerp import normalize
from .clip import class_embeddings, validation_scenes
from .drawings import HELD_OUT_STYLE, Sprites, load_sprites, things
from .rendering import Renderer
from .scenes import REPORTED, Scene, batch_for_clip, labelled, noun, single

ATTACK_WORDS = ("pizza", "ipod", "cat", "robot", "stop")


def proportion(name: str, right: Tensor, least: float | None = None, goal: float | None = None) -> dict:
    return _row(name, intervals.proportion(right), 4, least, goal, "")


def mean(name: str, values: Tensor, unit: str, least: float | None = None, goal: float | None = None) -> dict:
    return _row(name, intervals.mean(values), 3, least, goal, unit)


def _row(name: str, found: dict, digits: int, least: float | None, goal: float | None, unit: str) -> dict:
    interval = None if found["low"] is None else [round(found[k], digits) for k in ("low", "high")]
    return {
        "name": name, "value": round(found["value"], digits), "n": found["n"], "interval": interval, "least": least,
        "goal": goal, "unit": unit,
    }  # fmt: skip


class Judge:
    """The CLIP that scores: which thing is it, among all of them."""

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


def _clip_rows(judge: Judge, render: Renderer, sprites: Sprites, seed: int) -> list[dict]:
    rows = []
    for label, held_out, least, goal in (
        ("seen styles", False, (0.85, 0.97), (0.97, 0.995)),
        (f"held-out style ({HELD_OUT_STYLE})", True, (0.55, 0.80), (0.80, 0.95)),
    ):
        found = validation_scenes(sprites, held_out_style=held_out, per_thing=2, seed=seed)
        ranks = judge.ranks(judge.encoder.encode_image(render(found)), [s.thing for s in found])
        rows.append(proportion(f"zero-shot top-1, {label}", ranks == 0, least[0], goal[0]))
        rows.append(proportion(f"zero-shot top-5, {label}", ranks < 5, least[1], goal[1]))
    found = _distinct_captions(seed, sprites, 256)
    z_i = normalize(judge.encoder.encode_image(render(found)))
    z_t = normalize(judge.encoder.encode_text([s.caption for s in found]))
    own = torch.arange(len(found), device=z_i.device)
    both = torch.cat([(z_i @ z_t.T).argmax(1) == own, (z_t @ z_i.T).argmax(1) == own])
    return [*rows, proportion("caption <-> image recall@1 among 256 scenes", both, 0.60, 0.90)]


def _distinct_captions(seed: int, sprites: Sprites, count: int) -> list[Scene]:
    found: dict[str, Scene] = {}
    for k in range(1000):
        for scene in batch_for_clip(2 * 10**9 + 1000 * seed + k, sprites, 64, REPORTED):
            found.setdefault(scene.caption, scene)
            if len(found) == count:
                return list(found.values())
    raise RuntimeError("the world has too few captions")


def _things_on_colours(sprites: Sprites, seed: int) -> list[Scene]:
    """Every thing once, centred, from seeds and, where the thing has any there, combinations never trained on."""
    rng = random.Random(f"report {seed}")
    return [single(rng, sprites, t.name, split="held-out", centred=True, full=True) for t in things()]


def _decoder_rows(lab: models.Lab, judge: Judge, render: Renderer, sprites: Sprites, seed: int) -> list[dict]:
    found = _things_on_colours(sprites, seed)
    pictures, seeds = render(found), [10**6 * (seed + 1) + k for k in range(len(found))]
    z_i = lab.encoder.encode_image(pictures)
    x_T = noise(lab.decoder, seeds, device=lab.device)
    made = lab.decoder.to_pixels(decode(lab.decoder, Latent(z_i, x_T), steps=25, guidance=1.5))
    rows = [proportion("top-1 of encode(decode(z_i))", judge.right(made, [s.thing for s in found]), 0.70, 0.95)]
    captions = [t.phrases[0] for t in things()]
    z_i = sample(lab.prior, captions, seeds=seeds)
    text = lab.decoder.encode_prompt(captions)
    made = lab.decoder.to_pixels(decode(lab.decoder, Latent(z_i, x_T), text=text, steps=25, guidance=1.5))
    rows.append(proportion("top-1 of encode(generate(“a thing”))", judge.right(made, judge.names), 0.60, 0.90))
    return rows


def _round_trip_rows(lab: models.Lab, render: Renderer, sprites: Sprites, seed: int) -> list[dict]:
    pictures = render(_things_on_colours(sprites, seed)[:64])
    x_0 = lab.decoder.to_x0(pictures)
    cond = Conditioning(lab.encoder.encode_image(pictures))
    found = invert(lab.decoder, x_0, cond, steps=20, iterations=4, tolerance=0)
    back = decode(lab.decoder, found.latent, steps=20)
    evaluations = found.evaluations + 20
    floor = lab.decoder.to_pixels(x_0)
    return [
        mean(f"round trip, {evaluations} evaluations", psnr(pictures, lab.decoder.to_pixels(back)), "dB", 35, 45),
        mean("… of it the first stage alone (its floor)", psnr(pictures, floor), "dB"),
        mean("… against the first stage's picture", psnr(floor, lab.decoder.to_pixels(back)), "dB"),
    ]


def _attack_rows(lab: models.Lab, judge: Judge, render: Renderer, sprites: Sprites, seed: int) -> list[dict]:
    rng = random.Random(f"attack {seed}")
    chosen = rng.sample([t for t in things() if noun(t.phrases[0]) not in ATTACK_WORDS], 40)
    found = [labelled(rng, sprites, t.name, word) for t in chosen for word in ATTACK_WORDS]
    pictures, wanted = render(found), [s.thing for s in found]
    words = normalize(lab.encoder.encode_text([f"a {w}" for w in ATTACK_WORDS]))
    mine = torch.tensor([ATTACK_WORDS.index(s.facts["word"]) for s in found], device=lab.device)

    def lead(z_i: Tensor) -> Tensor:  # of the label's word over the thing's name; NaN is neither fooled nor right
        own = normalize(z_i) @ judge.classes.T
        own = own.gather(1, torch.tensor([[judge.names.index(w)] for w in wanted], device=lab.device))[:, 0]
        return (normalize(z_i) @ words.T).gather(1, mine[:, None])[:, 0] - own

    z_i = lab.encoder.encode_image(pictures)
    fooled = lead(z_i) > 0
    x_T = noise(lab.decoder, range(len(found)), device=lab.device)
    made = lab.decoder.to_pixels(decode(lab.decoder, Latent(z_i, x_T), steps=25, guidance=1.5))
    after = lead(lab.encoder.encode_image(made))
    rows = [proportion("typographic attack succeeds", fooled)]
    if fooled.any():
        rows.append(proportion("… of those right again in decoded variations", after[fooled] < 0))
    return rows


_COST = """
import json, resource, time, torch
torch.set_num_threads(2)
import latentlab
from latentlab import experiments
lab = latentlab.load("emoji", device="cpu")
times = []
for seed in range(6):
    start = time.perf_counter()
    experiments.generate(lab, "a red apple on a blue background", seeds=[seed])
    times.append(time.perf_counter() - start)
print(json.dumps({"seconds": times[1:], "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


def _cost_rows() -> list[dict]:
    done = subprocess.run([sys.executable, "-c", _COST], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    gigabytes = found["peak"] / (2**30 if sys.platform == "darwin" else 2**20)
    peak = {"n": 1, "interval": None, "least": 1.5, "goal": 0.8, "unit": "GB, at most"}
    return [
        mean("caption -> 128x128, 2 cores", torch.tensor(found["seconds"]), "s, at most", 1.5, 0.5),
        {"name": "peak memory of the same", "value": round(gigabytes, 3), **peak},
    ]


@torch.no_grad()
def measure(*, seed: int = 0, progress: Console | None = None) -> list[dict]:
    """Every row of the table, on the shipped weights; the classes, the held-out style and the seeds stay for ever."""
    say = progress.print if progress else lambda text: None
    say("the cost of one picture")
    rows = _cost_rows()
    lab, sprites = models.load("emoji"), load_sprites()
    render, judge = Renderer(sprites, lab.device), Judge(lab)
    say("CLIP")
    found = _clip_rows(judge, render, sprites, seed)
    say("decoder and prior")
    found += _decoder_rows(lab, judge, render, sprites, seed)
    say("round trip")
    found += _round_trip_rows(lab, render, sprites, seed)
    say("typographic attack")
    return found + _attack_rows(lab, judge, render, sprites, seed) + rows


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
