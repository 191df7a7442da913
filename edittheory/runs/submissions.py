"""What was sent to Slurm: job arrays and their tasks, written down before sbatch is called and found again after a stop."""

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

from edittheory.runs.files import write_json


@dataclasses.dataclass
class Submission:
    """One job array: its folder, its name, the names of the cells of each task, and its id once sbatch gave one."""

    folder: Path
    name: str
    tasks: list[list[str]]
    job: str | None = None

    def save(self) -> None:
        record = {"name": self.name, "job": self.job, "tasks": self.tasks}
        write_json(self.folder / "submission.json", record)

    def open_tasks(self) -> dict[str, "Running"]:
        """All tasks by id; none if no id is known, that is, if sbatch was never reached."""
        if self.job is None:
            return {}
        ids = (
            [f"{self.job}_{index}" for index in range(len(self.tasks))] if len(self.tasks) > 1 else [self.job]
        )
        return {job: Running(self.folder, job, names) for job, names in zip(ids, self.tasks, strict=True)}


@dataclasses.dataclass
class Running:
    """One task that was submitted."""

    folder: Path
    job: str
    names: list[str]
    gone_since: float | None = None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.job}_0_log.err"

    def result(self) -> dict[str, Any] | None:
        """What `Task` returned, or {"trace": ...} if it could not even be loaded; None before that."""
        path = self.folder / f"{self.job}_0_result.pkl"
        try:
            outcome, value = pickle.loads(path.read_bytes())
        except (FileNotFoundError, EOFError, pickle.UnpicklingError):  # not there, or not wholly visible yet
            return None
        return value if outcome == "success" else {"trace": str(value)}


def recorded(folder: Path) -> list[Submission]:
    """Submissions of earlier commands, oldest first."""
    found = []
    for path in sorted(folder.glob("*/submission.json"), key=lambda path: path.stat().st_mtime):
        record = json.loads(path.read_text(encoding="utf-8"))
        found.append(Submission(path.parent.absolute(), record["name"], record["tasks"], record["job"]))
    return found
