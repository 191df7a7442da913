"""The NumPy side of the benchmark of finite classes: from the definition, and over this package's algorithm."""

import numpy as np

from edittheory.learn import class_losses_sets


def numpy_losses(log_class, log_reference, x, y, edit):
    """Mean losses (K,) of SUP and PREF on one data set, from the definition."""
    log_edit, log_response = log_class[:, x, edit], log_class[:, x, y]
    logits = (log_edit - log_reference[x, edit]) - (log_response - log_reference[x, y])
    return -log_edit.mean(axis=1), np.logaddexp(0.0, -logits).mean(axis=1)


def numpy_loop(arrays, count):
    log_class, log_reference, x, y, edit = arrays
    found = [numpy_losses(log_class, log_reference, x[s], y[s], edit[s]) for s in range(count)]
    return tuple(np.array([np.argmin(pair[i]) for pair in found]) for i in range(2))


def numpy_products_loop(arrays, count):
    """The package's algorithm in NumPy, only edited pairs looked at: counts for SUP, counts or products for PREF.

    All logits here are small enough for the first of `class_losses_sets.FACTORS`.
    """
    log_class, log_reference, x, y, edit = arrays
    cells, num_y = log_reference.size, log_reference.shape[1]
    rows = np.ascontiguousarray(log_class.reshape(-1, cells).T)
    sup, pref, factors = [], [], class_losses_sets.FACTORS[0]
    counted = class_losses_sets.counts_cells(cells * num_y, *x.shape)
    if counted:
        h = (log_class - log_reference).transpose(1, 2, 0)
        losses = np.logaddexp(0.0, h[:, :, None] - h[:, None]).reshape(cells * num_y, -1)
    else:
        up = np.exp(rows - log_reference.reshape(cells, 1))
        down = 1.0 / up
    # Two buffers for all data sets: fresh memory for each would cost as much as the products.
    first, second = np.empty((2, x.shape[1], rows.shape[1])) if not counted else (None, None)
    for s in range(count):
        before, after = x[s] * num_y + y[s], x[s] * num_y + edit[s]
        sup.append(np.bincount(after, minlength=cells))
        if counted:
            pref.append(np.argmin(np.bincount(before * num_y + edit[s], minlength=cells * num_y) @ losses))
            continue
        edited = y[s] != edit[s]
        size = int(edited.sum())
        ratio, other = first[:size], second[:size]
        up.take(before[edited], axis=0, out=ratio, mode="clip")
        down.take(after[edited], axis=0, out=other, mode="clip")
        ratio *= other
        ratio += 1.0
        groups = size // factors
        head, rest = ratio[: groups * factors], ratio[groups * factors :]
        product = np.multiply.reduce(head.reshape(factors, groups, -1), axis=0)
        pref.append(np.argmin(np.log(product).sum(axis=0) + np.log(np.multiply.reduce(rest, axis=0))))
    return np.argmax(np.stack(sup) @ rows, axis=1), np.array(pref)


def same_choices(arrays, first, second) -> int:
    """How many choices differ although the losses tie to 1e-12; any other difference is an error."""
    ties = 0
    for kind in range(2):
        for s in np.flatnonzero(first[kind] != second[kind]):
            values = numpy_losses(*arrays[:2], *(part[s] for part in arrays[2:]))[kind]
            gap = abs(values[first[kind][s]] - values[second[kind][s]])
            if gap > 1e-12 * abs(values).max():
                name = ("SUP", "PREF")[kind]
                raise AssertionError(
                    f"{name} on data set {s}: {first[kind][s]} or {second[kind][s]}, {gap:.2g}"
                )
            ties += 1
    return ties
