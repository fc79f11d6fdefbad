"""The page: Generate and Reconstruct on one lab. Everything it shows is computed in `latentlab.experiments`."""

from __future__ import annotations

import html
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a Space runs this file without installing the library

import gradio as gr
import torch
from PIL import Image

import latentlab
from latentlab import experiments, images
from latentlab.errors import UserError

MODEL = os.environ.get("LATENTLAB_MODEL", "emoji")
CAPTIONS = (
    "a red apple on a blue background",
    "a penguin on an orange background",
    "a glossy rocket on purple",
    "a red cube above a blue ball",
    "a castle",
    "a sign that says hello",
)
CSS = """
.bar {font-size: .95rem; min-height: 3.2rem}
.bar progress {width: 100%; height: .6rem; accent-color: var(--color-accent)}
.wrong {color: var(--error-text-color, #b91c1c); font-weight: 600} .note {opacity: .85}
.frame img {width: 100%; height: 100%; object-fit: contain}
.html-container {padding: 0 !important}
.shots .grid-wrap, .shots .grid-container {min-height: 0 !important; height: auto !important}
.examples .grid-container {grid-template-columns: repeat(6, minmax(0, 1fr)) !important}
.examples .thumbnail-item {min-width: 0 !important}
@media (max-width: 640px) {.shots .grid-container {grid-template-columns: repeat(2, 1fr) !important}}
footer {display: none !important}
"""


def bar(stage: str, step: int, steps: int, started: float) -> str:
    """Progress as HTML: the stage, the steps and the time left."""
    left = ""
    if 0 < step < steps:
        left = f" · {(time.monotonic() - started) / step * (steps - step):.1f} s left"
    words = {"prior": "prior: caption → image embedding"}.get(stage, stage)
    done = f"{step} of {steps}" if steps > 1 else ""
    label = html.escape(f"{words} {done}{left}")
    meter = f'<progress value="{step}" max="{steps}" aria-label="{label}"></progress>'
    return f'<div class="bar" role="status">{label}{meter}</div>'


def sentence(text: str, kind: str = "") -> str:
    role = "alert" if kind == "wrong" else "status"
    return f'<div class="bar {kind}" role="{role}">{html.escape(text)}</div>'


def pictures(found: experiments.Generated) -> list[tuple[Image.Image, str]]:
    """The result for a gallery; the settings travel in each PNG."""
    shown = []
    for row, picture in enumerate(images.to_pil(found.pixels)):
        picture.info[images.METADATA_KEY] = json.dumps(found.metadata(row), ensure_ascii=False)
        shown.append((picture, f"seed {found.seeds[row]} · cos {found.similarity[row]:.2f}"))
    return shown


def build(lab: latentlab.Lab) -> gr.Blocks:
    """The whole page on a loaded lab."""

    def generate(prompt: str, count: int, seed: int, steps: int, guidance: float) -> Iterator[tuple]:
        started, shown = time.monotonic(), gr.skip()
        try:
            seeds = range(int(seed), int(seed) + int(count))
            stream = experiments.generate.stream(lab, prompt, seeds=seeds, steps=int(steps), guidance=guidance)
            for value in stream:
                if isinstance(value, experiments.Progress):
                    if value.pixels is not None:
                        shown = images.to_pil(value.pixels)
                    yield shown, bar(value.stage, value.step, value.steps, started)
            seconds = time.monotonic() - started
            count = "1 picture" if len(value.seeds) == 1 else f"{len(value.seeds)} pictures"
            said = f"{count} in {seconds:.1f} s, each from its own seed; cos is CLIP's cosine to the caption."
            if value.warnings:
                said += " Note: " + "; ".join(value.warnings) + "."
            yield pictures(value), sentence(said, "note")
        except UserError as error:
            yield gr.skip(), sentence(str(error), "wrong")

    def reconstruct(path: str | None, fit: str, steps: int, iterations: int, method: str, seed: int) -> Iterator[tuple]:
        started, keep = time.monotonic(), (gr.skip(),) * 4
        try:
            if not path:
                raise UserError("there is no picture yet: drop a file, or click one of the examples")
            pixels = images.load(path, lab.decoder.pixels, fit=fit)
            stream = experiments.reconstruct.stream(
                lab, pixels, steps=int(steps), iterations=int(iterations), method=method, seed=int(seed)
            )
            original = images.to_pil(images.load(path, 256, fit=fit))[0]
            for value in stream:
                if isinstance(value, experiments.Progress):
                    made = gr.skip() if value.pixels is None else images.to_pil(value.pixels)
                    both = (gr.skip(), gr.skip()) if value.pixels is None else tuple(made)
                    yield original, *both, gr.skip(), bar(value.stage, value.step, value.steps, started)
            numbers = value.numbers()
            said = (
                f"With both latents the picture comes back at {numbers['psnr']:.1f} dB (the first stage alone allows "
                f"{min(numbers['psnr_first_stage'], 99):.1f} dB), SSIM {numbers['ssim']:.3f}. From z_i alone, with "
                f"another x_T, only what CLIP saw comes back. {numbers['evaluations']} evaluations, "
                f"{time.monotonic() - started:.1f} s."
            )
            latent = Path(tempfile.mkdtemp(prefix="latentlab-")) / "latents.safetensors"
            value.latent.save(latent, {k: str(v) for k, v in value.settings.items()})
            made, alone = images.to_pil(torch.cat([value.large, value.large_from_z_i]))
            for picture in (made, alone):
                picture.info[images.METADATA_KEY] = json.dumps(value.settings)
            yield original, made, alone, gr.DownloadButton(value=str(latent), interactive=True), sentence(said, "note")
        except UserError as error:
            yield *keep, sentence(str(error), "wrong")

    gallery = latentlab.models.gallery(lab.name)
    # "multiple", because the default swallows a Run that is pressed while a cancelled one is still ending.
    heavy = {
        "concurrency_limit": 1, "concurrency_id": "model", "show_progress": "hidden", "trigger_mode": "multiple",
    }  # fmt: skip
    with gr.Blocks(title="latentlab") as page:
        gr.HTML(
            padding=False,
            value=f"<h1>latentlab</h1><p>A walk through CLIP's latent space, on <b>{html.escape(lab.name)}</b>.</p>",
        )
        with gr.Tab("Generate", id="generate"):
            gr.Markdown(
                "A caption becomes an image embedding, and that a picture. Look for what stays from seed to seed."
            )
            with gr.Row(equal_height=False):
                with gr.Column(scale=2, min_width=300):
                    prompt = gr.Textbox(CAPTIONS[0], label="Caption", lines=2, max_length=300)
                    gr.Examples([[c] for c in CAPTIONS], prompt, label="Captions to try", example_labels=list(CAPTIONS))
                    with gr.Row():
                        run = gr.Button("Run", variant="primary")
                        stop = gr.Button("Cancel")
                    with gr.Accordion("Advanced", open=False):
                        count = gr.Slider(1, 8, 4, step=1, label="Pictures")
                        seed = gr.Number(
                            0, precision=0, minimum=0, maximum=2**31 - 1, label="Seed of the first picture"
                        )
                        steps = gr.Slider(4, 100, 25, step=1, label="Decoder steps", info="More is finer and slower.")
                        guidance = gr.Slider(
                            1, 6, 2, step=0.25, label="Guidance", info="How hard the caption pulls; 1 is not at all."
                        )
                with gr.Column(scale=3, min_width=320):
                    shown = gr.Gallery(
                        label="Pictures",
                        show_label=False,
                        columns=4,
                        height="auto",
                        object_fit="contain",
                        format="png",
                        buttons=["download"],
                        elem_classes="shots",
                    )
                    said = gr.HTML(padding=False, value=sentence("Press Run: the pictures sharpen as the steps go by."))
            event = gr.on(
                [run.click, prompt.submit], generate, [prompt, count, seed, steps, guidance], [shown, said],
                api_name="generate", **heavy,
            )  # fmt: skip
            stop.click(
                lambda: sentence("Cancelled."), None, said, cancels=[event], queue=False, api_visibility="private"
            )
        with gr.Tab("Reconstruct", id="reconstruct"):
            gr.Markdown(
                "A picture becomes two latents: z_i, what CLIP sees, and x_T, everything else. Compare what comes back "
                "from both with what comes back from z_i alone."
            )
            with gr.Row(equal_height=False):
                with gr.Column(scale=2, min_width=300):
                    file = gr.File(label="Picture (PNG, JPEG, WEBP, GIF or BMP)", type="filepath", height=110)
                    gr.Markdown("… or click one of these:", visible=bool(gallery))
                    examples = gr.Gallery(
                        [str(path) for path, _ in gallery],
                        label="Examples",
                        show_label=False,
                        columns=6,
                        height="auto",
                        elem_classes="examples",
                        allow_preview=False,
                        object_fit="contain",
                        interactive=False,
                        visible=bool(gallery),
                        buttons=[],
                    )
                    with gr.Row():
                        run2 = gr.Button("Run", variant="primary")
                        stop2 = gr.Button("Cancel")
                    with gr.Accordion("Advanced", open=False):
                        fit = gr.Radio(["crop", "pad"], value="crop", label="A picture that is not square is")
                        steps2 = gr.Slider(
                            5, 100, 25, step=1, label="Steps", info="Of the inversion and of the way back."
                        )
                        iterations = gr.Slider(1, 8, 3, step=1, label="Evaluations a step", info="Fixed-point only.")
                        method = gr.Radio(["fixed-point", "naive"], value="fixed-point", label="Inversion")
                        seed2 = gr.Number(0, precision=0, minimum=0, maximum=2**31 - 1, label="Seed of the other x_T")
                with gr.Column(scale=3, min_width=320):
                    with gr.Row():
                        frames = [
                            gr.Image(
                                label=label,
                                height=250,
                                interactive=False,
                                format="png",
                                buttons=["download"],
                                elem_classes="frame",
                            )
                            for label in ("Original", "From z_i and x_T", "From z_i alone")
                        ]
                    said2 = gr.HTML(padding=False, value=sentence("Choose a picture and press Run."))
                    latents = gr.DownloadButton("Download the latents (safetensors)", interactive=False)
            event2 = run2.click(
                reconstruct, [file, fit, steps2, iterations, method, seed2], [*frames, latents, said2],
                api_name="reconstruct", **heavy,
            )  # fmt: skip
            stop2.click(
                lambda: sentence("Cancelled."), None, said2, cancels=[event2], queue=False, api_visibility="private"
            )

            def choose(chosen: gr.SelectData) -> str:
                return str(gallery[chosen.index][0])

            examples.select(choose, None, file, api_visibility="private")
    return page


def launch(page: gr.Blocks, **options) -> tuple:
    """Serve the page, to this machine alone unless the environment says otherwise; nothing comes from elsewhere."""
    fonts = ("ui-sans-serif", "system-ui", "sans-serif")
    theme = gr.themes.Soft(font=fonts, font_mono=("ui-monospace", "monospace"))
    page.queue(max_size=32)
    gallery = latentlab.models.gallery(MODEL)
    return page.launch(
        share=False, ssr_mode=False, show_error=False, max_file_size=images.MAX_BYTES, theme=theme, css=CSS,
        allowed_paths=[str(gallery[0][0].parent)] if gallery else [], **options,
    )  # fmt: skip


if __name__ == "__main__":
    try:
        lab = latentlab.load(MODEL)
    except UserError as error:
        sys.exit(f"error: {error}")
    at_home = "SPACE_ID" not in os.environ and sys.stdout.isatty()
    launch(build(lab), inbrowser=at_home)
