"""The bar under all pages: the selected picture, where to use it, what to download, and settings out of a PNG."""

from __future__ import annotations

import html
from collections.abc import Sequence

import gradio as gr

from ..errors import UserError
from . import links, markup, model_cache, outputs
from .buttons import QUIET
from .layout import BuiltPage
from .outputs import InputImage, RunOutput
from .page import picture_names
from .picker import Picker, thumbnail

LATENTS, NO_LATENTS = "Its latents (safetensors)", "Its latents are unknown"
# Adds the row of the gallery's opened picture to an event's inputs.
OPENED_ROW_JS = """(...inputs) => [...inputs.slice(0, -1),
    Math.max(0, [...document.querySelectorAll('#%s .thumbnails button')].findIndex(b => b.matches('.selected')))]"""
MAX_OWN_IMAGES = 12  # how many of a visitor's own pictures the map shows


def input_slots(built: Sequence[BuiltPage]) -> list[tuple[Picker, str]]:
    """Every picker, with its name."""
    return [
        (p, b.page.title + (f": {p.label.lower()}" if len(b.pickers) > 1 else "")) for b in built for p in b.pickers
    ]


class OutputBar:
    """The components of the bar. `selected` holds (RunOutput, row); `own_images` the visitor's own pictures."""

    def __init__(self, built: Sequence[BuiltPage], tabs: gr.Tabs, model, news: gr.HTML, examples: Sequence[InputImage]):
        self.built, self.tabs, self.model, self.news = list(built), tabs, model, news
        self.examples = {c.example: c for c in examples}
        self.slots = input_slots(built)
        self.other_tabs: list[str] = []  # keys of tabs that have no settings
        self.selected, self.own_images, self.offered = gr.State(), gr.State([]), gr.State()
        self.row = gr.Number(0, precision=0, visible=False)
        with gr.Column(elem_classes="output-bar"):
            gr.HTML("<h2>Selected picture</h2>", padding=False)
            with gr.Row(equal_height=False):
                with gr.Column(scale=2, min_width=280):
                    self._build_selected()
                with gr.Column(scale=2, min_width=280):
                    self._build_downloads()
                with gr.Column(scale=2, min_width=280):
                    self._build_settings()
        self._connect()

    def _build_selected(self) -> None:
        with gr.Row(equal_height=True):
            self.picture = gr.Image(
                label="Selected picture",
                show_label=False,
                height=150,
                interactive=False,
                buttons=[],
                format="png",
                elem_classes="frame",
                min_width=120,
                scale=1,
                alt_text="The selected picture",
            )
            with gr.Column(scale=2, min_width=150):
                self.description = gr.HTML(
                    '<p class="note">Run a page: its first picture is selected here. Click another to select it.</p>',
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

    def _build_downloads(self) -> None:
        self.png = gr.DownloadButton("This picture (PNG, settings inside)", interactive=False, size="md")
        self.latents = gr.DownloadButton(LATENTS, interactive=False, size="md")
        self.zip = gr.DownloadButton("All pictures of the run (zip)", interactive=False, size="md")
        self.link = gr.HTML(padding=False)

    def _build_settings(self) -> None:
        self.dropped = gr.File(label="Settings from a PNG made here", type="filepath", height=150, elem_classes="drop")
        self.offer = gr.HTML(padding=False)
        self.apply = gr.Button("Use these settings", visible=False, size="md")

    @property
    def selected_outputs(self) -> list:
        return [
            self.selected,
            self.picture,
            self.description,
            self.use,
            self.png,
            self.latents,
            self.zip,
            self.link,
            self.own_images,
        ]

    def _connect(self) -> None:
        for b in self.built:
            for event in b.events:
                event.success(None, None, self.news, js="() => ''", **QUIET)  # it was about the next run
                inputs, js = (
                    [b.run_output, self.selected, self.model, self.own_images, self.row],
                    OPENED_ROW_JS % b.gallery.elem_id,
                )
                event.success(self._select_first, inputs, self.selected_outputs, js=js, **QUIET)
            b.gallery.select(
                self._select_clicked,
                [b.run_output, self.selected, self.model, self.own_images],
                self.selected_outputs,
                **QUIET,
            )
        self.use.click(self._use, [self.target, self.selected], [self.tabs, *self.all_pickers()], **QUIET)
        self.dropped.change(self._offer, self.dropped, [self.offer, self.apply, self.offered], **QUIET)
        inputs = [self.tabs, self.news, self.offer, self.apply, *self.fields(), *self.all_pickers()]
        self.apply.click(self._apply, self.offered, inputs, **QUIET)

    def _select_first(self, run_output: RunOutput, selected, model, own_images, opened: int):
        """Select the picture of a new run that the visitor has opened, or its first."""
        if not run_output.page or (selected and selected[0] is run_output):
            return [gr.skip()] * len(self.selected_outputs)
        if run_output.images:
            row = opened if isinstance(opened, int) and 0 <= opened < len(run_output.images) else 0
            return self._select(run_output, row, model, own_images)
        return [self._link(run_output, model) if c is self.link else gr.skip() for c in self.selected_outputs]

    def _select_clicked(self, run_output: RunOutput, selected, model, own_images, event: gr.SelectData):
        if 0 <= event.index < len(run_output.images):
            return self._select(run_output, event.index, model, own_images)
        text = '<p class="note">What you clicked is unfinished and can\'t be selected.</p>'
        text += f'<p class="note">Still selected:</p>{self._description(*selected)}' if selected else ""
        return [text if c is self.description else gr.skip() for c in self.selected_outputs]

    def _description(self, run_output: RunOutput, row: int) -> str:
        image = run_output.images[row]
        known = "z_i and x_T go with it" if image.known_latents else "it will be inverted where it is used"
        if image.latent and not image.known_latents:
            known = f"its latents can be taken, but {known}"
        page = self.page(run_output.page).page.title
        return f'<p><b>{html.escape(image.title)}</b></p><p class="note">From {html.escape(page)}; {known}.</p>'

    def _link(self, run_output: RunOutput, model: str) -> str:
        """A link that repeats the run."""
        page = self.page(run_output.page)
        address = html.escape(links.page_link(run_output.page, model, run_output.fields), quote=True)
        again = (
            f'<p class="note"><a href="{address}">Link to {html.escape(page.page.title)} with these settings</a></p>'
        )
        if set(picture_names(page.pickers)) - set(run_output.fields):
            again += '<p class="note">Your own picture is not in the link.</p>'
        return again

    def _select(self, run_output: RunOutput, row: int, model: str, own_images: list) -> list:
        image = run_output.images[row]
        latents = outputs.save_latents(run_output, row)
        again = self._link(run_output, image.settings.get("model", model))  # another one may have been chosen since
        own = [*(c for c in own_images if c.name != image.title), image.as_input()][-MAX_OWN_IMAGES:]
        ready = {"interactive": True}
        return [
            (run_output, row),
            outputs.file(thumbnail(image.as_input())),
            self._description(run_output, row),
            gr.update(**ready),
            gr.update(value=outputs.save_picture(run_output, row), **ready),
            gr.update(value=latents, label=LATENTS if latents else NO_LATENTS, interactive=latents is not None),
            gr.update(value=outputs.save_all(run_output), **ready),
            again,
            own,
        ]

    def all_pickers(self) -> list:
        return [out for picker, _ in self.slots for out in picker.outputs]

    def into(self, placed: dict[int, InputImage]) -> list:
        """The tab and all pickers' outputs, with pictures put into some of them: slot -> picture."""
        return [gr.Tabs(selected=self.slots[min(placed)][0].page), *self._placed(placed)]

    def _placed(self, placed: dict[int, InputImage], kept: Sequence = ()) -> list:
        """All pickers' outputs, with pictures put into some of them; the kept components stay as they are."""
        updates: list = []
        for k, (picker, _) in enumerate(self.slots):
            shown = picker.show(placed[k]) if k in placed else [gr.skip()] * len(picker.outputs)
            updates += [gr.skip() if any(c is o for o in kept) else v for c, v in zip(picker.outputs, shown)]
        return updates

    def filled(self, built: BuiltPage | None, values: dict) -> list:
        """All controls of all pages and all pickers' outputs, where those of one page get values."""
        controls = [values.get(name, gr.skip()) if b is built else gr.skip() for b in self.built for name in b.controls]
        if built is None:
            return controls + self._placed({})
        own = {id(picker): name for picker, name in zip(built.pickers, picture_names(built.pickers))}
        pictures = {k: values.get(own.get(id(picker))) for k, (picker, _) in enumerate(self.slots)}
        placed = {k: self.examples[name] for k, name in pictures.items() if name}
        return controls + self._placed(placed, [built.controls[name] for name in values if name in built.controls])

    def _use(self, target: int, selected):
        if selected is None or not isinstance(target, int) or not 0 <= target < len(self.slots):
            return [gr.skip()] * (1 + len(self.all_pickers()))
        run_output, row = selected
        return self.into({target: run_output.images[row].as_input()})

    def page(self, key: str | None) -> BuiltPage | None:
        return next((b for b in self.built if b.page.key == key), None)

    def fields(self) -> list:
        return [c for b in self.built for c in b.controls.values()]

    def _offer(self, path: str | None):
        if not path:
            return "", gr.update(visible=False), None
        metadata = outputs.settings_in(path)
        page, fields = links.page_settings(metadata) if metadata else (None, {})
        built = self.page(page)
        good = links.validated_settings(built, fields, self.examples)[0] if built else {}
        if not good:
            text = "This file has no settings of latentlab: give a PNG that this app or the command `latentlab` made."
            return markup.message(text, "wrong"), gr.update(visible=False), None
        words = ", ".join(f"{k} {v}" for k, v in good.items())
        text = f"Made on the page {built.page.title} with {words}. Nothing changes until you press the button."
        return markup.message(text), gr.update(visible=True), (page, good)

    def _apply(self, offered):
        built = self.page(offered[0]) if offered else None
        if built is None:
            return [gr.skip(), gr.skip(), gr.skip(), gr.skip(), *self.filled(None, {})]
        text = f'<p class="note" role="status">The settings are on the page {built.page.title}: press Run there.</p>'
        return [gr.Tabs(selected=built.page.key), text, "", gr.update(visible=False), *self.filled(built, offered[1])]

    def open_link(self, request: gr.Request):
        """A visitor's `?page=…&prompt=…`: valid settings are applied, the others are named."""
        query = dict(request.query_params) if request else {}
        if not query:
            return [gr.skip(), gr.skip(), gr.skip(), *self.filled(None, {})]
        key = query.get("page", "generate")
        built = self.page(key)
        known = built is not None or key in self.other_tabs
        wrong = [] if known else ["page"]
        good, bad = links.validated_settings(built, query, self.examples) if built else ({}, [])
        model, tab = gr.skip(), gr.Tabs(selected=key) if known else gr.skip()
        if "model" in query:
            try:
                model = model_cache.validated_name(query["model"])
            except UserError:
                wrong.append("model")
        text = ""
        if wrong + bad:
            names = " and ".join(wrong + bad)
            text = markup.message(f"The link's {names} can't be used here, so the page keeps its own.", "wrong")
        return [tab, model, text, *self.filled(built, good)]
