"""Settings from a PNG: a line under all pages that reads a file, and offers to put its settings on their page."""

from __future__ import annotations

from typing import Any

import gradio as gr

from . import links, markup, outputs
from .events import QUIET, Update
from .output_bar import OutputBar

Offer = tuple[str, dict[str, Any]] | None  # a page's key and its settings


class SettingsFile:
    """The line's components. The state `offered` holds an Offer, which is applied only at a click."""

    def __init__(self, output_bar: OutputBar):
        self.output_bar, self.offered = output_bar, gr.State()
        with gr.Row(elem_classes="settings-file", equal_height=True):
            self.file = gr.UploadButton(
                "Open the settings in a PNG of latentlab", type="filepath", size="sm", scale=0, min_width=280
            )
            self.offer = gr.HTML(padding=False, scale=3)
            self.apply = gr.Button("Use these settings", visible=False, size="sm", scale=0, min_width=150)
        self.file.upload(self._offer, self.file, [self.offer, self.apply, self.offered], **QUIET)
        bar = output_bar
        settings = [bar.tabs, bar.notice, self.offer, self.apply, *bar.fields(), *bar.all_pickers()]
        self.apply.click(self._apply, self.offered, settings, **QUIET)

    def _offer(self, path: str | None) -> tuple[str, Update, Offer]:
        if not path:
            return "", gr.update(visible=False), None
        metadata = outputs.settings_in(path)
        page, fields = links.page_settings(metadata) if metadata else (None, {})
        built = self.output_bar.page(page)
        settings = links.validated_settings(built, fields, self.output_bar.examples)[0] if built else {}
        if not built or not settings:
            text = "This file has no settings of latentlab: open a PNG from this app or the command `latentlab`."
            return markup.message(text, "wrong"), gr.update(visible=False), None
        words = ", ".join(f"{name} {value}" for name, value in settings.items())
        text = f"The settings are of the page {built.page.title}: {words}. Press the button to use them."
        return markup.message(text), gr.update(visible=True), (built.page.key, settings)

    def _apply(self, offered: Offer) -> list[object]:
        built = self.output_bar.page(offered[0]) if offered else None
        if built is None or offered is None:
            return [gr.skip(), gr.skip(), gr.skip(), gr.skip(), *self.output_bar.filled(None, {})]
        text = f'<p class="note" role="status">The settings are on the page {built.page.title}: press Run there.</p>'
        values = self.output_bar.filled(built, offered[1])
        return [gr.Tabs(selected=built.page.key), text, "", gr.update(visible=False), *values]
