"""What programs call the figures of a training run: a label of a log to a name of the history.

Train Loss, train_loss, trainLoss, loss/train and "training loss" are one figure. A label is known
by the set of its words, once synonyms are one word and words without meaning are gone; a label
with any other word (aux loss, teacher cer) is another figure and stays unknown.
"""

from __future__ import annotations

import functools
import re

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BETWEEN = re.compile(r"[\s_/.\-@]+")

_PHRASES = (  # in this order, among the words of a label
    ("character error rate", "cer"),
    ("char error rate", "cer"),
    ("label error rate", "cer"),
    ("char error", "cer"),
    ("word error rate", "wer"),
    ("learning rate", "lr"),
    ("gradient norm", "gnorm"),
    ("grad norm", "gnorm"),
    ("batch size", "bsz"),
    ("lock on", "lockon"),
    ("no eos", "noeos"),
    ("without eos", "noeos"),
    ("data wait", "datawait"),
)
_SYNONYMS = {
    **dict.fromkeys(("validation", "valid", "val", "eval", "evaluation", "dev"), "val"),
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("ler", "bcer", "cer"), "cer"),
    **dict.fromkeys(("bwer", "wer"), "wer"),
    **dict.fromkeys(("epochs", "epoch"), "epoch"),
    **dict.fromkeys(("steps", "step", "iteration", "iterations", "iter", "iters"), "step"),
}
_EMPTY = {"avg", "average", "mean", "final", "current", "cur", "new", "running", "set", "the"}

# words of a label, synonyms made one: the name
_NAMES = {
    "train loss": "train_loss",
    "val loss": "val_loss",
    "test loss": "test_loss",
    "loss": "loss",  # of which lines is told from the rest of the log
    "val cer": "val_cer",
    "train cer": "train_cer",
    "test cer": "test_cer",
    "cer": "cer",
    "best cer": "best_cer",
    "best val cer": "best_cer",
    "wer": "val_wer",
    "val wer": "val_wer",
    "train wer": "train_wer",
    "train ctc": "train_ctc",
    "train ctc loss": "train_ctc",
    "ctc loss": "train_ctc",
    "val ctc": "val_ctc",
    "val ctc loss": "val_ctc",
    "train nll": "train_nll",
    "train nll loss": "train_nll",
    "nll loss": "train_nll",
    "val nll": "val_nll",
    "val nll loss": "val_nll",
    "lr": "learning_rate",
    "train lr": "learning_rate",
    "gnorm": "gradient_norm",
    "train gnorm": "gradient_norm",
    "datawait": "data_share",
    "lockon": "lock_on",
    "noeos": "val_without_eos",
    "val noeos": "val_without_eos",
    "beam cer": "val_cer_beam",
    "val beam cer": "val_cer_beam",
    "capped cer": "val_cer_capped",
    "ctc cer": "val_ctc_cer",
    "val ctc cer": "val_ctc_cer",
    "time": "epoch_seconds",
    "epoch time": "epoch_seconds",
    "elapsed": "epoch_seconds",
    "duration": "epoch_seconds",
    "took": "epoch_seconds",
    "step": "step",
    "global step": "step",
    "num updates": "step",
    "epoch": "epoch",
    "num epoch": "planned_epochs",
    "total epoch": "planned_epochs",
    "max epoch": "planned_epochs",
    "bsz": "batch_size",
    "ctc weight": "ctc_weight",
    "val accuracy": "val_accuracy",  # of characters where a word's stands beside it (kraken)
    "val word accuracy": "val_word_accuracy",
    "char accuracy": "char_accuracy",
    "val char accuracy": "char_accuracy",
    "character accuracy": "char_accuracy",
    "val character accuracy": "char_accuracy",
}
_KNOWN = {frozenset(words.split()): name for words, name in _NAMES.items()}
_WHOLE = {  # labels that are known as they stand
    "epochs": "planned_epochs",
    "num_epochs": "planned_epochs",
    "total epochs": "planned_epochs",
    "max_epochs": "planned_epochs",
    "best so far": "best_cer",
    "char train": "train_cer",  # Tesseract's
    "word train": "train_wer",
    "ips": "lines_per_second",  # PaddleOCR's
    **dict.fromkeys(
        ("lines/s", "lines per second", "samples/s", "samples per second", "images/s"),
        "lines_per_second",
    ),
}
RATES = frozenset(  # 1 is 100 %
    "val_cer train_cer test_cer best_cer cer val_wer train_wer val_cer_beam val_ctc_cer "
    "val_cer_capped "
    "val_accuracy val_word_accuracy char_accuracy".split()
)
SETTINGS = frozenset(("planned_epochs", "batch_size", "ctc_weight"))


@functools.lru_cache(maxsize=1000)
def name_of(label: str, part: str = "") -> str | None:
    """The history's name of a label; None for a figure that is not known.

    `part` is `train` or `val` where the line says so once for all its figures.
    """
    plain = label.strip(" -_/").lower()
    if plain in _WHOLE:
        return _WHOLE[plain]
    text = " ".join(_BETWEEN.split(_CAMEL.sub(" ", label.strip()))).lower().strip()
    text = f" {text} "
    for phrase, word in _PHRASES:
        text = text.replace(f" {phrase} ", f" {word} ")
    words = [_SYNONYMS.get(word, word) for word in text.split() if word not in _EMPTY]
    if "loss" in words or "cer" in words:  # an epoch's or a step's mean, in all
        words = [word for word in words if word not in ("epoch", "step", "total")] or words
    if part and words:
        found = _KNOWN.get(frozenset([*words, part]))
        if found is not None:
            return found
    return _KNOWN.get(frozenset(words)) if len(set(words)) == len(words) else None
