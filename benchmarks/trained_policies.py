"""4,096 seeds of log-linear DPO in one call, against the same training in PyTorch, vmapped and one seed at a time.

    python benchmarks/trained_policies.py                      # needs torch in this environment, or
    python benchmarks/trained_policies.py --torch-python ENV/bin/python
    python benchmarks/trained_policies.py --torch-python none  # this package alone

Both sides get the same features, data and Adam steps, and their parameters are compared. The PyTorch loop
precomputes feature differences and takes default `torch.optim.Adam` steps; it is timed on a few seeds and
scaled to all, as is its vmapped form where that is slow (the line says so). Processor times on a CPU, wall
times on a GPU, compiling apart. `floor`: the passes of a step, measured alone. The last line is JSON.
"""

import argparse
import array
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from language_peer import cpu_name

D, Y, X, N = 32, 128, 8, 1024
RATE = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument(
        "--width", type=int, default=None, help="runs taken together (default 4 on CPU, all elsewhere)"
    )
    parser.add_argument("--torch-seeds", type=int, default=6, help="seeds of the PyTorch loop that are timed")
    parser.add_argument("--vmap-seeds", type=int, default=None, help="seeds of torch.func.vmap timed")
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--plot", type=Path, default=None, help="file for the plot of time against seeds")
    parser.add_argument("--worker", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        torch_worker(options.worker, options)
        return
    result, folder = ours(options)
    with folder:
        theirs = torch_side(options, Path(folder.name))
    if theirs:
        print(f"PyTorch {theirs['torch']}, {theirs['threads']} threads")
        print(
            f"  one seed at a time: {theirs['loop']:.1f} s ({options.torch_seeds} timed, scaled to {options.seeds})"
        )
        note = f"{theirs['vmap_seeds']} seeds timed, scaled to {options.seeds}"
        print(f"  torch.func.vmap, eager: {theirs['vmap']:.1f} s ({note})")
        if theirs["vmap_compiled"]:
            print(f"  torch.func.vmap, compiled: {theirs['vmap_compiled']:.1f} s ({note})")
        else:
            print(f"  torch.func.vmap, compiled: not to be had here ({theirs['compile_error']})")
        result |= {name: theirs[name] for name in ("torch", "threads", "loop", "vmap", "vmap_compiled")}
        result["largest_difference_of_theta"] = theirs["difference"]
        for name in ("loop", "vmap", "vmap_compiled"):
            result[f"times_faster_than_{name}"] = theirs[name] and round(theirs[name] / result["seconds"], 2)
    print(json.dumps(result))


# -- this package --------------------------------------------------------------------------------------------


def ours(options):
    import jax

    cpu = not any(Path("/dev").glob("nvidia[0-9]*"))
    if cpu:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
    import jax.numpy as jnp
    import numpy as np
    from ceilings import log_linear_floor

    import edittheory  # noqa: F401
    from edittheory.learn.objectives import LinearPreference, Preference
    from edittheory.learn.policies import LogLinear
    from edittheory.learn.training import Settings, train
    from edittheory.problem import EditDataset

    keys = jax.random.split(jax.random.key(0), 5)
    table = jax.random.normal(keys[0], (X, Y, D)) / np.sqrt(D)

    @jax.jit
    @jax.vmap
    def draw(key):
        """Pairs of responses, ordered by a Bradley-Terry user with a taste of this seed's own."""
        parts = jax.random.split(key, 5)
        taste = 2.0 * jax.random.normal(parts[0], (D,))
        x = jax.random.randint(parts[1], (N,), 0, X)
        pair = jax.random.randint(parts[2], (2, N), 0, Y)
        score = (table @ taste)[x, pair]
        better = jax.random.uniform(parts[3], (N,)) < jax.nn.sigmoid(score[1] - score[0])
        return x, jnp.where(better, pair[0], pair[1]), jnp.where(better, pair[1], pair[0])

    seeds = jax.random.split(keys[1], options.seeds)
    x, response, edit = (np.asarray(leaf, dtype=np.int32) for leaf in draw(seeds))
    model = LogLinear(table, jnp.full((X, Y), -np.log(Y)))
    devices = jax.local_devices()
    settings = Settings(steps=options.steps, chunk=options.steps, width=options.width or (4 if cpu else None))

    clock = time.process_time if cpu else time.perf_counter

    def run(count, objective, settings=settings):
        data = EditDataset(
            *(jnp.asarray(part[:count]) for part in (x, response, edit)), jnp.zeros((count, N))
        )
        start = clock()
        trained = train(model, objective, data, seeds[:count], learning_rate=RATE, settings=settings)
        jax.block_until_ready(trained.params)
        return clock() - start, trained

    name = f"{len(devices)} CPU cores ({cpu_name()})" if cpu else devices[0].device_kind
    print(
        f"{options.seeds} seeds of log-linear DPO, d={D}, Y={Y}, X={X}, n={N}, {options.steps} Adam steps, on {name}"
    )
    sizes = [
        options.seeds >> shift for shift in (4, 3, 2, 1, 0) if options.seeds >> shift >= 32 * len(devices)
    ]
    times, compile_time = {}, 0.0
    for count in sizes or [options.seeds]:
        first, _ = run(count, LinearPreference())
        times[count], trained = run(count, LinearPreference())
        compile_time = max(first - times[count], 0.0)
        print(
            f"  {count:6d} seeds: {times[count]:8.3f} s, {1e6 * times[count] / count / options.steps:6.2f} us a seed and step",
            flush=True,
        )
    tabled = dataclasses.replace(settings, width=16 if cpu else None)
    table_step = 1e6 * [run(count, Preference(), tabled)[0] for _ in range(2)][1] / count / options.steps
    floor = log_linear_floor(16 if cpu else options.seeds, X, Y, D, N)
    step = 1e6 * times[count] / count / options.steps
    # What no step can leave out; what one through a table of scores does besides.
    least = floor["products"] + floor["logistic"]
    passes = least + floor["gather"] + floor["scatter"]
    print(f"  {step:.2f} us a seed and step, products and logistic {least:.2f}")
    print(f"  through a table of scores {table_step:.2f} us, passes alone {passes:.2f}: {floor}")
    if options.plot:
        plot(times, name, options.plot)
    folder = tempfile.TemporaryDirectory()
    timed = max(options.torch_seeds, options.vmap_seeds or (options.seeds if not cpu else 64))
    timed = min(timed, options.seeds)
    pieces = {
        "features": np.asarray(table, np.float32),
        "theta": np.asarray(trained.params[:timed], np.float32),
    }
    pieces |= {"x": x[:timed], "response": response[:timed], "edit": edit[:timed]}
    for label, piece in pieces.items():
        (Path(folder.name) / label).write_bytes(np.ascontiguousarray(piece).tobytes())
    (Path(folder.name) / "timed").write_text(str(timed))
    result = {
        "benchmark": "trained_policies",
        "device": name,
        "seeds": options.seeds,
        "steps": options.steps,
        "seconds": round(times[options.seeds], 4),
        "compile_seconds": round(compile_time, 2),
        "seconds_by_seeds": {str(count): round(value, 4) for count, value in times.items()},
        "clock": "processor" if cpu else "wall",
        "us_a_seed_and_step": round(step, 3),
        "least_us": round(least, 3),
        "times_least": round(step / least, 2),
        "through_table_us": round(table_step, 3),
        "table_passes_alone_us": round(passes, 3),
        "floor": floor,
        "mean_loss": round(float(np.mean(trained.loss)), 6),
    }
    return result, folder


def plot(times: dict[int, float], name: str, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(4, 3), layout="constrained")
    axes.loglog(list(times), list(times.values()), "o-")
    axes.set(xlabel="seeds", ylabel="seconds", title=name)
    axes.title.set_fontsize(8)
    figure.savefig(path)


# -- PyTorch, in an environment of its own -------------------------------------------------------------------


def torch_side(options, folder: Path):
    if options.torch_python == "none":
        return None
    command = [options.torch_python, __file__, "--worker", str(folder), "--seeds", str(options.seeds)]
    command += ["--steps", str(options.steps), "--torch-seeds", str(options.torch_seeds)]
    if options.vmap_seeds:
        command += ["--vmap-seeds", str(options.vmap_seeds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        print(f"PyTorch side left out: {lines[-1] if lines else 'no output'}")
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def torch_worker(folder: Path, options) -> None:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    timed = int((folder / "timed").read_text())

    def load(name, code, kind, shape):
        values = array.array(code)
        values.frombytes((folder / name).read_bytes())
        return torch.frombuffer(values, dtype=kind).clone().reshape(shape).to(device)

    flat = load("features", "f", torch.float32, (X * Y, D))
    theirs = load("theta", "f", torch.float32, (timed, D))
    x, response, edit = (
        load(name, "i", torch.int32, (timed, N)).long() for name in ("x", "response", "edit")
    )
    before, after = x * Y + response, x * Y + edit

    def clock():
        if device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def one(seed):
        difference = flat[after[seed]] - flat[before[seed]]
        theta = torch.zeros(D, device=device, requires_grad=True)
        optimizer = torch.optim.Adam([theta], lr=RATE)
        for _ in range(options.steps):
            optimizer.zero_grad()
            torch.nn.functional.softplus(-(difference @ theta)).mean().backward()
            optimizer.step()
        return theta.detach()

    one(0)
    start = clock()
    found = [one(seed) for seed in range(options.torch_seeds)]
    loop = (clock() - start) / options.torch_seeds * options.seeds
    difference = (torch.stack(found) - theirs[: options.torch_seeds]).abs().max().item()

    def loss(theta, a, b):
        table = flat @ theta
        return torch.nn.functional.softplus(-(table[b] - table[a])).mean()

    gradient = torch.func.vmap(torch.func.grad(loss))

    def step(theta, mean, square, count, a, b):
        g = gradient(theta, a, b)
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g * g
        update = (mean / (1 - 0.9**count)) / (torch.sqrt(square / (1 - 0.999**count)) + 1e-8)
        return theta - RATE * update, mean, square

    def vmapped(step, steps):
        theta = torch.zeros(timed, D, device=device)
        mean, square = torch.zeros_like(theta), torch.zeros_like(theta)
        counts = torch.arange(1, steps + 1, device=device, dtype=torch.float32)
        for count in counts:
            theta, mean, square = step(theta, mean, square, count, before, after)
        return theta

    few = options.steps if device == "cuda" else min(options.steps, 50)
    scale = options.steps / few * options.seeds / timed

    def timing(step):
        vmapped(step, 3)
        start = clock()
        vmapped(step, few)
        return (clock() - start) * scale

    eager, compiled, problem = timing(step), None, None
    try:
        compiled = timing(torch.compile(step))
    except Exception as error:
        problem = str(error).strip().splitlines()[0][:120]
    print(
        json.dumps(
            {
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
                "loop": loop,
                "vmap": eager,
                "vmap_compiled": compiled,
                "compile_error": problem,
                "vmap_seeds": timed,
                "difference": difference,
            }
        )
    )


if __name__ == "__main__":
    main()
