"""Run and Cancel: one of the two at a time, set by the browser itself, so that a double click runs once.

What a cancelled run said last may reach the browser after the click on Cancel. So that it is cancelled says a line of
its own, and while that is there the style sheet hides what runs say.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from . import markup

QUIET = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}


WAITS = markup.sentence("Waiting for the model …")
ENDED = markup.sentence("Cancelled. Press Run to begin again.")
LOST = markup.sentence("It was not run: press Run to try again.", "wrong")


def _update(*interactive: str, **more: str | bool) -> str:
    """A browser's function that sets whether each of its outputs can be pressed, and a property of each further one."""
    changes = [f"interactive: {on}" for on in interactive]
    changes += [f"{name}: {json.dumps(value)}" for name, value in more.items()]
    return "() => [" + ", ".join(f"{{__type__: 'update', {change}}}" for change in changes) + "]"


@dataclass(frozen=True, eq=False)
class Pair:
    """A page's two buttons, the line that a cancelled run leaves, and what a run says.

    Cancel can be pressed while something runs or waits to.
    """

    run: gr.Button
    stop: gr.Button
    cancelled: gr.HTML
    said: gr.HTML

    def hold(self, triggers: Sequence) -> None:
        """From these triggers on something runs."""
        outputs = [self.run, self.stop, self.cancelled, self.said]
        gr.on(triggers, None, None, outputs, js=_update("false", "true", visible=False, value=WAITS), **QUIET)

    def held(self) -> dict:
        """The same said by the server, when the run begins."""
        buttons = {self.run: gr.update(interactive=False), self.stop: gr.update(interactive=True)}
        return {**buttons, self.cancelled: gr.update(visible=False)}

    def cancel(self, events: Sequence) -> None:
        """Cancel ends these, and says so."""
        outputs = [self.run, self.stop, self.cancelled]
        js = _update("true", "false", visible=True)
        self.stop.click(None, None, outputs, js=js, cancels=events, **QUIET)

    def free(self, event) -> None:
        """When the event has ended, however it did, the next run may begin."""
        event.then(None, None, [self.run, self.stop], js=_update("true", "false"), **QUIET)
        # A run that is refused at the door only ever fails.
        lost = _update("true", "false", value=LOST)
        event.failure(None, None, [self.run, self.stop, self.said], js=lost, **QUIET)

    def after(self, listen, function, inputs, outputs) -> None:
        """Listen with a function that a run has to wait for, because it brings what the run is made of."""
        idle = f"document.getElementById('{self.stop.elem_id}').disabled"
        listen(None, None, [self.run], js=_update("false"), **QUIET)
        listen(function, inputs, outputs, **QUIET).then(None, None, [self.run], js=_update(idle), **QUIET)
