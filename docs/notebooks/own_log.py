# %% [markdown]
# # Your own log
#
# A file in which people corrected what a model wrote becomes costs, a test, and training files. Here the
# file is a small one written for this page; put your own in its place. The same as commands of a shell:
# [your own log of edits](../your-own-log.md). Needs `pip install 'edittheory[logs]'`.

# %%
import json
import tempfile
from pathlib import Path

from edittheory.logs import costs, directions, reading
from edittheory.logs.export import export
from edittheory.logs.records import parse_map

folder = Path(tempfile.mkdtemp())
answers = [
    "Sure, I can do that for you today.",
    "The meeting is on Friday at ten.",
    "We sold more than last year.",
    "Please send the file again.",
    "The train leaves at nine.",
    "I will call you tomorrow.",
]
lines = []
for i in range(60):
    answer = answers[i % len(answers)]
    edit = (
        f"Dear all, {answer[0].lower()}{answer[1:]}" if i % 3 else answer
    )  # this user wants a greeting, two times in three
    lines.append(
        {"question": f"Question {i % 12}", "answer": answer, "edited": edit, "document": f"d{i % 12}"}
    )
lines.append({"question": "a line without an answer"})
log_file = folder / "edits.jsonl"
log_file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

# %% [markdown]
# ## Read it
#
# Columns are named once. A line that is no record is skipped, counted by its reason, and kept in a file
# beside.

# %%
options = reading.Options(mapping=parse_map(["prompt=question", "response=answer", "edit=edited"]))
log, count = reading.load(log_file, options)
print(f"{count.read} lines read, {count.used} used; skipped: {dict(count.reasons)}")

# %% [markdown]
# ## What the edits cost
#
# `words`: word edits over the words of the response, the paper's cost. `characters`: the same in
# characters.

# %%
costed = costs.measure(log.records, ("words", "characters"))
(found,) = costs.summary(costed, ("words", "characters"), by=())
share, low, high = found["accepted"]
print(f"accepted unchanged: {share:.0%} [{low:.0%}, {high:.0%}] of {found['n']}")
for name in ("words", "characters"):
    mean, low, high = found[name]["mean"]
    print(f"{name}: mean {mean:.3f} [{low:.3f}, {high:.3f}]")

# %% [markdown]
# ## Do the edits push one way?
#
# For each feature of a text: does an edit that changes the feature raise it more often than a fair coin
# would? The evidence may be looked at after every edit.

# %%
for found in directions.directions(log.records, level=0.05):
    if found.changed:
        verdict = f"a direction, after {found.needed} edits" if found.rejected else "no direction shown"
        print(f"{found.feature}: changed by {found.changed} edits, raised by {found.raised}: {verdict}")

# %% [markdown]
# The user adds a greeting. Whether that is a taste (costs agree) or a habit (they do not) a log of texts
# alone cannot say.
#
# ## Training files

# %%
done = export(log, "trl-dpo", folder / "dpo.jsonl")
print(done)
print((folder / "dpo.jsonl").read_text(encoding="utf-8").splitlines()[0])
