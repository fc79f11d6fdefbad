"""The miniature's tokenizer, with one token for every word that a caption of Emoji World can contain."""

from __future__ import annotations

import json
from pathlib import Path

from ..grammar import COLOURS, SOLIDS
from .icon_sets import STYLES
from .scenes import NUMBERS, PLACES
from .things import EXTRA_WORDS, plural, sign_words, things

CONTEXT = 20
GLUE = (
    "a an and above at background below beside big bottom drawing emoji label left of on picture right says sign small "
    "some that the top with word in photo to next under over there is are both one"
)


def words() -> list[str]:
    """All words in sorted order, which is a part of the trained model: new words need a new training of CLIP."""
    vocabulary = set(GLUE.split()) | {*COLOURS, *SOLIDS, *EXTRA_WORDS, *sign_words(), *NUMBERS.values(), *PLACES} - {""}
    vocabulary |= {style.adjective for style in STYLES.values() if style.adjective} | {f"{s}s" for s in SOLIDS}
    for thing in things():
        for phrase in thing.phrases:
            vocabulary |= set(phrase.split()) | set(plural(phrase).split())
    return sorted(vocabulary)


def write_tokenizer(folder: Path) -> int:
    """Write the tokenizer in the files that transformers' AutoTokenizer reads, and return the number of tokens.

    The end token has the highest id, because open_clip pools the text at the argmax of the ids.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokens = ["[PAD]", "[UNK]", "[SOT]", *words(), "[EOT]"]
    ids = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Replace("-", " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("removed")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[SOT] $A [EOT]", special_tokens=[("[SOT]", ids["[SOT]"]), ("[EOT]", ids["[EOT]"])]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "bos_token": "[SOT]",
        "eos_token": "[EOT]",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1))
    return len(tokens)
