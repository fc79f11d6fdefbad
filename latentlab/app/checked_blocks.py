"""Blocks that answer a call whose values fit no control by one sentence, where Gradio would also log a traceback."""

from __future__ import annotations

import logging
from typing import Any

import gradio as gr
from gradio.blocks import BlockFunction

from . import markup

log = logging.getLogger("latentlab.app")
NO_FIT = "The values of the call don't fit: see /gradio_api/info for their number and kinds."


class CheckedBlocks(gr.Blocks):
    """Gradio's Blocks, except for what happens when the values of a call can't be read."""

    async def preprocess_data(self, block_fn: BlockFunction, *args: Any, **kwargs: Any) -> list[Any]:
        """As Gradio's.

        Raises:
            gr.Error: too few or too many values, or one that its control does not allow; it is not logged.
        """
        try:
            return await super().preprocess_data(block_fn, *args, **kwargs)
        except gr.Error as error:
            sentence = markup.error_sentence(error.message)
        except Exception as error:  # whatever a component raises at a foreign value: a type, a path, a model's field
            log.warning("the values of a call of %s don't fit: %s", block_fn.name, type(error).__name__)
            sentence = NO_FIT
        raise gr.Error(sentence, print_exception=False) from None
