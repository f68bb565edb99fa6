"""Run a script in a box, on data of ours, and forks of it; hand back what was seen. Nothing of it is believed.

The folder that it runs in holds its files, our data, and nothing of this machine. Every path is relative to the folder,
because loaders seed themselves from paths and two runs must see the same ones.
"""

from __future__ import annotations

import dataclasses
import json
import re
import select
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError, UsageError
from harness.progress import Progress
from harness.sandbox.box import Box, Exit, Level, Limits, Sandbox
from harness.sandbox.protocol import Kind
from harness.sandbox.wire import MAX_FDS, Wire, WireClosed, WireError, WireTimeout, pair
from harness.scripts.play.streams import Layout, Streams, write
from harness.scripts.play.vocabulary import BOS, json_tokenizer
from harness.scripts.trace.observed import Observed, tidy

Ints = NDArray[np.int64]
Tokens = NDArray[np.uint16]

MODULE = "harness.scripts.inside.worker"
#: What every run imports before the script's first line.
WARM = ("torch", MODULE, "harness.scripts.inside.standins", "harness.scripts.inside.recorder")
#: What a run may use unless the caller says otherwise: tiny models, but 50,000 tensors of bookkeeping.
LIMITS = Limits(memory_bytes=3 << 30, processes=16, cpu_seconds=300.0, output_bytes=4 << 20, file_bytes=512 << 20)
_MOST_BYTES = 1 << 28  # of one answer
#: Large tensors go back to the system when they are freed: text that grows token by token, as scripts generate it,
#: would leave holes of gigabytes behind.
#: What the harness's own code in the box imports before it comes to the script.
_NEEDED = ("numpy", "torch")
_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(8 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
#: Memory of a run with two forks in it, in units of a plain run's peak.
_FORKED = 2.6
#: CPU seconds of a fork at most, in units of a plain run's, and what any may take: what is planned is to be made.
_FORK_SHARE, _FORK_SECONDS = 2.0, 10.0
#: Forks that may be asked for once the first have answered.
FURTHER = 4
#: Seconds for a box to end once all its processes have answered.
_END_SECONDS = 60.0
#: Names that every run sets or takes away, whatever was submitted.
_FIXED = {"RUN_ID": "run", "TOKENIZERS_PARALLELISM": "false", "WANDB_MODE": "disabled", "TRITON_INTERPRET": "1"}
#: A script that compiles C at run time gets to see the machine's compiler, read-only.
_COMPILES = re.compile(r"""["'](?:g\+\+|gcc|cc|c\+\+|clang)["']|cpp_extension|load_inline""")
#: A tokenizer file in JSON by its name, and the size of a script's own alphabet.
_JSON = re.compile(r"""["'][^"'\n]{0,200}?tokenizers?/([\w.\-]{1,100}\.json)["']""")
_BASE = re.compile(r"^BASE_VOCAB(?:_SIZE)?\s*=\s*(\d{1,5})\b", re.M)
_TOOLS = ("/bin", "/usr/bin", "/usr/include", "/usr/libexec", "/usr/local/bin")
_RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_WORLD_SIZE")

More = Callable[[list["Forked"]], "Sequence[Edit]"]


@dataclass(frozen=True)
class Playable:
    """A script and how to run it.

    Attributes:
        entry: file name under which the script runs, "train_gpt.py".
        source: its plain text.
        folder: where its side files are; None for a script that has none.
        side: names of the side files, relative to `folder`.
        env: environment variables, without those of data paths and ranks.
        stages: further variables for each process of the submitted run; most have one, without any.
        argv: arguments after the script's name.
        paths: environment variables that name data -> "dataset", "data_root", "tokenizer", "val_glob",
            "train_glob", alone or with the script's default; the usual names are set in any case.
        sidecar: whether byte counts lie beside the validation tokens; None looks at text and environment.
        thresholds: {"train_gpt.py:12": number}: operands of tests that are to have another value, see
            `harness.scripts.asleep`.
        constants: {"12:NAME": number}: constants at a line of the source that are to have another value.
        exact: whether all arithmetic is to be in float64.
    """

    entry: str
    source: str
    folder: Path | None = None
    side: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    stages: tuple[Mapping[str, str], ...] = ({},)
    argv: tuple[str, ...] = ()
    paths: Mapping[str, str | tuple[str, str | None]] = field(default_factory=dict)
    sidecar: bool | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)
    exact: bool = False

    def texts(self, endings: tuple[str, ...] = (".py",)) -> list[str]:
        """Its source, and the text of the side files whose names end so, as far as they are there."""
        side = [self.folder / name for name in self.side if name.endswith(endings)] if self.folder is not None else []
        return [self.source, *(path.read_text(errors="replace") for path in side if path.is_file())]


def tools(script: Playable) -> list[Path]:
    """What of this machine a box must show for the script to compile C; nothing for most."""
    if not any(_COMPILES.search(text) for text in script.texts()):
        return []
    return [Path(place) for place in _TOOLS if Path(place).is_dir()]


def furnish(folder: Path, script: Playable, streams: Streams) -> Layout:
    """Make the folder that the script runs in.

    Raises:
        UsageError: a side file is missing, or would lie outside.
    """
    folder.mkdir()
    for name in script.side:
        assert script.folder is not None
        source, target = script.folder / name, folder / name
        if not target.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"{name}: a side file must lie inside the script's folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            raise UsageError(f"cannot read the side file {source}: {error.strerror}") from None
    (folder / script.entry).parent.mkdir(parents=True, exist_ok=True)
    (folder / script.entry).write_text(script.source)
    sidecar = _sidecar(script) if script.sidecar is None else script.sidecar
    defaults = sorted(set(re.findall(r"fineweb10B_\w+", script.source)))[:8]
    return write(folder / "data", streams, sidecar=sidecar, datasets=tuple(defaults), other=_json(script, streams))


def _json(script: Playable, streams: Streams) -> tuple[str, bytes]:
    """Name and content of the tokenizer file in JSON that a script reads: the folder's own, else one of ours."""
    name = _other_tokenizer(script)
    if name:
        own = [side for side in script.side if Path(side).name == name]
        own += [side for side in script.side if Path(side).name == "tokenizer.json"]
        if own and script.folder is not None:
            return name, (script.folder / own[0]).read_bytes()
        base = _BASE.search(script.source)
        return name, json_tokenizer(streams.vocab_size, int(base[1]) if base else 0)
    return "", b""


def _other_tokenizer(script: Playable) -> str:
    """The file name of a tokenizer in JSON that is a setting's default, or is written into the source."""
    defaults = [said[1] for said in script.paths.values() if not isinstance(said, str) and said[0] == "tokenizer"]
    found = next((default for default in defaults if default and default.endswith(".json")), None)
    if found is None and "sentencepiece" not in script.source and (written := _JSON.search(script.source)):
        found = written[1]
    return Path(found).name if found else ""


def _sidecar(script: Playable) -> bool:
    """Whether the script reads byte counts from beside the tokens."""
    switch = script.env.get("CASEOPS_ENABLED")
    if switch is None:
        default = re.search(r"""["']CASEOPS_ENABLED["']\s*,\s*["']?(\w+)""", script.source)
        switch = default[1] if default else None
    if switch is not None:
        return switch.lower() not in ("0", "false", "")
    return "val_bytes" in script.source and "fineweb_val_bytes" in script.source


def environment(script: Playable, layout: Layout) -> dict[str, str]:
    """The submitted variables, without ranks; the data's places; what is the same in every run."""
    roles = {
        "dataset": layout.dataset,
        "data_root": layout.data,
        "tokenizer": layout.tokenizer,
        "val_glob": f"{layout.dataset}/fineweb_val_[0-9]*.bin",
        "train_glob": f"{layout.dataset}/fineweb_train_*.bin",
    }
    said = {name: (role, None) if isinstance(role, str) else role for name, role in script.paths.items()}
    named = {name: roles[role] for name, (role, default) in said.items() if role in roles and _ours(role, default)}
    if other := _other_tokenizer(script):
        named["TOKENIZER_PATH"] = f"{Path(layout.tokenizer).parent}/{other}"
    kept = {name: value for name, value in script.env.items() if name not in _RANKS}
    return {**kept, **layout.env, **named, **_FIXED}


def _ours(role: str, default: str | None) -> bool:
    """Whether our data fits: an empty default needs nothing, and a tokenizer may be of another kind."""
    return default is None or (bool(default) and (role != "tokenizer" or default.endswith(".model")))


@dataclass(frozen=True)
class Edit:
    """What one fork changes: the tokens at `positions` (int64 [k]) become `tokens` (uint16 [k])."""

    name: str
    positions: Ints
    tokens: Tokens


def edit(streams: Streams, positions: Ints | Sequence[int], name: str) -> Edit:
    """These positions get the flip's tokens; BOS stays. Without any, what differs all the same is noise."""
    where = np.unique(np.asarray(positions, np.int64))
    where = where[streams.validation[where] != streams.flipped[where]]
    return Edit(name, where, streams.flipped[where])


@dataclass(frozen=True)
class ForkPoint:
    """Where to fork, and into what.

    Attributes:
        event: index of the event just before which the run forks. The batch whose rows are in flight then keeps them:
            choose an event before the pass that is to be tested.
        edits: one child each.
        until: children end just before this event; None lets them run to the script's end.
    """

    event: int
    edits: Sequence[Edit]
    until: int | None = None


@dataclass(frozen=True)
class Forked:
    """A fork's answer.

    Attributes:
        name: of its edit.
        event: where it was forked.
        observed: from the start of the run, the part before the fork included; None where none came.
        problem: why there is none, or why the fork proves nothing (no token was found to edit); empty if all is well.
    """

    name: str
    event: int
    observed: Observed | None
    problem: str = ""


@dataclass(frozen=True)
class Played:
    """A run.

    Attributes:
        observed: what was seen; empty but for `facts` where the box had to be ended.
        forked: in the order of the fork points and their edits.
        level: the sandbox that was in force.
        exit: how the box ended.
        seconds: from the start of the box to its end.
        peak_bytes: of all its processes together.
        cpu_seconds: of all its processes together.
        locations: for `play(replay=...)`: where the targets of every loss were found. Opaque, and not to be believed.
    """

    observed: Observed
    forked: list[Forked]
    level: Level
    exit: Exit
    seconds: float
    peak_bytes: int
    cpu_seconds: float = 0.0
    locations: tuple[NDArray[Any], ...] = ()

    @property
    def cut(self) -> str:
        """Why there is no answer of the run, in words; empty where there is one."""
        return str(self.observed.facts.get("error")) if self.observed.facts.get("ended") == "killed" else ""


def play(
    script: Playable,
    streams: Streams,
    *,
    log: Path,
    forks: Sequence[ForkPoint] = (),
    stop_after_forks: bool = False,
    more: More | None = None,
    record: bool = True,
    replay: Sequence[NDArray[Any]] = (),
    draw: bool = False,
    turn: Mapping[str, Any] | None = None,
    ranks: int = 1,
    limits: Limits = LIMITS,
    sandbox: Sandbox = "auto",
    warm: bool = True,
) -> Played:
    """Run a script from start to end.

    Args:
        script: what to run.
        streams: the data; `streams.validation` may be a flipped stream.
        log: file for its stdout and stderr.
        forks: where to fork; at most 64 edits in all.
        stop_after_forks: end the run itself after the last fork point.
        more: asked once all forks have answered, with their answers; the run, which waits where it was forked last, is
            forked there again for what it gives back, at most `FURTHER` edits. With `stop_after_forks` only.
        record: watch tensor operations; without, only `facts` and the log tell.
        replay: `locations` of a run on a stream of unique tokens, for one on a stream whose tokens repeat: the script
            must take the same path, whatever the tokens are.
        draw: whether to draw a token from each row that is read (`Observed.atom_drawn`).
        turn: a decision by losses that is to come out the other way: name, place, call and element, as
            `Observed.facts["decisions"]` has them.
        ranks: processes that play the script together, as a launcher would start them; more than one is never forked
            for flips, and rank 0 answers for all.
        limits: of the box; forks share them.
        sandbox: level of the box.
        warm: whether the box is a fork of a process that has imported torch, where it can be.

    Raises:
        UsageError: too many edits, edits for several ranks, or a side file is missing.
        SandboxError: no box can be built here.
        HarnessError: the Python of the box lacks what the harness itself needs there.
    """
    edits = [(point, edit) for point in forks for edit in point.edits]
    assert more is None or (edits and stop_after_forks)
    if len(edits) > MAX_FDS:
        raise UsageError(f"{len(edits)} forks; one run forks at most {MAX_FDS} times")
    if edits and ranks > 1:
        raise UsageError(f"a run of {ranks} ranks is not forked; change the stream instead")
    read = tools(script)
    with Box(MODULE, read=read, limits=limits, log=log, env=_MEMORY, sandbox=sandbox, warm=WARM if warm else ()) as box:
        folder = box.scratch / "run"
        layout = furnish(folder, script, streams)
        wires = [pair(max_bytes=_MOST_BYTES) for _ in edits]
        try:
            order = _order(
                script, streams, layout, forks, stop_after_forks, more is not None, record, draw, ranks, turn
            )
            box.wire.send(Kind.PLAY, *order, *replay, fds=[theirs.fileno() for _, theirs in wires])
        except WireError:
            pass  # it ended before it began; the exit says why
        finally:
            for _, theirs in wires:
                theirs.close()
        everyone = [box.wire, *(ours for ours, _ in wires)]
        deadline = time.monotonic() + limits.patience
        answers = _listen(box, dict(enumerate(everyone)), deadline, keep=more is not None)
        if more is not None and 0 not in answers:
            asked = more([_forked(answers, n, one, None, "") for n, one in enumerate(edits, 1)])[:FURTHER]
            ours = _send_further(box, asked)
            edits += [(forks[-1], edit) for edit in asked]
            again = {0: box.wire, **dict(enumerate(ours, len(everyone)))}
            answers |= _listen(box, again, deadline)
        try:
            ended = box.wait(None if box.condemned else _END_SECONDS)
        except TimeoutError:
            ended = box.kill()
    observed, problem, locations = answers.get(0, _NONE)
    lacking = _lacking(observed, ended)
    if lacking:
        raise HarnessError(f"a box cannot start here: {lacking}; `harness doctor` says what is missing")
    cut = ended.message if ended.state not in ("ok", "KL") else ""
    if observed is None:
        observed = Observed(facts={"ended": "killed", "error": cut or problem})
    forked = [_forked(answers, number, one, observed, cut) for number, one in enumerate(edits, 1)]
    return Played(
        observed, forked, box.level, ended, ended.wall_seconds, ended.max_rss_bytes, ended.cpu_seconds, locations
    )


def _lacking(observed: Observed | None, ended: Exit) -> str:
    """What the harness's own code in the box could not import, before it came to the script; "" where it could."""
    if observed is not None:
        said = str(observed.facts.get("error") or "") if observed.facts.get("where") == "harness" else ""
    else:
        said = ended.message if ended.state == "RE" else ""
    found = re.search(rf"ModuleNotFoundError: No module named '({'|'.join(_NEEDED)})[.']", said)
    return found[0] if found else ""


def _forked(
    answers: Mapping[int, _Answer], number: int, one: tuple[ForkPoint, Edit], base: Observed | None, cut: str
) -> Forked:
    point, edit = one
    seen, why, _ = answers.get(number, _NONE)
    return Forked(edit.name, point.event, seen, _problem(seen, why, point, edit, base, cut))


def _problem(seen: Observed | None, why: str, point: ForkPoint, edit: Edit, base: Observed | None, cut: str) -> str:
    """Why there is no answer of a fork, or why the answer proves nothing; `cut`: why the whole box was ended."""
    if seen is None and cut:
        return cut
    if seen is None and base is not None and len(base.event_seq) <= point.event:
        return f"the run ended before event {point.event}; it had {len(base.event_seq)}"
    if seen is None or not len(edit.positions):
        return why
    edited = seen.facts.get("edited")
    if not isinstance(edited, dict) or not edited.get("tokens"):
        return "no validation token was found in the running script"
    return ""


def _order(
    script: Playable,
    streams: Streams,
    layout: Layout,
    forks: Sequence[ForkPoint],
    stop: bool,
    further: bool,
    record: bool,
    draw: bool,
    ranks: int,
    turn: Mapping[str, Any] | None,
) -> list[NDArray[Any]]:
    """What `order.Order.of` unpacks."""
    points = []
    edits: list[Edit] = []
    for number, point in enumerate(forks):
        indices = list(range(len(edits), len(edits) + len(point.edits)))
        edits += point.edits
        last = stop and number == len(forks) - 1
        points.append(
            {
                "event": point.event,
                "until": point.until,
                "variants": indices,
                "last": last,
                "further": last and further,
            }
        )
    facts = {
        "folder": "run",
        "entry": script.entry,
        "scripts": [script.entry, *(name for name in script.side if name.endswith(".py"))],
        "env": environment(script, layout),
        "stages": [{"env": dict(stage), "argv": list(script.argv)} for stage in script.stages],
        "vocab_size": streams.model_size or streams.vocab_size,
        "shards": streams.vocab_size,
        "bos": BOS,
        "record": record,
        "draw": draw,
        "ranks": ranks,
        "forks": points,
        "thresholds": dict(script.thresholds),
        "constants": dict(script.constants),
        "exact": script.exact,
        "turn": None if turn is None else dict(turn),
    }
    header = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    arrays = (streams.position_of, streams.alternative, streams.steps, streams.bos_positions, streams.validation)
    return [header, *arrays, *_flat(edits)]


def _flat(edits: Sequence[Edit]) -> list[NDArray[Any]]:
    """Edits as three arrays: where each begins, positions, tokens."""
    start = np.cumsum([0, *(len(edit.positions) for edit in edits)]).astype(np.int64)
    positions = np.concatenate([np.zeros(0, np.int64), *(edit.positions for edit in edits)])
    tokens = np.concatenate([np.zeros(0, np.uint16), *(edit.tokens for edit in edits)])
    return [start, positions, tokens]


def _send_further(box: Box, edits: Sequence[Edit]) -> list[Wire]:
    """Ask the waiting run for further forks, none to let it end; our ends of their wires."""
    wires = [pair(max_bytes=_MOST_BYTES) for _ in edits]
    try:
        box.wire.send(Kind.PLAY, *_flat(edits), fds=[theirs.fileno() for _, theirs in wires])
    except WireError:
        pass  # it has ended; its wire says so
    finally:
        for _, theirs in wires:
            theirs.close()
    return [ours for ours, _ in wires]


#: What was seen or None, why there is none, and the locations behind it.
_Answer = tuple[Observed | None, str, tuple[NDArray[Any], ...]]
_NONE: _Answer = (None, "it did not answer in time", ())
_FIELDS = len(Observed().to_arrays())


def _listen(box: Box, wires: Mapping[int, Wire], deadline: float, *, keep: bool = False) -> dict[int, _Answer]:
    """One answer of each process, by number, whichever comes first: 0 is the run itself, the others are forks.

    A wire that closes without an answer was never used, or its process died. The box's watchdog ends what takes too
    long; `deadline` is how long it is waited for in any case. `keep`: the run itself is not waited for once its forks
    have answered, and its wire stays open.
    """
    answers: dict[int, _Answer] = {}
    open_ = dict(wires)
    while open_ and not (keep and list(open_) == [0]) and time.monotonic() < deadline:
        ready, _, _ = select.select(list(open_.values()), [], [], min(1.0, max(0.0, deadline - time.monotonic())))
        for index in [index for index, wire in open_.items() if wire in ready]:
            answers[index] = _answer(open_.pop(index), deadline)
        if box.exit is not None and not ready:
            break
    for index, wire in wires.items():
        if index:
            wire.close()
    return answers


def _answer(wire: Wire, deadline: float) -> _Answer:
    try:
        frame = wire.recv(timeout=max(0.1, deadline - time.monotonic()))
    except WireClosed:
        return None, "its process ended without an answer", ()
    except WireTimeout:
        return None, "it did not answer in time", ()
    except WireError as error:
        return None, f"it broke the wire's format: {error}", ()
    if frame.fds:
        frame.close()
        return None, "it sent file descriptors", ()
    if frame.kind != Kind.OBSERVED:
        return None, f"it answered with a frame of unknown kind {frame.kind}", ()
    try:
        observed = Observed.from_arrays(frame.arrays[:_FIELDS])
        observed.facts = tidy(observed.facts)
        return observed, "", frame.arrays[_FIELDS:]
    except ValueError as error:
        return None, f"its answer cannot be read: {error}", ()


@dataclass(frozen=True)
class Runner:
    """How the runs of one audit are made.

    Attributes:
        script: what to play.
        streams: the data of the base run.
        limits: of one box.
        sandbox: level of the box.
        logs: folder for what the runs print.
        ranks: processes that play it together.
        claimed: labels of the printed lines that carry the score, if known.
        progress: told what happens.
        spent: CPU seconds and the peak of resident memory, in bytes, of each run so far, by its name.
    """

    script: Playable
    streams: Streams
    limits: Limits
    sandbox: Sandbox
    logs: Path
    ranks: int = 1
    claimed: frozenset[str] = frozenset()
    progress: Progress = field(default_factory=lambda: Progress(quiet=True))
    spent: dict[str, tuple[float, int]] = field(default_factory=dict)

    def play(
        self,
        name: str,
        streams: Streams,
        forks: list[ForkPoint] | None = None,
        *,
        like: Played | None = None,
        replay: Sequence[NDArray[Any]] = (),
        draw: bool = False,
        turn: Mapping[str, Any] | None = None,
        stop: bool = False,
        more: More | None = None,
    ) -> Played:
        """One run; its output goes to NAME.log. A forked one gets memory and time for copies of one `like` that.

        `stop`: it ends where it was forked, and only its forks go on; `more`: as for `play`.
        """
        room = self.ranks * max(self.limits.memory_bytes, int(_FORKED * like.peak_bytes) if like else 0)
        limits = self.limits.with_more((self.ranks - 1) * self.limits.cpu_seconds) if self.ranks > 1 else self.limits
        count = sum(len(point.edits) for point in forks or []) + (FURTHER if more else 0)
        if like and count:
            limits = limits.with_more(count * (_FORK_SHARE * like.cpu_seconds + _FORK_SECONDS))
        made = play(
            self.script,
            streams,
            log=self.logs / f"{name}.log",
            forks=forks or [],
            stop_after_forks=stop,
            more=more,
            replay=replay,
            draw=draw,
            turn=turn,
            ranks=self.ranks,
            limits=dataclasses.replace(limits, memory_bytes=room),
            sandbox=self.sandbox,
        )
        before, peak = self.spent.get(name, (0.0, 0))
        self.spent[name] = (round(before + made.cpu_seconds, 2), max(peak, made.peak_bytes))
        return made
