"""The table of the miniature's abilities, measured on held-out seeds, with n and a 95% interval for every number."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from .. import experiments, models
from ..decoding import decode
from ..diffusion import Conditioning, Decoder
from ..inversion import invert
from ..io.images import psnr
from ..latents import Latent
from ..models import precision
from ..models.emoji import load_folder
from ..models.emoji_files import weights_folder
from ..noise import draw_x_T
from ..prior import sample
from ..slerp import normalize
from .clip import class_embeddings, validation_scenes
from .cost import measure_cost
from .curriculum import REPORTED, batch_for_clip
from .drawings import Sprites, load_sprites
from .icon_sets import HELD_OUT_STYLES
from .judge import Judge
from .rendering import Renderer
from .report_table import Row, mean, proportion
from .scene_text import labelled
from .scenes import Scene, single
from .things import noun, things

CANDIDATES = 8  # of DALL·E 1's pictures, of which CLIP keeps the best
ATTACK_WORDS = ("pizza", "ipod", "cat", "robot", "stop")


class ZeroShot:
    """The miniature's own CLIP as a classifier of all things."""

    def __init__(self, lab: models.Lab) -> None:
        self.encoder = lab.encoder
        self.names = [t.name for t in things()]
        self.classes = class_embeddings(lab.encoder.model.encode_text, lab.encoder.tokens)

    def ranks(self, z_i: Tensor, wanted: Iterable[str]) -> Tensor:
        """The number of other things that do not score lower than the wanted one: (B,); 0 is right, NaN comes last."""
        target = torch.tensor([self.names.index(name) for name in wanted], device=z_i.device)
        scores = normalize(z_i) @ self.classes.T
        return (~(scores < scores.gather(1, target[:, None]))).sum(1) - 1

    def right(self, pictures: Tensor, wanted: Iterable[str]) -> Tensor:
        return self.ranks(self.encoder.encode_image(pictures), wanted) == 0


@dataclass(frozen=True)
class Setup:
    """Everything that measures the rows: a miniature, its two classifiers, the drawings and a seed.

    Without a judge the table lacks the judge's rows.
    """

    lab: models.Lab
    clip: ZeroShot
    judge: Judge | None
    sprites: Sprites
    render: Renderer
    seed: int

    @property
    def decoder(self) -> Decoder:
        return self.lab.require_decoder()

    def judged(self, name: str, pictures: Tensor, wanted: Iterable[str], *bounds: float) -> list[Row]:
        """One row with the share of pictures for which the judge's first choice is right; no row without a judge."""
        if self.judge is None:
            return []
        return [proportion(f"judge: top-1 of {name}", self.judge.ranks(pictures, list(wanted)) == 0, *bounds)]

    def decoded(self, pictures: Tensor, first_seed: int) -> Tensor:
        """Decode every picture's z_i with noise of a seed of its own: (B, 3, H, W)."""
        seeds = range(first_seed, first_seed + len(pictures))
        latent = Latent(self.lab.encoder.encode_image(pictures), draw_x_T(self.decoder, seeds, device=self.lab.device))
        return self.decoder.to_pixels(decode(self.decoder, latent, steps=25, guidance=1.5))


def _clip_rows(setup: Setup) -> list[Row]:
    rows: list[Row] = []
    first = setup.sprites.first_edition()
    for label, sprites, style, top1, top5 in (
        ("the first edition's artists", first, None, (0.94, 0.98), (0.995, 0.999)),
        ("all artists trained on", setup.sprites, None, (None, None), (None, None)),
        ("emojione, held out", first, "emojione", (0.72, 0.85), (0.92, 0.97)),
        ("icon-park, held out", setup.sprites, "icon-park", (0.50, 0.70), (0.78, 0.90)),
    ):
        scenes = validation_scenes(sprites, style=style, per_thing=2, seed=setup.seed)
        ranks = setup.clip.ranks(setup.lab.encoder.encode_image(setup.render(scenes)), [s.name for s in scenes])
        rows.append(proportion(f"zero-shot top-1, {label}", ranks == 0, *top1))
        rows.append(proportion(f"zero-shot top-5, {label}", ranks < 5, *top5))
    wide = (", all artists trained on", setup.sprites, (None, None))
    for label, sprites, bounds in (("", first, (0.92, 0.96)), wide):
        scenes = _distinct_captions(setup.seed, sprites, 256)
        z_i = normalize(setup.lab.encoder.encode_image(setup.render(scenes)))
        z_t = normalize(setup.lab.encoder.encode_text([s.caption for s in scenes]))
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
    """Every thing once, centred, on held-out seeds and in held-out combinations where the thing has any."""
    rng = random.Random(f"report {seed}")
    return [single(rng, sprites, t.name, split="held-out", centred=True, full=True) for t in things()]


def _by_unseen_artists(setup: Setup) -> list[Scene]:
    """Every thing that the held-out artists drew, once by every artist, centred as in `_things_on_colours`.

    So the two rows of decoded pictures differ by the artist alone.
    """
    rng, names = random.Random(f"unseen {setup.seed}"), [t.name for t in things()]
    drawn = [(style, n) for style in HELD_OUT_STYLES for n in names if setup.sprites.drawings_of(style, n)]
    options: dict[str, Any] = {"split": "held-out", "centred": True, "full": True}
    return [single(rng, setup.sprites, name, style=style, **options) for style, name in drawn]


def _judge_rows(setup: Setup) -> list[Row]:
    """The judge's own accuracy on real drawings, with which its other rows have to be compared."""
    rows: list[Row] = []
    for label, style in (("artists trained on", None), *((f"{style}, held out", style) for style in HELD_OUT_STYLES)):
        scenes = validation_scenes(setup.sprites, style=style, per_thing=2, seed=setup.seed)
        rows += setup.judged(f"real pictures, {label}", setup.render(scenes), [s.name for s in scenes])
    return rows


def _decoder_rows(setup: Setup) -> list[Row]:
    first_seed = 10**6 * (setup.seed + 1)
    scenes = _things_on_colours(setup.sprites.first_edition(), setup.seed)
    names = [s.name for s in scenes]
    pictures = setup.decoded(setup.render(scenes), first_seed)
    rows = [
        proportion("top-1 of encode(decode(z_i))", setup.clip.right(pictures, names)),
        *setup.judged("decode(z_i), held-out scenes", pictures, names, 0.75, 0.92),
    ]
    scenes = _by_unseen_artists(setup)
    pictures, wanted = setup.decoded(setup.render(scenes), first_seed), [s.name for s in scenes]
    rows += setup.judged("decode(z_i), unseen artists", pictures, wanted, 0.45, 0.70)
    pictures = _generated(setup, [t.phrases[0] for t in things()], first_seed)
    return [
        *rows,
        proportion("top-1 of encode(generate(“a thing”))", setup.clip.right(pictures, setup.clip.names), 0.92, 0.97),
        *setup.judged("generate(“a thing”)", pictures, setup.clip.names, 0.75, 0.92),
    ]


def _generated(setup: Setup, captions: list[str], first_seed: int) -> Tensor:
    """A picture of every caption by the defaults of `experiments.generate`, all in one batch: (B, 3, H, W)."""
    lab, decoder = setup.lab, setup.decoder
    params = experiments.generate.arguments(lab, "")
    seeds = range(first_seed, first_seed + len(captions))
    of_prior = {name: params[f"prior_{name}"] for name in ("steps", "guidance")}
    z_i = sample(lab.prior, captions, seeds=seeds, candidates=params["candidates"], **of_prior)
    latent = Latent(z_i, draw_x_T(decoder, seeds, device=lab.device))
    of_decoder = {name: params[name] for name in ("steps", "guidance", "solver", "guidance_interval")}
    return decoder.to_pixels(decode(decoder, latent, text=decoder.encode_prompt(captions), **of_decoder))


def _dalle_rows(setup: Setup) -> list[Row]:
    """One picture of every thing by DALL·E 1, and of several the one that CLIP ranks first; no row without DALL·E 1."""
    if setup.lab.load_dalle is None:
        return []
    captions, first_seed = [t.phrases[0] for t in things()], 10**6 * (setup.seed + 1)
    seeds = range(first_seed, first_seed + len(captions) * CANDIDATES)
    columns = [caption for caption in captions for _ in range(CANDIDATES)]
    pictures = setup.lab.require_dalle().generate(columns, seeds=seeds)
    z_t = setup.lab.encoder.encode_text(captions).repeat_interleave(CANDIDATES, 0)
    scores = (normalize(setup.lab.encoder.encode_image(pictures)) * normalize(z_t)).sum(1).view(-1, CANDIDATES)
    rows, first = [], torch.arange(0, len(columns), CANDIDATES, device=scores.device)
    for label, chosen in (("", first), (f", best of {CANDIDATES} by CLIP", first + scores.argmax(1))):
        name, shown = f"DALL·E 1, “a thing”{label}", pictures[chosen.to(pictures.device)]
        rows.append(proportion(f"top-1 of {name}", setup.clip.right(shown, setup.clip.names)))
        rows += setup.judged(name, shown, setup.clip.names)
    return rows


def _round_trip_rows(setup: Setup) -> list[Row]:
    decoder = setup.decoder
    rows: list[Row] = []
    unseen = _by_unseen_artists(setup)
    for label, scenes, bounds in (
        ("", _things_on_colours(setup.sprites.first_edition(), setup.seed)[:64], (32, 45)),
        (", unseen artists", unseen[:: len(unseen) // 64][:64], (27, 40)),
    ):
        pictures = setup.render(scenes)
        x_0 = decoder.to_x0(pictures)
        cond = Conditioning(setup.lab.encoder.encode_image(pictures))
        inversion = invert(decoder, x_0, cond, steps=20, iterations=4, tolerance=0)
        back = decoder.to_pixels(decode(decoder, inversion.latent, steps=20))
        floor = decoder.to_pixels(x_0)
        rows += [
            mean(f"round trip, {inversion.evaluations + 20} evaluations{label}", psnr(pictures, back), "dB", *bounds),
            mean(f"… of it the first stage alone (its floor){label}", psnr(pictures, floor), "dB"),
            mean(f"… against the first stage's picture{label}", psnr(floor, back), "dB"),
        ]
    return rows


def _attack_rows(setup: Setup) -> list[Row]:
    rng = random.Random(f"attack {setup.seed}")
    targets = rng.sample([t for t in things() if noun(t.phrases[0]) not in ATTACK_WORDS], 40)
    sprites = setup.sprites.first_edition()
    scenes = [labelled(rng, sprites, t.name, word) for t in targets for word in ATTACK_WORDS]
    pictures, wanted = setup.render(scenes), [s.name for s in scenes]
    words = normalize(setup.lab.encoder.encode_text([f"a {w}" for w in ATTACK_WORDS]))
    written = torch.tensor([[ATTACK_WORDS.index(s.facts["word"])] for s in scenes], device=setup.lab.device)
    named = torch.tensor([[setup.clip.names.index(w)] for w in wanted], device=setup.lab.device)

    def lead(z_i: Tensor) -> Tensor:
        """The score of the label's word minus that of the thing's name; with NaN it is neither fooled nor right."""
        z_i = normalize(z_i)
        return ((z_i @ words.T).gather(1, written) - (z_i @ setup.clip.classes.T).gather(1, named))[:, 0]

    fooled = lead(setup.lab.encoder.encode_image(pictures)) > 0
    after = lead(setup.lab.encoder.encode_image(setup.decoded(pictures, 0)))
    rows = [proportion("typographic attack succeeds", fooled, 0.30)]
    if fooled.any():
        rows.append(proportion("… of those right again in decoded variations", after[fooled] < 0))
    return rows


def _cost_rows(folder: Path) -> list[Row]:
    cost = measure_cost(folder)
    peak = {"n": 1, "interval": None, "least": 1.0, "goal": 0.7, "unit": "GB, at most"}
    name = f"caption -> {cost.side}x{cost.side}, 2 cores"
    return [
        mean(name, torch.tensor(cost.seconds), "s, at most", 1.0, 0.5),
        {"name": "peak memory of the same", "value": round(cost.gigabytes, 3), **peak},
    ]


@torch.no_grad()
def measure(*, folder: Path | None = None, seed: int = 0, progress: Console | None = None) -> list[Row]:
    """Measure every row of the table; its classes, held-out artists and seeds never change.

    Args:
        folder: a miniature's folder, the shipped one by default.  Its judge replaces the shipped one; without any
            judge the table lacks the judge's rows.
        seed: the seed of the held-out scenes.
        progress: prints the part that is being measured.
    """
    progress = progress or Console(quiet=True)
    folder = folder or weights_folder()
    judge_folder = folder / "judge" if (folder / "judge").is_dir() else weights_folder() / "judge"
    lab, sprites = load_folder(folder, device=precision.device(None)), load_sprites()
    judge = Judge.load(judge_folder, device=lab.device) if judge_folder.is_dir() else None
    progress.print("the cost of one picture")
    cost = _cost_rows(folder)
    setup = Setup(lab, ZeroShot(lab), judge, sprites, Renderer(sprites, lab.device), seed)
    rows: list[Row] = []
    for label, part in (
        ("CLIP", _clip_rows),
        ("the judge", _judge_rows),
        ("decoder and prior", _decoder_rows),
        ("DALL·E 1", _dalle_rows),
        ("round trip", _round_trip_rows),
        ("typographic attack", _attack_rows),
    ):
        progress.print(label)
        rows += part(setup)
    return rows + cost
