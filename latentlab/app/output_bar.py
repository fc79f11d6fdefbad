"""The bar under all pages: the selected picture, where to use it, its downloads, and a link that repeats its run."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from ..errors import UserError
from . import links, markup, model_cache, outputs
from .events import QUIET
from .layout import BuiltPage
from .outputs import InputImage, RunOutput
from .page import picture_names
from .picker import Picker, framed_image, thumbnail

Selected = tuple[RunOutput, int] | None  # a run and the row of its selected picture
TOGGLE = '<button type="button" aria-expanded="false">Selected picture</button>'
TOGGLE_JS = """
element.querySelector('button').addEventListener('click', event => {
  const open = event.currentTarget.getAttribute('aria-expanded') === 'true';
  event.currentTarget.setAttribute('aria-expanded', String(!open));
});
"""
LINK_JS = """
const ran = () => {
  const link = element.querySelector('a');
  if (link) window.latentlab.ran(link.getAttribute('href'));
};
watch('value', ran); ran();
"""
# A browser's function that replaces an event's last input by the row of the gallery's opened picture.
OPENED_ROW_JS = """(...inputs) => [...inputs.slice(0, -1),
    Math.max(0, [...document.querySelectorAll('#%s .thumbnails button')].findIndex(b => b.matches('.selected')))]"""
USUAL = "Variations"  # the page that a picture goes to, if the visitor chooses no other
MAX_OWN_IMAGES = 12  # of a visitor's own pictures, the map shows the last ones


def input_slots(built_pages: Sequence[BuiltPage]) -> list[tuple[Picker, str]]:
    """Return every picker with its name."""
    return [
        (picker, built.page.title + (f": {picker.label.lower()}" if len(built.pickers) > 1 else ""))
        for built in built_pages
        for picker in built.pickers
    ]


class OutputBar:
    """The bar's components. The state `selected` holds Selected; `own_images` holds the visitor's own pictures.

    The bar appears with the first result. On a phone a button opens and closes it.
    """

    def __init__(
        self,
        built_pages: Sequence[BuiltPage],
        tabs: gr.Tabs,
        model: gr.Dropdown,
        notice: gr.HTML,
        examples: Sequence[InputImage],
    ):
        self.built_pages, self.tabs, self.model, self.notice = list(built_pages), tabs, model, notice
        own = (image for built in built_pages for image in built.examples)
        self.examples = {image.example: image for image in (*examples, *own)}
        self.slots = input_slots(built_pages)
        self.selected, self.own_images = gr.State(), gr.State([])
        self.row = gr.Number(0, precision=0, visible=False)
        with gr.Row(elem_classes="output-bar", equal_height=True, visible=False) as self.bar:
            gr.HTML(TOGGLE, js_on_load=TOGGLE_JS, padding=False, min_width=0, scale=0, elem_classes="bar-toggle")
            self._build_selected()
            self._build_downloads()
        self._connect()

    def _build_selected(self) -> None:
        self.picture = framed_image("Selected picture", "The selected picture", min_width=64, scale=0, height=64)
        self.description = gr.HTML(padding=False, min_width=180, scale=1, elem_classes="described")
        self.target = self.target_dropdown("Use it on", scale=0, min_width=220, elem_classes="send")
        self.use = gr.Button("Use as input", interactive=False, scale=0, min_width=120, size="sm", elem_classes="use")

    def target_dropdown(self, label: str, **options: Any) -> gr.Dropdown:
        """Choose the picker, by its number in `slots`, that a picture goes to."""
        titles = [title for _, title in self.slots]
        return gr.Dropdown(
            [(f"Use it on {title}", k) for k, title in enumerate(titles)],
            value=titles.index(USUAL) if USUAL in titles else 0,
            label=label,
            show_label=False,
            container=False,
            **options,
        )

    def _build_downloads(self) -> None:
        options: dict[str, Any] = {"interactive": False, "size": "sm", "scale": 0}
        self.png = gr.DownloadButton("↓ PNG", min_width=70, **options)
        self.latents = gr.DownloadButton("↓ Latents", min_width=90, **options)
        self.zip = gr.DownloadButton("↓ All", min_width=64, **options)
        self.link = gr.HTML(padding=False, min_width=96, scale=0, js_on_load=LINK_JS)

    @property
    def selected_outputs(self) -> list[Component]:
        return [
            self.bar,
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
        for built in self.built_pages:
            run = [built.run_output, self.selected, self.model, self.own_images]
            for event in built.events:
                event.success(None, None, self.notice, js="() => ''", **QUIET)  # the notice was about the next run
                js = OPENED_ROW_JS % built.gallery.elem_id
                event.success(self._select_first, [*run, self.row], self.selected_outputs, js=js, **QUIET)
            built.gallery.select(self._select_clicked, run, self.selected_outputs, **QUIET)
        self.use.click(self._use, [self.target, self.selected], [self.tabs, *self.all_pickers()], **QUIET)

    def _select_first(
        self, run_output: RunOutput, selected: Selected, model: str, own_images: list[InputImage], opened: int | None
    ) -> list[object]:
        """Select the picture of a new run that the visitor has opened, or its first."""
        if not run_output.page or (selected and selected[0] is run_output):
            return [gr.skip()] * len(self.selected_outputs)
        if run_output.images:
            row = opened if isinstance(opened, int) and 0 <= opened < len(run_output.images) else 0
            return self._select(run_output, row, model, own_images)
        texts = {self.bar: gr.update(visible=True), self.link: self._link(run_output, model)}
        return [texts.get(component, gr.skip()) for component in self.selected_outputs]

    def _select_clicked(
        self,
        run_output: RunOutput,
        selected: Selected,
        model: str,
        own_images: list[InputImage],
        event: gr.SelectData,
    ) -> list[object]:
        if 0 <= event.index < len(run_output.images):
            return self._select(run_output, event.index, model, own_images)
        text = '<p class="note">The picture that you clicked is unfinished and can\'t be selected.</p>'
        text += f'<p class="note">Still selected:</p>{self._description(*selected)}' if selected else ""
        return [text if component is self.description else gr.skip() for component in self.selected_outputs]

    def _description(self, run_output: RunOutput, row: int) -> str:
        image = run_output.images[row]
        use = "its z_i and x_T go with it" if image.known_latents else "a page that uses it inverts it first"
        if image.latent and not image.known_latents:
            use = f"{use}; the latents that it was decoded from are a download"
        page = self._built(run_output.page).page.title
        return f'<p><b>{html.escape(image.title)}</b></p><p class="note">From {html.escape(page)}; {use}.</p>'

    def _link(self, run_output: RunOutput, model: str) -> str:
        """Return a link that repeats the run; a click copies it, and the browser's address takes it over."""
        built = self._built(run_output.page)
        address = html.escape(links.page_link(run_output.page, model, run_output.fields), quote=True)
        own = set(picture_names(built.pickers)) - set(run_output.fields)
        copied = "Copied, without your picture" if own else "Copied"
        return f'<a class="copy-link" href="{address}" data-copied="{copied}" role="button">Copy link</a>'

    def _select(self, run_output: RunOutput, row: int, model: str, own_images: list[InputImage]) -> list[object]:
        """Return the values of `selected_outputs` for one picture of a run."""
        image = run_output.images[row]
        latents = outputs.save_latents(run_output, row)
        own = [*(other for other in own_images if other.name != image.title), image.as_input()][-MAX_OWN_IMAGES:]
        return [
            gr.update(visible=True),
            (run_output, row),
            outputs.file(thumbnail(image.as_input())),
            self._description(run_output, row),
            gr.update(interactive=True),
            gr.update(value=outputs.save_picture(run_output, row), interactive=True),
            gr.update(value=latents, interactive=latents is not None),
            gr.update(value=outputs.save_all(run_output), interactive=True),
            self._link(run_output, image.settings.get("model", model)),  # the drop-down may have changed since the run
            own,
        ]

    def all_pickers(self) -> list[Component]:
        return [output for picker, _ in self.slots for output in picker.outputs]

    def put_into(self, pictures: Mapping[int, InputImage]) -> list[object]:
        """Return the selected tab and all pickers' values, with pictures put into some slots: slot -> picture."""
        return [gr.Tabs(selected=self.slots[min(pictures)][0].page), *self._picker_values(pictures)]

    def _picker_values(self, pictures: Mapping[int, InputImage], unchanged: Sequence[Component] = ()) -> list[object]:
        """Return all pickers' values, with pictures put into some slots; `unchanged` components are skipped."""
        values: list[object] = []
        for k, (picker, _) in enumerate(self.slots):
            updates = picker.show(pictures[k]) if k in pictures else [gr.skip()] * len(picker.outputs)
            values += [
                gr.skip() if any(component is other for other in unchanged) else value
                for component, value in zip(picker.outputs, updates)
            ]
        return values

    def filled(self, built: BuiltPage | None, settings: Mapping[str, Any]) -> list[object]:
        """Return the values of all pages' controls and pickers, where one page gets settings."""
        controls = [
            settings.get(name, gr.skip()) if page is built else gr.skip()
            for page in self.built_pages
            for name in page.controls
        ]
        if built is None:
            return controls + self._picker_values({})
        names = {id(picker): name for picker, name in zip(built.pickers, picture_names(built.pickers))}
        examples = {k: settings.get(names.get(id(picker), "")) for k, (picker, _) in enumerate(self.slots)}
        pictures = {k: self.examples[example] for k, example in examples.items() if example}
        unchanged = [built.controls[name] for name in settings if name in built.controls]
        return controls + self._picker_values(pictures, unchanged)

    def _use(self, target: int | None, selected: Selected) -> list[object]:
        if selected is None or not isinstance(target, int) or not 0 <= target < len(self.slots):
            return [gr.skip()] * (1 + len(self.all_pickers()))
        run_output, row = selected
        return self.put_into({target: run_output.images[row].as_input()})

    def page(self, key: str | None) -> BuiltPage | None:
        return next((built for built in self.built_pages if built.page.key == key), None)

    def _built(self, key: str) -> BuiltPage:
        return next(built for built in self.built_pages if built.page.key == key)

    def fields(self) -> list[Component]:
        return [control for built in self.built_pages for control in built.controls.values()]

    def open_link(self, request: gr.Request) -> list[object]:
        """Apply the valid settings of a visitor's `?page=…&prompt=…`, and name the others."""
        query = dict(request.query_params) if request else {}
        if not query:
            return [gr.skip(), gr.skip(), gr.skip(), *self.filled(None, {})]
        key = query.get("page", "generate")
        built = self.page(key)
        refused = [] if built else ["page"]
        model: object = gr.skip()
        if "model" in query:
            try:
                name = model_cache.validated_name(query["model"])
                model = gr.update(value=name, choices=model_cache.dropdown_choices())
            except UserError:
                refused.append("model")
        settings, invalid = links.validated_settings(built, query, self.examples) if built else ({}, [])
        refused += invalid
        text = ""
        if refused:
            names = " and ".join(refused)
            text = markup.message(f"The link's {names} can't be used here, so the page keeps its own.", "wrong")
        return [gr.Tabs(selected=key) if built else gr.skip(), model, text, *self.filled(built, settings)]
