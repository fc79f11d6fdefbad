"""The diagrams of the pipeline's parts, and of the systems that led to it."""

from .drawing import Box, Diagram
from .pipeline import PIPELINE

STEP = Diagram(
    "A step of DDIM, and its inverse",
    (640, 128),
    {
        "x_t": Box("x_t", 0, 50, 50, "the state with more noise"),
        "decoder": Box("decoder", 96, 50, 84, "predicts the noise ε in x_t, given z_i"),
        "eps": Box("ε", 226, 50, 44, "the predicted noise"),
        "x_0": Box("x̂_0", 316, 50, 50, "the finished picture that ε implies"),
        "mix": Box("√ā_s x̂_0 + √(1-ā_s) ε", 412, 50, 156, "the same noise, less of it"),
        "x_s": Box("x_s", 600, 50, 40, "the state with less noise"),
    },
    (
        ("x_t", "decoder"),
        ("decoder", "eps"),
        ("eps", "x_0"),
        ("x_0", "mix"),
        ("mix", "x_s"),
        ("x_t", "x_0", (25, 50), (25, 22), (341, 22), (341, 48)),
        ("x_s", "x_t", (620, 78), (620, 106), (25, 106), (25, 80)),
    ),
    (
        (183, 15, "x̂_0 = (x_t - √(1-ā_t) ε) / √ā_t"),
        (322, 123, "the inverse step needs ε(x_t), and x_t is unknown: solve for it"),
    ),
)
LATENTS = Diagram(
    "The two latents of a picture",
    (560, 128),
    {
        "picture": Box("picture", 0, 50, 76, "any picture"),
        "CLIP": Box("CLIP", 130, 12, 84, "the image encoder"),
        "inversion": Box("inversion", 130, 88, 84, "the sampler, backwards, given z_i"),
        "z_i": Box("z_i", 264, 12, 50, "what CLIP sees"),
        "x_T": Box("x_T", 264, 88, 50, "everything else"),
        "decoder": Box("decoder", 372, 50, 84, "the sampler, forwards, with η = 0"),
        "same": Box("picture", 484, 50, 76, "the same picture again"),
    },
    (
        ("picture", "CLIP", (38, 50), (38, 26), (128, 26)),
        ("picture", "inversion", (38, 78), (38, 102), (128, 102)),
        ("CLIP", "z_i"),
        ("CLIP", "inversion"),
        ("inversion", "x_T"),
        ("z_i", "decoder", (314, 26), (414, 26), (414, 48)),
        ("x_T", "decoder", (314, 102), (414, 102), (414, 80)),
        ("decoder", "same"),
    ),
    ((372, 18, "what CLIP sees"), (376, 118, "everything else")),
)
PRIOR = Diagram(
    "The sequence that the prior reads",
    (600, 138),
    {
        "tokens": Box("caption's tokens", 0, 20, 124, "the text encoder's outputs, one for each token"),
        "z_t": Box("z_t", 134, 20, 70, "CLIP's text embedding"),
        "time": Box("time", 214, 20, 70, "the timestep"),
        "noised": Box("noised z_i", 294, 20, 92, "the image embedding with noise"),
        "query": Box("query", 396, 20, 70, "a learned vector; its output is the answer"),
        "transformer": Box("causal transformer", 0, 82, 466, "each token sees those before it"),
        "z_i": Box("predicted z_i", 500, 82, 100, "the embedding without noise"),
    },
    (
        ("tokens", "transformer"),
        ("z_t", "transformer"),
        ("time", "transformer"),
        ("noised", "transformer"),
        ("query", "transformer"),
        ("transformer", "z_i"),
        ("z_i", "noised", (550, 82), (550, 4), (340, 4), (340, 18)),
    ),
    ((233, 132, "repeated from pure noise to a z_i; of two samples the one nearer to z_t is kept"),),
)
DECODER = Diagram(
    "What the decoder is conditioned on",
    (600, 140),
    {
        "z_i": Box("z_i", 0, 0, 60, "CLIP's image embedding"),
        "time": Box("timestep", 0, 48, 76, "how much noise there is"),
        "caption": Box("caption", 0, 96, 76, "its text tokens; dropped in half of the training"),
        "sum": Box("projected + embedded", 130, 48, 158, "z_i, projected, is added to the timestep's embedding"),
        "context": Box("4 tokens of z_i, text tokens", 130, 96, 190, "what the decoder attends to"),
        "decoder": Box("decoder", 380, 48, 84, "denoises x_t"),
        "x_t": Box("x_t", 402, 0, 40, "the noised picture"),
        "eps": Box("ε", 510, 48, 44, "the predicted noise"),
    },
    (
        ("z_i", "sum", (60, 14), (209, 14), (209, 46)),
        ("time", "sum"),
        ("caption", "context"),
        ("z_i", "context", (30, 28), (30, 38), (100, 38), (100, 104), (128, 104)),
        ("sum", "decoder"),
        ("context", "decoder", (320, 110), (422, 110), (422, 78)),
        ("x_t", "decoder"),
        ("decoder", "eps"),
    ),
    ((300, 138, "z_i is dropped in a tenth of the training, so that guidance has something to push away from"),),
)
DALLE = Diagram(
    "DALL·E 1: pictures as sentences of tokens",
    (640, 118),
    {
        "picture": Box("picture", 0, 0, 76, "256 × 256 pixels"),
        "encoder": Box("dVAE encoder", 110, 0, 108, "chooses one of 8,192 codes for each place"),
        "tokens": Box("32 × 32 image tokens", 252, 0, 154, "what the transformer learns to write"),
        "decoder": Box("dVAE decoder", 440, 0, 108, "draws a picture from tokens"),
        "drawn": Box("pictures", 574, 0, 66, "up to 512 samples"),
        "caption": Box("caption", 0, 62, 76, "256 text tokens"),
        "transformer": Box("transformer over both", 110, 62, 296, "one token after another"),
        "CLIP": Box("CLIP keeps the best", 440, 62, 134, "ranks the samples by cosine to the caption"),
    },
    (
        ("picture", "encoder"),
        ("encoder", "tokens"),
        ("tokens", "decoder"),
        ("decoder", "drawn"),
        ("caption", "transformer"),
        ("transformer", "tokens"),
        ("drawn", "CLIP", (607, 28), (607, 76), (576, 76)),
    ),
    ((258, 112, "sampling writes the image tokens after the caption, one after another"),),
)
DRAW = Diagram(
    "CLIP draws: the loop",
    (600, 118),
    {
        "canvas": Box("canvas", 0, 0, 76, "strokes, pixels, waves, or a decoder's latents"),
        "picture": Box("picture", 112, 0, 76, "rendered so that gradients pass"),
        "views": Box("random views", 224, 0, 104, "crops, tilts and colours of the picture"),
        "CLIP": Box("CLIP", 364, 0, 60, "the image encoder"),
        "z_i": Box("z_i", 460, 0, 44, "one for each view"),
        "cosine": Box("cosine", 534, 0, 66, "to the caption's z_t, averaged over the views"),
        "caption": Box("caption", 364, 62, 76, "what to draw"),
        "z_t": Box("z_t", 534, 62, 66, "CLIP's text embedding"),
    },
    (
        ("canvas", "picture"),
        ("picture", "views"),
        ("views", "CLIP"),
        ("CLIP", "z_i"),
        ("z_i", "cosine"),
        ("caption", "z_t"),
        ("z_t", "cosine"),
        ("cosine", "canvas", (550, 28), (550, 46), (38, 46), (38, 30)),
    ),
    ((180, 62, "the gradient moves the canvas: a hundred times"),),
)
DIAGRAMS = {
    "pipeline": PIPELINE,
    "step": STEP,
    "latents": LATENTS,
    "prior": PRIOR,
    "decoder": DECODER,
    "dalle": DALLE,
    "draw": DRAW,
}
