"""Write docs/recipe.md: how each part was trained in its paper, and how the miniature's is.

python docs/recipe.py      after a training, a new part, or a change of a training's settings

The papers' figures stand below; the miniature's come from the manifest, the configs, the weights' headers and the
trainings' own classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

from safetensors import safe_open

from latentlab.analysis.intervals import markdown
from latentlab.models.emoji_files import weights_folder

PAGE = Path(__file__).resolve().parent / "recipe.md"
HEAD = """\
# The training recipe

*`python docs/recipe.py` writes this page from the manifest of the weights, their configs and the trainings' classes.*

Each table compares a part of the miniature with the part of the paper that it follows. A dash means that the paper does
not say, or that the part has no such setting. The papers' figures are quoted from these places: unCLIP is Ramesh et
al. 2022 (table 3 in appendix C, and section 2), GLIDE is Nichol et al. 2021 (section 4; its noised CLIP by the configs
of `openai/glide-text2im`), DALL·E 1 is Ramesh et al. 2021 (appendices A and B), CLIP is Radford et al. 2021 (section
2.5, appendix F and the released ViT-L/14). Two figures are uncertain: CLIP's learning rates are in a table that was not
at hand, so none is given here, and copies of DALL·E 1's appendix differ in the transformer's EMA (0.999 or 0.99).
"""
ROWS = ("parameters", "steps", "hours", "batch", "learning rate", "width", "depth", "schedule", "dropped", "EMA")


@dataclass(frozen=True)
class Part:
    """One part of the pipeline.

    Args:
        heading: of its section. folder: of its weights. training: module and class.
        source: the paper's part. paper: its figures, by row.
        ours: figures that no file holds. effects: what the choices did here.
    """

    heading: str
    folder: str
    training: tuple[str, str]
    source: str
    paper: dict[str, str]
    ours: dict[str, str] = field(default_factory=dict)
    effects: tuple[str, ...] = ()


PARTS = (
    Part(
        "CLIP",
        "clip",
        ("clip", "Clip"),
        "CLIP ViT-L/14; unCLIP uses a ViT-H/16",
        {
            "parameters": "428 M",
            "batch": "32,768",
            "learning rate": "not given here",
            "steps": "32 epochs of 400 M pairs",
            "width": "1,024 and 768 (text)",
            "depth": "24 and 12 (text)",
        },
        effects=(
            "A small ResNet sees more than a ViT after equal minutes: top-1 of 24% against 10% after 2.5 minutes.",
            "Drawings that are turned, stretched and recoloured help with unseen artists: 55% against 46% at first.",
        ),
    ),
    Part(
        "First stage of the decoder",
        "autoencoder",
        ("autoencoder", "Autoencoder"),
        "none: unCLIP's decoder diffuses pixels",
        {},
        effects=("Latents in place of pixels doubled the accuracy after six minutes: 17.7% against 8.3%.",),
    ),
    Part(
        "Diffusion prior",
        "prior",
        ("prior", "Prior"),
        "unCLIP, diffusion prior",
        {
            "parameters": "1 B",
            "steps": "600,000",
            "batch": "4,096",
            "learning rate": "1.1e-4",
            "width": "2,048 (text)",
            "depth": "24 (text)",
            "schedule": "cosine, 1,000 steps; 64 to sample",
            "dropped": "caption 10%",
            "EMA": "0.9999",
        },
        {"schedule": "cosine, 1,000 steps; 16 to sample"},
        (
            "On 320 held-out captions its pictures lie nearer to real ones than those of the caption's z_t as CLIP "
            "embedding: a Fréchet distance of 0.033 against 0.052, and 0.075 without a CLIP embedding.",
            "Of two samples the one nearer to the caption is kept, as in the paper.",
        ),
    ),
    Part(
        "Autoregressive prior",
        "autoregressive-prior",
        ("autoregressive_prior", "AutoregressivePriorTraining"),
        "unCLIP, AR prior",
        {
            "parameters": "1 B",
            "steps": "1,000,000",
            "batch": "4,096",
            "learning rate": "1.6e-4",
            "width": "1,664",
            "depth": "24",
            "schedule": "319 components in 1,024 buckets",
            "dropped": "caption 10%",
            "EMA": "0.999",
        },
        effects=(
            "Buckets are quantiles and not equal intervals, so that each has examples.",
            "`python benchmarks/priors.py` measures both priors on the same captions.",
        ),
    ),
    Part(
        "Decoder",
        "decoder",
        ("decoder", "Decoder"),
        "unCLIP, 64; GLIDE's base model in brackets",
        {
            "parameters": "3.5 B (2.3 B and 1.2 B of text)",
            "steps": "800,000 (2,500,000)",
            "batch": "2,048 (2,048)",
            "learning rate": "1.2e-4",
            "width": "512 channels (512)",
            "depth": "3 blocks a level (3)",
            "schedule": "cosine, 1,000 steps; 250 to sample",
            "dropped": "z_i 10%, caption 50% (caption 20%, when fine-tuned)",
            "EMA": "0.9999",
        },
        {"schedule": "cosine, 1,000 steps; 25 to sample"},
        (
            "Muon on the hidden matrices lowers the loss: 0.532 against AdamW's 0.558 after 3.5 minutes.",
            "Five of nine z_i are turned towards captions or noise, without which text diffs break the picture.",
        ),
    ),
    Part(
        "Upsampler",
        "upsampler",
        ("upsampler", "Upsampler"),
        "unCLIP, 64 to 256",
        {
            "parameters": "700 M",
            "steps": "1,000,000",
            "batch": "1,024",
            "learning rate": "1.2e-4",
            "width": "320 channels",
            "depth": "3 blocks a level",
            "schedule": "cosine, 1,000 steps; 27 to sample; crops of a quarter",
            "EMA": "0.9999",
        },
        {"schedule": "cosine, 1,000 steps; 2 to sample; crops of a quarter"},
        ("Small pictures with noise of unknown strength teach it to add noise, so it is trained without.",),
    ),
    Part(
        "Noised CLIP",
        "noised-clip",
        ("noised_clip", "NoisedClipTraining"),
        "GLIDE, noised CLIP at 64 pixels; width and depth of the one that was released",
        {"schedule": "noised pictures, told the time", "width": "768 and 512 (text)", "depth": "12 and 12 (text)"},
        {"schedule": "noised pictures, told the time"},
    ),
    Part(
        "Decoder fine-tuned to inpaint",
        "inpainting",
        ("inpainting", "InpaintingTraining"),
        "GLIDE, fine-tuned for inpainting",
        {"schedule": "four further input channels, zero at first: the masked picture and the mask"},
        {"schedule": "17 further input channels, zero at first: the known latents and the mask; rank 16 elsewhere"},
    ),
    Part(
        "Discrete first stage of DALL·E 1",
        "dvae",
        ("dvae", "DvaeTraining"),
        "DALL·E 1, discrete VAE",
        {
            "steps": "3,000,000",
            "batch": "512",
            "learning rate": "1e-4 to 1.25e-6",
            "schedule": "1,024 tokens of 8,192 values; temperature 1 to 1/16; KL weight 6.6",
            "EMA": "0.999",
        },
        effects=(
            "A finite scalar quantiser takes the place of the Gumbel codebook and needs neither a temperature nor a "
            "weight of the KL divergence: 98.5% of its values are in use.",
            "After 14 minutes 256 tokens of 1,000 values kept more of a picture than 64 of 4,375 (24.8 against 22.4 "
            "dB), but the transformer's step costs more than three times as much on them, so that 64 ship.",
        ),
    ),
    Part(
        "Transformer of DALL·E 1",
        "dalle",
        ("dalle", "DalleTraining"),
        "DALL·E 1, transformer",
        {
            "parameters": "12 B",
            "steps": "430,000",
            "batch": "1,024",
            "learning rate": "4.5e-4",
            "width": "3,968",
            "depth": "64",
            "schedule": "256 caption tokens and 1,024 picture tokens",
            "EMA": "0.999",
        },
        effects=(
            "Training on from 704 to 2,269 steps lowered the held-out loss from 3.97 to 3.38 nats a "
            "token; CLIP then named 37% of single samples and 14% before.",
            "Captions are dropped, which the paper does not do, so that guidance works.",
        ),
    ),
)
WIDTHS = ("width", "n_embd", "caption_projection_dim", "block_out_channels", "encoder_block_out_channels")
DEPTHS = ("layers", "n_layer", "num_layers", "layers_per_block", "encoder_layers_per_block")


def parameters(folder: Path) -> int:
    """The number of values in the weights of a folder, from the headers of its files."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            total += sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return total


def training_class(part: Part) -> Any:
    """The class that trains a part; None where there is none yet."""
    module, name = part.training
    try:
        return getattr(import_module(f"latentlab.training.{module}"), name, None)
    except ModuleNotFoundError:
        return None


def ours(part: Part, trained: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The miniature's figures of a part, by row."""
    folder, training, figures = weights_folder() / part.folder, training_class(part), {}
    if count := parameters(folder):
        figures["parameters"] = f"{count / 1e6:.2f} M"
    log = trained.get(part.folder, {})
    if "step" in log:
        figures |= {"steps": f"{log['step']:,}", "hours": f"{log['hours']:.2f} on one or two cores"}
    if training is not None:
        figures |= {"batch": str(training.batch), "learning rate": f"{training.lr:g}", "EMA": f"{training.ema_decay:g}"}
        dropped = {name: getattr(training, f"{name}_dropped", None) for name in ("z_i", "caption")}
        dropped["caption"] = dropped["caption"] or getattr(training, "dropped", None)
        figures["dropped"] = ", ".join(f"{name} {share:.0%}" for name, share in dropped.items() if share is not None)
    return {**figures, **_shape(folder), **part.ours}


def _shape(folder: Path) -> dict[str, str]:
    """Width and depth by a network's config."""
    path = next((p for p in (folder / "config.json", folder / "open_clip_config.json") if p.is_file()), None)
    if path is None:
        return {}
    config = json.loads(path.read_text("utf-8"))
    if "model_cfg" in config:
        towers = (config["model_cfg"]["vision_cfg"], config["model_cfg"]["text_cfg"])
        return {name: " and ".join(_text(tower[key]) for tower in towers) + " (text)" for name, key in SHAPES}
    if "attention_head_dim" in config and "num_attention_heads" in config:
        config["width"] = config["attention_head_dim"] * config["num_attention_heads"]
    shape = {"width": WIDTHS, "depth": DEPTHS}
    named = {name: next((config[key] for key in keys if key in config), None) for name, keys in shape.items()}
    if "levels" in config:
        named["schedule"] = f"{TOKENS} tokens of {prod(config['levels']):,} values"
    if "words" in config:
        named["schedule"] = f"{config['n_positions'] - TOKENS} caption tokens and {TOKENS} picture tokens"
    if "length" in config and "bins" in config:
        named["schedule"] = f"{config['length'] - 1} components in {config['bins']} quantiles"
    return {name: _text(value) for name, value in named.items() if value is not None}


TOKENS = 64  # of a picture of the discrete first stage
SHAPES = (("width", "width"), ("depth", "layers"))


def _text(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


def section(part: Part, trained: dict[str, dict[str, Any]]) -> Iterator[str]:
    """One part as Markdown."""
    figures = ours(part, trained)
    yield f"## {part.heading}\n"
    present = (weights_folder() / part.folder).is_dir()
    if not present:
        yield f"`{part.folder}` does not ship yet; its training's settings are these.\n"
    rows = [row for row in ROWS if row in part.paper or figures.get(row)]
    lines = [[row, part.paper.get(row, "-"), figures.get(row) or "-"] for row in rows]
    yield markdown(["", part.source, "the miniature"], lines) + "\n"
    if part.effects:
        yield "Measured effects of the choices: " + " ".join(part.effects) + "\n"


def page() -> str:
    """The whole page."""
    trained = json.loads((weights_folder() / "MANIFEST.json").read_text("utf-8"))["trained"]
    sections = (text for part in PARTS for text in section(part, trained))
    return "\n".join([HEAD, *sections])


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
