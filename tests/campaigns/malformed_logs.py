"""200 malformed log files against every `edittheory log` command: each is refused in one line, or its bad lines are counted.

`python -m tests.campaigns.malformed_logs [COUNT]` prints what happened as one JSON line, and exits with 1 if anything but a
refusal or a count came out.
"""

import contextlib
import gzip
import io
import json
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl

from edittheory.logs.command import main

GOOD = {
    "prompt": "Write to Ann.",
    "response": "Hi Ann, see you.",
    "edit": "Dear Ann, see you soon.",
    "source": "mail",
    "document": "d1",
}
ODD = [
    None,
    3,
    -1.5,
    True,
    [],
    {},
    ["a"],
    {"a": 1},
    "",
    " ",
    "\0",
    "\ud800",
    "a" * 10_000,
    float("nan"),
    10**400,
    "é\u2028🙂",
]


def _json(random_: random.Random) -> bytes:
    """Objects with wrong fields, types and values among good ones."""
    lines = []
    for number in range(random_.randint(1, 6)):
        row: dict = {
            **GOOD,
            "document": f"d{number}",
            "log_probability": -3.5,
            "cost": 1.0,
            "time": "2026-01-02",
        }
        for _ in range(random_.randint(0, 3)):
            field = random_.choice(list(row))
            if random_.random() < 0.3:
                row.pop(field)
            else:
                row[field] = random_.choice([*ODD, "x", 5, "2026-99-99", "1e999"])
        lines.append(json.dumps(row))
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _many(random_: random.Random) -> bytes:
    """Enough lines to fit a user to, with wrong fields and broken lines among them."""
    lines = []
    for number in range(240):
        response = random_.choice(["Come at nine.", "Hi all, come at nine.", "Come at nine? 10!"])
        edit = random_.choice(
            [response, "Dear all, " + response, response.rstrip(".?!") + "?", "- " + response]
        )
        row: dict = {
            "prompt": f"p{number}",
            "response": response,
            "edit": edit,
            "document": f"d{number // 3}",
        }
        if random_.random() < 0.15:
            row[random_.choice(list(row))] = random_.choice([*ODD, "x"])
        lines.append(json.dumps(row) if random_.random() < 0.95 else json.dumps(row)[: random_.randrange(40)])
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _broken(random_: random.Random) -> bytes:
    """Good lines with bytes changed, cut or added."""
    data = bytearray("\n".join(json.dumps(GOOD) for _ in range(4)).encode())
    for _ in range(random_.randint(1, 12)):
        place = random_.randrange(len(data))
        what = random_.random()
        if what < 0.4:
            data[place] = random_.randrange(256)
        elif what < 0.7:
            del data[place : place + random_.randint(1, 30)]
            data = data or bytearray(b"{")
        else:
            data[place:place] = bytes(random_.randrange(256) for _ in range(random_.randint(1, 8)))
    return bytes(data)


def _noise(random_: random.Random) -> bytes:
    """Nothing, random bytes, other encodings, deep nesting, line ends of all kinds."""
    kinds: list[Callable[[], bytes]] = [
        lambda: b"",
        lambda: bytes(random_.randrange(256) for _ in range(random_.randint(1, 500))),
        lambda: json.dumps(GOOD).encode("utf-16"),
        lambda: b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n",
        lambda: b"[" * 100_000,
        lambda: b'{"prompt":' * 2_000,
        lambda: b"\n" * 1000,
        lambda: json.dumps([GOOD, 3, None]).encode(),
        lambda: b"\x1f\x8b\x08\x00garbage",
        lambda: b"PAR1" + b"\0" * 50,
    ]
    return random_.choice(kinds)()


def _table(random_: random.Random) -> bytes:
    """Separated values with ragged rows, lone quotes and headers that repeat or lack columns."""
    header = random_.choice(
        ["prompt,response,edit", "prompt,prompt,edit", "a,b", "response,edit,prompt,source", ""]
    )
    cells = ["x", '"x', '"a\nb"', "", "é", '""""', "a,b,c,d", "\0", "x" * 1000]
    rows = [
        ",".join(random_.choice(cells) for _ in range(random_.randint(1, 5)))
        for _ in range(random_.randint(0, 6))
    ]
    return "\n".join([header, *rows]).encode()


def _parquet(random_: random.Random) -> bytes:
    """Columns of other types, and cut files."""
    kinds = [["a", "b"], [1, 2], [1.5, None], [["a"], ["b"]], [True, False], [b"x", b"y"]]
    frame = pl.DataFrame({name: random_.choice(kinds) for name in ("prompt", "response", "edit")})
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    data = buffer.getvalue()
    return data[: random_.randrange(len(data))] if random_.random() < 0.5 else data


def make(number: int, folder: Path) -> Path:
    """The malformed file of that number."""
    random_ = random.Random(number)
    kinds = {".jsonl": (_json, _many, _broken, _noise), ".csv": (_table, _noise), ".tsv": (_table,), ".parquet": (_parquet, _noise),
             ".json": (_noise, _broken), ".jsonl.gz": (_json, _noise), ".log": (_json,)}  # fmt: skip
    ending = list(kinds)[number % len(kinds)]
    data = random_.choice(kinds[ending])(random_)
    if ending.endswith(".gz"):
        data = gzip.compress(data)
        data = data[: random_.randrange(1, len(data) + 1)] if random_.random() < 0.4 else data
    path = folder / f"file{number}{ending}"
    path.write_bytes(data)
    return path


def agent_folder(folder: Path) -> Path:
    """A random agent of a few thousand weights, for `train`."""
    import jax

    from edittheory.language.model.architecture import Architecture
    from edittheory.language.model.byte_bpe import ByteBPE
    from edittheory.language.model.checkpoint_folder import save_folder
    from edittheory.language.model.transformer import Transformer

    tokeniser = ByteBPE.train([GOOD["response"], GOOD["edit"]], 270)
    shape = Architecture(tokeniser.size, 8, 1, 1, 1, 8, 8, max_length=128)
    return save_folder(folder, Transformer.init(jax.random.key(0), shape), tokeniser)


def attack(number: int, folder: Path, agent: Path | None = None) -> dict[str, int]:
    """Exit codes of all commands on one file (`train` only with an agent). Raises AssertionError where something else than a refusal
    or a count came out."""
    path = make(number, folder)
    out_file, page, user, model = (
        folder / f"out{number}{end}" for end in (".jsonl", ".html", ".json", ".model")
    )
    codes = {}
    commands = {
        "check": ["check", path],
        "strict": ["check", path, "--strict"],
        "costs": ["costs", path, "--by", "source"],
        "test": ["test", path, "--by", "source"],
        "advise": ["advise", path],
        "policies": ["advise", path, "--policies", path],
        "export": ["export", path, "--format", "trl-kto", "--out", out_file],
        "diagnose": ["diagnose", path, "--out", page],
        "fit": ["fit", path, "--by", "none", "--features", "2", "--resamples", "1", "--out", user],
    }
    if agent is not None:
        lengths = ["--prompt-length", "64", "--response-length", "64"]
        small = ["--epochs", "1", "--batch", "1", "--rank", "1", "--split", "0.5", *lengths]
        commands["train"] = ["train", path, "--agent", agent, "--loss", "sft", "--out", model, *small]
    made = {"export": out_file, "diagnose": page, "fit": user, "train": model}
    for name, words in commands.items():
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = codes[name] = main([*map(str, words), "--json"])
        said = [line for line in err.getvalue().splitlines() if not line.startswith("note: ")]
        assert code in (0, 2), (number, name, code)
        if code == 2:
            assert out.getvalue() == "" and len(said) == 1 and said[0].startswith("error: "), (
                number,
                name,
                said,
            )
            assert name not in made or not made[name].exists(), (number, name)
        else:
            found = json.loads(out.getvalue())
            assert said == [] and found["read"] >= found.get("used", 0) > 0, (number, name, found)
            assert found["skipped"] == sum(found.get("reasons", {}).values()) or name != "check", (
                number,
                found,
            )
            assert name not in made or made[name].exists(), (number, name)
            if name == "train":
                assert (
                    found["trained_on"] + found["held_out"] + sum(found["dropped"].values()) == found["used"]
                ), (number, found)
            if name == "export":
                assert found["records"] == found["used"] + sum(found["dropped"].values()), (number, found)
    leftover = [one.name for one in folder.iterdir() if one.name.endswith(".tmp")]
    assert not leftover, (number, leftover)
    return codes


def judged(count: int, train_every: int = 4) -> list[tuple[int, str]]:
    """(number, "" or what came out instead of a refusal or a count) of each of `count` files."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        agent = agent_folder(Path(folder) / "agent")
        for number in range(count):
            try:
                attack(number, Path(folder), agent if number % train_every == 0 else None)
                found.append((number, ""))
            except Exception as fault:
                found.append((number, f"{type(fault).__name__}: {fault}"[:300]))
    return found


def campaign(count: int, train_every: int = 1) -> dict[str, int]:
    """Attack with `count` files, with `train` on one in `train_every`; how many check refused or read with their bad lines counted,
    and how many were enough to fit a user to and to train on."""
    with tempfile.TemporaryDirectory() as folder:
        agent = agent_folder(Path(folder) / "agent")
        codes = [attack(n, Path(folder), agent if n % train_every == 0 else None) for n in range(count)]
    return {
        "files": count,
        "refused": sum(c["check"] == 2 for c in codes),
        "counted": sum(c["check"] == 0 for c in codes),
        "fitted": sum(c["fit"] == 0 for c in codes),
        "trained": sum(c.get("train") == 0 for c in codes),
    }


if __name__ == "__main__":
    try:
        print(json.dumps(campaign(int(sys.argv[1]) if len(sys.argv) > 1 else 200)))
    except AssertionError as fault:
        print(f"file, command and what came out: {fault}", file=sys.stderr)
        sys.exit(1)
