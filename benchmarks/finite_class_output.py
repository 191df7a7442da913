"""Sizes, names, table and plot of the benchmark of finite classes."""

from pathlib import Path

BASE = {"K": 256, "X": 8, "Y": 64, "n": 1000, "S": 1024}


SCANS = {
    "S": (1, 8, 64, 512, 4096),
    "K": (16, 64, 256, 1024),
    "n": (100, 300, 1000, 3000, 10000),
    "Y": (8, 16, 64, 256),
}


METHODS = {
    "sharded": "edittheory, all cores",
    "package": "edittheory",
    "one_by_one": "edittheory, set by set",
    "definition": "edittheory, class_loss",
    "numpy": "NumPy loop",
    "numpy_products": "NumPy, products",
}


def plot(rows, device: str, path: Path) -> None:
    """Processor microseconds a trial, which a busy machine disturbs less than wall time, against each size."""
    from paper_figures import style

    looks = {
        "numpy": style.Look("NumPy loop", style.BLACK, "o"),
        "numpy_products": style.Look("NumPy, products", style.ORANGE, "^", "--"),
        "package": style.Look("edittheory", style.BLUE, "s"),
    }
    titles = {
        "S": "S, data sets",
        "K": "K, policies",
        "n": "n, edits in a data set",
        "Y": "Y, responses a context",
    }
    with style.in_style():
        figure, axes = style.new_figure(2, 2, height=4.6, sharey=True)
        for ax, (scan, title) in zip(axes.flat, titles.items(), strict=True):
            drawn = []
            for method, look in looks.items():
                points = [row for row in rows if row["scan"] == scan and row["method"] == method]
                x, y = [row[scan] for row in points], [row["cpu_us_per_trial"] for row in points]
                drawn.append(style.line(ax, x, y, look))
            ax.set(xscale="log", yscale="log", xlabel=title)
            ax.minorticks_off()
            ax.set_xticks(SCANS[scan], [f"{value:,}" for value in SCANS[scan]])
        for ax in axes[:, 0]:
            ax.set_ylabel("processor microseconds a trial")
        fixed = ", ".join(f"{name}={BASE[name]:,}" for name in ("K", "X", "Y", "n"))
        figure.suptitle(f"SUP and PREF on one data set; {fixed} where not varied\n{device}", fontsize=8)
        for ax in axes.flat:
            style.label_ends(ax, ax.get_lines())
        figure.savefig(path)


def show(rows) -> None:
    for row in rows:
        print(
            f"  {METHODS[row['method']]:24s} {row['us_per_trial']:10.1f} us a trial "
            f"{1e6 / row['us_per_trial']:9.0f} trials/s  by processor time "
            f"{row['times_less_cpu_than_products']:5.1f} x NumPy, products, "
            f"{row['times_less_cpu']:6.1f} x NumPy loop  compile {row['compile_seconds']:.1f} s",
            flush=True,
        )
