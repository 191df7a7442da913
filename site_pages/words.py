"""Statements in plain words, by id or else by source; what has neither stands as its registry has it."""

WORDS = {
    "A": "A fact about the setting itself: no learning, no chance.",
    "A.identity": "How much worse a policy is than the best equals beta times its distance (KL) from the best policy. All SubOpt here is computed so.",
    "A.optimum": "No policy has a lower objective than pi*.",
    "A.preference": "For a balanced user, which of two texts an edit ends in follows the difference of their costs, divided by beta.",
    "A.dpo": "With coefficient s = 1, PREF (DPO) aims at the best policy. The paper prints s = beta, which does so only at beta = 1.",
    "A.stationary": "A balanced user who edits draws from the best policy leaves their law as it is.",
    "A.minorisation": "A user cannot jump to the favourite text more often than the best policy writes it.",
    "Lemma 1": "One edit by a balanced user brings any policy nearer to the best one, by at least this factor.",
    "L1.chain": "The three factors of Lemma 1, in order: the simplest is the weakest.",
    "L1.chain.doeblin": "Dobrushin's factor is the smaller one.",
    "L1.chain.gamma": "Doeblin's factor is smaller than the one the paper uses.",
    "MLE lemma": "Maximum likelihood over a class that holds the truth is near the truth, at a known rate.",
    "D.h2.tv": "Two ways to measure how far two laws are apart: squared Hellinger distance is at most twice total variation.",
    "D.tv.h2": "Total variation is bounded by Hellinger distance.",
    "D.kl.h2": "KL is bounded by Hellinger distance, times the logarithm of the largest ratio of the two laws.",
    "B0": "From distance to loss: a policy that is near the best one, in total variation, has a small SubOpt.",
    "B1(a)": "What imitation of edits (SUP) loses: a bias that no number of edits removes, bounded by how weakly the user edits, and an error that falls with n.",
    "B1(b)": "The same with the true bias: how far the law of the edits is from the best policy. Holds for any user.",
    "B1(c)": "The same in Hellinger distance, which falls faster with n. Holds for any user.",
    "B2(a)": "What learning from comparisons (PREF, that is DPO) loses, at rate 1/sqrt(n).",
    "B2(b)": "The same with a smaller constant: the square root of the sigmoid's curvature in the place of the curvature.",
    "B2(c)": "The same at the fast rate 1/n, with a coverage constant along the path from the best policy to the learned one.",
    "B3": "The set of costs that pessimistic RL plays against holds the truth, and is small.",
    "B3(a)": "What pessimistic regression on costs (RL) loses, at rate 1/sqrt(n). Holds for any user, balanced or not.",
    "B3(b)": "The same at the fast rate 1/n.",
    "B3.class": "The same when the policy is chosen from a finite class, on sampled contexts.",
    "B4": "What choosing among learned policies during deployment costs, over T rounds, against always playing the best of them.",
    "B5": "What is lost by playing, editing and refitting in epochs, without a log to start from.",
    "B6": "A bound on SubOpt that is computed from the log alone: a set of candidates that the log does not contradict, and the worst of them.",
    "B1.gamma": "What a user of known strength would still change is bounded by what the user has changed.",
}  # fmt: skip


def plain(name: str, source: str, text: str) -> str:
    """Plain words for a statement: its own, or those of its source ("B2(b)", then "B2"), or its text."""
    for key in (name, source, source.split("(")[0].strip()):
        if key in WORDS:
            return WORDS[key]
    return text
