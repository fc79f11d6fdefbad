"""Pictures read ahead of the encoder: in order, bounded, and beside what the consumer does."""

import threading
import time
import warnings

import pytest
from PIL import Image

from latentlab import UserError
from latentlab.io import images, reading


def items(count, read):
    return ((k, lambda k=k: read(k)) for k in range(count))


def test_pictures_come_in_the_order_of_their_keys_and_a_refusal_in_its_place():
    def read(k):
        time.sleep(0.002 * (k % 3))
        if k == 5:
            raise UserError("broken")
        return Image.new("RGB", (k + 1, 1))

    pictures = dict(reading.read_ahead(items(200, read), lambda picture: picture))
    assert [*pictures] == [*range(200)] and str(pictures.pop(5)) == "broken"
    assert all(picture.width == k + 1 for k, picture in pictures.items())


def test_only_so_many_pictures_wait_for_the_encoder():
    started = []
    ahead = reading.read_ahead(items(1000, lambda k: started.append(k) or Image.new("RGB", (1, 1))), lambda p: p)
    next(ahead)
    time.sleep(0.1)
    assert len(started) <= reading.AHEAD + 1
    ahead.close()


def test_pictures_are_read_while_the_encoder_works(monkeypatch):
    """Reading and encoding take 5 ms of waiting each: one after the other that is 10 ms a picture."""
    monkeypatch.setattr(reading, "THREADS", 2)

    def read(k):
        time.sleep(0.005)
        return Image.new("RGB", (1, 1))

    start = time.monotonic()
    for _ in reading.read_ahead(items(60, read), lambda picture: picture):
        time.sleep(0.005)
    assert time.monotonic() - start < 0.85 * 60 * 0.010


def test_another_error_than_a_refusal_reaches_the_consumer():
    with pytest.raises(ZeroDivisionError):
        [*reading.read_ahead(items(3, lambda k: 1 // 0), lambda picture: picture)]


def test_reading_in_threads_leaves_the_filters_of_warnings_as_they_were(tmp_path):
    images.save_png(Image.new("RGB", (4, 4)), tmp_path / "a.png")
    before = [*warnings.filters]
    threads = [
        threading.Thread(target=lambda: [images.open_image(tmp_path / "a.png") for _ in range(30)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
