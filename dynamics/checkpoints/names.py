"""What names of files, folders and keys state: training steps, and which weights they are.

A name may hold many numbers: sizes, rates, dates, seeds, losses. A number counts as a step where a
word beside it says so, or where it is the only number that nothing else explains. A name that can
be read in two ways is never guessed at. Words tell averages over training and other copies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".safetensors", ".th", ".tar", ".model", ".chkpt")

# Copies that editors and training loops put beside a checkpoint while they write or replace it.
ASIDE = re.compile(
    r"\..*|te?mp[-_.].*|.*(~|\((copy|\d{1,2})\)|"
    r"[-_. ](te?mp|bak|backup|part|partial|incomplete|orig|old|swp|copy))",
    re.IGNORECASE | re.DOTALL,
)

_DIGITS = (
    r"(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?:_\d{3})*(?:_000)+|\d+(?:\.\d+)?(?:e\+?\d{1,2}|[km])|\d+)"
)
_NUMBER = _DIGITS + r"(?![a-z\d])"
_BETWEEN = r"[-_=. ]{0,2}"
_STEP = r"(?:[a-z]*steps?|updates?|iterations?|iters?|its?)"


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


# What is taken out of a name first, as these numbers are explained.
_EXPLAINED = tuple(
    _pattern(text)
    for text in (
        # settings of the training that have the word "step" in them
        r"(?<![a-z])(?:warm[-_]?up|max|total|accum\w*?|num|every|n)[-_]?(?:steps?|updates?|iters?)"
        r"[-_=. ]{0,2}\d[\d.]*[km]?",
        r"\d{3,}[-_]of[-_]\d{3,}",  # shards
        r"(?<![a-z\d])(?:v|ver|version|seed|rank|fold|run|exp|trial|job|worker|gpus?|nodes?|shard|part|"
        r"split|rev|layers?|heads?|dims?|width|depth|batch|bs|lr|wd|bits?|sr|rate|hz|khz|size|"
        r"hours?|tokens?|params?|tiny|mini|nano|small|base|medium|large|xl|xlarge|huge|"
        r"librispeech|libri|ls|audioset)[-_=. ]{0,2}\d+(?:\.\d+)*(?:e-?\d+)?[a-z]*(?![a-z\d])",
        r"(?<![a-z])(?:\w*loss|\w*acc|\w*accuracy|wer|cer|per|ppl|score|map|auc|f1|mse|best|\w*metric)"
        r"[-_=. ]{1,2}-?\d+(?:\.\d+)?(?:e-?\d+)?(?![a-z\d])",
        rf"(?<![a-z])(?!(?:\w*{_STEP}|ep(?:och)?s?|checkpoint|ckpt|states?)=)[a-z]\w*=-?[\d.]+(?:e-?\d+)?",
        r"(?<![\d.])\d+\.\d+(?![\d.]|[km](?![a-z\d])|e\+?\d)",
        r"(?<![a-z\d])\d+(?:\.\d+)?[-_ ]?(?:k?hz|h|hrs?|hours?|d|dims?|layers?|heads?|gpus?|bits?|"
        r"ms|s|sec|b|x|shot|way|fold|mels?|bands?)(?![a-z\d])",
    )
)
_EPOCH = _pattern(
    rf"(?<![a-z])ep(?:ochs?)?{_BETWEEN}(\d+)(?![a-z\d])|(?<![a-z\d])(\d+)[-_ ]?epochs?"
)
_DAY = r"(?<!\d)(?:19|20)\d\d([-_.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])"
_DATE = _pattern(
    _DAY + r"(?:[-_T ]{1,2}(?:[01]\d|2[0-3])[-_:.h]?[0-5]\d(?:[-_:.m]?[0-5]\d)?s?)?(?!\d)"
)
_WORD_ENDS = _pattern(rf"{_STEP}{_BETWEEN}$")
_BEFORE = _pattern(rf"{_STEP}{_BETWEEN}({_NUMBER})")
_AFTER = _pattern(rf"(?<![a-z\d.,])({_DIGITS})[-_ ]?{_STEP}(?![a-z])")
_FAIRSEQ = _pattern(r"(?:^|[-_.])checkpoint_(\d+)_(\d+)(?!\d)")
_SERIES = _pattern(rf"(?:checkpoints?|states?|ckpt|chkpt|model|weights){_BETWEEN}({_NUMBER})")
_BARE = _pattern(rf"(?:(?<=^)|(?<=[-_=. \[(])){_NUMBER}(?=$|[-_=. \])])")
_GROUPED = re.compile(r"(?<!\d)(\d{1,3})_(\d{3})(?!\d)")

# Rates of audio that look like steps when a name says "16k".
_RATES = (8_000, 11_000, 16_000, 22_000, 24_000, 32_000, 44_000, 48_000)


@dataclass(frozen=True)
class Reading:
    """What a name says of the training step.

    Attributes
    ----------
    steps : dict of int or None to str
        Each step that it can mean, with the words that say so; None where it may mean none. Empty
        where no number reads as a step, several where it is not clear which does.
    told : bool
        Whether a word such as "step" or "checkpoint" tells it, or the name is nothing but it.
    epoch : bool
        Whether the number counts epochs.
    updates : bool
        Whether a word says that it counts updates.
    """

    steps: dict[int | None, str] = field(default_factory=dict)
    told: bool = False
    epoch: bool = False
    updates: bool = False

    @property
    def unit(self) -> str:
        """What the number counts; empty where no word says it."""
        return "epochs" if self.epoch else "steps" if self.updates else ""

    @property
    def step(self) -> int | None:
        """The step, where there is exactly one reading."""
        return next(iter(self.steps)) if len(self.steps) == 1 else None


def step_from_name(name: str) -> int | None:
    """Training step that a file or folder name states.

    Parameters
    ----------
    name : str
        Last part of a path, for example ``"epoch=10-step=1000.ckpt"``, ``"checkpoint-500"`` or
        ``"step_1.5M.pt"``.

    Returns
    -------
    int or None
        None where the name has no number that reads as a step, or can be read in two ways.
    """
    return read_name(name).step


def read_name(name: str) -> Reading:
    """Read what a name says of the training step.

    Parameters
    ----------
    name : str
        Last part of a path.

    Returns
    -------
    Reading
        Every reading.
    """
    stem = stem_of(name)
    epoch = _EPOCH.findall(stem)
    rest = _EPOCH.sub("|", _DATE.sub(_unless_told, stem))
    for pattern in _EXPLAINED:
        rest = pattern.sub("|", rest)
    told = _told(rest)
    if told:
        return Reading(told, told=True, updates=True)
    fairseq = _FAIRSEQ.search(rest)
    if fairseq:
        return Reading(_fairseq(*fairseq.groups()), told=True, updates=True)
    found = _alone(rest)
    if found:
        series = bool(_SERIES.search(rest)) or rest.strip("[]() ").replace("|", "").isdigit()
        return Reading(found, told=series)
    if epoch:
        number = int(next(filter(None, epoch[-1])))
        return Reading({number: f"epoch {number}"}, told=True, epoch=True)
    return Reading()


def is_aside(name: str) -> bool:
    """Whether a name is that of a hidden file, a backup, or a copy that is being written."""
    return bool(ASIDE.fullmatch(stem_of(name)))


def stem_of(name: str) -> str:
    """Take off the suffixes of a checkpoint and the counter of a name that was taken."""
    stem = name
    while stem.lower().endswith(SUFFIXES):
        stem = stem.rpartition(".")[0]
    return re.sub(r"-v\d+$", "", stem)  # Lightning's counter


def _unless_told(date: re.Match[str]) -> str:
    """Take out a date, but leave a long number that a word says is a step."""
    return date[0] if _WORD_ENDS.search(date.string, 0, date.start()) else "|"


def _told(text: str) -> dict[int | None, str]:
    """Numbers with a word for updates beside them."""
    found: dict[int | None, str] = {}
    for match in (*_BEFORE.finditer(text), *_AFTER.finditer(text)):
        step = _value(match[1])
        if step is None:
            continue
        found[step] = match[0]
        # An underscore may group the digits of one number, or part two numbers.
        group = _GROUPED.match(text, match.start(1))
        if group and group[2] != "000":
            found[int(group[1] + group[2])] = f"{group[0]} as one number"
    return found


def _fairseq(epoch: str, updates: str) -> dict[int | None, str]:
    found: dict[int | None, str] = {int(updates): f"epoch {int(epoch)}, update {int(updates)}"}
    if len(epoch) <= 3 and len(updates) == 3:
        one: dict[int | None, str] = {int(epoch + updates): f"{epoch}_{updates} as one number"}
        found = one if updates == "000" else found | one
    return found


def _alone(text: str) -> dict[int | None, str]:
    """Numbers that nothing explains."""
    found: dict[int | None, str] = {}
    series = {match.start(1): match[1] for match in _SERIES.finditer(text)}
    bare = {match.start(): match[0] for match in _BARE.finditer(text)}
    whole = text.strip("[]() |")
    for start, number in {**bare, **series}.items():
        step = _value(number)
        if step is None:
            continue
        found[step] = number
        sure = start in series and not text[:start].lower().rstrip("-_=. ").endswith("model")
        if sure or number == whole:
            continue
        if number[-1] in "kK" and step in _RATES:
            found[None] = f"a rate of {step // 1000} kHz"
        elif number[-1] in "mM":
            found[None] = f"{number} parameters"
    return found


def _value(number: str) -> int | None:
    """Return the updates that digits with their multiplier mean; None where they are not whole."""
    text = number.replace(",", "").replace("_", "").lower()
    factor = {"k": 10**3, "m": 10**6}.get(text[-1])
    if factor:
        whole = round(float(text[:-1]) * factor)
        return whole if abs(whole - float(text[:-1]) * factor) < 1e-6 * factor else None
    if text.isdigit():
        return int(text)
    value = float(text)
    return int(value) if value.is_integer() and value < 2**63 else None


AVERAGES = ("ema", "swa", "avg", "average", "averaged", "averaging", "polyak", "shadow")
# Copies that a network is trained with; which of two is meant, nobody knows but the user.
_PARTNERS = ("teacher", "target", "momentum", "student", "online")


def is_average(name: str) -> bool:
    """Whether a file or entry by this name holds an average of weights over training."""
    return bool(words(name) & set(AVERAGES))


def has_role(name: str) -> bool:
    """Whether a name says that weights are an average, or one of two copies of a network."""
    return bool(roles(name))


def roles(name: str) -> frozenset[str]:
    """Return the words of a name that say so."""
    return frozenset(words(name) & {*AVERAGES, *_PARTNERS})


def words(name: str) -> set[str]:
    """Split a name into its words, in small letters: ``EMAModel_2`` has ema, model and 2."""
    parted = re.sub(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return set(filter(None, re.split(r"[^a-z\d]+", parted.lower())))


def plain_among(names: Iterable[str]) -> str | None:
    """Return the one of several names that is plainly the trained network's; None where none is."""
    names = list(names)
    for choose in (lambda name: not is_average(name), lambda name: not has_role(name)):
        left = [name for name in names if choose(name)]
        if len(left) == 1:
            return left[0]
        names = left or names
    # ``encoder`` beside ``best_encoder``.
    short = [n for n in names if all(words(n) <= words(other) for other in names)]
    return short[0] if len(short) == 1 else None
