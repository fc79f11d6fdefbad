"""The page in a real browser, and its named endpoints: on the embedded model, with nothing fetched from elsewhere."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import TimeoutError as NotThere
from playwright.sync_api import expect
from test_examples import python_blocks

from latentlab.app.pages import PAGES
from latentlab.io import images

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The app as `make app` starts it, on a free port."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    env = {**os.environ, "GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1"}
    log = tmp_path_factory.mktemp("app") / "log"
    with log.open("w") as output:
        app = subprocess.Popen([sys.executable, ROOT / "apps" / "app.py"], env=env, stdout=output, stderr=output)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 600
        while not answers(address):
            assert app.poll() is None, f"the app ended at once:\n{log.read_text()}"
            assert time.monotonic() < deadline, "the app did not answer within ten minutes"
            time.sleep(0.2)
        yield address
    finally:
        app.terminate()
        app.wait(20)


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=20)
    except OSError:
        return False
    return True


EVENTS = re.compile("/gradio_api/(run|upload|component_server)")
WAITING: dict = {}  # page -> the requests of its events that have no answer yet
IDLE = "() => new Promise(done => requestIdleCallback(() => setTimeout(done, 80)))"
LOADED = "() => [...document.images].every(image => image.complete || image.loading === 'lazy')"


def watch_events(page) -> None:
    WAITING[page] = waiting = set()
    page.on("request", lambda request: EVENTS.search(request.url) and waiting.add(request))
    for end in ("requestfinished", "requestfailed"):
        page.on(end, lambda request: waiting.discard(request))  # Playwright takes no function that is built in


def settle(page) -> None:
    """Wait until the page is idle three times in a row, no event waits for an answer, and all pictures are loaded."""
    quiet, deadline = 0, time.monotonic() + 60
    while quiet < 3:
        page.evaluate(IDLE)
        quiet = 0 if WAITING[page] or not page.evaluate(LOADED) else quiet + 1
        assert time.monotonic() < deadline, f"no answer within a minute: {[r.url for r in WAITING[page]]}"


def until(page, holds, what: str) -> None:
    """Wait until a condition holds that no wait of Playwright's expresses."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within a minute"
        page.wait_for_timeout(100)


PATIENT = 120_000  # milliseconds: a machine that does other things as well is slow
expect.set_options(timeout=PATIENT)
DESKTOP = {"viewport": {"width": 1280, "height": 900}}


@pytest.fixture(scope="module")
def desktop(chromium):
    """A context whose cache the visits share: every page of it is a new session all the same."""
    context = chromium.new_context(**DESKTOP)
    yield context
    context.close()


@pytest.fixture
def visit(chromium, desktop, url):
    """Open the page as a new visitor, options giving a browser of its own; every request must have gone to the app."""
    opened, addresses = [], []

    def open_page(query: str = "", **options):
        context = chromium.new_context(**(DESKTOP | options)) if options else desktop
        page = context.new_page()
        opened.append(context if options else page)
        page.on("request", lambda request: addresses.append(request.url))
        watch_events(page)
        page.set_default_timeout(PATIENT)
        with page.expect_response(lambda answer: "/gradio_api/run/" in answer.url):  # the page reads its own link
            page.goto(f"{url}/{query}")
        key = (re.findall(r"page=([a-z-]+)(?:&|$)", query) or ["generate"])[0]
        page.locator(".map" if key == "map" else f"#run-{key}").first.wait_for()
        settle(page)
        return page

    yield open_page
    for window in opened:
        window.close()
    WAITING.clear()
    outside = [address for address in addresses if not address.startswith((url, "data:", "blob:", "ws://127.0.0.1"))]
    assert not outside


@pytest.fixture
def page(visit):
    return visit()


def status(page, text: str):
    bars = page.locator(".bar:visible", has_text=text)
    try:
        bars.first.wait_for()
    except NotThere:
        pytest.fail(f"“{text}” does not appear, only {page.locator('.bar:visible').all_inner_texts()}")
    return bars.first


def run(page):
    page.locator("button[id^=run-]:visible").click()


def field(page, label: str):
    return page.get_by_label(f"number input for {label}").locator("visible=true").first


def test_generate_shows_one_picture_a_seed_with_a_summary_and_each_downloads_with_its_settings(visit):
    page = visit("?page=generate&drawn=1&steps=6&count=3&seed=5")
    run(page)
    status(page, "3 pictures of “a red apple on a blue background”")
    expect(page.locator(".outputs .thumbnail-item:visible")).to_have_count(3)
    expect(page.locator(".outputs:visible", has_text="seed 7")).to_have_count(1)
    page.get_by_text("Copy link").wait_for()
    with page.expect_download() as download:
        page.get_by_text("↓ PNG").click()
    settings = images.read_metadata(download.value.path())
    row = settings["seeds"].index(settings["seed"])
    assert settings["fields"]["seed"] == 5
    assert (settings["page"], settings["seed"], settings["steps"]) == ("generate", settings["fields"]["seed"] + row, 6)
    assert "seed=5" in page.locator(".copy-link").get_attribute("href")


def test_generate_shows_the_best_pictures_first_and_the_others_at_a_click(visit):
    page = visit("?page=generate&steps=4&count=2&drawn=5&seed=30")
    run(page)
    status(page, "The model drew 5 pictures of")
    pictures = page.locator(".outputs .thumbnail-item:visible")
    expect(pictures).to_have_count(2)
    page.get_by_role("button", name="Show or hide the other 3").click()
    expect(pictures).to_have_count(5)
    expect(page.locator(".outputs .thumbnail-item:visible", has_text="lower")).to_have_count(3)
    page.get_by_role("button", name="Show or hide the other 3").click()
    expect(pictures).to_have_count(2)


def test_new_seeds_draws_other_pictures_and_an_invalid_seed_is_refused_with_the_name_of_its_box(visit):
    page = visit("?page=generate&steps=4&count=1&drawn=1")
    run(page)
    page.locator(".outputs .thumbnail-item:visible", has_text="seed 0").wait_for()
    page.get_by_role("button", name="New seeds").locator("visible=true").click()
    page.locator(".outputs .thumbnail-item:visible", has_text="seed 0").wait_for(state="detached")
    page.locator(".bar.done:visible").wait_for()
    page.locator("button:visible", has_text="Advanced").first.click()
    for typed, value in (("-3", "-3"), ("1.5", "1.5"), ("", "empty")):
        page.get_by_label("Seed of the first picture").locator("visible=true").first.fill(typed)
        run(page)
        status(page, f"Seed of the first picture is {value}, wanted is a whole number from 0 to")
        page.locator("#run-generate:enabled").wait_for()


def test_a_page_opens_on_a_finished_example_that_run_repeats_unless_a_link_has_settings(visit):
    page = visit("?page=clip")
    status(page, "This is a finished example")
    labels = page.locator(".probabilities li:visible")
    labels.first.wait_for()
    shown = labels.all_inner_texts()
    run(page)
    page.locator(".bar.done:visible").wait_for()
    until(page, lambda: labels.all_inner_texts() == shown, "the example's labels after a run")
    page = visit("?page=clip&ensemble=false")
    assert page.locator(".bar.example:visible, .probabilities li:visible").count() == 0


# Other tests run these pages with their defaults and look at what they show.
RUN_ELSEWHERE = {"generate", "clip", "text-diff", "reconstruct", "interpolate"}
# Edit waits for a mask, and Draw takes its own number of steps.
MORE = {"edit": "&strength=0.6", "draw": "&steps=10&strokes=4&views=1", "road": "&drawing=false"}


@pytest.mark.parametrize("name", [page.key for page in PAGES if page.key not in RUN_ELSEWHERE])
def test_each_page_runs_with_its_defaults(visit, name):
    page = visit(f"?page={name}&steps=4&count=2&frames=3{MORE.get(name, '')}")
    run(page)
    page.locator(".bar.done:visible").wait_for()
    outputs = page.locator(".outputs:visible img, .probabilities:visible li, .strip:visible img")
    outputs.nth(0 if name in ("map", "draw") else 1).wait_for()


def test_an_unknown_word_is_named_in_a_note_and_a_caption_without_a_known_one_is_refused(visit):
    page = visit("?page=generate&drawn=1&steps=4&count=1&prompt=a+red+zebrafish")
    run(page)
    assert "zebrafish" in page.locator(".bar.done:visible .note").inner_text()
    page.locator("#generate-prompt").locator("textarea, input").first.fill("  ")
    run(page)
    status(page, "The caption is empty")
    page.locator("#generate-prompt").locator("textarea, input").first.fill("a zebrafish")
    run(page)
    status(page, "The model does not know “zebrafish”")


def test_a_caption_is_helped_along_while_it_is_typed(visit):
    page = visit("?page=generate")
    caption, lines = (
        page.locator("#generate-prompt").locator("textarea, input").first,
        page.locator(".caption-help").first,
    )
    caption.fill("three aples and a peng")
    lines.get_by_text("does not know the word “aples”").wait_for()
    expect(page.locator("#generate-prompt u")).to_have_text(["aples"])
    lines.get_by_role("button", name="penguin", exact=True).click()
    expect(caption).to_have_value("three aples and a penguin")
    lines.get_by_role("button", name="apples", exact=True).click()
    lines.get_by_text("The model can't count well").wait_for()
    caption.fill("🦊")
    lines.get_by_text("This is read as “a fox”.").wait_for()
    page.get_by_role("button", name="What can it draw?").click()
    page.get_by_role("button", name="hourglass", exact=True).click()
    expect(caption).to_have_value("an hourglass")


def test_cancel_stops_a_run_its_previews_cannot_be_selected_and_the_next_run_works(visit):
    page = visit("?page=generate&drawn=1&steps=4&count=2")
    run(page)
    status(page, "2 pictures of “a red apple")
    selected = page.locator(".output-bar p b")
    selected.wait_for()
    before = selected.inner_text()
    page.locator("button:visible", has_text="Advanced").first.click()
    field(page, "Steps").fill("100")  # and many pictures: the run must last until the browser has shown a preview
    field(page, "Pictures").fill("8")
    page.locator("#generate-prompt").locator("textarea, input").first.fill("a penguin")
    run(page)
    preview = page.locator(".outputs .thumbnail-item:visible", has_text="unfinished, step").nth(1)
    preview.wait_for()
    page.locator("button:visible", has_text="Cancel").first.click()
    status(page, "was cancelled.")
    preview.click()  # a preview must not select the picture of the run before
    page.get_by_label("detailed view of selected image").wait_for()
    settle(page)
    assert selected.inner_text() == before
    assert page.locator(".bar:visible").count() == 1 and status(page, "was cancelled.")  # even after late messages
    for _ in range(2):  # a run that is started as soon as Cancel allows it is not taken for the cancelled one
        run(page)
        page.wait_for_timeout(2000)
        assert not page.locator(".bar:visible", has_text="refused").count()
        page.locator("button:visible", has_text="Cancel").first.click()
    field(page, "Steps").fill("4")
    field(page, "Pictures").fill("2")
    run(page)
    status(page, "2 pictures of “a penguin”")


def test_a_double_click_runs_once_with_the_picture_that_was_just_chosen(visit):
    page = visit("?page=clip")
    joined = []
    page.on("request", lambda request: joined.append(request.url) if "queue/join" in request.url else None)
    page.locator(".examples:visible .thumbnail-item").nth(7).click()
    page.locator("#run-clip").dblclick()
    page.locator(".bar.done:visible").wait_for()
    expect(page.locator(".probabilities h3:visible")).to_have_text("taxi")
    assert len(joined) == 1


def test_run_is_reached_by_keyboard_and_can_be_pressed_again_after_the_message_of_a_full_queue(visit):
    page = visit("?page=generate&drawn=1&steps=4&count=1")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText") == "Run":
            break
    page.keyboard.press("Enter")
    status(page, "1 picture of")
    field(page, "Pictures").fill("2")
    page.route("**/queue/join**", lambda route: route.fulfill(status=503, json={"detail": "Busy: try again."}))
    run(page)
    page.get_by_text("busy. Please try again").first.wait_for()
    page.unroute("**/queue/join**")
    run(page)
    status(page, "2 pictures of")


def test_a_click_on_the_picture_moves_the_label_there(visit):
    page = visit("?page=attack&size=0.4")
    page.locator(".picker:visible img").first.click(position={"x": 45, "y": 30})
    settle(page)
    page.locator("button:visible", has_text="Advanced").first.click()
    x, y = (float(field(page, f"Label, from {side}").input_value()) for side in ("left to right", "top to bottom"))
    assert x < 0.5 and y < 0.4


def test_two_visitors_runs_wait_for_one_another_and_never_mix(visit):
    first = visit("?page=generate&drawn=1&steps=50&count=4&prompt=a+red+heart")
    second = visit("?page=generate&drawn=1&steps=4&count=1&prompt=a+penguin&seed=41", locale="en-GB")
    run(first)
    status(first, "of 50")
    run(second)
    place = second.locator(".progress-text:visible", has_text="queue: 1/1")
    expect(place).to_be_in_viewport(ratio=1)  # its container does not clip it
    second.locator("button:visible", has_text="Cancel").first.click()
    status(second, "was cancelled.")
    run(second)
    status(first, "4 pictures of “a red heart”")
    status(second, "1 picture of “a penguin”")
    expect(second.locator(".outputs .thumbnail-item:visible")).to_have_count(1)
    expect(second.locator(".outputs:visible")).to_contain_text("seed 41")


def test_a_picture_used_as_input_keeps_its_latents_and_is_not_inverted_again(visit):
    page = visit("?page=text-diff&steps=4&frames=3")
    run(page)
    page.locator(".bar.done:visible").wait_for()
    frames = page.locator(".scrub:visible input")
    frames.press("ArrowLeft")
    expect(page.locator(".scrub:visible output")).to_have_text("0% of the way")
    page.locator(".outputs .thumbnail-item:visible").nth(1).click()
    page.get_by_text("z_i and x_T go with it").wait_for()
    expect(page.get_by_label("Use it on")).to_have_value("Use it on Variations")  # and not the first page
    page.get_by_role("button", name="Use as input", exact=True).click()
    page.locator(".note:visible", has_text="z_i and x_T are known").wait_for()
    expect(page.get_by_role("tab", name="Variations")).to_have_attribute("aria-selected", "true")


def test_a_number_or_an_arrow_key_on_theta_after_a_run_decodes_again(visit):
    page = visit("?page=text-diff&steps=4&frames=3&theta=0.5")
    run(page)
    status(page, "at 50% of the way")
    field(page, "How far to go").fill("0.25")
    field(page, "How far to go").blur()
    status(page, "at 25% of the way")
    page.get_by_label("range slider for How far to go").locator("visible=true").first.press("ArrowLeft")
    status(page, "at 20% of the way")


def stroke(page, touch: bool):
    """Paint a stroke over the middle of the canvas, with the mouse or with a finger."""
    canvas = page.locator("#edit-canvas canvas").first
    canvas.scroll_into_view_if_needed()
    until(page, lambda: len(set(pixels_of(canvas))) > 9, "the canvas has drawn its picture")
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    points = [(x - 30 + 10 * k, y + 5 * k) for k in range(7)]
    if touch:
        session = page.context.new_cdp_session(page)
        for kind, (x, y) in [("touchStart", points[0]), *(("touchMove", point) for point in points)]:
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    else:
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points:
            page.mouse.move(*point)
        page.mouse.up()
    settle(page)


def pixels_of(locator) -> list[tuple[int, ...]]:
    """The colours of every fourth pixel of a part of the page, 0 to 255."""
    from PIL import Image

    shot = Image.open(io.BytesIO(locator.screenshot())).convert("RGB")
    values = iter(shot.resize([side // 4 for side in shot.size], Image.Resampling.NEAREST).tobytes())
    return [*zip(values, values, values)]


def history(page) -> list[str]:
    return page.locator("#edit-strip .caption-label").all_inner_texts()


def edit_a_painted_part(page, width: int, touch: bool) -> None:
    """Paint over the middle of the finished example on which the page opens, and edit that part."""
    assert history(page)[-1].startswith("▸ ") and len(history(page)) == 2, "the page opens on a finished example"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    stroke(page, touch)
    page.locator("#run-edit").click()
    status(page, "1 edit to “a fox”")
    page.wait_for_function("document.querySelectorAll('#edit-strip .caption-label').length == 3")
    assert history(page)[-1] == "▸ 2. a fox"


def test_a_part_painted_by_a_finger_is_edited_in_place(visit):
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = visit("?page=edit&steps=6&prompt=a+fox", **phone)
    edit_a_painted_part(page, 390, touch=True)
    canvas, tools = (page.locator(f"#edit-canvas {part}").first.bounding_box() for part in ("canvas", ".toolbar-wrap"))
    assert tools["y"] > canvas["y"] + 0.8 * canvas["height"], "the tools once lay on the picture"


def test_a_part_painted_by_the_mouse_is_edited_in_place_and_undone_and_a_cancelled_edit_changes_nothing(visit):
    page = visit("?page=edit&steps=6&prompt=a+fox")
    edit_a_painted_part(page, 1280, touch=False)
    framed = page.locator("#edit-strip .thumbnail-item.selected .caption-label")
    expect(framed).to_have_text("▸ 2. a fox")
    page.get_by_role("button", name="Undo edit").click()
    page.wait_for_function("document.querySelectorAll('#edit-strip .caption-label')[1].innerText.startsWith('▸')")
    expect(framed).to_have_text(re.compile("^▸ 1"))
    page.locator("label:visible", has_text="right").first.click()
    page.locator("button:visible", has_text="Advanced").first.click()
    field(page, "Steps").fill("100")
    field(page, "Pictures").fill("4")
    page.locator("#run-edit").click()
    page.locator(".stage .live img:visible").wait_for()
    page.locator("#stop-edit").click()
    status(page, "was cancelled.")
    page.locator(".stage .live").wait_for(state="hidden")
    assert len(history(page)) == 3


def test_the_settings_of_a_png_are_offered_and_applied_only_on_request(visit, tmp_path):
    from PIL import Image

    settings = {"page": "generate", "fields": {"prompt": "a fox", "steps": 9, "guidance": 9e9}, "seed": 3}
    path = images.save_png(Image.new("RGB", (8, 8)), tmp_path / "made.png", settings)
    page = visit("?page=generate&prompt=a+castle")
    caption = page.locator("#generate-prompt").locator("textarea, input").first
    page.locator("input[type=file]").last.set_input_files(str(path))
    assert "guidance" not in status(page, "prompt a fox").inner_text()
    assert caption.input_value() == "a castle"
    page.get_by_role("button", name="Use these settings").click()
    page.wait_for_function("document.body.innerText.includes('The settings are on the page')")
    expect(caption).to_have_value("a fox")


def test_the_address_takes_over_the_settings_of_a_run_and_back_and_forward_move_between_pages(visit):
    page = visit("?page=generate&steps=4&count=1&prompt=a+fox", permissions=["clipboard-read", "clipboard-write"])
    page.locator("button:visible", has_text="Advanced").first.click()
    field(page, "Steps").fill("5")
    field(page, "Steps").press("Tab")
    settle(page)
    run(page)
    page.locator(".copy-link").click()
    page.get_by_text("Copied", exact=True).wait_for()
    assert "steps=5" in page.url and "prompt=a+fox" in page.url
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    for name, key in (("CLIP", "clip"), ("Map", "map")):
        page.get_by_role("tab", name=name).click()
        page.wait_for_url(f"**/?page={key}")
    for move, name in ((page.go_back, "CLIP"), (page.go_back, "Generate"), (page.go_forward, "CLIP")):
        move()
        page.get_by_role("tab", name=name, selected=True).wait_for()
    page.get_by_role("tab", name="Generate").click()
    page.wait_for_url("**steps=5**")  # the page's last run stands there, so its settings do, too


def test_the_output_bar_appears_with_the_first_result_and_is_closed_on_a_phone(visit):
    page = visit("?page=generate&steps=4&count=1", viewport={"width": 390, "height": 850})
    assert page.locator(".output-bar").count() == 0
    run(page)
    toggle = page.get_by_role("button", name="Selected picture")
    toggle.wait_for()
    assert not page.get_by_text("↓ PNG").is_visible()
    toggle.click()
    page.get_by_text("↓ PNG").wait_for()
    page.set_viewport_size({"width": 1280, "height": 850})
    bar = page.locator(".output-bar")
    until(page, lambda: bar.bounding_box()["height"] < 100, "the bar of a wide window")
    expect(bar).to_be_in_viewport(ratio=0.98)  # it stays at the edge of a window


def test_plots_and_tables_follow_the_theme(visit):
    page = visit("?page=clip&task=compare&__theme=dark")
    run(page)
    page.locator(".bar.done:visible").wait_for()
    page.locator(".figure svg text").first.wait_for()
    assert page.evaluate("document.body.classList.contains('dark')")
    style = "(element, name) => getComputedStyle(element)[name]"
    text = page.locator(".figure svg text").first.evaluate(style, "fill")
    assert text == page.locator(".bar.done p").first.evaluate(style, "color")
    page.locator(".similarity td.best").nth(7).wait_for()
    assert page.locator(".figure img").count() == 0


def test_models_that_cannot_run_here_are_listed_only_on_request(page):
    def listed():
        page.get_by_label("Model").click()
        options = page.get_by_role("option")
        options.first.wait_for()
        names = options.all_inner_texts()
        page.keyboard.press("Escape")
        options.first.wait_for(state="hidden")
        return names

    few = listed()
    assert any("emoji" in name for name in few) and not any("(" in name.split(":")[-1] for name in few)
    page.locator("#more-models").click()
    page.locator("#more-models").wait_for(state="hidden")
    assert len(listed()) > len(few)


def test_a_file_that_is_no_picture_is_refused_without_a_path_and_the_drop_zone_takes_the_next_ones(visit, tmp_path):
    from PIL import Image

    bad = tmp_path / "letter.png"
    bad.write_text("<svg onload='alert(1)'>dear latentlab</svg>")
    page = visit("?page=reconstruct")
    before = page.locator(".note:visible b").inner_text()
    page.locator("input[type=file]").first.set_input_files(str(bad))
    message = status(page, "is not an image").inner_text()
    assert message.startswith("letter.png is not") and "Traceback" not in message and "/tmp" not in message
    page.locator(".note:visible", has_text=f"Picture: {before}").wait_for()  # Run would use the picture before
    for name, colour in (("first.png", "red"), ("second.png", "blue")):  # without clearing the zone in between
        page.locator(".picker:visible", has_text="Drop File Here").wait_for()
        Image.new("RGB", (40, 40), colour).save(tmp_path / name)
        page.locator("input[type=file]").first.set_input_files(str(tmp_path / name))
        page.locator(".note:visible", has_text=f"Picture: {name}").wait_for()
    page.locator(".picker:visible", has_text="Drop File Here").wait_for()


@pytest.fixture
def taxi(tmp_path):
    """A visitor's own file of a taxi on a transparent ground, small and in a corner."""
    from PIL import Image

    whole = Image.new("RGBA", (300, 200), (255, 255, 255, 0))
    path = next((ROOT / "latentlab/weights/emoji/gallery").glob("*-taxi.png"))
    whole.paste(images.open_image(path).resize((60, 60)), (10, 120))
    whole.save(tmp_path / "mine.png")
    return str(tmp_path / "mine.png")


@pytest.mark.parametrize(
    ("name", "boxes"), [("text-diff", ["The picture shows", "It should show"]), ("attack", ["What the picture shows"])]
)
def test_the_texts_beside_a_picture_follow_from_it(visit, name, boxes, taxi):
    page = visit(f"?page={name}")
    values = [page.get_by_label(label).locator("visible=true").first for label in boxes]
    before = [value.input_value() for value in values]
    page.locator(".examples:visible .thumbnail-item").nth(9).click()
    page.locator(".note:visible", has_text="Picture: pig").wait_for()
    settle(page)
    example = [value.input_value() for value in values]
    page.locator("input[type=file]").first.set_input_files(taxi)
    page.locator(".note:visible", has_text="CLIP").wait_for()
    settle(page)
    uploaded = [value.input_value() for value in values]
    for texts in zip(before, example, uploaded):
        assert len(set(texts)) == 3 and all(texts)
    assert "a pig" in example[0] and "CLIP's guess" in page.locator("body").inner_text()
    assert len({*uploaded}) == len(boxes)


def test_an_upload_is_cropped_to_its_subject_unless_the_switch_is_off(visit, taxi):
    page = visit("?page=reconstruct")
    switch = page.get_by_label("Crop to the subject").locator("visible=true")
    assert switch.count() == 0  # an example is not cropped
    page.locator("input[type=file]").first.set_input_files(taxi)
    page.locator(".note:visible", has_text="Picture: mine").wait_for()
    switch.wait_for()
    cropped = picture_at(page, ".picker:visible img")
    switch.uncheck()
    expect(page.locator(".picker:visible img").first).not_to_have_attribute("src", cropped[0])
    whole = picture_at(page, ".picker:visible img")
    assert white_share(cropped[1]) < 0.5 < 0.8 < white_share(whole[1])


def picture_at(page, selector):
    """The address of a picture on the page, and the picture."""
    from PIL import Image

    address = page.locator(selector).first.get_attribute("src")
    return address, Image.open(io.BytesIO(urllib.request.urlopen(address, timeout=60).read())).convert("RGB")


def white_share(picture):
    import numpy as np

    return float((np.asarray(picture).min(2) > 250).mean())


def test_the_label_and_the_canvas_follow_the_picture_that_is_chosen(visit):
    import numpy as np

    def near(pixels, colour):
        return (np.abs(np.asarray(pixels, int).reshape(-1, 3) - colour).max(1) < 30).mean()

    page = visit("?page=attack")
    page.locator("button:visible", has_text="Draw on the picture").first.click()
    canvas = page.locator("canvas:visible").first
    canvas.wait_for()
    for row, colour in ((7, (70, 170, 85)), (9, (245, 140, 40)), (9, (245, 140, 40))):
        page.locator(".examples:visible .thumbnail-item").nth(row).click()
        settle(page)
        preview = np.asarray(picture_at(page, ".picker:visible img")[1])
        assert near(preview[8, 8], colour)
        assert (preview[150:180].min(2) > 230).mean() > 0.1  # the label's paper
        until(page, lambda colour=colour: near(pixels_of(canvas), colour) > 0.1, "the picture on the canvas")


def test_a_refusal_of_the_label_appears_once(visit):
    page = visit("?page=attack&size=0.2&word=incomprehensibility&steps=4&count=1")
    run(page)
    page.locator(".bar.wrong:visible").first.wait_for()
    settle(page)
    assert page.locator(".bar.wrong:visible").count() == 1


def test_the_slider_lays_two_whole_pictures_over_each_other(visit):
    page = visit("?page=reconstruct&steps=4")
    run(page)
    page.locator(".bar.done:visible").wait_for()
    expect(page.locator(".slider img")).to_have_count(2)
    page.wait_for_function("[...document.querySelectorAll('.slider img')].every((img) => img.clientHeight > 0)")
    boxes = [img.bounding_box() for img in page.locator(".slider img").all()]
    frame = page.locator(".slider").bounding_box()
    assert boxes[0] == boxes[1]
    assert frame["y"] <= boxes[0]["y"] and boxes[0]["y"] + boxes[0]["height"] <= frame["y"] + frame["height"]


def test_invalid_settings_in_a_link_are_named_and_the_others_are_applied(visit):
    page = visit("?page=generate&seed=-5&steps=7&prompt=a+fox")
    status(page, "The link's seed can't be used here")
    page.locator("button:visible", has_text="Advanced").first.click()
    assert field(page, "Steps").input_value() == "7"
    status(visit("?page=../../etc/passwd&model=nobody"), "page and model")


def test_a_link_restores_the_example_pictures(visit):
    page = visit("?page=interpolate&steps=4&frames=3&picture_1=07-taxi&picture_2=17-bus")
    run(page)
    page.locator(".bar.done:visible").wait_for()
    page.locator(".copy-link").wait_for()
    page.locator(".outputs:visible img").nth(1).wait_for()
    link = page.locator(".copy-link").get_attribute("href")
    assert "picture_1=07-taxi" in link and "picture_2=17-bus" in link
    assert page.locator(".note:visible", has_text="Second picture: bus").count() == 1


def test_the_map_is_searched_by_keyboard_and_leads_to_an_interpolation(visit):
    page = visit("?page=map")
    page.locator(".map[data-ready]").wait_for()
    page.get_by_label("Search").fill("cat red")
    results = page.locator("[data-part=results] button")
    for k in range(2):
        results.nth(k).press("Enter")
        page.wait_for_function("n => document.querySelector('.map').dataset.chosen?.split(' ').length == n", arg=k + 1)
    page.get_by_role("button", name="Interpolate between the two").click()
    page.locator(".note:visible", has_text="Second picture: a cat").wait_for()
    assert page.get_by_role("tab", name="Interpolate").get_attribute("aria-selected") == "true"


def test_a_click_on_an_empty_place_of_the_map_decodes_it_also_during_a_run_and_shows_it_on_the_map(visit):
    page = visit("?page=map&steps=4")
    page.locator(".map[data-ready]").wait_for()
    page.locator("[data-part=canvas]").click(position={"x": 12, "y": 12}, delay=600)  # as if the browser was busy
    page.locator(".map [data-part=card]", has_text=re.compile("Decoding the place|Waiting|Decoder")).wait_for()
    page.locator("[data-part=canvas]").click(position={"x": 12, "y": 400})
    page.locator(".outputs .caption-label:visible", has_text="at 0.00, 0.2").wait_for()
    page.locator(".map [data-part=card]", has_text="CLIP sees").wait_for()
    assert page.get_by_label("Places to decode").input_value().startswith("0.000,0.2")
    assert page.locator(".outputs .thumbnail-item:visible").count() == 1
    shown = page.locator(".map [data-part=card] img")
    assert shown.count() == 1 and shown.get_attribute("src") == page.locator(".page-map .outputs img").get_attribute(
        "src"
    )


def test_the_page_is_not_wider_than_the_window(visit):
    page = visit("?page=interpolate&__theme=light", viewport={"width": 390, "height": 850})
    for width in (390, 1600):
        page.set_viewport_size({"width": width, "height": 850})
        page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
    assert not page.evaluate("document.body.classList.contains('dark')")
    assert page.locator("h1").count() == 1


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """axe-core's source, from npm; it is no part of the repository."""
    folder = tmp_path_factory.mktemp("axe")
    if shutil.which("npm") is None:
        pytest.skip("no npm to fetch axe-core with")
    try:
        command = ["npm", "pack", "axe-core@4", "--silent"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=30)
        subprocess.run(["tar", "xzf", next(folder.glob("*.tgz"))], cwd=folder, check=True)
    except (subprocess.SubprocessError, StopIteration):
        pytest.skip("axe-core can't be fetched from npm here")
    return (folder / "package" / "axe.min.js").read_text("utf-8")


STOCK = {"label-content-name-mismatch", "aria-prohibited-attr"}  # gradio's own upload areas, galleries and empty frames


# Buttons that have just become active are still changing colour.
STILL = "() => document.getAnimations().every(a => !(a instanceof CSSTransition) || a.playState !== 'running')"


WHOLE_PAGE = "document"
OPEN_TAB = "[...document.querySelectorAll('[role=tabpanel]')].find(panel => panel.checkVisibility())"


def serious(page, axe, part: str = WHOLE_PAGE) -> dict:
    """The serious violations that axe reports in a part of the page, without those of gradio's own parts."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe)
    violations = page.evaluate(f"axe.run({part}, {{resultTypes: ['violations']}})")["violations"]
    worst = [v for v in violations if v["impact"] in ("serious", "critical") and v["id"] not in STOCK]
    return {v["id"]: [n["target"] for n in v["nodes"]] for v in worst}


def after_a_run(visit, axe, theme: str):
    """The page of attacks after a run, in which axe finds nothing serious of ours."""
    page = visit(f"?page=attack&__theme={theme}&steps=4&count=1", reduced_motion="reduce")
    run(page)
    page.locator(".bar.done:visible").wait_for()
    page.wait_for_function(STILL)
    assert not serious(page, axe)
    return page


def test_axe_reports_nothing_serious_of_ours_after_a_run_in_the_light_theme(visit, axe):
    after_a_run(visit, axe, "light")


def test_axe_reports_nothing_serious_of_ours_after_a_run_and_on_any_page_in_the_dark_theme(visit, axe):
    page, violations = after_a_run(visit, axe, "dark"), {}
    for tab in page.get_by_role("tab").all():
        tab.click()
        page.locator(".description h2:visible", has_text=tab.inner_text()).wait_for()
        if tab.inner_text() == "Map":  # drawn when it is opened, and pale until then
            page.locator(".map[data-ready]").wait_for()
        settle(page)
        page.wait_for_function(STILL)
        violations |= {f"{tab.inner_text()}: {rule}": where for rule, where in serious(page, axe, OPEN_TAB).items()}
    assert not violations


def test_the_generate_endpoint_returns_pngs_that_carry_their_settings(url):
    from gradio_client import Client

    client = Client(url, verbose=False)
    gallery, numbers = client.predict(prompt="a red apple", count=1, drawn=1, seed=7, steps=8, api_name="/generate")
    settings = images.read_metadata(gallery[0]["image"])
    assert (settings["prompt"], settings["seed"], settings["steps"]) == ("a red apple", 7, 8)
    assert numbers["table"][0]["quantity"] == "cosine to the prompt"


def test_the_readmes_example_of_a_client_runs(url, tmp_path, monkeypatch, capsys):
    from PIL import Image

    Image.new("RGB", (60, 40), "red").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    block = next(code for code in python_blocks("README.md") if "gradio_client" in code)
    exec(block.replace("http://127.0.0.1:7860", url).replace("count=4", "count=1, steps=4"), {})
    assert "At η = 0.5" in capsys.readouterr().out


FILE = {"meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("reconstruct", ["emoji", {"path": "/etc/passwd", **FILE}, 4, "naive", 3, "crop", 0]),
        ("reconstruct", ["emoji", {"path": "http://127.0.0.1:1/a.png", **FILE}, 4, "naive", 3, "crop", 0]),
        ("reconstruct", ["emoji", "../../../etc/passwd", 4, "naive", 3, "crop", 0]),
        ("generate", ["nobody", "a fox", 1, 7, 4, 2.0, "ddim", 1, 2, 1]),
        ("generate", ["emoji", "a fox", 10**9, 7, 4, 2.0, "ddim", 1, 2, 1]),
        ("generate", ["emoji", "a fox " * 100_000, 1, 7, 4, 2.0, "ddim", 1, 2, 1]),
        ("generate", []),
    ],
    ids=["path", "address", "bare path", "model", "count", "length", "nothing"],
)
def test_a_hostile_call_is_refused_and_reveals_nothing_about_the_server(url, name, data):
    request = urllib.request.Request(
        f"{url}/gradio_api/call/{name}", json.dumps({"data": data}).encode(), {"content-type": "application/json"}
    )
    try:
        event = json.load(urllib.request.urlopen(request, timeout=60))["event_id"]
        answer = urllib.request.urlopen(f"{url}/gradio_api/call/{name}/{event}", timeout=60).read().decode()
    except urllib.error.HTTPError as error:
        answer = f"event: error {error.read().decode()}"
    assert "event: error" in answer
    assert not any(word in answer for word in ("root:", "Traceback", "site-packages", str(ROOT)))


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


@pytest.mark.parametrize(
    "path",
    ["file=/etc/passwd", "file=../../../../etc/passwd", f"file={ROOT}/README.md", "proxy={}/secret", "file={}/secret"],
)
def test_the_server_serves_no_other_files_and_requests_no_other_server(url, bystander, path):
    address, requested_paths = bystander
    try:
        answer = urllib.request.build_opener(NoRedirects).open(f"{url}/gradio_api/{path.format(address)}", timeout=60)
        text = answer.read().decode()
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        assert error.code in (302, 307, 400, 403, 404)
    assert "root:" not in text and "# latentlab" not in text
    assert not requested_paths


@pytest.mark.parametrize("key", ["path", "url"])
def test_the_server_fetches_no_picture_from_an_address(url, bystander, key):
    address, requested_paths = bystander
    picture = {"path": "a.png", **FILE, key: f"{address}/a.png"}
    body = json.dumps({"data": ["emoji", picture, 4, "naive", 3, "crop", 0]}).encode()
    request = urllib.request.Request(f"{url}/gradio_api/call/reconstruct", body, {"content-type": "application/json"})
    try:
        event = json.load(urllib.request.urlopen(request, timeout=60))["event_id"]
        answer = urllib.request.urlopen(f"{url}/gradio_api/call/reconstruct/{event}", timeout=60).read().decode()
    except urllib.error.HTTPError as error:
        answer = f"event: error {error.read().decode()}"
    assert "event: error" in answer and not requested_paths


def test_an_upload_over_twenty_megabytes_is_refused(url):
    body = (
        b"--x\r\ncontent-disposition: form-data; name=files; filename=a.png\r\n\r\n"
        + bytes(21 * 2**20)
        + b"\r\n--x--\r\n"
    )
    request = urllib.request.Request(
        f"{url}/gradio_api/upload", body, {"content-type": "multipart/form-data; boundary=x"}
    )
    with pytest.raises((urllib.error.HTTPError, OSError)):
        urllib.request.urlopen(request, timeout=60)
