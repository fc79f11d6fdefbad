"""Run and Cancel: one of the two at a time, set by the browser itself, so that a double click runs once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

QUIET = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}


def _update(*interactive: str) -> str:
    """A browser's function that sets whether each of its outputs can be pressed."""
    return "() => [" + ", ".join(f"{{__type__: 'update', interactive: {on}}}" for on in interactive) + "]"


@dataclass(frozen=True, eq=False)
class Pair:
    """A page's two buttons; the one to cancel can be pressed while something runs or waits to."""

    run: gr.Button
    stop: gr.Button

    def hold(self, triggers: Sequence) -> None:
        """From these triggers on something runs."""
        gr.on(triggers, None, None, [self.run, self.stop], js=_update("false", "true"), **QUIET)

    def held(self) -> dict:
        """The same said by the server, when the run begins."""
        return {self.run: gr.update(interactive=False), self.stop: gr.update(interactive=True)}

    def free(self, event) -> None:
        """When the event has ended, however it did, the next run may begin."""
        for ended in (event.then, event.failure):  # a run that is refused at the door only ever fails
            ended(None, None, [self.run, self.stop], js=_update("true", "false"), **QUIET)

    def after(self, listen, function, inputs, outputs) -> None:
        """Listen with a function that a run has to wait for, because it brings what the run is made of."""
        idle = f"document.getElementById('{self.stop.elem_id}').disabled"
        listen(None, None, [self.run], js=_update("false"), **QUIET)
        listen(function, inputs, outputs, **QUIET).then(None, None, [self.run], js=_update(idle), **QUIET)
