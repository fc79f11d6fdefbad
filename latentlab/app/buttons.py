"""Run and Cancel: one of the two at a time, set by the browser itself, so that a double click runs once.

The last update of a cancelled run may reach the browser after the click on Cancel. So a line of its own says that the
run was cancelled, and while that line is visible the style sheet hides the status of runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from . import markup
from .events import QUIET, Updates

WAITING = markup.message("Waiting for the model …")
CANCEL_SECONDS = 2  # in which a server answers a cancellation
CANCELLED = markup.message("The run was cancelled. Press Run to start again.")
NOT_RUN = markup.message("The server refused the run. Press Run to try again.", "wrong")


def _update(*interactive: str, **more: str | bool) -> str:
    """Return a browser's function that enables or disables outputs, and sets a property of each further one."""
    changes = [f"interactive: {condition}" for condition in interactive]
    changes += [f"{name}: {json.dumps(value)}" for name, value in more.items()]
    return "() => [" + ", ".join(f"{{__type__: 'update', {change}}}" for change in changes) + "]"


@dataclass(frozen=True, eq=False)
class RunButtons:
    """A page's two buttons, the line that a cancelled run leaves, and the status of a run.

    Cancel can be pressed while a run is running or waiting.
    """

    run: gr.Button
    stop: gr.Button
    cancelled: gr.HTML
    status: gr.HTML

    def on_start(self, triggers: Sequence[Callable[..., Dependency]]) -> None:
        """Disable Run and enable Cancel when one of these triggers starts a run."""
        outputs = [self.run, self.stop, self.cancelled, self.status]
        gr.on(triggers, None, None, outputs, js=_update("false", "true", visible=False, value=WAITING), **QUIET)

    def running_update(self) -> Updates:
        """The same update from the server, when the run begins."""
        return {
            self.run: gr.update(interactive=False),
            self.stop: gr.update(interactive=True),
            self.cancelled: gr.update(visible=False),
        }

    def connect_cancel(self, events: Sequence[Dependency]) -> None:
        """Let Cancel end these events and show that they were cancelled.

        Gradio drops a run that starts before the server has answered the cancellation, so Run is enabled by the end of
        the cancelled run; or after a while, if the browser learns of no end and no other run has started.
        """
        outputs = [self.run, self.stop, self.cancelled]
        js = _update("false", "false", visible=True)
        self.stop.click(None, None, outputs, js=js, cancels=[*events], **QUIET)
        wait = f"new Promise(done => setTimeout(done, {CANCEL_SECONDS * 1000}))"
        later = f"async () => {{ await {wait}; return ({_update(self._idle)})(); }}"
        self.stop.click(None, None, [self.run], js=later, **QUIET)

    @property
    def _idle(self) -> str:
        """A browser's condition: no run is running or waiting."""
        return f"document.getElementById('{self.stop.elem_id}').disabled"

    def on_end(self, event: Dependency) -> None:
        """Enable Run again when the event has ended, in whatever way."""
        event.then(None, None, [self.run, self.stop], js=_update("true", "false"), **QUIET)
        # A run that `request_limits` refuses only triggers `failure`.
        not_run = _update("true", "false", value=NOT_RUN)
        event.failure(None, None, [self.run, self.stop, self.status], js=not_run, **QUIET)

    def block_run_while(
        self,
        listener: Callable[..., Dependency],
        function: Callable[..., list[object]],
        inputs: Sequence[Component] | None,
        outputs: Sequence[Component],
    ) -> None:
        """Call the function at an event; Run is disabled until it has finished, because the run needs its outputs."""
        listener(None, None, [self.run], js=_update("false"), **QUIET)
        listener(function, inputs, outputs, **QUIET).then(None, None, [self.run], js=_update(self._idle), **QUIET)
