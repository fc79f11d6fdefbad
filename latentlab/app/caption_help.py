"""Help beside a caption: how it is read, which words continue it, what the model fails at, and all that it can draw."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from ..emoji_names import name_emoji
from ..grammar import COLOURS, SOLIDS
from ..models import Lab
from . import markup, model_cache
from .events import QUIET

MAX_OFFERS = 6
COUNTS = re.compile(
    r"\b(two|three|four|five|six|seven|eight|nine|ten|\d+) (?!leaf\b|balls?\b)(\w+s|mice|wolves|dice)\b"
)
COLOURED = re.compile(rf"\b({'|'.join(COLOURS)}|grey) (\w+)")
# A button's caption replaces the text of the box, as if it had been typed.
CHOOSE_JS = """
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-caption]'), box = document.querySelector('#%s textarea, #%s input');
  if (!button || !box) return;
  const own = box.tagName === 'TEXTAREA' ? HTMLTextAreaElement : HTMLInputElement;
  Object.getOwnPropertyDescriptor(own.prototype, 'value').set.call(box, button.dataset.caption);
  box.dispatchEvent(new Event('input', {bubbles: true}));
  box.focus();
});
"""
# A layer over the box repeats its text without colour and underlines the unknown words.
UNDERLINE_JS = r"""
const underline = () => {
  const box = document.querySelector('#%s textarea, #%s input'), list = element.querySelector('[data-unknown]');
  if (!box) return;
  let layer = box.parentElement.querySelector('.unknown-words');
  if (!layer) {
    layer = Object.assign(document.createElement('div'), {className: 'unknown-words', ariaHidden: 'true'});
    box.parentElement.style.position = 'relative';
    box.parentElement.append(layer);
    box.addEventListener('input', underline);
    box.addEventListener('scroll', () => layer.scrollTo(box.scrollLeft, box.scrollTop));
  }
  const own = getComputedStyle(box);
  for (const name of ['font', 'letterSpacing', 'padding', 'borderWidth', 'borderStyle']) layer.style[name] = own[name];
  const place = {left: box.offsetLeft, top: box.offsetTop, width: box.offsetWidth, height: box.offsetHeight};
  for (const [name, pixels] of Object.entries(place)) layer.style[name] = `${pixels}px`;
  layer.style.whiteSpace = box.tagName === 'TEXTAREA' ? 'pre-wrap' : 'pre';
  const words = list ? JSON.parse(list.dataset.unknown).map(word => word.replace(/[^\p{L}\d]/gu, '\\$&')) : [];
  const unknown = new RegExp(`(?<![\\p{L}\\d])(${words.join('|')})(?![\\p{L}\\d])`, 'giu');
  const marked = word => Object.assign(document.createElement('u'), {textContent: word});
  const parts = words.length ? box.value.split(unknown) : [];
  layer.replaceChildren(...parts.map((part, k) => k % 2 ? marked(part) : part));
  layer.scrollTo(box.scrollLeft, box.scrollTop);
};
watch('value', underline);
"""


@dataclass(frozen=True)
class Advice:
    """Sentences about a caption, its unknown words, and captions to replace it, by the word that each offers."""

    sentences: tuple[str, ...] = ()
    offers: tuple[tuple[str, str], ...] = ()
    unknown: tuple[str, ...] = ()


def advice(lab: Lab, caption: str) -> Advice:
    """Return how a model with a limited vocabulary reads a caption; for other models there is nothing to say."""
    vocabulary = lab.encoder.vocabulary
    if not vocabulary or not caption.strip():
        return Advice()
    known = set(vocabulary)
    named = name_emoji(caption, known.__contains__)
    sentences, unknown = [f"This is read as “{named}”."] if named != caption else [], []
    offers = completions(named, vocabulary, lab.things)
    typing = offers[0][1] if offers else None
    check = lab.encoder.check_caption(named)
    for word, near in zip(check.unknown, check.suggestions):
        if not (typing and named.lower().endswith(word)):  # a word that is being typed is not a mistake yet
            unknown.append(word)
            sentences.append(f"The model does not know the word “{word}”.")
            offers += [(other, re.sub(rf"\b{re.escape(word)}\b", other, named, flags=re.I)) for other in near]
    return Advice((*sentences, *known_failures(named, lab.things)), tuple(offers[:MAX_OFFERS]), tuple(unknown))


def completions(caption: str, vocabulary: Sequence[str], things: Sequence[str]) -> list[tuple[str, str]]:
    """Return the words that the last word may become, things first: (word, the caption that ends with it)."""
    start = re.search(r"[a-z]{2,}$", caption.lower())
    if not start or start[0] in vocabulary:
        return []
    words = [word for word in dict.fromkeys([*map(noun, things), *COLOURS, *vocabulary]) if word.startswith(start[0])]
    return [(word, caption[: start.start()] + word) for word in words[:MAX_OFFERS]]


def noun(thing: str) -> str:
    """A thing without its article: `a dog` -> `dog`."""
    return re.sub(r"^(an?|some) ", "", thing)


def known_failures(caption: str, things: Sequence[str]) -> list[str]:
    """Return what the model is known to fail at, as `benchmarks/limits.py` measures it."""
    text, sentences = caption.lower(), []
    count = COUNTS.search(text)
    if count:
        sentences.append(f"The model can't count well: it often draws another number than {count[1]} {count[2]}.")
    nouns = {thing.split(" ")[-1] for thing in things}
    for colour, word in COLOURED.findall(text):
        if word in nouns - set(SOLIDS) and not any(thing.endswith(f"{colour} {word}") for thing in things):
            sentences.append(
                f"Things keep their own colours here, so the {word} may not become {colour}. Colours work for "
                "backgrounds and for cubes, balls, cones and stars."
            )
    return sentences


def advice_html(caption: str) -> str:
    lab = model_cache.current()
    if lab is None:
        return ""
    result = advice(lab, caption)
    lines = "".join(markup.note(sentence) for sentence in result.sentences)
    marked = f'<span hidden data-unknown="{html.escape(json.dumps(result.unknown), quote=True)}"></span>'
    return marked * bool(result.unknown) + lines + (_buttons(result.offers) if result.offers else "")


def _buttons(offers: Sequence[tuple[str, str]]) -> str:
    """Draw a button for each (label, caption)."""
    buttons = "".join(
        f'<button type="button" data-caption="{html.escape(caption, quote=True)}">{html.escape(label)}</button>'
        for label, caption in offers
    )
    return f'<div class="offers">{buttons}</div>'


def build(prompt: gr.Textbox) -> None:
    """Build the lines under a caption's box, which needs an `elem_id`, and the list of all that the model can draw."""
    choose = CHOOSE_JS.replace("%s", str(prompt.elem_id))
    underline = UNDERLINE_JS.replace("%s", str(prompt.elem_id))
    lines = gr.HTML(padding=False, js_on_load=choose + underline, elem_classes="caption-help")
    prompt.change(advice_html, prompt, lines, **(QUIET | {"trigger_mode": "always_last"}))
    lab = model_cache.current()
    if lab is not None and lab.things:
        with gr.Accordion("What can it draw?", open=False):
            text = "Click a thing to use it as the prompt. Add a background, like “on blue”."
            things = _buttons([(noun(thing), thing) for thing in lab.things])
            gr.HTML(f'<p class="note">{text}</p>{things}', padding=False, js_on_load=choose, elem_classes="things")
