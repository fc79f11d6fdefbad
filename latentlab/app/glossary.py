"""What the app's terms mean: the one place for their definitions."""

from __future__ import annotations

import html
import re

TERMS = {
    "z_i": "CLIP's image embedding: some hundred numbers that say what a picture shows",
    "z_t": "CLIP's text embedding: some hundred numbers that say what a caption means",
    "x_T": "the noise that the decoder starts from; it fixes what z_i leaves open, like positions and outlines",
    "η": "how much new noise the decoder adds on its way: none at 0, and as much as possible at 1",
    "θ": "how far a picture has moved: 0 is the start, and 1 is the end",
    "σ": "one standard deviation: how much pictures usually differ in a component",
    "cosine": "how alike two embeddings are: 1 is the same direction, 0 is unrelated",
    "dB": "decibels, how close two pictures are pixel by pixel: 20 is similar, 30 is almost the same",
}
_PATTERN = re.compile(r"(?<![\w&;#])(z_i|z_t|x_T|η|θ|σ|cosine|dB)(s?)(?!\w)")


def marked(text: str) -> str:
    """Return escaped HTML in which the first occurrence of each term shows its definition on hover and focus."""
    seen: set[str] = set()

    def mark(match: re.Match[str]) -> str:
        term = match[1]
        if term in seen:
            return match[0]
        seen.add(term)
        return f'<span class="term" tabindex="0" data-means="{html.escape(TERMS[term], quote=True)}">{match[0]}</span>'

    return _PATTERN.sub(mark, text)


def legend(text: str) -> str:
    """Return a line with the definitions of the terms in a text; "" if there are none."""
    terms = [term for term in TERMS if any(match[1] == term for match in _PATTERN.finditer(text))]
    if not terms:
        return ""
    entries = "; ".join(f"<b>{term}</b>: {html.escape(TERMS[term])}" for term in terms)
    return f'<p class="note">{entries}.</p>'
