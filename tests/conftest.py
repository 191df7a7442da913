"""Tests run on two fake CPU devices in float64, with types and shapes checked, and warnings as errors.

Random keys differ from session to session (on CI the seed is 0); the seed is printed at the top and with every
failure, and `--seed N` brings it back.
"""

import contextlib
import gc
import hashlib
import importlib.metadata
import os
import secrets
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"


def xla_flags() -> list[str]:
    """Two fake devices, and programs compiled as fast as can be: most of the time of the tests is XLA compiling small programs.

    Measured on the tests of medleys with jax 0.10: half the processor time without fusion emitters and at LLVM's level 0.
    """
    flags = ["--xla_force_host_platform_device_count=2", "--xla_backend_optimization_level=0"]
    flags.append("--xla_cpu_parallel_codegen_split_count=1")
    major, minor = importlib.metadata.version("jaxlib").split(".")[:2]
    if (int(major), int(minor)) < (0, 11):  # later ones end the process at this flag
        flags.append("--xla_cpu_use_fusion_emitters=false")
    return flags


os.environ["XLA_FLAGS"] = " ".join([*xla_flags(), os.environ.get("XLA_FLAGS", "")])

# submitit closes all log handlers when it is imported, and absl's (of optax) closes the stream it was made with: pytest's own.
with contextlib.suppress(ImportError):
    import submitit  # noqa: F401

import hypothesis
import pytest
from jaxtyping import install_import_hook


def modules_with_shapes() -> list[str]:
    """The modules that annotate shapes. Elsewhere there are plain types, which mypy checks, and hundreds of thousands of
    calls on words, which cost 20 microseconds more each when they are checked."""
    root = Path(__file__).parents[1]
    shaped = (p for p in sorted((root / "edittheory").rglob("*.py")) if "jaxtyping" in p.read_text("utf-8"))
    return [".".join(path.relative_to(root).with_suffix("").parts) for path in shaped]


install_import_hook(modules_with_shapes(), "beartype.beartype")

import jax

import edittheory  # noqa: F401  (turns float64 on)

slow_first_call = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile(
    "local", deadline=None, print_blob=True, suppress_health_check=slow_first_call
)
hypothesis.settings.register_profile(
    "ci", deadline=None, derandomize=True, database=None, suppress_health_check=slow_first_call
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


class GetKey:
    """Call it for a fresh key; all keys of a test follow from the session's seed and the test's name."""

    def __init__(self, session_seed: int, name: str):
        digest = hashlib.sha256(f"{session_seed} {name}".encode()).digest()
        self.session_seed = session_seed
        self.seed = int.from_bytes(digest[:4], "big")
        self.calls = 0

    def __call__(self) -> jax.Array:
        self.calls += 1
        return jax.random.fold_in(jax.random.key(self.seed), self.calls)

    def __repr__(self) -> str:
        return f"GetKey(--seed {self.session_seed})"


def pytest_collection_finish() -> None:
    """The collector of cycles looks at nothing that was imported, and less often at what tracing makes: 5% less processor time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="seed of all test keys (random without it)")


def session_seed(config: pytest.Config) -> int:
    if not hasattr(config, "test_seed"):
        given = getattr(config, "workerinput", {}).get("test_seed", config.getoption("--seed"))
        fresh = 0 if os.environ.get("CI") else secrets.randbelow(2**31)
        config.test_seed = fresh if given is None else given
    return config.test_seed


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Give every worker of pytest-xdist the seed of the session."""
    node.workerinput["test_seed"] = session_seed(node.config)


def pytest_report_header(config: pytest.Config) -> str:
    return f"test keys: --seed {session_seed(config)}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call):
    report = yield
    if report.failed:
        report.sections.append(("test keys", f"rerun with --seed {session_seed(item.config)}"))
    return report


MOST_MAPPINGS = 40_000
"""A program that XLA compiled holds six memory mappings, and Linux allows a process 65,530 of them: a worker with more dies of a
segmentation fault. After a file that leaves more than this, compiled programs are dropped."""


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Drop compiled programs between two files where there are too many."""
    if nextitem is not None and nextitem.path != item.path and _mappings() > MOST_MAPPINGS:
        jax.clear_caches()


def _mappings() -> int:
    try:
        return Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:  # not Linux
        return 0


@pytest.fixture
def getkey(request: pytest.FixtureRequest) -> GetKey:
    """`getkey()` is a fresh random key; the same ones come back with the same --seed, whatever else is run."""
    return GetKey(session_seed(request.config), request.node.nodeid)
