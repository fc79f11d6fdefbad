"""Run and Cancel: one of the two at a time, set by the browser itself, so that a double click runs once.

The last update of a cancelled run may reach the browser after the click on Cancel. So a line of its own says that the
run was cancelled, and while that line is visible the style sheet hides the status of runs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from . import markup

QUIET = {"show_progress": "hidden", "queue": False, "api_visibility": "private"}


WAITING = markup.message("Waiting for the model …")
CANCELLED = markup.message("Cancelled. Press Run to begin again.")
NOT_RUN = markup.message("It was not run: press Run to try again.", "wrong")


def _update(*interactive: str, **more: str | bool) -> str:
    """A browser's function that sets whether each of its outputs can be pressed, and a property of each further one."""
    changes = [f"interactive: {on}" for on in interactive]
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

    def on_start(self, triggers: Sequence) -> None:
        """Each of these triggers starts a run: Run is disabled, Cancel enabled."""
        outputs = [self.run, self.stop, self.cancelled, self.status]
        gr.on(triggers, None, None, outputs, js=_update("false", "true", visible=False, value=WAITING), **QUIET)

    def running_update(self) -> dict:
        """The same update from the server, when the run begins."""
        buttons = {self.run: gr.update(interactive=False), self.stop: gr.update(interactive=True)}
        return {**buttons, self.cancelled: gr.update(visible=False)}

    def connect_cancel(self, events: Sequence) -> None:
        """Cancel ends these events and shows that they were cancelled."""
        outputs = [self.run, self.stop, self.cancelled]
        js = _update("true", "false", visible=True)
        self.stop.click(None, None, outputs, js=js, cancels=events, **QUIET)

    def on_end(self, event) -> None:
        """When the event has ended, in whatever way, Run is enabled again."""
        event.then(None, None, [self.run, self.stop], js=_update("true", "false"), **QUIET)
        # A run that `request_limits` refuses only triggers `failure`.
        not_run = _update("true", "false", value=NOT_RUN)
        event.failure(None, None, [self.run, self.stop, self.status], js=not_run, **QUIET)

    def block_run_while(self, listen, function, inputs, outputs) -> None:
        """Add a listener; Run is disabled until it has finished, because the run needs its outputs."""
        idle = f"document.getElementById('{self.stop.elem_id}').disabled"
        listen(None, None, [self.run], js=_update("false"), **QUIET)
        listen(function, inputs, outputs, **QUIET).then(None, None, [self.run], js=_update(idle), **QUIET)
