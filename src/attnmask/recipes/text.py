"""Text as tokens: byte-pair encoding, learned from the training texts only, shared by source and target."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from attnmask.errors import InputError

PAD, BEGIN, END, UNKNOWN = range(4)
SPECIAL = ["[PAD]", "[BEGIN]", "[END]", "[UNKNOWN]"]
FILE = "tokenizer.json"


def learn(texts: Iterable[str], vocabulary: int = 8000) -> Tokenizer:
    """A tokenizer of at most so many tokens; the first four are padding, begin, end and unknown.

    It splits into bytes at worst, so no text is unknown to it.

    >>> tokenizer = learn(["a mask", "a masked mask"], vocabulary=270)
    >>> tokenizer.decode(tokenizer.encode("a mäsk").ids)
    'a mäsk'
    """
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[UNKNOWN]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def learn_or_load(folder: Path, texts: Iterable[str], vocabulary: int = 8000) -> Tokenizer:
    """The tokenizer of an earlier start in this folder, else a new one."""
    return load(folder) if (folder / FILE).exists() else learn(texts, vocabulary)


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the tokenizer into a folder."""
    from attnmask.recipes.learn.checkpoint import replace_file

    replace_file(folder / FILE, tokenizer.to_str(pretty=True).encode())


def load(folder: Path) -> Tokenizer:
    """The tokenizer of a folder.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    try:
        return Tokenizer.from_file(str(folder / FILE))
    except Exception as error:  # the package raises nothing narrower
        raise InputError(
            "the folder of a text recipe holds its tokenizer", f"{folder / FILE}: {error}", "Train it: attnmask train"
        ) from None


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """The token ids of each text."""
    return [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]


def decode(tokenizer: Tokenizer, rows: list[list[int]]) -> list[str]:
    """The text of each list of token ids, without special tokens."""
    return [text.strip() for text in tokenizer.decode_batch(rows, skip_special_tokens=True)]
