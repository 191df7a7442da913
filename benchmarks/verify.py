"""Where the processor time of `edittheory verify` goes, experiment by experiment: imports, tracing, XLA, executing, drawing.

    python benchmarks/verify.py [--preset quick] [--slow-compiling] [EXPERIMENT ...]
    python benchmarks/verify.py --whole [--preset quick]       # the command itself, first and second run (Linux)

Each experiment runs in a process of its own, then once more with all rows there. Seconds are processor time (all threads), which a busy
machine disturbs less than wall time. Programs are compiled as `edittheory verify` has them compiled; `--slow-compiling` leaves XLA as it
is in `edittheory run`. The last line is JSON.
"""

import argparse
import contextlib
import ctypes
import importlib
import importlib.metadata
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

EVENTS = {
    "/jax/core/compile/jaxpr_trace_duration": "tracing",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lowering",
    "/jax/core/compile/backend_compile_duration": "compiling",
}
PARTS = ("imports", *EVENTS.values(), "confirming", "drawing", "rest")
"""rest: executing programs, rows and reports; confirming: judging what the hunt found, on fresh data and by the oracle."""


class Split:
    """Processor time of this process by part; the innermost open part counts."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.programs = 0
        self._open = ["rest"]
        self._since = 0.0

    def _move(self) -> None:
        now = time.process_time()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def enter(self, part: str) -> None:
        """A part begins."""
        self._move()
        self._open.append(part)

    def leave(self) -> None:
        """The innermost part ends."""
        self._move()
        self._open.pop()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A part as a block."""
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def listen(self) -> None:
        """Count what jax says of its compilations."""
        import jax.monitoring

        def begins(event: str, value: float, **_: object) -> None:
            if event in EVENTS:
                self.programs += EVENTS[event] == "compiling"
                self.enter(EVENTS[event])

        def ends(event: str, seconds: float, **_: object) -> None:
            if event in EVENTS:
                self.leave()

        jax.monitoring.register_scalar_listener(begins)
        jax.monitoring.register_event_duration_secs_listener(ends)

    def wrap(self, owner: object, name: str, part: str) -> None:
        """Count a function as a part."""
        function = getattr(owner, name)

        def counted(*args: object, **options: object) -> object:
            with self.part(part):
                return function(*args, **options)

        setattr(owner, name, counted)


def one(name: str, preset: str, out: str) -> dict[str, float]:
    """Run one experiment in this process, draw its figures, and return its split in seconds."""
    split = Split()
    with split.part("imports"):
        from edittheory.cli import main, studies

        split.listen()
        for package in ("experiments", "paper_figures"):
            importlib.import_module(f"{package}.__main__")
        importlib.import_module(f"experiments.{name}")
        for figure in studies.STUDIES[name].figures:
            importlib.import_module(f"paper_figures.{figure}")
    if name == "falsification":
        from edittheory.claims.hunt import falsify, falsify_bandits, falsify_random

        for owner, function in (
            (falsify, "check_all"),
            (falsify_random.Arena, "confirm"),
            (falsify_bandits, "judge"),
        ):
            split.wrap(owner, function, "confirming")
    with contextlib.redirect_stdout(io.StringIO()):
        code = main.main(["run", name, "--preset", preset, "--out", out])
        with split.part("drawing"):
            for figure in studies.STUDIES[name].figures:
                main.main(["figure", figure, "--results", out, "--out", f"{out}/figures"])
    if code > 1:
        sys.exit(code)
    split.enter("rest")
    found = {part: round(seconds, 2) for part, seconds in split.seconds.items()}
    return {**found, "total": round(time.process_time(), 2), "programs": split.programs}


def whole(preset: str, out: str) -> dict[str, float]:
    """Seconds of wall and processor time of `edittheory verify` with two jobs, processes that it does not wait for included.

    Those come to this process when their parent ends (PR_SET_CHILD_SUBREAPER), so that their time is counted here.
    """
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    words = [sys.executable, "-m", "edittheory", "verify", "--preset", preset, "--out", out, "--jobs", "2"]
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
    wall = time.monotonic() - began
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": round(wall, 1), "processor": round(used, 1)}


def main() -> None:
    """Run all, or one inside a process that this starts."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("experiments", nargs="*")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--slow-compiling", action="store_true")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    known = parser.parse_args()
    if known.inside:
        print(json.dumps(one(known.experiments[0], known.preset, known.inside)))
        return
    if known.whole:
        with tempfile.TemporaryDirectory() as out:
            print(json.dumps({run: whole(known.preset, out) for run in ("first", "second")}))
        return
    from edittheory.cli import studies, verify

    version = importlib.metadata.version("jaxlib")
    result: dict[str, dict[str, dict[str, float]]] = {"first": {}, "second": {}}
    print(f"{'':24}" + "".join(f"{part:>11}" for part in (*PARTS, "total", "programs")))
    with tempfile.TemporaryDirectory() as out:
        for run, found in result.items():
            for name in known.experiments or studies.VERIFIED:
                flags = "" if known.slow_compiling else verify.fast_compiling(name, version)
                environment = os.environ | {"XLA_FLAGS": f"{flags} {os.environ.get('XLA_FLAGS', '')}".strip()}
                words = [sys.executable, __file__, name, "--preset", known.preset, "--inside", out]
                done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
                found[name] = json.loads(done.stdout.splitlines()[-1])
                print(
                    f"{run:7}{name:17}" + "".join(f"{value:>11}" for value in found[name].values()),
                    flush=True,
                )
    print(json.dumps({"preset": known.preset, "slow_compiling": known.slow_compiling, **result}))


if __name__ == "__main__":
    main()
