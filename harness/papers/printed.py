"""What the shipped source can print: its texts with gaps, and whether a line of a log is one of them.

Every text of a program is taken, whoever prints it: f-strings, `%`, `.format`, sums of texts, the arguments of a call
one after another (`print`, loggers and wrappers of either). What it puts in is a gap: a number where the format says
so, else anything whose words stand somewhere in the source, since labels, keys and names of settings come from there.
So a line that is refused has a word or an order of words that no text of the program makes. A line is walked once for
each text, with the set of places that were reached: the work is the length of the line times that of the text.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from string import Formatter
from typing import Any

from harness.papers.code import Code
from harness.papers.reading import Paper, Papers
from harness.source.fstrings import lower
from harness.source.unwrap import parse, unwrap

_NUMERIC = re.compile(r"[fFeEgGdn%]$")
_PERCENT = re.compile(r"%(?:\(\w{0,60}\))?[-+ #0]{0,5}(?:\d{1,4}|\*)?(?:\.(?:\d{1,4}|\*))?[hlL]?(?P<kind>[a-zA-Z%])")
_VALUE = re.compile(r"[-+]?(?:\d[\d,_]*+(?:\.\d++)?|\.\d++|nan|inf)", re.I)
_EXPONENT = re.compile(r"e[-+]?\d++", re.I)
_WORD = re.compile(r"[A-Za-z]{2,}+")
_MOST_BYTES = 1_000_000
_MOST_TEMPLATES = 20_000
_MOST_PARTS = 120
_MOST_PROGRAMS = 40
#: Statements at the top of a file that starts another one.
_STUB = 12
#: Letters that a text must have of its own to be more than a wrapper around a text from elsewhere.
_OWN_LETTERS = 2
#: Packages that print nothing of a script's, by the first part of their name.
_QUIET = {
    "torch", "numpy", "sentencepiece", "flash_attn", "flash_attn_interface", "triton", "zstandard", "brotli", "zstd",
    "mlx", "huggingface_hub", "tiktoken", "scipy", "einops", "tqdm", "lz4", "fla", "mamba_ssm", "causal_conv1d",
    "cutlass", "transformer_engine", "numba", "datasets", "psutil", "jax", "jaxlib", "tokenizers", "torchao", "modal",
    "matplotlib", "pandas", "setuptools", "yaml", "requests", "constriction", "liger_kernel", "cupy", "xformers",
    "tinygrad", "cffi", "ninja", "packaging", "brotlicffi", "pyarrow", "google", "IPython", "transformers", "sklearn",
    "flash_attn_3", "safetensors", "apex", "bitsandbytes", "runpod", "wandb", "dotenv", "flash_attn_2_cuda", "kernels",
}  # fmt: skip
_SILENT_COMMANDS = {"nvidia-smi", "pip", "git", "gcc", "g++", "nvcc", "lrzip", "cc", "c++", "clang", "xz", "zstd",
                    "brotli", "7z", "apt-get", "sudo", "which"}  # fmt: skip
_LOADS = {"run_path", "run_module", "exec", "import_module", "__import__", "spec_from_file_location", "load_module"}
#: Words without which a file executes no text but its own.
_MAKES = re.compile(r"exec|eval\b|runpy|marshal|CodeType|FunctionType|builtin|sys\.path")
_DIGIT = re.compile(r"\d")
_RUNS = {"run", "Popen", "check_output", "call", "check_call", "system", "popen", "execv", "execvp", "getoutput"}


@dataclass(frozen=True)
class Gap:
    """What a text leaves open.

    Attributes:
        number: only a number fits.
        constant: the number that is put in wherever the program says, None where it is computed.
    """

    number: bool
    constant: float | None = None


Part = str | Gap


@dataclass(frozen=True)
class Template:
    """A text of the source: where it stands, what it is made of; `open` where the line may go on behind it."""

    file: str
    line: int
    parts: tuple[Part, ...]
    open: bool = False

    @cached_property
    def longest(self) -> str:
        """Its longest own text, which a line must hold."""
        return max((part for part in self.parts if isinstance(part, str)), key=len, default="")

    @cached_property
    def words(self) -> frozenset[str]:
        """Its own words, in lower case."""
        return frozenset(word.lower() for part in self.parts if isinstance(part, str) for word in _WORD.findall(part))

    @cached_property
    def shown(self) -> str:
        """The text as people read it, with dots for gaps."""
        return "".join(part if isinstance(part, str) else "…" for part in self.parts)

    @cached_property
    def letters(self) -> int:
        """Letters of its own."""
        return sum(char.isalpha() for part in self.parts if isinstance(part, str) for char in part)


@dataclass
class Program:
    """One file of code, unwrapped and parsed.

    Attributes:
        file: its name.
        text: the innermost source.
        tree: its syntax tree, None where it has none.
        unread: why not all of what it runs is in the text; None where it is.
    """

    file: str
    text: str
    tree: ast.Module | None
    unread: str | None = None
    templates: list[Template] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)
    commands: list[str | None] = field(default_factory=list)
    loads: list[str | None] = field(default_factory=list)
    numbers: dict[str, set[float | None]] = field(default_factory=dict)
    opened: list[tuple[str, int]] = field(default_factory=list)

    @cached_property
    def lower(self) -> str:
        """The text in lower case, in which words are looked up."""
        return self.text.lower()


def program(paper: Paper, tree: ast.Module | None = None, *, helper: bool = False) -> Program:
    """A file of code, read for what it can print.

    Args:
        paper: the file.
        tree: its syntax tree, where that is known and the file does not unpack itself.
        helper: it is a file beside the script.
    """
    text, unread = paper.content[:_MOST_BYTES].decode("utf-8-sig", "replace"), None
    if tree is None and not _MAKES.search(text):
        tree = parse(text) or parse(lower(text))
    if tree is None:
        done = unwrap(text, helper=helper)
        text, unread = done.source, done.unseen
        tree = parse(text) or parse(lower(text))
    if tree is None:
        unread = unread or "it is no Python that can be read"
    found = Program(paper.name, text, tree, "it is too large" if paper.size > _MOST_BYTES else unread)
    if tree is not None:
        _Reader(found).read(tree)
    return found


class Sources:
    """Everything in a folder that may print: the script first, the other files when they are wanted."""

    def __init__(self, papers: Papers, code: Code) -> None:
        self._code, self._folder = code, papers
        needed = [paper for paper in code.needed if paper is not code.script]
        self._others = [*needed, *(one for one in papers.code if one is not code.script and one not in needed)]
        self._programs: dict[int, Program] = {}

    def programs(self, naming: Collection[str] = ()) -> Iterator[Program]:
        """The Python files, the script first; read when they are wanted.

        Args:
            naming: only what the script needs, and of that only files in which one of these words stands.
        """
        python = [one for one in [self._code.script, *self._others] if one is not None and one.name.endswith(".py")]
        for index, paper in enumerate(python[:_MOST_PROGRAMS]):
            if (
                naming
                and index
                and not (paper in self._code.needed and any(word.encode() in paper.content for word in naming))
            ):
                continue
            if index not in self._programs:
                plain = index == 0 and not self._code.packed and not self._code.executes
                plain = plain and self._code.tree is not None and len(self._code.tree.body) > _STUB
                self._programs[index] = program(paper, self._code.tree if plain else None, helper=index > 0)
            yield self._programs[index]

    @cached_property
    def settings(self) -> str:
        """What stands in files of other languages and in settings, in lower case: words that may be printed."""
        names = (".json", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".ipynb")
        kept = [one for one in self._others if not one.name.endswith(".py")]
        kept += [one for one in self._folder.files if one.name.lower().endswith(names) and one.size < _MOST_BYTES]
        return "\n".join(one.content[:_MOST_BYTES].decode("utf-8", "replace") for one in kept).lower()

    @cached_property
    def unread(self) -> str | None:
        """Why the folder's files are not all that runs, in words; None where they are."""
        if self._code.script is None:
            return "the folder holds no script"
        beside = {one.name.rsplit("/", 1)[-1] for one in self._folder.code}
        modules = {name.removesuffix(".py") for name in beside}
        modules |= {part for one in self._folder.code for part in one.name.split("/")[:-1]}
        for one in self.programs():
            if one.unread:
                return f"{one.file}: {one.unread}"
            missing = sorted(one.imports - sys.stdlib_module_names - _QUIET - modules)
            if missing:
                return f"{one.file} imports {missing[0]}, which is not in the folder"
            for load in one.loads:
                if load is None or not self._is_here(load, modules):
                    return f"{one.file} runs code that is not in the folder ({load or 'its name is put together'})"
            for command in one.commands:
                if command is None or command.rsplit("/", 1)[-1] not in _SILENT_COMMANDS | beside:
                    return f"{one.file} starts {command or 'a command that is put together'}, whose output is not known"
        return None

    def _is_here(self, load: str, modules: set[str]) -> bool:
        """Loaded code is a file of the folder or a package that prints nothing; a script does not load itself."""
        if "/" not in load and load.partition(".")[0] in modules | _QUIET | sys.stdlib_module_names:
            return True
        script = self._code.script.name if self._code.script is not None else ""
        plain = load.removeprefix("./")
        return plain != script and any(one.name == plain for one in self._folder.code)

    def printing(self, line: str) -> list[Template]:
        """The texts of the first file that can be this line; empty where no file has one."""
        for one in self.programs():
            if found := printing(one, line, self.settings):
                return found
        return []

    def can_print(self, line: str) -> bool:
        """Whether any file may print a line: a Python file by its texts, one of another language by its words."""
        if self.printing(line):
            return True
        return all(word.lower() in self.settings for word in _WORD.findall(line))

    def nearest(self, line: str) -> Template | None:
        """The text that shares most words with a line, to show what would have been printed."""
        words = {word.lower() for word in _WORD.findall(line)}
        scored = [(len(words & one.words) / (1 + len(one.words ^ words)), one)
                  for source in self._programs.values() for one in source.templates if one.words & words]  # fmt: skip
        return max(scored, key=lambda pair: pair[0], default=(0.0, None))[1]

    def says(self, word: str) -> bool:
        """A word stands somewhere in the code or the settings of the folder, whatever the case."""
        looked_for = word.lower()
        return any(looked_for in one.lower for one in self.programs()) or looked_for in self.settings


def printing(source: Program, line: str, also: str = "") -> list[Template]:
    """The texts of a program that can be this line.

    Args:
        source: the program.
        line: of a log, without what a launcher put in front of it.
        also: further text, in lower case, whose words may be put in.
    """
    line = line.strip()
    words = [(at + one.start(), at + one.end()) for at, token in _tokens(line) for one in _WORD.finditer(token)]
    alien = [(start, end) for start, end in words
             if (word := line[start:end].lower()) not in source.lower and word not in also]  # fmt: skip
    starts = {0}
    for one in source.templates:
        if one.open and one.longest in line:
            starts |= _reach(one.parts, line, alien, {0})
    found = []
    for one in source.templates:
        if one.longest in line and len(line) in _reach(one.parts, line, alien, starts):
            found.append(one)
    return found


def _tokens(line: str) -> Iterator[tuple[int, str]]:
    """(place, token) of the parts between blanks, without paths: those are whoever ran it's own."""
    at = 0
    for token in line.split(" "):
        if "/" not in token:
            yield at, token
        at += len(token) + 1


def _reach(parts: Sequence[Part], line: str, alien: Sequence[tuple[int, int]], starts: set[int]) -> set[int]:
    """Where in the line a text may end that begins at one of `starts`."""
    places = starts
    for part in parts:
        if not places:
            return places
        if isinstance(part, str):
            places = {at + len(part) for at in places if line.startswith(part, at)}
        elif part.number:
            places = {end for at in places for end in _numbers(line, at)}
        else:
            first = min(places)
            wall = next((start for start, end in alien if end > first), len(line))
            places = set(range(first, max(wall, first) + 1))
    return places


def _numbers(line: str, at: int) -> Iterator[int]:
    """Where a number may end that begins at a place, with blanks around it where it was padded."""
    begin = at
    while begin < len(line) and line[begin] == " ":
        begin += 1
    match = _VALUE.match(line, begin)
    if match is None:
        return
    ends = [match.end()]
    if (power := _EXPONENT.match(line, match.end())) is not None:
        ends.append(power.end())
    if line[ends[-1] : ends[-1] + 1] == "%":
        ends.append(ends[-1] + 1)
    for end in ends:
        yield end
        while end < len(line) and line[end] == " ":
            end += 1
            yield end


class _Reader:
    """Collects what a program can print from its syntax tree, in one walk."""

    def __init__(self, found: Program) -> None:
        self.found = found
        self.later: list[tuple[ast.expr, frozenset[str], bool]] = []
        self.known: set[int] = set()

    def read(self, tree: ast.Module) -> None:
        """Walk the tree once; texts are put together when all names are known."""
        stack: list[tuple[ast.AST, frozenset[str]]] = [(tree, frozenset())]
        while stack:
            node, given = stack.pop()
            kind = type(node)
            if kind in _FUNCTIONS:
                given = given | self._given(node)
            if (take := _TAKES.get(kind)) is not None:
                take(self, node, given)
            if kind in _LEAVES:
                continue
            for value in vars(node).values():
                if type(value) is list:
                    stack += [(one, given) for one in value if isinstance(one, ast.AST)]
                elif isinstance(value, ast.AST):
                    stack.append((value, given))
        for expression, given, goes_on in self.later:
            if len(self.found.templates) < _MOST_TEMPLATES:
                self._text(expression, given, goes_on)

    def _given(self, node: Any) -> frozenset[str]:
        """Names of a function's parameters; what they are is not known."""
        args = node.args
        named = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
        for one in named:
            if one is not None:
                self.found.numbers.setdefault(one.arg, set()).add(None)
        return frozenset(one.arg for one in named if one is not None)

    def _plain(self, node: Any, given: frozenset[str]) -> None:
        """A text without gaps: worth keeping where it holds a number, as every line that matters does."""
        if isinstance(node.value, str) and _DIGIT.search(node.value):
            self.later.append((node, given, False))

    def _formatted(self, node: Any, given: frozenset[str]) -> None:
        self.later.append((node, given, False))

    def _sum(self, node: Any, given: frozenset[str]) -> None:
        if isinstance(node.op, ast.Add | ast.Mod) and _has_text(node):
            self.later.append((node, given, False))

    def _name(self, node: Any, given: frozenset[str]) -> None:
        if isinstance(node.ctx, ast.Store) and id(node) not in self.known:
            self.found.numbers.setdefault(node.id, set()).add(None)

    def _import(self, node: Any, given: frozenset[str]) -> None:
        self.found.imports |= {one.name.partition(".")[0] for one in node.names}

    def _import_from(self, node: Any, given: frozenset[str]) -> None:
        if node.module and not node.level:
            self.found.imports.add(node.module.partition(".")[0])

    def _assigned(self, node: Any, given: frozenset[str]) -> None:
        """Names that are bound to a number that is written out; their stores do not count as unknown ones."""
        target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else node
        target = node.target if isinstance(node, ast.AnnAssign) else target
        value = node.value
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
            if isinstance(value.value, int | float) and not isinstance(value.value, bool):
                self.found.numbers.setdefault(target.id, set()).add(float(value.value))
                self.known.add(id(target))

    def _call(self, node: Any, given: frozenset[str]) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if name == "format" and isinstance(node.func, ast.Attribute) and _has_text(node.func.value):
            self.later.append((node, given, False))
        elif name in _RUNS and (isinstance(node.func, ast.Attribute) or name in ("Popen", "check_output")):
            if _base(node.func) in ("subprocess", "os", "sp", ""):
                self.found.commands.append(_command(node))
        elif name in _LOADS:
            self.found.loads.append(_loaded(node))
        elif name in ("open", "read_text", "read_bytes", "Path", "load", "loadtxt"):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and "." in part.value[1:]:
                    if not _writes(node, name):
                        self.found.opened.append((part.value, node.lineno))
        if not node.args:
            return
        ends = next((one.value for one in node.keywords if one.arg == "end"), None)
        goes_on = ends is not None and not (isinstance(ends, ast.Constant) and "\n" in str(ends.value))
        goes_on = goes_on or (name == "write" and not _ends_line(node.args[0]))
        if goes_on or (len(node.args) > 1 and any(_has_text(one) for one in node.args)):
            self.later.append((node, given, goes_on))

    def _text(self, node: ast.expr, given: frozenset[str], goes_on: bool) -> None:
        """The lines of one text, as templates."""
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") != "format":
            separator = next((one.value for one in node.keywords if one.arg == "sep"), None)
            between: list[Part] = [" " if separator is None else separator.value
                                   if isinstance(separator, ast.Constant) and isinstance(separator.value, str)
                                   else Gap(False)]  # fmt: skip
            parts: list[Part] = []
            for index, one in enumerate(node.args[:40]):
                parts += [*(between if index else []), *self._parts(one)]
            self._add(node, parts, given, goes_on)
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and "%" in first.value:
                self._add(node, self._percent(first.value, None), given, goes_on)
            return
        self._add(node, self._parts(node), given, goes_on)

    def _add(self, node: ast.expr, parts: Sequence[Part], given: frozenset[str], goes_on: bool) -> None:
        for line in _lines(parts, goes_on):
            made = Template(self.found.file, node.lineno, tuple(line), goes_on)
            if not line or len(line) > _MOST_PARTS:
                continue
            if made.letters < _OWN_LETTERS and _from_elsewhere(node, given):
                continue
            self.found.templates.append(made)

    def _parts(self, node: ast.expr) -> list[Part]:
        """What a text is made of."""
        if isinstance(node, ast.Constant):
            return [node.value if isinstance(node.value, str) else str(node.value)]
        if isinstance(node, ast.JoinedStr):
            return [part for one in node.values for part in self._field(one)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and _has_text(node):
            return [*self._parts(node.left), *self._parts(node.right)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
            if isinstance(node.left.value, str):
                return self._percent(node.left.value, node.right)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            if isinstance(node.func.value, ast.Constant) and isinstance(node.func.value.value, str):
                return self._format(node.func.value.value, node)
        return [Gap(False, self._constant(node))]

    def _field(self, node: ast.expr) -> list[Part]:
        if not isinstance(node, ast.FormattedValue):
            return self._parts(node)
        spec = node.format_spec
        texts = [one.value for one in getattr(spec, "values", []) if isinstance(one, ast.Constant)]
        if texts and _NUMERIC.search(str(texts[-1])):
            return [Gap(True, self._constant(node.value))]
        if isinstance(node.value, ast.Constant) and spec is None:
            return self._parts(node.value)
        return [Gap(False, self._constant(node.value))]

    def _percent(self, text: str, values: ast.expr | None) -> list[Part]:
        given = values.elts if isinstance(values, ast.Tuple) else [values] if values is not None else []
        parts: list[Part] = []
        at = index = 0
        for match in _PERCENT.finditer(text):
            parts.append(text[at : match.start()])
            at = match.end()
            if match["kind"] == "%":
                parts.append("%")
                continue
            value = given[index] if index < len(given) else None
            index += 1
            parts.append(Gap(match["kind"] not in "srac", self._constant(value) if value is not None else None))
        return [*parts, text[at:]]

    def _format(self, text: str, call: ast.Call) -> list[Part]:
        parts: list[Part] = []
        try:
            for index, (before, name, spec, _) in enumerate(Formatter().parse(text)):
                parts.append(before)
                if name is not None:
                    value = call.args[index] if not name and index < len(call.args) else None
                    constant = self._constant(value) if value is not None else None
                    parts.append(Gap(bool(spec and _NUMERIC.search(spec)), constant))
        except ValueError:
            return [Gap(False)]
        return parts

    def _constant(self, node: ast.expr) -> float | None:
        """The number that an expression is wherever the program runs; None where it is computed."""
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return float(node.value)
        if isinstance(node, ast.Name):
            known = self.found.numbers.get(node.id, {None})
            return next(iter(known)) if len(known) == 1 else None
        return None


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_LEAVES = {ast.Constant, ast.Name, ast.Load, ast.Store, ast.Del, ast.Pass, ast.Import, ast.ImportFrom, ast.alias}
_TAKES: dict[type[ast.AST], Callable[[_Reader, Any, frozenset[str]], None]] = {
    ast.Constant: _Reader._plain, ast.JoinedStr: _Reader._formatted, ast.BinOp: _Reader._sum, ast.Call: _Reader._call,
    ast.Name: _Reader._name, ast.Assign: _Reader._assigned, ast.AnnAssign: _Reader._assigned,
    ast.Import: _Reader._import, ast.ImportFrom: _Reader._import_from,
}  # fmt: skip


def _lines(parts: Sequence[Part], goes_on: bool) -> Iterator[list[Part]]:
    """A text cut into its lines, without blanks at their ends, texts that follow each other joined.

    Args:
        parts: the text.
        goes_on: its last line may go on, so that blanks at its end count.
    """
    line: list[Part] = []
    for part in parts:
        pieces: Sequence[Part] = part.split("\n") if isinstance(part, str) else [part]
        for index, piece in enumerate(pieces):
            if index:
                yield _stripped(line)
                line = []
            if isinstance(piece, str) and line and isinstance(line[-1], str):
                line[-1] += piece
            elif piece != "":
                line.append(piece)
    yield _stripped(line, goes_on)


def _stripped(line: list[Part], goes_on: bool = False) -> list[Part]:
    if line and isinstance(line[0], str):
        line[0] = line[0].lstrip()
    if line and isinstance(line[-1], str) and not goes_on:
        line[-1] = line[-1].rstrip()
    return [part for part in line if part != ""]


def _has_text(node: ast.expr) -> bool:
    """An expression is, or is put together from, a text that is written out."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.BinOp):
        return _has_text(node.left) or (isinstance(node.op, ast.Add) and _has_text(node.right))
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and _has_text(node.func.value)
    return isinstance(node, ast.JoinedStr)


def _from_elsewhere(node: ast.expr, given: frozenset[str]) -> bool:
    """A text without letters of its own that only hands on what a function is given, or a name."""
    if isinstance(node, ast.JoinedStr):
        values = [one.value for one in node.values if isinstance(one, ast.FormattedValue)]
    elif isinstance(node, ast.Call):
        values = [one.value if isinstance(one, ast.Starred) else one for one in node.args]
    else:
        return not isinstance(node, ast.BinOp) or any(
            isinstance(one, ast.Name) and one.id in given for one in ast.walk(node)
        )
    return any(isinstance(one, ast.Name) and one.id in given for one in values) or all(
        isinstance(one, ast.Name | ast.Constant) for one in values
    )


def _ends_line(node: ast.expr) -> bool:
    """A text that is written ends its line."""
    while isinstance(node, ast.BinOp):
        node = node.right
    if isinstance(node, ast.JoinedStr) and node.values:
        node = node.values[-1]
    return isinstance(node, ast.Constant) and str(node.value).endswith("\n")


def _base(node: ast.expr) -> str:
    return node.value.id if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) else ""


def _command(node: ast.Call) -> str | None:
    """The program that a call starts, None where it is not written out."""
    first = node.args[0] if node.args else None
    if isinstance(first, ast.List | ast.Tuple) and first.elts:
        first = first.elts[0]
    if isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value.split():
        return first.value.split()[0]
    if isinstance(first, ast.JoinedStr) and first.values and isinstance(first.values[0], ast.Constant):
        return next(iter(str(first.values[0].value).split()), None)
    return None


def _loaded(node: ast.Call) -> str | None:
    """The file or module that a call loads code from, None where it is not written out."""
    texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return next((text for text in reversed(texts) if text.endswith(".py")), texts[0] if texts else None)


def _writes(node: ast.Call, name: str) -> bool:
    """A call that opens a file for writing."""
    modes = [*node.args[1:2], *(one.value for one in node.keywords if one.arg == "mode")]
    if name == "open" and isinstance(node.func, ast.Attribute):
        modes = [*node.args[:1], *modes]
    return any(isinstance(one, ast.Constant) and set(str(one.value)) & set("wax+") and len(str(one.value)) < 4
               for one in modes)  # fmt: skip
