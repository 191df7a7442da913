"""SmolLM2's shape on the PyTorch side: training steps, generation, and the same losses."""

import tempfile
from pathlib import Path

from language_peer import GPU, Torch


def their_shape(options, a, light, prompts, found, response, pairs, disassemble) -> dict:
    """transformers' generate and a plain training loop, and TRL's DPOTrainer, where they can be imported."""
    import numpy as np

    from edittheory.language.model.checkpoint_folder import save_folder

    with tempfile.TemporaryDirectory() as folder:
        save_folder(Path(folder) / "model", light, ids={"bos": 0, "eos": 1, "pad": 2})
        np.savez(Path(folder) / "prompts.npz", prompts=np.asarray(prompts))
        torch = Torch(options.torch_python, Path(folder), "cuda" if GPU else "cpu")
        answers: dict = {"about": torch.process and torch.about}
        for kind in ("dynamic", "static"):
            answer = torch.ask("generate", kind, response)
            if answer is None:
                continue
            texts = np.asarray(answer.pop("first_tokens"))
            same = float(np.mean(texts == np.asarray(found.tokens)[: len(texts), : texts.shape[1]]))
            answers[f"generate_{kind}"] = answer | {"tokens_equal": round(same, 4)}
            rate = f"{answer['tokens_per_second']:.1f} tokens/s"
            print(f"  transformers' generate, {kind}: {rate}; {100 * same:.1f}% of tokens equal", flush=True)
        for task in ("sft", "dpo", "trl"):
            answer = torch.ask("train", task, pairs, response)
            if answer is not None:
                answers[task] = answer
                name = "TRL's DPOTrainer" if task == "trl" else f"transformers, plain {task} loop"
                print(
                    f"  {name}, {pairs} rows: {answer['rows_per_second']:.2f} rows/s ({answer['how']})",
                    flush=True,
                )
        torch.close()
    return answers
