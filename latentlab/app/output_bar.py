"""The bar under all pages: the picture in hand, where to use it, what to take away, and settings brought back."""

from __future__ import annotations

import html
from collections.abc import Sequence

import gradio as gr

from ..errors import UserError
from . import labs, links, markup, outputs
from .buttons import QUIET
from .layout import Built
from .outputs import Chosen, Made
from .page import names
from .picker import Picker, framed

LATENTS, NO_LATENTS = "Its latents (safetensors)", "No latents are known of it"
# Adds to an event's inputs which picture of a gallery is opened.
OPENED = """(...told) => [...told.slice(0, -1),
    Math.max(0, [...document.querySelectorAll('#%s .thumbnails button')].findIndex(b => b.matches('.selected')))]"""
SHELF = 12  # how many of a visitor's own pictures the map shows


def slots(built: Sequence[Built]) -> list[tuple[Picker, str]]:
    """Every place for a picture, with its name."""
    return [
        (p, b.page.title + (f": {p.label.lower()}" if len(b.pickers) > 1 else "")) for b in built for p in b.pickers
    ]


class Bench:
    """The components of the bar. `hand` holds (Made, row); `shelf` the visitor's own pictures."""

    def __init__(self, built: Sequence[Built], tabs: gr.Tabs, model, news: gr.HTML, examples: Sequence[Chosen]):
        self.built, self.tabs, self.model, self.news = list(built), tabs, model, news
        self.examples = {c.example: c for c in examples}
        self.slots = slots(built)
        self.others: list[str] = []  # keys of tabs that have no settings
        self.hand, self.shelf, self.offered = gr.State(), gr.State([]), gr.State()
        self.row = gr.Number(0, precision=0, visible=False)
        with gr.Column(elem_classes="bench"):
            gr.HTML("<h2>Workbench</h2>", padding=False)
            with gr.Row(equal_height=False):
                with gr.Column(scale=2, min_width=280):
                    self._taken()
                with gr.Column(scale=2, min_width=280):
                    self._away()
                with gr.Column(scale=2, min_width=280):
                    self._back()
        self._wire()

    def _taken(self) -> None:
        with gr.Row(equal_height=True):
            self.picture = gr.Image(
                label="In hand", show_label=False, height=150, interactive=False, buttons=[], format="png",
                elem_classes="frame", min_width=120, scale=1, alt_text="The picture in hand",
            )  # fmt: skip
            with gr.Column(scale=2, min_width=150):
                self.says = gr.HTML(
                    '<p class="note">Run a page: its first picture comes here. Click another one to take that.</p>',
                    padding=False,
                )
        with gr.Row(elem_classes="send"):
            self.target = gr.Dropdown(
                [(title, k) for k, (_, title) in enumerate(self.slots)],
                value=0,
                label="Use it on",
                scale=2,
                min_width=140,
            )
            self.use = gr.Button("Use as input", interactive=False, scale=1, min_width=110, size="md")

    def _away(self) -> None:
        self.png = gr.DownloadButton("This picture (PNG, settings inside)", interactive=False, size="md")
        self.latents = gr.DownloadButton(LATENTS, interactive=False, size="md")
        self.zip = gr.DownloadButton("All pictures of the run (zip)", interactive=False, size="md")
        self.link = gr.HTML(padding=False)

    def _back(self) -> None:
        self.dropped = gr.File(label="Settings from a PNG made here", type="filepath", height=150, elem_classes="drop")
        self.offer = gr.HTML(padding=False)
        self.apply = gr.Button("Take these settings", visible=False, size="md")

    @property
    def hand_outputs(self) -> list:
        return [self.hand, self.picture, self.says, self.use, self.png, self.latents, self.zip, self.link, self.shelf]

    def _wire(self) -> None:
        for b in self.built:
            for event in b.events:
                event.success(None, None, self.news, js="() => ''", **QUIET)  # what it says of the next run is past
                told, js = [b.made, self.hand, self.model, self.shelf, self.row], OPENED % b.gallery.elem_id
                event.success(self._first, told, self.hand_outputs, js=js, **QUIET)
            b.gallery.select(self._pick, [b.made, self.hand, self.model, self.shelf], self.hand_outputs, **QUIET)
        self.use.click(self._use, [self.target, self.hand], [self.tabs, *self.all_pickers()], **QUIET)
        self.dropped.change(self._offer, self.dropped, [self.offer, self.apply, self.offered], **QUIET)
        told = [self.tabs, self.news, self.offer, self.apply, *self.fields(), *self.all_pickers()]
        self.apply.click(self._apply, self.offered, told, **QUIET)

    def _first(self, made: Made, hand, model, shelf, opened: int):
        """A new run's picture that the visitor looks at, or its first."""
        if not made.page or (hand and hand[0] is made):
            return [gr.skip()] * len(self.hand_outputs)
        if made.shots:
            row = opened if isinstance(opened, int) and 0 <= opened < len(made.shots) else 0
            return self._take(made, row, model, shelf)
        return [self._again(made, model) if c is self.link else gr.skip() for c in self.hand_outputs]

    def _pick(self, made: Made, hand, model, shelf, chosen: gr.SelectData):
        if 0 <= chosen.index < len(made.shots):
            return self._take(made, chosen.index, model, shelf)
        said = '<p class="note">What you clicked is unfinished and can\'t be taken.</p>'
        said += f'<p class="note">In hand is still:</p>{self._says(*hand)}' if hand else ""
        return [said if c is self.says else gr.skip() for c in self.hand_outputs]

    def _says(self, made: Made, row: int) -> str:
        shot = made.shots[row]
        known = "z_i and x_T go with it" if shot.known else "it will be inverted where it is used"
        if shot.latent and not shot.known:
            known = f"its latents can be taken, but {known}"
        page = self.page(made.page).page.title
        return f'<p><b>{html.escape(shot.title)}</b></p><p class="note">From {html.escape(page)}; {known}.</p>'

    def _again(self, made: Made, model: str) -> str:
        """The link to what was run."""
        page = self.page(made.page)
        address = html.escape(links.link(made.page, model, made.fields), quote=True)
        again = (
            f'<p class="note"><a href="{address}">Link to {html.escape(page.page.title)} with these settings</a></p>'
        )
        if set(names(page.pickers)) - set(made.fields):
            again += '<p class="note">Your own picture is not in the link.</p>'
        return again

    def _take(self, made: Made, row: int, model: str, shelf: list) -> list:
        shot = made.shots[row]
        latents = outputs.save_latents(made, row)
        again = self._again(made, shot.settings.get("model", model))  # another one may have been chosen since
        own = [*(c for c in shelf if c.name != shot.title), shot.chosen()][-SHELF:]
        ready = {"interactive": True}
        return [
            (made, row), outputs.file(framed(shot.chosen())), self._says(made, row), gr.update(**ready),
            gr.update(value=outputs.save_picture(made, row), **ready),
            gr.update(value=latents, label=LATENTS if latents else NO_LATENTS, interactive=latents is not None),
            gr.update(value=outputs.save_all(made), **ready), again, own,
        ]  # fmt: skip

    def all_pickers(self) -> list:
        return [out for picker, _ in self.slots for out in picker.outputs]

    def into(self, placed: dict[int, Chosen]) -> list:
        """The tab and all pickers' outputs, with pictures put into some of them: slot -> picture."""
        return [gr.Tabs(selected=self.slots[min(placed)][0].page), *self._placed(placed)]

    def _placed(self, placed: dict[int, Chosen], kept: Sequence = ()) -> list:
        """All pickers' outputs, with pictures put into some of them; the kept components stay as they are."""
        found: list = []
        for k, (picker, _) in enumerate(self.slots):
            shown = picker.show(placed[k]) if k in placed else [gr.skip()] * len(picker.outputs)
            found += [gr.skip() if any(c is o for o in kept) else v for c, v in zip(picker.outputs, shown)]
        return found

    def filled(self, built: Built | None, values: dict) -> list:
        """All knobs of all pages and all pickers' outputs, where those of one page get values."""
        knobs = [values.get(name, gr.skip()) if b is built else gr.skip() for b in self.built for name in b.knobs]
        if built is None:
            return knobs + self._placed({})
        own = {id(picker): name for picker, name in zip(built.pickers, names(built.pickers))}
        given = {k: values.get(own.get(id(picker))) for k, (picker, _) in enumerate(self.slots)}
        placed = {k: self.examples[name] for k, name in given.items() if name}
        return knobs + self._placed(placed, [built.knobs[name] for name in values if name in built.knobs])

    def _use(self, target: int, hand):
        if hand is None or not isinstance(target, int) or not 0 <= target < len(self.slots):
            return [gr.skip()] * (1 + len(self.all_pickers()))
        made, row = hand
        return self.into({target: made.shots[row].chosen()})

    def page(self, key: str | None) -> Built | None:
        return next((b for b in self.built if b.page.key == key), None)

    def fields(self) -> list:
        return [c for b in self.built for c in b.knobs.values()]

    def _offer(self, path: str | None):
        if not path:
            return "", gr.update(visible=False), None
        found = outputs.settings_in(path)
        page, fields = links.settings(found) if found else (None, {})
        built = self.page(page)
        good = links.checked(built, fields, self.examples)[0] if built else {}
        if not good:
            said = "There are no settings of ours in this file: give a PNG that was made here or by `latentlab`."
            return markup.sentence(said, "wrong"), gr.update(visible=False), None
        words = ", ".join(f"{k} {v}" for k, v in good.items())
        said = f"Made on the page {built.page.title} with {words}. What is set now stays until you take them."
        return markup.sentence(said), gr.update(visible=True), (page, good)

    def _apply(self, offered):
        built = self.page(offered[0]) if offered else None
        if built is None:
            return [gr.skip(), gr.skip(), gr.skip(), gr.skip(), *self.filled(None, {})]
        said = f'<p class="note" role="status">The settings are on the page {built.page.title}: press Run there.</p>'
        return [gr.Tabs(selected=built.page.key), said, "", gr.update(visible=False), *self.filled(built, offered[1])]

    def open_link(self, request: gr.Request):
        """A visitor's `?page=…&prompt=…`: what is good is set, the rest is named."""
        query = dict(request.query_params) if request else {}
        if not query:
            return [gr.skip(), gr.skip(), gr.skip(), *self.filled(None, {})]
        key = query.get("page", "generate")
        built = self.page(key)
        known = built is not None or key in self.others
        wrong = [] if known else ["page"]
        good, bad = links.checked(built, query, self.examples) if built else ({}, [])
        model, tab = gr.skip(), gr.Tabs(selected=key) if known else gr.skip()
        if "model" in query:
            try:
                model = labs.checked(query["model"])
            except UserError:
                wrong.append("model")
        said = ""
        if wrong + bad:
            names = " and ".join(wrong + bad)
            said = markup.sentence(f"The link's {names} can't be used here, so the page keeps its own.", "wrong")
        return [tab, model, said, *self.filled(built, good)]
