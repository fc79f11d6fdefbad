"""What can be known of each model without loading it: where its parts are published, their sizes and licences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HubSource:
    """A repository on the hub that a model takes parts from.

    Args:
        role: what the parts are for: "decoder", "prior" or "clip"; of a user's repository, the row that it is of.
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
class ModelSpec:
    """What can be known of a model without loading it."""

    name: str
    family: str  # the module in this package that loads it
    about: str
    clip: str
    licence: str
    sources: tuple[HubSource, ...] = ()  # none: it comes with the library
    parameters: float = 0.0  # billions, of every network together
    largest: float = 0.0  # billions, of the largest one
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
# Commits as the hub's own pages list them, and the newest of each that has safetensors.
KARLO, LARGE = "5ee45298e0956749e621bcb30c799a0b599afa83", "32bd64288804d66eefd0ccbe215aa642df71cc41"
STABLE = ("unet", "vae", "image_encoder", "feature_extractor", "image_normalizer", "image_noising_scheduler",
          "scheduler", "text_encoder", "tokenizer")  # fmt: skip
KARLO_PRIOR = HubSource(
    "prior", "karlo", "kakaobrain/karlo-v1-alpha", KARLO, ("prior", "prior_scheduler", "text_encoder", "tokenizer"), 4.6
)
OPENAI, RAIL = ("ViT-L-14-quickgelu", "openai"), "CreativeML OpenRAIL++-M"

REGISTRY = {
    row.name: row
    for row in (
        ModelSpec("emoji", "emoji", "the embedded miniature, trained on emoji", "own (64 px, 256-d)", "Apache-2.0"),
        ModelSpec("toy", "toy", "a Gaussian decoder whose exact x_T is known", "own (closed form)", "Apache-2.0"),
        ModelSpec(
            "karlo", "karlo", "unCLIP in pixels, as in the paper: 64 px, then 256 px", "OpenAI ViT-L/14 (768-d)",
            "CreativeML OpenRAIL-M",
            (
                HubSource(
                    "decoder", "karlo", "kakaobrain/karlo-v1-alpha", KARLO,
                    ("decoder", "decoder_scheduler", "text_proj", "text_encoder", "tokenizer", "super_res_first",
                     "super_res_last", "super_res_scheduler"), 9.6,
                ),
                HubSource("prior", "karlo", "kakaobrain/karlo-v1-alpha", KARLO, ("prior", "prior_scheduler"), 4.1),
                # Its own image tower is in karlo-v1-alpha-image-variations as a pickle; this is where that came from.
                HubSource("clip", "karlo", "openai/clip-vit-large-patch14", LARGE, ("image_encoder",), 1.7, flat=True),
            ),
            3.73, 1.02, OPENAI,
        ),
        ModelSpec(
            "kandinsky22", "kandinsky", "latent unCLIP whose decoder takes no text, 512 px",
            "LAION ViT-bigG/14 (1280-d)", "Apache-2.0",
            (
                HubSource(
                    "decoder", "kandinsky", "kandinsky-community/kandinsky-2-2-decoder",
                    "d44c9d68c2f00918a802d8ccefc6d252a51b6b91", ("unet", "scheduler", "movq"), 5.3,
                ),
                HubSource(
                    "prior", "kandinsky", "kandinsky-community/kandinsky-2-2-prior",
                    "40cd65123bb828e5641b118b77b38be1aee69891",
                    ("prior", "scheduler", "image_encoder", "image_processor", "text_encoder", "tokenizer"), 14.3,
                ),
            ),
            4.89, 1.84, ("ViT-bigG-14", "laion2b_s39b_b160k"),
        ),
        # Stability removed its own repositories in November 2025; of the mirrors no commit is known to us.
        ModelSpec(
            "stable-unclip-h", "stable_unclip", "Stable Diffusion 2.1 told z_i, 768 px; no prior",
            "LAION ViT-H/14 (1024-d)", RAIL,
            (HubSource("decoder", "stable_unclip", "sd2-community/stable-diffusion-2-1-unclip", "main", STABLE, 7.7),),
            1.93, 0.87, ("ViT-H-14", "laion2b_s32b_b79k"),
        ),
        ModelSpec(
            "stable-unclip-l", "stable_unclip", "the same on ViT-L/14, with Karlo's prior",
            "OpenAI ViT-L/14 (768-d)", RAIL,
            (
                HubSource(
                    "decoder", "stable_unclip", "sd2-community/stable-diffusion-2-1-unclip-small", "main", STABLE, 6.4
                ),
                KARLO_PRIOR,
            ),
            2.74, 1.02, OPENAI,
        ),
    )
}  # fmt: skip
