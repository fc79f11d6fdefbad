"""A registry of labs: one row binds CLIP, prior, decoder and upsampler, so that by name they always fit."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    import torch

    from ..diffusion import Decoder
    from ..directions import Directions
    from ..encoding import Encoder
    from ..prior import Prior
    from ..upsampling import Upsampler


@dataclass(frozen=True)
class Source:
    """A repository on the hub that a model takes parts from.

    Args:
        role: what the parts are for: "decoder", "prior" or "clip".
        layout: the family whose layout the repository has.
        repo: OWNER/NAME.
        revision: a commit, or "main" where the repository's commits could not be looked up when this was written.
        parts: the subfolders that are taken, the telling one first.
        gigabytes: what of them is downloaded.
        flat: the repository is one network, without subfolders.
    """

    role: str
    layout: str
    repo: str
    revision: str
    parts: tuple[str, ...]
    gigabytes: float
    flat: bool = False

    @property
    def name(self) -> str:
        return self.repo.rpartition("/")[2]


@dataclass(frozen=True)
class Row:
    """What can be known of a model without loading it."""

    name: str
    family: str  # the module in this package that loads it
    about: str
    clip: str
    licence: str
    sources: tuple[Source, ...] = ()  # none: it comes with the library
    parameters: float = 0.0  # billions, of every network together
    open_clip: tuple[str, str] | None = None  # the same CLIP, whole, by open_clip's name and tag

    @property
    def folder(self) -> Path:
        """Where an embedded model's weights and gallery lie."""
        return Path(__file__).parent.parent / "weights" / self.name

    @property
    def megabytes(self) -> float:
        """What the weights take on disk; 0 where nothing is loaded."""
        if self.sources:
            return round(1000 * sum(source.gigabytes for source in self.sources), 1)
        return round(sum(p.stat().st_size for p in self.folder.rglob("*") if p.is_file()) / 2**20, 1)


PRECISIONS = {"float16": 2, "float32": 4}  # bytes a number
KARLO, LARGE = "5ee45298e0956749e621bcb30c799a0b599afa83", "32bd64288804d66eefd0ccbe215aa642df71cc41"
STABLE = ("unet", "vae", "image_encoder", "feature_extractor", "image_normalizer", "image_noising_scheduler",
          "scheduler", "text_encoder", "tokenizer")  # fmt: skip
KARLO_PRIOR = Source(
    "prior", "karlo", "kakaobrain/karlo-v1-alpha", KARLO, ("prior", "prior_scheduler", "text_encoder", "tokenizer"), 4.6
)
OPENAI, RAIL = ("ViT-L-14-quickgelu", "openai"), "CreativeML OpenRAIL++-M"

ROWS = {
    row.name: row
    for row in (
        Row("emoji", "emoji", "the embedded miniature, trained on emoji", "own (64 px, 256-d)", "Apache-2.0"),
        Row("toy", "toy", "a Gaussian decoder whose exact x_T is known", "own (closed form)", "Apache-2.0"),
        Row(
            "karlo", "karlo", "unCLIP in pixels, as in the paper: 64 px, then 256 px", "OpenAI ViT-L/14 (768-d)",
            "CreativeML OpenRAIL-M",
            (
                Source(
                    "decoder", "karlo", "kakaobrain/karlo-v1-alpha", KARLO,
                    ("decoder", "decoder_scheduler", "text_proj", "text_encoder", "tokenizer", "super_res_first",
                     "super_res_last", "super_res_scheduler"), 9.6,
                ),
                Source("prior", "karlo", "kakaobrain/karlo-v1-alpha", KARLO, ("prior", "prior_scheduler"), 4.1),
                # Its own image tower is in karlo-v1-alpha-image-variations as a pickle; this is where that came from.
                Source("clip", "karlo", "openai/clip-vit-large-patch14", LARGE, ("image_encoder",), 1.7, flat=True),
            ),
            3.73, OPENAI,
        ),
        Row(
            "kandinsky22", "kandinsky", "latent unCLIP whose decoder takes no text, 512 px",
            "LAION ViT-bigG/14 (1280-d)", "Apache-2.0",
            (
                Source(
                    "decoder", "kandinsky", "kandinsky-community/kandinsky-2-2-decoder",
                    "d44c9d68c2f00918a802d8ccefc6d252a51b6b91", ("unet", "scheduler", "movq"), 5.3,
                ),
                Source(
                    "prior", "kandinsky", "kandinsky-community/kandinsky-2-2-prior",
                    "40cd65123bb828e5641b118b77b38be1aee69891",
                    ("prior", "scheduler", "image_encoder", "image_processor", "text_encoder", "tokenizer"), 14.3,
                ),
            ),
            4.89, ("ViT-bigG-14", "laion2b_s39b_b160k"),
        ),
        # Stability removed its own repositories in November 2025; of the mirrors no commit is known to us.
        Row(
            "stable-unclip-h", "stable_unclip", "Stable Diffusion 2.1 told z_i, 768 px; no prior",
            "LAION ViT-H/14 (1024-d)", RAIL,
            (Source("decoder", "stable_unclip", "sd2-community/stable-diffusion-2-1-unclip", "main", STABLE, 7.7),),
            1.93, ("ViT-H-14", "laion2b_s32b_b79k"),
        ),
        Row(
            "stable-unclip-l", "stable_unclip", "the same on ViT-L/14, with Karlo's prior",
            "OpenAI ViT-L/14 (768-d)", RAIL,
            (
                Source(
                    "decoder", "stable_unclip", "sd2-community/stable-diffusion-2-1-unclip-small", "main", STABLE, 6.4
                ),
                KARLO_PRIOR,
            ),
            2.74, OPENAI,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Lab:
    """A whole unCLIP stack; functions take the part that they use."""

    name: str
    encoder: Encoder
    prior: Prior | None  # None: z_i comes from pictures alone
    decoder: Decoder
    upsampler: Upsampler | None = None
    weights: str = ""  # what tells these weights from others of the same name
    things: tuple[str, ...] = ()  # what the model was made to draw, as captions; empty: anything
    words: tuple[str, ...] = ()  # what it was shown written; empty: anything

    @property
    def device(self) -> torch.device:
        return self.encoder.device


def row(name: str) -> Row:
    """The registry's row.

    Raises:
        UserError: no model has that name.
    """
    if name not in ROWS:
        near = difflib.get_close_matches(name, ROWS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"there is no model {name!r}: give one of {', '.join(ROWS)}{hint}")
    return ROWS[name]


def load(
    name: str | Path = "emoji",
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    offload: bool | None = None,
    family: str | None = None,
) -> Lab:
    """A lab by name, or from a user's own checkpoint, on the device asked for, or on a GPU if there is one.

    Args:
        name: of a row; or a folder, or OWNER/NAME or OWNER/NAME@REVISION on the hub, that holds any parts of a
            family: the parts that it lacks are taken from where the family's row has them.
        dtype: float16, bfloat16 or float32; by default float16 on a GPU and float32 elsewhere.
        offload: keep in the GPU's memory only the network that is running; by default where they don't all fit.
        family: the row that a user's own checkpoint is of; a folder with model_index.json says it itself.

    Raises:
        UserError: unknown name or device, weights that are missing or damaged, or too little memory.
    """
    import torch

    found, given = _which(str(name), family)
    module = import_module(f".{found.family}", __package__)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.empty(0, device=device).device
        torch.ones(1, device=device).sum().item()  # some backends can be named, but not computed on
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        usable = "'cpu' or 'cuda'" if torch.cuda.is_available() else "'cpu'"
        raise UserError(f"device {str(device)!r} can't be used here: give {usable}") from error
    dtype = dtype if dtype is None or isinstance(dtype, torch.dtype) else getattr(torch, dtype, dtype)
    if dtype not in (None, torch.float16, torch.bfloat16, torch.float32):
        raise UserError(f"dtype is {dtype!r}: give float16, bfloat16 or float32")
    if found.sources:
        return module.load(found.name, device=device, dtype=dtype, offload=offload, given=given)
    if dtype not in (None, torch.float32) or offload:
        raise UserError(
            f"{found.name} is small and computes in float32, all of it on one device: leave dtype and offload"
        )
    return module.load(found.name, device=device)


def check(name: str) -> None:
    """Refuse a name that is neither a row's nor a checkpoint's, before anything slow is imported.

    Raises:
        UserError: there is no such model.
    """
    if name not in ROWS and name.count("/") == 0 and not Path(name).expanduser().is_dir():
        row(name)


def _which(name: str, family: str | None) -> tuple[Row, Path | None]:
    """The row, and the folder of a user's own parts."""
    from . import hub

    if name in ROWS and family is None:
        return ROWS[name], None
    folder = Path(name).expanduser()
    if family is None:
        check(name)
        family = hub.recognise(folder)
    found = row(family) if family else None
    if found is None or not found.sources:
        names = ", ".join(row.name for row in ROWS.values() if row.sources)
        raise UserError(
            f"{name} is a checkpoint of {family or 'a family that it does not say'}: give family=, one of {names}"
        )
    if folder.is_dir():
        return found, folder
    repo, _, revision = name.partition("@")
    if repo.count("/") != 1 or name.startswith(("/", ".", "~")):
        raise UserError(f"{name} is no folder, and no OWNER/NAME on the hub: give one of the two")
    parts = tuple(part for source in found.sources for part in source.parts)
    return found, hub.fetch(Source("given", found.family, repo, revision or "main", parts, 0))


def standing(row: Row) -> dict:
    """Whether a model is here and can be loaded, without a look at the network.

    Returns:
        cached: True, False, or None for one that comes with the library; memory: gigabytes by precision; why_not: a
        sentence, empty where it can be loaded.
    """
    from . import hub, memory

    if not row.sources:
        return {"cached": None, "memory": {}, "why_not": ""}
    here = all(hub.cached(source) for source in row.sources)
    needs = {name: round(row.parameters * size + memory.HEADROOM, 1) for name, size in PRECISIONS.items()}
    wanted, free = memory.room(needs)
    why_not = f"wants {wanted:.1f} GB of memory, {free:.1f} GB are free" if wanted > free else ""
    return {"cached": here, "memory": needs, "why_not": why_not}


def listing() -> list[dict]:
    """Every row as plain values, with its `standing`."""
    facts = ("name", "family", "about", "clip", "licence", "megabytes", "parameters", "open_clip")
    return [
        {
            **{fact: getattr(row, fact) for fact in facts},
            "repositories": list(dict.fromkeys(f"{s.repo}@{s.revision}" for s in row.sources)),
            **standing(row),
        }
        for row in ROWS.values()
    ]


def gallery(name: str) -> list[tuple[Path, str]]:
    """Sample pictures that come with a model, each with its caption; none for a model that ships none."""
    folder = row(name).folder / "gallery"
    listing = folder / "gallery.json"
    if not listing.is_file():
        return []
    return [(folder / file, caption) for file, caption in json.loads(listing.read_text("utf-8")).items()]


def directions(name: str) -> Directions | None:
    """The principal directions of z_i that come with a model, or None for a model that ships none."""
    from ..directions import Directions

    path = row(name).folder / "directions" / "directions.safetensors"
    return Directions.load(path) if path.is_file() else None
