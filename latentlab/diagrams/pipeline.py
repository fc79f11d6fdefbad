"""The pipeline: what becomes of a caption and of a picture."""

from dataclasses import replace

from .drawing import Box, Diagram

PIPELINE = Diagram(
    "The pipeline",
    (620, 100),
    {
        "caption": Box("caption", 0, 2, 76, "what the picture should show"),
        "text encoder": Box("CLIP", 100, 2, 56, "encodes the caption to z_t"),
        "prior": Box("prior", 180, 2, 60, "samples a z_i that fits a caption's z_t"),
        "z_i": Box("z_i", 266, 2, 44, "CLIP's image embedding: what CLIP sees"),
        "decoder": Box("decoder", 336, 2, 76, "draws a picture from z_i and x_T, step by step"),
        "upsampler": Box("upsampler", 436, 2, 88, "draws the same picture with more pixels"),
        "result": Box("picture", 548, 2, 70, "the picture that comes out"),
        "picture": Box("picture", 0, 60, 76, "a picture of yours, or an example"),
        "image encoder": Box("CLIP", 100, 60, 56, "encodes the picture to z_i"),
        "inversion": Box("inversion", 180, 60, 78, "runs the decoder backwards to the picture's x_T"),
        "x_T": Box("x_T", 282, 60, 44, "the noise that the decoder starts from: everything else"),
    },
    (
        ("caption", "text encoder"),
        ("text encoder", "prior"),
        ("prior", "z_i"),
        ("z_i", "decoder"),
        ("decoder", "upsampler"),
        ("upsampler", "result"),
        ("picture", "image encoder"),
        ("image encoder", "z_i", (128, 60), (128, 45), (288, 45), (288, 32)),
        ("picture", "inversion", (38, 88), (38, 99), (219, 99), (219, 90)),
        ("inversion", "x_T"),
        ("x_T", "decoder", (326, 74), (374, 74), (374, 32)),
    ),
)
# The same boxes and arrows for a phone: x, y and width of each box.
PLACES = {
    "caption": (0, 2, 70),
    "text encoder": (90, 2, 50),
    "prior": (160, 2, 56),
    "z_i": (262, 2, 44),
    "picture": (0, 52, 70),
    "image encoder": (90, 52, 50),
    "inversion": (160, 52, 78),
    "x_T": (262, 52, 44),
    "result": (48, 104, 64),
    "upsampler": (132, 104, 90),
    "decoder": (242, 104, 76),
}
BENDS = {
    ("z_i", "decoder"): ((306, 16), (330, 16), (330, 118), (320, 118)),
    ("image encoder", "z_i"): ((115, 52), (115, 41), (284, 41), (284, 32)),
    ("picture", "inversion"): ((35, 80), (35, 91), (199, 91), (199, 82)),
}
NARROW = replace(
    PIPELINE,
    size=(332, 134),
    boxes={name: replace(PIPELINE.boxes[name], x=x, y=y, width=width) for name, (x, y, width) in PLACES.items()},
    edges=tuple((start, end, *BENDS.get((start, end), ())) for start, end, *_ in PIPELINE.edges),
)
INVERSION = ("picture", "image encoder", "z_i", "inversion", "x_T")
# The boxes of each stage that an experiment may declare.
STAGES: dict[str, tuple[str, ...]] = {
    "CLIP": ("caption", "text encoder", "picture", "image encoder", "z_i"),
    "canvas": ("caption", "text encoder", "picture", "image encoder"),
    "tokens": ("caption", "result"),
    "prior": ("caption", "text encoder", "prior", "z_i"),
    "first stage": INVERSION,
    "inversion": INVERSION,
    "decoder": ("z_i", "x_T", "decoder", "result"),
    "upsampler": ("decoder", "upsampler", "result"),
}
