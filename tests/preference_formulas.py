"""The preference losses written out once more, in plain NumPy and one pair at a time, each as its paper prints it."""

import numpy as np


def log_sigmoid(value):
    return -np.log1p(np.exp(-value)) if value > 0 else value - np.log1p(np.exp(value))


def logistic(value):
    return np.exp(log_sigmoid(value))


def sigmoid(w, y, rw, rl, beta, margin):
    return -log_sigmoid(beta * np.log(np.exp(w - rw) / np.exp(y - rl)) - margin)


def ipo(w, y, rw, rl, tau, _):
    return ((w - rw) - (y - rl) - 1 / (2 * tau)) ** 2


def conservative(w, y, rw, rl, beta, e):
    z = beta * ((w - rw) - (y - rl))
    return -(1 - e) * log_sigmoid(z) - e * log_sigmoid(-z)


def robust(w, y, rw, rl, beta, e):
    z = beta * ((w - rw) - (y - rl))
    return ((1 - e) * -log_sigmoid(z) - e * -log_sigmoid(-z)) / (1 - 2 * e)


def dpo_positive(w, y, rw, rl, beta, weight):
    return -log_sigmoid(beta * ((w - rw) - (y - rl) - weight * max(0.0, rw - w)))


def simpo(w, y, rw, rl, beta, gamma):
    return -log_sigmoid(beta * (w - y - gamma / beta))


def kto(w, y, rw, rl, beta, z0):
    return ((1 - logistic(beta * (w - rw - z0))) + (1 - logistic(beta * (z0 - (y - rl))))) / 2


def apo_zero(w, y, rw, rl, beta, _):
    return (1 - logistic(beta * (w - rw))) + logistic(beta * (y - rl))


def apo_down(w, y, rw, rl, beta, _):
    return logistic(beta * (w - rw)) + (1 - logistic(beta * ((w - rw) - (y - rl))))


def chi_po(w, y, rw, rl, beta, clip):
    phi = [np.exp(a - b) + (a - b) for a, b in ((w, rw), (y, rl))]
    return -log_sigmoid(np.clip(beta * phi[0] - beta * phi[1], -clip, clip))


FORMULAS = {
    function.__name__: function
    for function in (
        sigmoid, ipo, conservative, robust, dpo_positive, simpo, kto, apo_zero, apo_down, chi_po,
    )
}  # fmt: skip
CASES = {
    "sigmoid": [(0.3, 0.0), (1.0, 0.7)],
    "ipo": [(0.1, 0.0), (1.0, 0.0)],
    "conservative": [(1.0, 0.0), (0.5, 0.2)],
    "robust": [(1.0, 0.0), (0.5, 0.2)],
    "dpo_positive": [(0.3, 5.0), (1.0, 0.0)],
    "simpo": [(2.0, 0.5), (1.0, 0.0)],
    "kto": [(0.1, 0.0), (1.0, 0.4)],
    "apo_zero": [(0.1, 0.0), (1.0, 0.0)],
    "apo_down": [(0.1, 0.0), (1.0, 0.0)],
    "chi_po": [(0.2, 20.0), (1.0, 1.5)],
}
"""(scale, option) at which each is tested."""
