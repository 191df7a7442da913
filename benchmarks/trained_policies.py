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
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from language_peer import cpu_name
from trained_policies_torch import RATE, D, N, X, Y


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
    options = parser.parse_args()
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
            for name in ("vmap_compiled", "vmap_differences"):
                print(f"  torch.func.{name.replace('_', ', ')}: {theirs[name]:.2f} s ({note})")
        else:
            print(f"  torch.func.vmap, compiled: not to be had here ({theirs['compile_error']})")
        names = ("loop", "vmap", "vmap_compiled", "vmap_differences")
        result |= {name: theirs[name] for name in ("torch", "threads", *names)}
        result["largest_difference_of_theta"] = theirs["difference"]
        for name in names:
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
    script = Path(__file__).with_name("trained_policies_torch.py")
    command = [options.torch_python, str(script), str(folder), "--seeds", str(options.seeds)]
    command += ["--steps", str(options.steps), "--torch-seeds", str(options.torch_seeds)]
    if options.vmap_seeds:
        command += ["--vmap-seeds", str(options.vmap_seeds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        print(f"PyTorch side left out: {lines[-1] if lines else 'no output'}")
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
