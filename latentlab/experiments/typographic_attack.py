"""Typographic attacks: a word on a paper label, and what the decoder draws from the attacked z_i."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..analysis.intervals import mean, share, side
from ..captions import caption_warnings
from ..clip import TEMPLATES, class_embeddings, probabilities
from ..errors import UserError
from ..grammar import article
from ..io import images
from ..latents import Latent
from ..noise import draw_x_T
from ..typography import Label, paste
from .base import Progress, Result, experiment, size
from .stages import checked_pixels, sample_images, upsample_images

if TYPE_CHECKING:
    from ..clip import Encoder
    from ..models import Lab
    from ..plotting import Figure


@dataclass(frozen=True, repr=False, kw_only=True)
class TypographicAttackResult(Result):
    """Pictures with words on them, before and after decoding.

    Args:
        original: (B, 3, H, W).
        pixels: (B, W, 3, H, W), each picture with each word.
        variations: (B, W, N, 3, H, W), decoded from the attacked z_i and fresh x_T, upsampled where the lab can.
        latent: B * W * N, what the variations are decoded from; None where there are none.
        before: (B, L), zero-shot probabilities of the clean pictures.
        attacked: (B, W, L), of those that wear a word. after: (B, W, N, L), of the variations.
        others: for each further encoder, (B, W, L) of the attacked pictures.
        labels: L. truth: B, each picture's own label. words: W. word_labels: W, the label that each word spells.
    """

    original: Tensor
    pixels: Tensor
    variations: Tensor
    latent: Latent | None
    before: Tensor
    attacked: Tensor
    after: Tensor
    others: Mapping[str, Tensor]
    labels: tuple[str, ...]
    truth: tuple[str, ...]
    words: tuple[str, ...]
    word_labels: tuple[str, ...]

    def figure(self, row: int = 0) -> Figure:
        """One picture: clean and with each word, with CLIP's probabilities, and the decoded variations."""
        from ..plotting import rows

        examples, titles = {}, []
        side = self.variations.shape[-1]
        own = self.labels.index(self.truth[row])
        for k, word in enumerate(self.words):
            spelled = self.labels.index(self.word_labels[k])
            p = self.attacked[row, k]
            label = f"“{word}”\n{self.truth[row]} {p[own]:.0%}\n{self.word_labels[k]} {p[spelled]:.0%}"
            examples[label] = torch.cat([images.resize(self.pixels[row, k : k + 1], side), self.variations[row, k]])
        titles = ["attacked", *["decoded from its z_i"] * self.variations.shape[2]]
        clean = f"without a word: {self.truth[row]} {self.before[row, own]:.0%}"
        return rows(examples, titles=titles, heading=clean)

    def strength(self) -> Tensor:
        """(B, W), how probable each written word's label is to CLIP."""
        spelled = torch.tensor([self.labels.index(w) for w in self.word_labels], device=self.attacked.device)
        return self.attacked.gather(2, spelled.expand(len(self.truth), -1)[..., None])[..., 0]

    def heat_map(self) -> Figure:
        """How probable the written word is to CLIP, for every picture and word."""
        from ..plotting import matrix

        heading = "probability of the word that the picture wears"
        return matrix(self.strength(), pixels=self.original, labels=self.words, low=0, high=1, heading=heading)

    def summary(self) -> str:
        success, cases = self.value("attack succeeds", encoder=self.settings["model"]), self.attacked[..., 0].numel()
        sentence = f"A written word wins over the picture in {success:.0%} of {cases} cases"
        if cases == 1:
            sentence = f"“{self.words[0]}” {'wins over' if success else 'does not win over'} {self.truth[0]}"
        recovered = [r for r in self.table if r["quantity"] == "right again in variations of those"]
        if not recovered:
            return f"{sentence}."
        right, count = recovered[0]["value"], recovered[0]["n"]
        still = round(right * count)
        again = f"; {still} of those {count} {'is' if still == 1 else 'are'} right again in"
        if cases == 1:
            again = f", and {'no longer' if right else 'still'} does in most"
        return f"{sentence}{again} variations decoded from the attacked z_i{_meaning(recovered[0])}."


def _meaning(recovered: dict) -> str:
    """What the share of cases that are right again says of the embeddings, where its 95% interval excludes a half."""
    return {
        1: ": most of the embeddings still hold what classification lost",
        0: "",
        -1: ": in most of the embeddings the word has displaced the thing",
    }[side(recovered, 0.5)]


def _label_of(word: str, labels: Sequence[str]) -> str:
    """The label that the word spells: itself, or the one that ends in it, like `a pizza` for `pizza`."""
    matches = [x for x in labels if x.lower() == word.lower()] or [
        x for x in labels if x.lower().split(" ", 1)[-1] == word.lower()
    ]
    if not matches:
        raise UserError(f"no label says “{word}”: add it to the labels, like “a {word}”")
    return matches[0]


def _checked_words(
    words: str | Sequence[str], truth: str | Sequence[str], count: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words, and what each of `count` pictures shows.

    Raises:
        UserError: no words, an empty one, or another number of truths than pictures.
    """
    words = (words,) if isinstance(words, str) else tuple(words)
    truth = (truth,) * count if isinstance(truth, str) else tuple(truth)
    if not words or not all(word.strip() for word in words):
        raise UserError(f"words are {list(words)}: give at least one to write, like pizza")
    if len(truth) != count:
        raise UserError(f"{len(truth)} truths for {count} pictures: give one for all, or one each")
    return words, truth


def _all_labels(
    words: Sequence[str], truth: Sequence[str], labels: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All labels, with those of the truth and of the words added, and the label that each word spells.

    Raises:
        UserError: a word is the name of what a picture shows.
    """
    candidates = list(dict.fromkeys([*labels, *truth]))
    for word in words:
        try:
            _label_of(word, candidates)
        except UserError:
            candidates.append(article(word))
    word_labels = tuple(_label_of(word, candidates) for word in words)
    own_name = next((word for word, spelled in zip(words, word_labels) if spelled in truth), None)
    if own_name is not None:
        raise UserError(f"“{own_name}” is what a picture shows, so it can't mislead: write another word")
    return tuple(candidates), word_labels


@experiment(
    TypographicAttackResult,
    page="attack",
    command="attack",
    figures=("6",),
    stages=("CLIP", "decoder", "upsampler"),
    images=lambda a: len(a["pixels"]) * size(a["words"]) * a["variations"],
)
def attack(
    lab: Lab,
    pixels: Tensor,
    words: Sequence[str],
    truth: str | Sequence[str],
    *,
    labels: Sequence[str] = (),
    label: Label | None = None,
    variations: int = 3,
    seed: int = 0,
    steps: int = 25,
    guidance: float = 1.5,
    templates: Sequence[str] = TEMPLATES,
    encoders: Mapping[str, Encoder] | None = None,
    preview_every: int = 5,
) -> Iterator[Progress | TypographicAttackResult]:
    """Put words on pictures, ask CLIP what they show, and decode variations of them.  Ramesh et al. 2022, figure 6.

    Args:
        pixels: (B, 3, H, W) in [-1, 1].
        words: what to write; every word is put on every picture.
        truth: the label of every picture, or one each.
        labels: the classes as captions; truth and words (as “a word”) are added where they are missing.
        label: the paper label: its place, size and colours; its word is replaced.
        variations: decoded pictures for each attacked one, from as many x_T; 0, or a lab without a decoder, asks CLIP
            only.
        encoders: further CLIPs by name, to see side by side.

    The rows' intervals go by picture, since the words of one picture are not independent cases.

    An attack succeeds when the written word's label is more probable than the thing's own, where it was not before;
    it is right again when the thing's own label is the more probable of the two in more than half of the variations.

    Raises:
        UserError: no words, a word that does not fit its label, or one that is the thing's own name.
    """
    checked_pixels(pixels, lab.image_size)
    words, truth = _checked_words(words, truth, len(pixels))
    labels, word_labels = _all_labels(words, truth, labels)
    original = images.resize(pixels.to(lab.device, torch.float32), lab.image_size)
    style = label or Label("word")
    worn = torch.stack([paste(original, replace(style, word=word)) for word in words], 1)  # (B, W, 3, H, W)
    yield Progress("CLIP", 0, 1 + len(encoders or {}))
    z_i, z_t = lab.encoder.encode_image(worn.flatten(0, 1)), class_embeddings(lab.encoder, labels, templates)
    before = probabilities(lab.encoder, lab.encoder.encode_image(original), z_t)
    attacked = probabilities(lab.encoder, z_i, z_t).unflatten(0, worn.shape[:2])
    others = yield from _others(encoders or {}, original, worn, labels, templates)
    seeds = range(seed, seed + variations) if lab.has_decoder else range(0)
    params: dict[str, Any] = {"steps": steps, "guidance": guidance, "preview_every": preview_every}
    latent, decoded, after = (
        (yield from _decode(lab, z_i, z_t, seeds, **params)) if seeds else (None, worn[:0, 0], z_i[:0])
    )
    after = after.view(*worn.shape[:2], len(seeds), len(labels))
    own, spelled = (torch.tensor([labels.index(x) for x in xs], device=z_i.device) for xs in (truth, word_labels))
    yield TypographicAttackResult(
        original=original,
        pixels=worn,
        variations=decoded.view(*after.shape[:3], *decoded.shape[1:]),
        latent=latent,
        before=before,
        attacked=attacked,
        after=after,
        others={name: probable for name, (_, probable) in others.items()},
        labels=labels,
        truth=truth,
        words=words,
        word_labels=word_labels,
        table=_table({lab.name: (before, attacked), **others}, lab.name, after, own, spelled),
        notes=_notes(lab, labels),
    )


def _notes(lab: Lab, labels: Sequence[str]) -> tuple[str, ...]:
    """What CLIP does not know of the labels, and whether anything was decoded."""
    missing = () if lab.has_decoder else (f"{lab.name} has no decoder: nothing is decoded from the attacked z_i",)
    return (*caption_warnings(lab.encoder.check_caption(label) for label in labels), *missing)


def _others(
    encoders: Mapping[str, Encoder], original: Tensor, worn: Tensor, labels: Sequence[str], templates: Sequence[str]
) -> Generator[Progress, None, dict[str, tuple[Tensor, Tensor]]]:
    """`yield from` this: for each further encoder (B, L) of the clean pictures and (B, W, L) of those with words."""
    both, seen = torch.cat([original, worn.flatten(0, 1)]), {}
    for number, (name, encoder) in enumerate(encoders.items(), 1):
        clean, attacked = encoder.zero_shot(both, labels, templates).to(worn.device).tensor_split([len(original)])
        seen[name] = clean, attacked.unflatten(0, worn.shape[:2])
        yield Progress("CLIP", number, 1 + len(encoders))
    return seen


def _decode(
    lab: Lab, z_i: Tensor, z_t: Tensor, seeds: Sequence[int], **params: Any
) -> Generator[Progress, None, tuple[Latent, Tensor, Tensor]]:
    """`yield from` this: latents, pictures and probabilities of every z_i with every seed; parameters as in
    `sample_images`."""
    x_T = draw_x_T(lab.require_decoder(), seeds, device=lab.device)
    latent = Latent(z_i.repeat_interleave(len(seeds), 0), x_T.repeat(len(z_i), 1, 1, 1))
    decoded = yield from sample_images(lab, latent, **params)
    after = probabilities(lab.encoder, lab.encoder.encode_image(decoded), z_t)
    decoded = yield from upsample_images(lab, decoded, [*seeds] * len(z_i))
    return latent, decoded, after


def _table(
    seen: Mapping[str, tuple[Tensor, Tensor]], name: str, after: Tensor, own: Tensor, spelled: Tensor
) -> tuple[dict, ...]:
    """Rows for what each encoder saw, (B, L) before and (B, W, L) attacked, and for the named one's variations."""

    def wins(p: Tensor) -> Tensor:
        """Whether the word's label beats the thing's own: (..., L) with leading (B, W)."""
        mine = p.gather(-1, own.view(-1, *[1] * (p.ndim - 1)).expand(*p.shape[:-1], 1))
        word = p.gather(-1, spelled.view(1, -1, *[1] * (p.ndim - 2)).expand(*p.shape[:-1], 1))
        return (word > mine)[..., 0]

    fooled = {key: wins(p) & ~wins(clean[:, None].expand_as(p)) for key, (clean, p) in seen.items()}
    picture = torch.arange(len(own))[:, None].expand(fooled[name].shape)  # whose cases are not independent
    table = [
        share(f.flatten(), groups=picture.flatten(), quantity="attack succeeds", encoder=key)
        for key, f in fooled.items()
    ]
    if after.numel() and fooled[name].any():
        # Of each case the majority of its variations, which are no further cases.
        right = (~wins(after)[fooled[name]]).float().mean(1) > 0.5
        of = picture[fooled[name].cpu()]
        table.append(share(right, groups=of, quantity="right again in variations of those", encoder=name))
    before, attacked = seen[name]
    mine = attacked.gather(2, own[:, None, None].expand(*attacked.shape[:2], 1))
    return (
        *table,
        mean(before.gather(1, own[:, None])[:, 0], quantity="probability of the thing, clean"),
        mean(mine.flatten(), quantity="probability of the thing, attacked"),
    )
