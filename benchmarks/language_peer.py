"""The PyTorch side of the language benchmark: a process in an environment of its own."""

import json
import platform
import subprocess
from pathlib import Path

GPU = any(Path("/dev").glob("nvidia[0-9]*"))
WORKER = Path(__file__).with_name("language_torch.py")


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


class Torch:
    """The other side, in a process and an environment of its own; asked line by line, answers in JSON."""

    def __init__(self, python: str, folder: Path, device: str):
        self.process = None
        if python == "none":
            return
        self.process = subprocess.Popen(
            [python, str(WORKER), str(folder), device],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.about = self.ask("about")

    def ask(self, *words: object) -> dict | None:
        if self.process is None:
            return None
        try:
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()
            while (line := self.process.stdout.readline()) and not line.startswith("{"):
                pass  # what libraries print
        except BrokenPipeError:
            line = ""
        if not line:
            errors = (self.process.stderr.read() or "no output").strip().splitlines()
            print(f"PyTorch side left out: {errors[-1]}")
            self.process = None
            return None
        answer = json.loads(line)
        if "error" in answer:
            print(f"  PyTorch, {' '.join(map(str, words))}: not to be had here ({answer['error']})")
            return None
        return answer

    def close(self) -> None:
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()
