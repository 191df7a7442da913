"""The PyTorch side of trained_policies.py, run by an interpreter that has torch: a loop over seeds, and all seeds by torch.func.vmap.

The vmapped step is timed eagerly and compiled, compiled also on differences of features taken beforehand, as the loop has them.
"""

import argparse
import array
import json
import time
from pathlib import Path

D, Y, X, N = 32, 128, 8, 1024
RATE = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--torch-seeds", type=int, required=True)
    parser.add_argument("--vmap-seeds", type=int, default=None)
    options = parser.parse_args()
    folder = options.folder
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

    def difference_loss(theta, difference):
        return torch.nn.functional.softplus(-(difference @ theta)).mean()

    gradient = torch.func.vmap(torch.func.grad(loss))
    difference_gradient = torch.func.vmap(torch.func.grad(difference_loss))

    def step(theta, mean, square, count, *given):
        g = (gradient if len(given) == 2 else difference_gradient)(theta, *given)
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g * g
        update = (mean / (1 - 0.9**count)) / (torch.sqrt(square / (1 - 0.999**count)) + 1e-8)
        return theta - RATE * update, mean, square

    def vmapped(step, steps, *given):
        theta = torch.zeros(timed, D, device=device)
        mean, square = torch.zeros_like(theta), torch.zeros_like(theta)
        counts = torch.arange(1, steps + 1, device=device, dtype=torch.float32)
        for count in counts:
            theta, mean, square = step(theta, mean, square, count, *given)
        return theta

    few = options.steps if device == "cuda" else min(options.steps, 50)
    scale = options.steps / few * options.seeds / timed

    def timing(step, *given):
        vmapped(step, 3, *given)
        start = clock()
        vmapped(step, few, *given)
        return (clock() - start) * scale

    table = before[:timed], after[:timed]
    differences = (flat[table[1]] - flat[table[0]],)

    eager, compiled, shorter, problem = timing(step, *table), None, None, None
    try:
        compiled = timing(torch.compile(step), *table)
        shorter = timing(torch.compile(step), *differences)
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
                "vmap_differences": shorter,
                "compile_error": problem,
                "vmap_seeds": timed,
                "difference": difference,
            }
        )
    )


if __name__ == "__main__":
    main()
