"""Run and Cancel: one of the two at a time, set by the browser itself, so that a double click runs once.

What a cancelled run said last may reach the browser after the click on Cancel. So that it is cancelled says a line of
its own, and while that is there the style sheet hides what runs say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

QUIET = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}


def _update(*interactive: str, **more: str) -> str:
    """A browser's function that sets whether each of its outputs can be pressed, and a property of each further one."""
    changes = [*(f"interactive: {on}" for on in interactive), *(f"{name}: {value}" for name, value in more.items())]
    return "() => [" + ", ".join(f"{{__type__: 'update', {change}}}" for change in changes) + "]"


@dataclass(frozen=True, eq=False)
class Pair:
    """A page's two buttons, and the line that a cancelled run leaves; Cancel can be pressed while one runs or waits."""

    run: gr.Button
    stop: gr.Button
    cancelled: gr.HTML

    def hold(self, triggers: Sequence) -> None:
        """From these triggers on something runs."""
        outputs = [self.run, self.stop, self.cancelled]
        gr.on(triggers, None, None, outputs, js=_update("false", "true", visible="false"), **QUIET)

    def held(self) -> dict:
        """The same said by the server, when the run begins."""
        buttons = {self.run: gr.update(interactive=False), self.stop: gr.update(interactive=True)}
        return {**buttons, self.cancelled: gr.update(visible=False)}

    def cancel(self, events: Sequence) -> None:
        """Cancel ends these, and says so."""
        outputs = [self.run, self.stop, self.cancelled]
        js = _update("true", "false", visible="true")
        self.stop.click(None, None, outputs, js=js, cancels=events, **QUIET)

    def free(self, event) -> None:
        """When the event has ended, however it did, the next run may begin."""
        for ended in (event.then, event.failure):  # a run that is refused at the door only ever fails
            ended(None, None, [self.run, self.stop], js=_update("true", "false"), **QUIET)

    def after(self, listen, function, inputs, outputs) -> None:
        """Listen with a function that a run has to wait for, because it brings what the run is made of."""
        idle = f"document.getElementById('{self.stop.elem_id}').disabled"
        listen(None, None, [self.run], js=_update("false"), **QUIET)
        listen(function, inputs, outputs, **QUIET).then(None, None, [self.run], js=_update(idle), **QUIET)
