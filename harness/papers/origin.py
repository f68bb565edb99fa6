"""Are the logs those of the shipped code? What they show, against what the source can print and arithmetic allows.

A FAIL is only a headline whose line no text of the shipped code makes, where all of that code can be read, and one
whose score stands in the code as a constant. Everything else is a question. Where code cannot be read, or runs
something whose output is not known, nothing is concluded from it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from harness.papers.book import Book
from harness.papers.code import normalised
from harness.papers.collect import Case
from harness.papers.logs import Metric, Run, bare
from harness.papers.printed import Gap, Sources, Template
from harness.papers.reading import Number, Paper, Quote
from harness.papers.reasons import Reason
from harness.source.fstrings import lower
from harness.source.unwrap import parse
from harness.text import brief

_DIGITS = re.compile(r"\d+")
_DECIMAL = re.compile(r"(?<!\d)\d++\.\d++")
_RULE = re.compile(r"={40,}+\s*$")
#: Lines of a block between two rules that may be a source text.
_LEAST_SOURCE = 30
_MOST_SOURCES = 3
_MOST_SHOWN = 3
#: Bytes by which a logged code size may differ from a file's (line ends), and from the text inside a packed one, which
#: is put together with what the wrapper does besides.
_SLACK_BYTES, _SLACK_UNPACKED = 64, 256
#: A seed that comes from outside: an environment variable, an argument, a key.
_SEED = re.compile(r"""["'][\w-]{0,30}?seed[\w-]{0,30}["']""", re.I)
_RAW = re.compile(r"pre[-_ ]?quant|^raw\b|fp32|bf16|post[-_ ]?ema|before[-_ ]quant", re.I)
_QUANTIZED = re.compile(r"roundtrip|quantized|int\d|dequant", re.I)
_AVERAGE = re.compile(r"(?<![A-Za-z])(?:running|cum|cumulative|avg)_(?:val_)?bpb[:=]\s?(?P<bpb>\d{1,3}\.\d{1,12})")
_TOKENS = re.compile(r"(?<![A-Za-z])tokens[:=]\s?(?P<at>\d{1,12})\b")
_PLACE = re.compile(r"(?<![\d/.])(?P<at>\d{1,9})/(?P<of>\d{1,9})(?![\d/.])")
#: Bits per byte that no stretch of text costs on average: a uniform guess costs eight.
_MOST_BITS, _SLACK_BITS = 8.0, 0.5
#: Share of the windows after which a running average weighs all of them alike.
_SETTLED = 0.02


class Tie:
    """A case with its sources, read once for all parts.

    Args:
        case: the folder.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.sources = Sources(case.papers, case.code)

    @cached_property
    def readable(self) -> bool:
        """There is code, and all of it can be read."""
        return self.sources.unread is None

    def line(self, quote: Quote) -> str:
        """The log's line that a quotation is of, without what a launcher put in front."""
        paper = self.case.papers.named(quote.file)
        return bare(paper.lines[quote.line - 1]).strip() if paper is not None else quote.text

    def shapes(self, numbers: Sequence[Number | None]) -> Iterator[tuple[Quote, str]]:
        """The lines of these numbers, those that differ only in digits once."""
        seen: set[str] = set()
        for number in numbers:
            if number is not None:
                line = self.line(number.quote)
                shape = _DIGITS.sub("0", line)
                if shape not in seen and len(line) < 1000:
                    seen.add(shape)
                    yield number.quote, line


def compare(case: Case, book: Book) -> None:
    """All that ties the logs to the code."""
    if not case.headline.carried:
        return
    _arithmetic(case, book)
    if case.code.script is None:
        return
    tie = Tie(case)
    printable = _headline(tie, book)
    _others(tie, book, printable)
    _embedded(tie, book)
    _packed_size(tie, book)
    _seeds(tie, book)
    _reads_itself(tie, book)


def _headline(tie: Tie, book: Book) -> bool:
    """Can the shipped code have printed the lines of the claimed score? True where it can or nothing is known."""
    possible = True
    matched = tie.case.headline.matched
    for quote, line in tie.shapes([one.metric.bpb for one in tie.case.headline.carried]):
        found = tie.sources.printing(line)
        if found:
            _constant(tie, book, quote, found)
            continue
        if tie.sources.can_print(line):
            continue
        if not tie.readable:
            book.apart.append(f"whether the code printed {quote.file}:{quote.line}: {tie.sources.unread}")
            continue
        possible = False
        near = tie.sources.nearest(line)
        text = f"no text of the shipped code can print {quote.file}:{quote.line} ({brief(line, 60)})"
        if near is not None:
            text += f"; the nearest is {near.file}:{near.line}, {brief(near.shown, 70)}"
        scores = near is not None and bool(near.words & {"bpb", "bpc", "bits"})  # else the training script is missing
        (book.contradiction if matched and scores else book.question)(Reason.LINE_NOT_PRINTABLE, text, quote)
    if possible and not book.apart:
        book.agreed.append("lines of the score and texts of the code")
    return possible


def _constant(tie: Tie, book: Book, quote: Quote, found: Sequence[Template]) -> None:
    """A score that stands in the code: every text that can be the line holds it."""
    metric = next(one.metric for one in tie.case.headline.carried if one.metric.bpb.quote == quote)
    written = _written(tie.line(quote), metric.bpb.value)
    if written is None or not all(_holds(one, written, metric.bpb) for one in found):
        return
    one = found[0]
    text = f"{one.file}:{one.line} prints {metric.bpb.value:g} as a constant, and nothing computes the claimed score"
    tell = book.contradiction if tie.case.headline.matched and tie.readable else book.question
    tell(Reason.CONSTANT_SCORE, text, quote)


def _written(line: str, value: float) -> str | None:
    """How a number stands in a line."""
    found = (match[0] for match in _DECIMAL.finditer(line))
    return next((text for text in found if float(text) == value), None)


def _holds(template: Template, written: str, number: Number) -> bool:
    """A text has a number of its own where the line has the score."""
    for part in template.parts:
        if isinstance(part, Gap):
            if part.constant is not None and abs(part.constant - number.value) <= number.half * 1.01:
                return True
        elif written in part:
            return True
    return False


def _others(tie: Tie, book: Book, printable: bool) -> None:
    """Sizes, clocks, seeds and token counts of the runs that carry the claim."""
    if not printable:
        return  # said already of the line that matters most
    runs = tie.case.carried
    numbers: list[Number | None] = []
    for run in runs:
        numbers += [*run.code.values(), *(one.bytes for one in run.totals), *run.models.values()]
        numbers += [run.stop, run.seed, run.val_tokens, run.last_time]
    missing = [(quote, line) for quote, line in tie.shapes(numbers) if not tie.sources.can_print(line)]
    names = _unknown_settings(tie, runs)
    if not (missing or names):
        return
    if not tie.readable:
        book.apart.append(f"whether the code printed the logs' other lines: {tie.sources.unread}")
        return
    if missing:
        shown = "; ".join(f"{quote.file}:{quote.line} ({brief(line, 50)})" for quote, line in missing[:_MOST_SHOWN])
        more = f" and {len(missing) - _MOST_SHOWN} more" if len(missing) > _MOST_SHOWN else ""
        book.question(
            Reason.LINES_NOT_PRINTABLE,
            f"no text of the shipped code can print {shown}{more}",
            *(quote for quote, _ in missing),
        )
    if names:
        first = next(run.setting_lines[names[0]] for run in runs if names[0] in run.setting_lines)
        book.question(
            Reason.SETTINGS_UNKNOWN,
            f"the logs list settings that no code of the folder names: {', '.join(names[:6])}",
            first,
        )


def _unknown_settings(tie: Tie, runs: Sequence[Run]) -> list[str]:
    """Names in the dumps of hyperparameters that stand nowhere in the folder's code."""
    names: dict[str, None] = {}
    for run in runs:
        lines = {quote.line: name for name, quote in run.setting_lines.items()}
        paper = tie.case.papers.named(run.file)
        at = min(lines, default=0)
        if paper is None or at < 2 or "yperparameters" not in paper.lines[at - 2]:
            continue
        while at in lines:  # what follows further down is no dump of settings
            names[lines[at]] = None
            at += 1
    return [name for name in names if not tie.sources.says(name)]


def _embedded(tie: Tie, book: Book) -> None:
    """The source text that a log holds, against the folder's."""
    others: list[tuple[str, int, str, str]] = []
    known: dict[str, tuple[int, str, str] | None] = {}
    for file in dict.fromkeys(run.file for run in tie.case.headline.runs):
        paper = tie.case.papers.named(file)
        for start, text in _blocks(paper) if paper is not None else ():
            if text not in known and len(known) < _MOST_SOURCES:
                known[text] = _difference(tie, book, text)
            if (found := known.get(text)) is not None:
                others.append((file, start + found[0], *found[1:]))
    if others:
        file, line, logged, own = others[0]
        more = f" (and in {len(others) - 1} more logs)" if len(others) > 1 else ""
        script = next(tie.sources.programs()).file
        told = f"line {line} has {_from(logged, own)!r}, {script} {_from(own, logged)!r}"
        quotes = [_quote(tie, one[0], one[1]) for one in others]
        book.question(Reason.OTHER_SOURCE, f"the source text in {file} is not the folder's{more}: {told}", *quotes)


def _blocks(paper: Paper) -> Iterator[tuple[int, str]]:
    """(line, text) of the parts of a log between rules that are a Python source, as far as one can see."""
    lines = paper.lines
    rules = [index for index, line in enumerate(lines) if line.startswith("====") and _RULE.match(line)]
    for begin, end in zip([-1, *rules], [*rules, len(lines)], strict=True):
        block = lines[begin + 1 : end]
        if end == len(lines) and begin >= 0:
            continue  # behind the last rule comes the run
        if len(block) >= _LEAST_SOURCE and any(line.startswith(("import torch", "from torch")) for line in block):
            first = next(i for i, line in enumerate(block) if line.startswith(("import ", "from ", '"""', "#", "'''")))
            yield begin + 2 + first, "\n".join(line.rstrip() for line in block[first:]).strip()


def _difference(tie: Tie, book: Book, text: str) -> tuple[int, str, str] | None:
    """Where the source text of a log differs from every file of the folder; None where it is one of them."""
    wanted = _squeezed(text)
    programs = list(tie.sources.programs())
    if any(_squeezed(one) == wanted for one in (*(p.text for p in programs), *(_raw(tie, p.file) for p in programs))):
        book.agreed.append("the source text in the logs and the folder's")
        return None
    tree = parse(text) or parse(lower(text))
    if tree is None:
        return None  # cut, or mixed with other output: nothing can be said
    inside = normalised(tree)
    for one in programs:
        other = parse(one.text) or parse(lower(one.text))
        if other is not None and normalised(other) == inside:
            book.agreed.append("the source text in the logs and the folder's, but for comments and layout")
            return None
    return _first_difference(text, programs[0].text)


def _raw(tie: Tie, file: str) -> str:
    paper = tie.case.papers.named(file)
    return "\n".join(paper.lines) if paper is not None else ""


def _squeezed(text: str) -> str:
    """A text without blank lines and blanks at the ends of lines."""
    return "\n".join(line.rstrip() for line in text.replace("\r", "").split("\n") if line.strip())


def _first_difference(text: str, other: str) -> tuple[int, str, str]:
    """(index of the line in the first text, that line, the other text's) where two texts first differ."""
    known = [line.strip() for line in other.split("\n") if _says_something(line)]
    at = index = 0
    for index, line in enumerate(text.split("\n")):
        if not _says_something(line):
            continue
        if at >= len(known) or line.strip() != known[at]:
            return index, line, known[at] if at < len(known) else "nothing"
        at += 1
    return index, "nothing more", known[at] if at < len(known) else "nothing"


def _from(text: str, other: str) -> str:
    """A line from a little before where it differs from another."""
    text, other = text.strip(), other.strip()
    same = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    return brief(text[max(0, same - 40) :], 80)


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _quote(tie: Tie, file: str, line: int) -> Quote | None:
    paper = tie.case.papers.named(file)
    return paper.quote(line - 1) if paper is not None and 0 < line <= len(paper.lines) else None


def _packed_size(tie: Tie, book: Book) -> None:
    """The code size in the logs of a script that unpacks itself: its own bytes, or those of what is inside."""
    code = tie.case.code
    counted = [size for run in tie.case.headline.runs for size in run.code.values()]
    script = next(tie.sources.programs(), None)
    if not code.packed or code.script is None or script is None or script.unread or not counted:
        return
    inside = len(script.text.encode())
    beside = (code.all_files or 0) - code.script.size
    shipped = [*(paper.size for paper in tie.case.papers.code), code.all_files or 0]
    if any(abs(size.value - one) <= _SLACK_BYTES for size in counted for one in shipped) or any(
        abs(size.value - one) <= _SLACK_UNPACKED for size in counted for one in (inside, inside + beside)
    ):
        book.agreed.append("code size in the logs and in the folder")
        return
    sizes = " / ".join(f"{value:,.0f}" for value in sorted({size.value for size in counted}))
    text = f"the logs count {sizes} bytes of code; {code.script.name} has {code.script.size:,}, unpacked {inside:,}"
    book.question(Reason.CODE_SIZE_DIFFERS, text, counted[0])


def _seeds(tie: Tie, book: Book) -> None:
    """Seeds of the logs that the script cannot have: it sets one number and takes none from outside."""
    script = next(tie.sources.programs(), None)
    if script is None or script.tree is None or _SEED.search(script.text) or not tie.readable:
        return
    fixed: set[float] = set()
    for node in ast.walk(script.tree):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {getattr(one, "id", getattr(one, "attr", "")).lower() for one in targets}
            if "seed" in names:
                if not (isinstance(node.value, ast.Constant) and isinstance(node.value.value, int)):
                    return
                fixed.add(node.value.value)
        elif isinstance(node, ast.arg | ast.keyword) and (node.arg or "").lower() == "seed":
            return
    logged = [run.seed for run in tie.case.headline.runs if run.seed]
    alien = [one for one in logged if one.value not in fixed]
    if fixed and alien:
        known = ", ".join(f"{one:g}" for one in sorted(fixed))
        book.question(
            Reason.SEED_NOT_SETTABLE,
            f"{script.file} sets the seed to {known}, and a log says {alien[0].value:g}",
            alien[0],
        )


def _reads_itself(tie: Tie, book: Book) -> None:
    """A script that opens its own folder's log or submission.json to read it has no score of its own."""
    case = tie.case
    names = {run.file.rsplit("/", 1)[-1] for run in case.runs} | {"submission.json"}
    for source in tie.sources.programs(naming=names):
        for name, line in source.opened:
            base = name.rsplit("/", 1)[-1]
            if base in names:
                told = f"{source.file}:{line} reads {base} of its own folder, so that its score may be what it read"
                book.question(Reason.READS_ITS_PAPERS, told, _quote(tie, source.file, line))
                return


def _arithmetic(case: Case, book: Book) -> None:
    """Numbers that a run makes differ and a log shows equal, and averages that jump."""
    _equal(case, book)
    _same_step(case, book)
    for file in dict.fromkeys(run.file for run in case.headline.runs):
        paper = case.papers.named(file)
        if paper is not None and (jump := _jumps(paper)):
            book.question(Reason.AVERAGE_JUMPS, *jump)
            return


def _equal(case: Case, book: Book) -> None:
    """The score before and after quantization, the same to the last of many digits."""
    for run in case.headline.runs:
        raw = [one for one in [*run.metrics, *run.steps[-1:]] if _is_raw(one, run)]
        for one in run.metrics:
            if not _QUANTIZED.search(one.label) or _is_raw(one, run):
                continue
            for other in raw:
                same = one.bpb.value == other.bpb.value and max(one.bpb.half, other.bpb.half) < 1e-6
                if same and (not one.loss or not other.loss or one.loss.value == other.loss.value):
                    text = f"{one.label!r} and {other.label!r} are the same to the last digit, {one.bpb.value}"
                    book.question(
                        Reason.UNCHANGED_BY_QUANTIZATION, f"{text}: quantization changed nothing", other.bpb, one.bpb
                    )
                    return


def _is_raw(metric: Metric, run: Run) -> bool:
    return metric in run.steps or (bool(_RAW.search(metric.label)) and not re.search(r"roundtrip", metric.label, re.I))


def _same_step(case: Case, book: Book) -> None:
    """Two evaluations whose difference is one and the same number in every seed, to the last of many digits."""
    runs = [run for run in case.headline.runs if len(run.metrics) > 1]
    if len({run.seed.value if run.seed else run.file for run in runs}) < 3:
        return
    tables = [{one.kind: one.bpb for one in run.metrics if one.bpb.half < 1e-7} for run in runs]
    shared = sorted(set.intersection(*(set(table) for table in tables)))
    for index, kind in enumerate(shared):
        for other in shared[:index]:
            steps = [table[kind].value - table[other].value for table in tables]
            spread = [table[kind].value for table in tables]
            resolution = 2.2 * max(table[kind].half + table[other].half for table in tables)
            if max(steps) - min(steps) > resolution or abs(steps[0]) <= resolution:
                continue
            if max(spread) - min(spread) > 1e3 * resolution:
                text = f"{kind!r} is {steps[0]:+.3g} BPB from {other!r} in each of {len(runs)} runs, to the last digit"
                book.question(
                    Reason.CONSTANT_DIFFERENCE,
                    text,
                    *(number for table in tables[:3] for number in (table[other], table[kind])),
                )
                return


def _jumps(paper: Paper) -> tuple[str, Quote, Quote] | None:
    """Two lines of one running average between which the text would have cost less than nothing, or too much."""
    before: tuple[int, int, float, int] | None = None
    for index, line in enumerate(paper.lines):
        if "_bpb" not in line or len(line) > 400 or (match := _AVERAGE.search(line)) is None:
            continue
        place, tokens = _PLACE.search(line), _TOKENS.search(line)
        if place is None or not (tokens or "windows" in line or "chunk" in line):
            continue  # batches of documents differ in length, so their number is no weight
        at, of = int((tokens or place)["at"]), int(place["of"])
        bpb, half = float(match["bpb"]), 0.5 * 10.0 ** -len(match["bpb"].partition(".")[2])
        if before is not None and before[1] == of and at > before[0]:
            between = (at * bpb - before[0] * before[2]) / (at - before[0])
            slack = _SLACK_BITS + 2 * half * at / (at - before[0])
            # The first windows score more tokens than the others, so what the first lines weigh is not known.
            if (tokens or before[0] > _SETTLED * of) and not -slack <= between <= _MOST_BITS + slack:
                text = f"a running average goes from {before[2]:g} to {bpb:g} BPB between {before[0]:,} and {at:,}"
                text += f": what lies between would have cost {between:.2f} bits a byte"
                return text, paper.quote(before[3]), paper.quote(index)
        before = (at, of, bpb, index)
    return None


PARTS: list[Callable[[Case, Book], None]] = [compare]
