"""Training and text generation of the language track's decoder, against PyTorch doing the same.

    python benchmarks/language.py --torch-python ENV/bin/python     # ENV with torch, transformers, trl
    python benchmarks/language.py --torch-python none               # this package alone
    python benchmarks/language.py --part nano                       # only the small decoder on CPU

Part "nano": training steps of the nano decoder (141,632 parameters, 32 rows) on this machine's CPU cores, beside the same
decoder written in plain PyTorch, eager and compiled: same weights, batches and losses (compared over five steps), in
turns, by wall and by processor time; both sides also with the batch's gradient summed over 8 rows at a time.
Part "shape": SmolLM2's shape, 256 + 128 tokens, bfloat16, on a GPU; without one a
small decoder in float32, and the output says so. MFU = training_flops(architecture, sequences, prompt, response) / time
/ peak of the device's bfloat16 matrix products (edittheory.language.model.architecture; the reference's pass is not
counted), and is left out where the peak is not known. Compilation is reported apart. The last line is JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from language_peer import GPU, Torch, cpu_name
from language_their_shape import their_shape

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bfloat16 peak, FLOP/s, of devices by a part of their name."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("all", "nano", "shape"), default="all")
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=5, help="turns of the nano part")
    parser.add_argument("--steps", type=int, default=5, help="steps a turn")
    parser.add_argument("--out", type=Path, default=None, help="folder for language.json")
    parser.add_argument("--toy", action="store_true", help="part shape at its smallest, without a GPU")
    parser.add_argument("--child", choices=("nano", "shape"), default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        result = {"nano": nano, "shape": shape}[options.child](options)
        print(json.dumps(result))
        return
    result: dict = {"benchmark": "language", "cpu": cpu_name(), "cores": len(os.sched_getaffinity(0))}
    for part in ("nano", "shape"):
        if options.part in ("all", part):  # in a process of its own: nano runs on the CPU even where there is a GPU
            command = [sys.executable, __file__, "--child", part, "--torch-python", options.torch_python]
            command += ["--rounds", str(options.rounds), "--steps", str(options.steps)]
            command += ["--toy"] * options.toy
            env = os.environ | ({"JAX_PLATFORMS": "cpu"} if part == "nano" or not GPU else {})
            done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
            *lines, last = done.stdout.splitlines()
            print("\n".join(lines), flush=True)
            result[part] = json.loads(last)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "language.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


# -- the nano decoder on CPU cores ---------------------------------------------------------------------------


def nano(options) -> dict:
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    import edittheory  # noqa: F401
    from edittheory.language.model.architecture import Architecture
    from edittheory.language.model.tensors import disassemble
    from edittheory.language.model.transformer import Transformer, pair_log_probs, token_log_probs

    a = Architecture(544, 64, 2, 4, 4, 16, 192, max_length=256)
    model = Transformer.init(jax.random.key(0), a)
    random, rows = np.random.default_rng(0), 32
    batches = {}
    # As laid out by the track, and with the padding cut that no row of the batch needs: prompts of 26 to 37 tokens,
    # responses of 19 to 57, as the nano world's are. Both sides get the same arrays.
    for name, prompt, response, shortest in (("50+80", 50, 80, (50, 80)), ("37+57", 37, 57, (26, 24))):
        arrays = []
        for width, least in ((prompt, shortest[0]), (response, shortest[1]), (response, shortest[1])):
            arrays.append(random.integers(0, a.vocab_size, (rows, width)))
            arrays.append(random.integers(least, width + 1, rows))
        batches[name] = [array.astype(np.int32) for array in arrays]
    folder = tempfile.TemporaryDirectory()
    np.savez(Path(folder.name) / "weights.npz", **dict(disassemble(model)))
    for name, arrays in batches.items():
        np.savez(Path(folder.name) / f"{name}.npz", *arrays)
    (Path(folder.name) / "architecture.json").write_text(json.dumps(a.identity()))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))

    def sft(model, total, p, pl, e, el, r, rl):
        return -jnp.sum(token_log_probs(model, p, pl, e, el)) / total

    def dpo(model, total, *batch):  # the reference's log-probabilities are constants; 0 here
        edit, response = pair_log_probs(model, *batch)
        return jnp.sum(jax.nn.softplus(-(edit.sum(1) - response.sum(1)))) / rows

    def stepper(loss, micro):
        def step(model, state, *batch):
            total = jnp.sum(batch[3]).astype(jnp.float32)
            parts = jax.tree.map(lambda array: array.reshape(-1, micro, *array.shape[1:]), batch)

            def add(carry, part):
                return jax.tree.map(jnp.add, carry, jax.value_and_grad(loss)(model, total, *part)), None

            zero = jnp.zeros((), jnp.float32), jax.tree.map(jnp.zeros_like, model)
            value, slope = jax.lax.scan(add, zero, parts)[0]
            updates, state = optimizer.update(slope, state, model)
            return optax.apply_updates(model, updates), state, value

        return step

    def run(compiled, arrays, count):
        now, state, losses = model, optimizer.init(model), []
        start, used = time.perf_counter(), time.process_time()
        for _ in range(count):
            now, state, value = compiled(now, state, *arrays)
            losses.append(value)
        jax.block_until_ready(now)
        return (
            (time.perf_counter() - start) / count,
            (time.process_time() - used) / count,
            [float(value) for value in losses],
        )

    torch = Torch(options.torch_python, Path(folder.name), "cpu")
    print(f"nano decoder, {a.parameters:,} parameters, float32, {rows} rows, on {os.cpu_count()} CPU cores")
    result = {"parameters": a.parameters, "rows": rows, "torch": torch.process and torch.about, "cases": []}
    for name, arrays in batches.items():
        arrays = [jnp.asarray(array) for array in arrays]
        for objective, loss in (("sft", sft), ("dpo", dpo)):
            case: dict = {"batch": name, "objective": objective}
            sides, losses = {}, {}
            for micro in (rows, 8):
                side = f"edittheory, {micro} rows at a time"
                start = time.perf_counter()
                lowered = jax.jit(stepper(loss, micro)).lower(model, optimizer.init(model), *arrays)
                compiled = lowered.compile()
                case[f"{side}: compile_seconds"] = round(time.perf_counter() - start, 2)
                sides[side] = partial(run, compiled, arrays)
                losses[side] = sides[side](5)[2]
            for kind, micro in (("eager", rows), ("eager", 8), ("compiled", rows)):
                side = f"PyTorch {kind}, {micro} rows at a time"
                start = time.perf_counter()
                ask = partial(torch.ask, "nano", kind, name, objective, micro)
                if (first := ask(5)) is not None:
                    case[f"{side}: first_seconds"] = round(time.perf_counter() - start, 2)
                    sides[side] = lambda count, ask=ask: tuple(ask(count).values())
                    losses[side] = first["losses"]
            reference = losses[f"edittheory, {rows} rows at a time"]
            apart = max(float(np.max(np.abs(np.subtract(found, reference)))) for found in losses.values())
            turns = {side: [] for side in sides}
            for _ in range(options.rounds):
                for side, take in sides.items():
                    turns[side].append(take(options.steps)[:2])
            print(f"  {name} tokens, {objective}; losses of five steps within {apart:.1e} of each other")
            best = {}
            for side, times in turns.items():
                wall, used = 1e3 * np.median(times, axis=0)
                case[side] = {"wall_ms": round(wall, 2), "processor_ms": round(used, 2)}
                best.setdefault(side.split()[0].strip(","), []).append((used, side))
                print(f"    {side}: {wall:.1f} ms a step, {used:.1f} of processor time", flush=True)
            case["largest_loss_difference"] = apart
            if "PyTorch" in best:  # each side at its best setting, turn by turn
                ours, theirs = (np.array(turns[min(best[who])[1]]) for who in ("edittheory", "PyTorch"))
                ratios = theirs / ours
                case["times_faster_wall"], case["times_faster_processor"] = (
                    np.median(ratios, 0).round(2).tolist()
                )
                print(
                    f"    best against best: {case['times_faster_processor']:.2f} times less processor time (turns:"
                    f" {ratios[:, 1].min():.2f} to {ratios[:, 1].max():.2f}), {case['times_faster_wall']:.2f} by wall"
                )
            result["cases"].append(case)
    torch.close()
    folder.cleanup()
    return result


# -- SmolLM2's shape -----------------------------------------------------------------------------------------


def shape(options) -> dict:
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    import edittheory  # noqa: F401
    from edittheory.language.model.architecture import Architecture, training_flops
    from edittheory.language.model.generation import generate
    from edittheory.language.model.tensors import disassemble
    from edittheory.language.model.transformer import Transformer, pair_log_probs, token_log_probs

    if GPU:
        a, prompt, response = Architecture(49152, 576, 30, 9, 3, 64, 1536, 100_000, max_length=512), 256, 128
        dtype, pairs, sequences, texts, ways = (
            jnp.bfloat16,
            (64, 128),
            128,
            256,
            ((True, False), (True, "light")),
        )
    else:
        sizes, prompt, response, rows = ((4096, 192, 4, 6, 2, 32, 512), 64, 32, 8)
        if options.toy:
            sizes, prompt, response, rows = ((256, 64, 2, 4, 2, 16, 96), 16, 8, 2)
        a = Architecture(*sizes, max_length=512)
        dtype, pairs, sequences, texts, ways = jnp.float32, (rows,), rows, 4 * rows, ((True, False),)
    device = jax.devices()[0]
    kind = device.device_kind if GPU else cpu_name()
    peak = next((value for name, value in PEAKS.items() if GPU and name in kind), None)
    label = "SmolLM2's shape" if GPU else "REDUCED shape, no GPU here"
    title = f"{label}: {a.parameters:,} parameters, {prompt}+{response} tokens, {jnp.dtype(dtype).name}, {kind}"
    print(title)
    model = Transformer.init(jax.random.key(0), a)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-5))
    result: dict = {"title": title, "device": kind, "reduced": not GPU, "peak_flops": peak, "training": []}

    def draw(rows, width):
        return jax.random.randint(jax.random.key(rows + width), (rows, width), 3, a.vocab_size, jnp.int32)

    def losses(unroll, remat):
        settings = {"compute_dtype": dtype, "remat": remat, "unroll": unroll}

        def sft(model, p, pl, e, el, r, rl, reference):
            return -jnp.mean(token_log_probs(model, p, pl, e, el, **settings))

        def dpo(model, p, pl, e, el, r, rl, reference):
            edit, other = pair_log_probs(model, p, pl, e, el, r, rl, **settings)
            return jnp.mean(jax.nn.softplus(-(edit.sum(1) - other.sum(1) - reference)))

        return {"sft": sft, "dpo": dpo}

    cases = [("dpo", count, way) for count in pairs for way in ways] + [
        ("sft", sequences, way) for way in ways
    ]
    for objective, rows, (unroll, remat) in cases:
        loss = losses(unroll, remat)[objective]

        def step(model, state, *batch, loss=loss):
            value, slope = jax.value_and_grad(loss)(model, *batch)
            updates, state = optimizer.update(slope, state, model)
            return optax.apply_updates(model, updates), state, value

        full = lambda width, rows=rows: jnp.full((rows,), width, jnp.int32)  # noqa: E731
        batch = (draw(rows, prompt), full(prompt), draw(rows, response), full(response))
        batch += (draw(rows, response)[::-1], full(response), jnp.zeros((rows,), jnp.float32))
        now, state = jax.tree.map(jnp.copy, model), optimizer.init(model)
        start = time.perf_counter()
        compiled = jax.jit(step, donate_argnums=(0, 1)).lower(now, state, *batch).compile()
        compiling, times = time.perf_counter() - start, []
        for index in range(12 if GPU else 4):
            start = time.perf_counter()
            now, state, value = compiled(now, state, *batch)
            jax.block_until_ready((now, value))
            if index:
                times.append(time.perf_counter() - start)
        seconds = float(np.median(times))
        flops = training_flops(a, rows * (2 if objective == "dpo" else 1), prompt, response)
        case = {
            "objective": objective, "rows": rows, "unroll": unroll, "remat": remat, "rows_per_second": round(rows / seconds, 2),
            "mfu": peak and round(flops / seconds / peak, 4), "compile_seconds": round(compiling, 1), "loss": float(value),
        }  # fmt: skip
        result["training"].append(case)
        share = f", MFU {100 * case['mfu']:.1f}%" if peak else ""
        unit = "pairs/s" if objective == "dpo" else "sequences/s"
        rate = f"{case['rows_per_second']} {unit}{share}"
        print(f"  {objective}, {rows} rows, remat {remat}: {rate}, compiled in {compiling:.0f} s", flush=True)
        del now, state

    light = jax.tree.map(lambda leaf: leaf.astype(dtype), model)
    prompts, lengths, times = draw(texts, prompt), jnp.full((texts,), prompt, jnp.int32), []
    for _ in range(4):  # token -1 never comes, so no row ends early
        start = time.perf_counter()
        found = generate(light, prompts, lengths, response, -1)
        jax.block_until_ready(found)
        times.append(time.perf_counter() - start)
    seconds = float(np.median(times[1:]))
    result["greedy"] = {
        "rows": texts,
        "tokens_per_second": round(texts * response / seconds, 1),
        "compile_seconds": round(times[0] - seconds, 1),
    }
    print(f"  greedy, {texts} rows: {result['greedy']['tokens_per_second']} tokens/s", flush=True)
    if options.torch_python != "none":
        result["theirs"] = their_shape(options, a, light, prompts, found, response, max(pairs), disassemble)
    return result


if __name__ == "__main__":
    main()
