"""The app's theme, style sheet and script; nothing is loaded from other servers."""

from pathlib import Path

import gradio as gr

FONTS = ("ui-sans-serif", "system-ui", "sans-serif")


def theme() -> gr.themes.Base:
    theme = gr.themes.Soft(primary_hue="indigo", font=FONTS, font_mono=("ui-monospace", "monospace"))
    return theme.set(
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_text_color="white",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        block_title_background_fill="none",
        block_title_background_fill_dark="none",
        block_title_padding="0",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_100",
        block_label_background_fill="*neutral_100",
        block_label_background_fill_dark="*neutral_800",
        checkbox_label_background_fill_selected="*primary_600",
        slider_color="*primary_600",
        body_background_fill="*neutral_50",
        link_text_color_dark="*primary_300",
        link_text_color_hover_dark="*primary_200",
        link_text_color_visited_dark="*primary_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
    )


CSS = Path(__file__).with_name("style.css").read_text("utf-8")
SCRIPT = Path(__file__).with_name("browser.js").read_text("utf-8")
