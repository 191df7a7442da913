"""Numbers of docs/theory-certificates.md (C14, C15) and docs/theory-linear.md (L6) from rows; `prose` checks the sentences."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from . import (
    exact_certificates,
    feedback_bounds,
    linear_certificates,
    pivot_certificates,
    robust_certificates,
)
from .prose_docs import settings
from .sentences import Sentence, rows, said

CERTIFICATES, LINEAR = "docs/theory-certificates.md", "docs/theory-linear.md"


def _linear() -> Mapping[str, Any]:
    data = rows("linear_certificates")
    medians = (
        exact_certificates.by_problem(data, 0.1, linear_certificates.KEYS)
        .group_by("class", "form", "n")
        .agg(pl.col("ratio").median())
    )
    found: dict[str, Any] = {}
    short = {"exact": "exact", "anytime, preferences": "prefer", "anytime, costs": "costs"}
    for name, form, n, ratio in medians.iter_rows():
        found[f"{'net' if name == 'network' else 'd' + name[-1]}_{short[form]}_{n}"] = ratio
    lost = (
        data.drop_nulls("covers")
        .group_by("class", "n")
        .agg(share=100 * (~pl.col("covers")).mean(), of=pl.len())
    )
    bad = data.drop_nulls("value").filter(pl.col("class") != "network")
    wrong = bad.group_by("form").agg(bad=linear_certificates.WRONG.sum(), of=pl.len())
    return {
        **found, "lost_low": lost["share"].min(), "lost_high": lost["share"].max(), "counted": lost["of"].min(),
        "wrong": wrong["bad"].sum(), "certified": wrong["of"].sum(),
    }  # fmt: skip


def _feedback() -> Mapping[str, Any]:
    data = rows("feedback_bounds")
    beside = feedback_bounds.beside(data)
    named = feedback_bounds.winners(data)
    missed = named.filter(pl.col("predicted") != pl.col("measured"))
    informed = beside.filter(pl.col("name").is_in(["labels, informed", "PREF", "RL", "all"]))
    middle = informed.group_by("name", "n").agg(pl.col("ratio").median())["ratio"]
    biased = beside.filter(name="SUP", n=3000)["ratio"]
    return {
        "below": beside.filter(pl.col("mean") < pl.col("bound")).height, "of": beside.height, "named": named.height - missed.height,
        "cells": named.height, "margin": 100 * (missed["measured_margin"].max() - 1), "low": middle.min(), "high": middle.max(),  # type: ignore[operator]
        "sup": biased.median(),
    }  # fmt: skip


def _robust() -> Mapping[str, Any]:
    data = rows("robust_certificates")
    worst = (
        robust_certificates.somewhere(data)
        .filter(pl.col("habit") == 0.3)
        .with_columns(share=100 * pl.col("bad") / pl.col("of"))
    )
    found: dict[str, Any] = {
        "radius_low": worst["radius"].min(),
        "radius_high": worst["radius"].max(),
        "logs": worst["of"].min(),
    }
    for form, key in zip(
        robust_certificates.FORMS, ("balance", "half", "own", "joint", "costs"), strict=True
    ):
        mine = worst.filter(pl.col("form") == form)["share"]
        found |= {f"{key}_low": mine.min(), f"{key}_high": mine.max()}
    last = data.filter(habit=0.3, n=3000, family="line")
    for form, key in (("own radius", "own"), ("own radius and costs", "joint"), ("costs", "costs")):
        found[f"{key}_value"] = last.filter(pl.col("form") == form)["value"].median()
    return found


def _pivots() -> Mapping[str, Any]:
    config = pivot_certificates.Config(**settings("pivot_certificates"))
    short = dict(zip(pivot_certificates.CLASSES, ("d8", "n4", "n16"), strict=True))
    records = pivot_certificates.summary(rows("pivot_certificates"), config)
    problems = pivot_certificates.by_problem(rows("pivot_certificates"), config.delta)
    found: dict[str, Any] = {
        f"{short[one['class']]}_{name}_{one['n']}": one[name]
        for one in records
        for name in ("certificate", "smaller", "worst", "spread")
    }
    for name in ("wrong", "smaller_wrong", "of"):
        found[name] = sum(one[name] for one in records)
    shares = [100 * one["wrong"] / one["of"] for one in records]
    within = int((problems["certificate"] <= 3).sum())
    return found | {
        "share_low": min(shares), "share_high": max(shares), "each": records[0]["of"], "within": within, "all": problems.height,
        "largest": problems["certificate"].max(), "problems": config.problems, "spread_low": min(one["spread"] for one in records),
        "spread_high": max(one["spread"] for one in records),
    }  # fmt: skip


def _readme() -> Mapping[str, Any]:
    found = _linear()
    exact = [found[f"d{d}_exact_{n}"] for d in (2, 3) for n in (300, 3000)]
    return {
        "low": min(exact),
        "high": max(exact),
        "problems": rows("linear_certificates")["problem"].n_unique(),
    }


SENTENCES: tuple[Sentence, ...] = (
    Sentence(
        "README.md",
        "exact ones are {low:.1f} to {high:.1f} times the quantile at n = 300 and 3,000 ({problems} problems; `linear_certificates`)",
        _readme,
    ),
    Sentence(
        "README.md",
        "for networks certificates that are searched for, not proven, are within {largest:.1f} times and were wrong in {wrong} of "
        "{of} logs",
        _pivots,
    ),
    *said(
        CERTIFICATES,
        _linear,
        "at n = 30, 300 and 3,000 the exact certificate is {d2_exact_30:.1f}, {d2_exact_300:.1f} and {d2_exact_3000:.1f} times the "
        "problem's own 90% quantile at d = 2, where C8's is {d2_prefer_30:.1f}, {d2_prefer_300:.1f} and {d2_prefer_3000:.1f} times",
        "at d = 3 {d3_exact_30:.1f}, {d3_exact_300:.1f} and {d3_exact_3000:.1f} times against {d3_prefer_30:.1f}, {d3_prefer_300:.1f} "
        "and {d3_prefer_3000:.1f}",
        "The net lost the truth's cell in {lost_low:.1f} to {lost_high:.1f}% of {counted} logs at each n and d (claimed: 10% "
        "with C8's set), and {wrong} of {certified} certificates of log-linear classes, exact and anytime, were wrong",
        "Networks of four units, searched: {net_prefer_30:.1f}, {net_prefer_300:.1f} and {net_prefer_3000:.1f} times by preferences, "
        "{net_costs_30:.1f}, {net_costs_300:.1f} and {net_costs_3000:.1f} times by costs",
    ),
    *said(
        CERTIFICATES,
        _pivots,
        "at n = 30, 300 and 3,000 the median certificate is {n4_certificate_30:.1f}, {n4_certificate_300:.1f} and "
        "{n4_certificate_3000:.1f} times the player's own 90% quantile for four units, {n16_certificate_30:.1f}, "
        "{n16_certificate_300:.1f} and {n16_certificate_3000:.1f} times for sixteen, {d8_certificate_30:.1f}, "
        "{d8_certificate_300:.1f} and {d8_certificate_3000:.1f} times for eight features, within 3 in {within} of {all} "
        "combinations of problem, class and n, {largest:.1f} at most",
        "wrong in {wrong} of {of} logs ({share_low:.1f} to {share_high:.1f}% of {each} in each cell; claimed: 10%)",
        "C11's lesser of quantile and loss is wrong in {smaller_wrong}",
        "the quantiles of the members differ by factors of {spread_low:.1f} to {spread_high:.1f} in the median",
    ),
    *said(
        CERTIFICATES,
        _robust,
        "wrong at some n in {balance_low:.1f} to {balance_high:.1f}% of {logs} logs each where balance is assumed, "
        "{own_low:.1f} to {own_high:.1f}% at the user's own radius (median {radius_low:.1f} to {radius_high:.1f} nats), "
        "{joint_low:.1f} to {joint_high:.1f}% with costs, "
        "{costs_low:.1f} to {costs_high:.1f}% by costs alone",
        "the median certificate at n = 3,000 is {own_value:.4f} at the own radius, {joint_value:.4f} with costs, "
        "{costs_value:.4f} by costs alone",
    ),
    *said(
        LINEAR,
        _feedback,
        "{below} of {of} mean risks lie below their bound; informed learners are {low:.1f} to {high:.1f} times above it (median over "
        "problems), SUP {sup:.0f} times at n = 3,000",
        "the bounds name the feedback of least measured risk in {named} of {cells} cells of strength, noise and n; in the others "
        "first and second are within {margin:.1f}% of each other",
    ),
)
