"""What a log says about the learners before any of them is trusted: their variance, their disagreement, how much of a response
an edit keeps. Each is in nats or a share, free of the unit of costs as long as beta has it too, and uses nothing but the log.
"""

import numpy as np
from jaxtyping import Float

from edittheory.logs.advice import proxies
from edittheory.logs.advice.judging import Judgement
from edittheory.logs.advice.samples import Sample, group_means, standardised

NAMES = (
    "log n", "accepted", "memory", "noise of cost regression", "noise of DPO", "noise of SFT", "gain",
    "DPO from cost regression", "SFT from cost regression", "SFT from DPO",
    "held out: SFT", "held out: DPO", "held out: SFT+DPO",
)  # fmt: skip
COMPONENTS = 8
"""Principal components of the candidates' log-ratios that stand for features where policies are given."""


def as_features(sample: Sample) -> Sample:
    """The principal components of the log-ratios of candidate policies, as standardised features."""
    middle = group_means(sample.group, sample.response)[sample.group]
    response = sample.response - middle
    values, vectors = np.linalg.eigh(response.T @ response / sample.size)
    kept = np.flatnonzero(values > 1e-9 * max(values[-1], 1e-300))[-COMPONENTS:]
    turn = vectors[:, kept]
    return standardised(sample._replace(response=response @ turn, edit=(sample.edit - middle) @ turn))


def measure(sample: Sample, judged: Judgement, beta: float) -> Float[np.ndarray, " S"]:
    """The statistics of `NAMES` for standardised features and what cross-validation found.

    noise: half the expected squared error of the log-ratio, from the curvature of each loss (costs: from residuals);
    gain: |h|^2 / 2 of SFT+DPO, what there is to learn; memory: slope of the edit's features on the response's, 0 if edits forget
    it, 1 if they leave it; distances between stand-ins in logs, against their noise; held-out values less that of cost regression,
    in standard errors, squashed. Natural logarithms.
    """
    size, response = sample.size, sample.response
    everything = np.ones(size, dtype=bool)
    moved = sample.edit - response
    covariance = response.T @ response / size
    fits = {name: proxies.fit_features(name, sample, everything, beta).weights for name in proxies.LEARNERS}
    eye = proxies.RIDGE / size * np.eye(len(covariance))

    wrong = moved @ fits["DPO"]
    weight = proxies.scipy.special.expit(wrong) * proxies.scipy.special.expit(-wrong)
    curvature = (moved * weight[:, None]).T @ moved / size + eye
    left = sample.cost - response @ (-beta * fits["cost regression"])
    left = left - group_means(sample.group, left)[sample.group]
    noise = {
        "cost regression": np.mean(left**2)
        / beta**2
        * np.trace(covariance @ np.linalg.inv(covariance + eye)),
        "DPO": np.trace(covariance @ np.linalg.inv(curvature)),
        "SFT": np.trace(covariance @ np.linalg.inv(covariance + eye)),
    }
    noise = {name: max(value / (2 * size), 1e-12) for name, value in noise.items()}

    def apart(first: str, second: str) -> float:
        gap = fits[first] - fits[second]
        return float(np.log((gap @ covariance @ gap / 2 + 1e-12) / (noise[first] + noise[second])))

    gain = 0.5 * fits["SFT+DPO"] @ covariance @ fits["SFT+DPO"]
    centred = sample.edit - group_means(sample.group, sample.edit)[sample.group]
    memory = np.sum(centred * response) / max(np.sum(response**2), 1e-12)
    against = judged.value[:3] - judged.value[3]
    held = np.tanh(against / np.maximum(judged.error[3, :3], 1e-12) / 2)
    return np.array([
        np.log(size), np.mean(np.all(moved == 0, axis=1)), memory,
        *(np.log(noise[name]) for name in ("cost regression", "DPO", "SFT")), np.log(max(gain, 1e-12)),
        apart("DPO", "cost regression"), apart("SFT", "cost regression"), apart("SFT", "DPO"), *held,
    ])  # fmt: skip
