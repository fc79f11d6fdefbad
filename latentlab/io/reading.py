"""Pictures read in threads ahead of the encoder: Pillow decodes and resizes without Python's lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from PIL import Image

from ..errors import UserError

K = TypeVar("K")
Read = Callable[[], Image.Image]
AHEAD = 64  # pictures that wait for the encoder: bounds the memory
THREADS = min(8, os.cpu_count() or 1)


def read_ahead(
    items: Iterable[tuple[K, Read]], size: Callable[[Image.Image], Image.Image]
) -> Iterator[tuple[K, Image.Image | UserError]]:
    """Yield each item's key with its picture, sized, in the order of the items; or the reason why it can't be read.

    Args:
        items: keys with what reads them. size: what makes a picture the encoder's square.
    """

    def attempt(read: Read) -> Image.Image | UserError:
        try:
            return size(read())
        except UserError as error:
            return error

    waiting: deque[tuple[K, Future[Image.Image | UserError]]] = deque()
    pool = ThreadPoolExecutor(THREADS, "read")
    try:
        for key, read in items:
            waiting.append((key, pool.submit(attempt, read)))
            if len(waiting) > AHEAD:
                key, picture = waiting.popleft()
                yield key, picture.result()
        while waiting:
            key, picture = waiting.popleft()
            yield key, picture.result()
    finally:
        pool.shutdown(cancel_futures=True)
