"""The PyTorch side of language.py, run by it in an environment of its own; needs torch and numpy, and transformers and trl
for what is named after them. Reads one request a line, answers one line of JSON."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

FOLDER, DEVICE = Path(sys.argv[1]), sys.argv[2]


def clock() -> float:
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


# -- the nano decoder, as one would write it ------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self, a: dict):
        super().__init__()
        self.heads, self.size = a["heads"], a["head_dim"]
        self.attention_norm = nn.RMSNorm(a["dim"], eps=a["rms_eps"])
        self.mlp_norm = nn.RMSNorm(a["dim"], eps=a["rms_eps"])
        self.qkv = nn.Linear(a["dim"], 3 * self.heads * self.size, bias=False)
        self.out = nn.Linear(self.heads * self.size, a["dim"], bias=False)
        self.gate_up = nn.Linear(a["dim"], 2 * a["hidden_dim"], bias=False)
        self.down = nn.Linear(a["hidden_dim"], a["dim"], bias=False)

    def forward(self, x, cos, sin, mask):
        rows, length, _ = x.shape
        heads = self.qkv(self.attention_norm(x)).view(rows, length, 3 * self.heads, self.size)
        q, k, v = heads.transpose(1, 2).split(self.heads, dim=1)
        half = self.size // 2

        def turn(z):
            return z * cos + torch.cat([-z[..., half:], z[..., :half]], dim=-1) * sin

        mixed = F.scaled_dot_product_attention(turn(q), turn(k), v, attn_mask=mask)
        x = x + self.out(mixed.transpose(1, 2).reshape(rows, length, -1))
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Decoder(nn.Module):
    def __init__(self, a: dict):
        super().__init__()
        self.a = a
        self.embedding = nn.Embedding(a["vocab_size"], a["dim"])
        self.blocks = nn.ModuleList(Block(a) for _ in range(a["layers"]))
        self.norm = nn.RMSNorm(a["dim"], eps=a["rms_eps"])

    def load(self, weights) -> "Decoder":
        get = lambda name: torch.as_tensor(np.array(weights[name]))  # noqa: E731
        with torch.no_grad():
            self.embedding.weight.copy_(get("model.embed_tokens.weight"))
            self.norm.weight.copy_(get("model.norm.weight"))
            for number, block in enumerate(self.blocks):
                p = f"model.layers.{number}."
                block.attention_norm.weight.copy_(get(p + "input_layernorm.weight"))
                block.mlp_norm.weight.copy_(get(p + "post_attention_layernorm.weight"))
                block.qkv.weight.copy_(torch.cat([get(f"{p}self_attn.{s}_proj.weight") for s in "qkv"]))
                block.out.weight.copy_(get(p + "self_attn.o_proj.weight"))
                block.gate_up.weight.copy_(
                    torch.cat([get(f"{p}mlp.{s}_proj.weight") for s in ("gate", "up")])
                )
                block.down.weight.copy_(get(p + "mlp.down_proj.weight"))
        return self

    def forward(self, prompts, prompt_len, responses, response_len):
        """Log-probabilities of response tokens (N, R), 0 beyond their length; only they go through the output layer."""
        before, length = prompts.shape[1], prompts.shape[1] + responses.shape[1]
        place, start = torch.arange(length), before - prompt_len[:, None]
        size = self.a["head_dim"]
        frequency = self.a["rope_theta"] ** (-torch.arange(0, size, 2) / size)
        angle = (place - start).float()[:, None, :, None] * torch.cat([frequency, frequency])
        real = (place >= start)[:, None, None, :]
        mask = (place[:, None] >= place) & (real | (place[:, None] == place))
        x, cos, sin = self.embedding(torch.cat([prompts, responses], dim=1)), angle.cos(), angle.sin()
        for block in self.blocks:
            x = block(x, cos, sin, mask)
        logits = F.linear(self.norm(x[:, before - 1 : -1]), self.embedding.weight)
        found = -F.cross_entropy(logits.flatten(0, 1), responses.flatten(), reduction="none").view(
            responses.shape
        )
        return found * (torch.arange(responses.shape[1]) < response_len[:, None])


compiled: dict = {}


def nano(kind: str, batch: str, objective: str, micro: str, steps: str) -> dict:
    """Steps of clipped Adam from the given weights; a pair's two sequences are stacked into one batch."""
    a = json.loads((FOLDER / "architecture.json").read_text())
    model = Decoder(a).load(np.load(FOLDER / "weights.npz"))
    arrays = [torch.as_tensor(array).long() for array in np.load(FOLDER / f"{batch}.npz").values()]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-8)
    if (
        kind == "compiled"
    ):  # one compiled decoder for each shape, whose weights are set back for every request
        name = (batch, objective)
        if name not in compiled:
            compiled[name] = (model, torch.compile(model, dynamic=False))
        model, decode = compiled[name]
        model.load(np.load(FOLDER / "weights.npz"))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-8)
    else:
        decode = model
    total = arrays[3].sum()

    def loss(p, pl, e, el, r, rl):
        if objective == "sft":
            return -decode(p, pl, e, el).sum() / total
        both = decode(torch.cat([p, p]), torch.cat([pl, pl]), torch.cat([e, r]), torch.cat([el, rl])).sum(1)
        edit, response = both.chunk(2)
        return F.softplus(-(edit - response)).sum() / len(arrays[0])

    losses, start, used = [], time.perf_counter(), time.process_time()
    for _ in range(int(steps)):
        optimizer.zero_grad()
        value = 0.0
        for part in zip(*(array.split(int(micro)) for array in arrays), strict=True):
            share = loss(*part)
            share.backward()
            value += share.item()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(value)
    count = int(steps)
    wall, processor = (time.perf_counter() - start) / count, (time.process_time() - used) / count
    return {"wall": wall, "processor": processor, "losses": losses}


# -- transformers and TRL -------------------------------------------------------------------------------------


def load_model(dtype=None):
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(FOLDER / "model", dtype=dtype)
    return model.to(DEVICE)


def generate(kind: str, response: str) -> dict:
    """Greedy text with transformers' cache, dynamic or (compiled by it) static; no row may end early."""
    if kind == "static" and DEVICE == "cpu":
        raise RuntimeError("left out on a CPU: compiling it takes minutes")
    model = load_model("auto").eval()
    prompts = torch.as_tensor(np.load(FOLDER / "prompts.npz")["prompts"]).long().to(DEVICE)
    count = int(response)
    settings = {"max_new_tokens": count, "min_new_tokens": count, "do_sample": False, "eos_token_id": None}
    settings |= {"pad_token_id": 2} | ({"cache_implementation": "static"} if kind == "static" else {})
    times = []
    with torch.no_grad():
        for _ in range(3):
            start = clock()
            tokens = model.generate(prompts, attention_mask=torch.ones_like(prompts), **settings)
            times.append(clock() - start)
    found = tokens[:, prompts.shape[1] :]
    return {
        "tokens_per_second": found.numel() / min(times[1:]),
        "compile_seconds": times[0] - times[1],
        "first_tokens": found[:8].tolist(),
    }


def train(task: str, rows: str, response: str) -> dict:
    rows, response = int(rows), int(response)
    prompt = np.load(FOLDER / "prompts.npz")["prompts"].shape[1]
    return trl_dpo(rows, prompt, response) if task == "trl" else plain(task, rows, prompt, response)


def plain(task: str, rows: int, prompt: int, response: int) -> dict:
    """A loop over transformers' model: AdamW on float32 weights, bfloat16 autocast on a GPU, cached reference."""
    model = load_model(torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=DEVICE == "cuda")
    count = rows * (2 if task == "dpo" else 1)
    tokens = torch.randint(3, model.config.vocab_size, (count, prompt + response), device=DEVICE)

    def step():
        optimizer.zero_grad()
        with torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda"):
            hidden = model.model(tokens).last_hidden_state[:, prompt - 1 : -1]
            logits = model.lm_head(hidden).float()
        found = -F.cross_entropy(logits.flatten(0, 1), tokens[:, prompt:].flatten(), reduction="none").view(
            count, -1
        )
        if task == "sft":
            loss = -found.mean()
        else:
            edit, other = found.sum(1).chunk(2)
            loss = F.softplus(-(edit - other)).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    times = []
    for _ in range(8 if DEVICE == "cuda" else 4):
        start = clock()
        step()
        times.append(clock() - start)
    return {"rows_per_second": rows / float(np.median(times[1:])), "how": "eager"}


def trl_dpo(rows: int, prompt: int, response: int) -> dict:
    """DPOTrainer with a precomputed reference and, on a GPU, liger kernels: its fastest setting."""
    import datasets
    import tokenizers
    import transformers
    import trl

    model = load_model(torch.float32)
    words = {"<unk>": 0, "<eos>": 1, "<pad>": 2} | {f"t{n}": n for n in range(3, model.config.vocab_size)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", eos_token="<eos>", pad_token="<pad>"
    )
    random, steps = np.random.default_rng(0), 10 if DEVICE == "cuda" else 4

    def text(length):
        return " " + " ".join(f"t{n}" for n in random.integers(3, model.config.vocab_size, length))

    data = [
        {"prompt": text(prompt)[1:], "chosen": text(response - 1), "rejected": text(response - 1)}
        for _ in range(rows * steps)
    ]
    liger = DEVICE == "cuda"
    config = trl.DPOConfig(
        output_dir=str(FOLDER / "trl"), per_device_train_batch_size=rows, max_steps=steps, learning_rate=1e-5,
        max_length=prompt + response, precompute_ref_log_probs=True, use_liger_kernel=liger, bf16=DEVICE == "cuda",
        gradient_checkpointing=False, logging_strategy="no", save_strategy="no", report_to=[], use_cpu=DEVICE == "cpu",
        disable_tqdm=True,
    )  # fmt: skip
    times: list[float] = []

    class Clock(transformers.TrainerCallback):
        def on_step_begin(self, *_, **__):
            self.start = clock()

        def on_step_end(self, *_, **__):
            times.append(clock() - self.start)

    trainer = trl.DPOTrainer(
        model=model, args=config, train_dataset=datasets.Dataset.from_list(data), processing_class=tokenizer,
        callbacks=[Clock()],
    )  # fmt: skip
    trainer.train()
    how = f"trl {trl.__version__}, precomputed reference" + (", liger kernels" if liger else "")
    return {"rows_per_second": rows / float(np.median(times[2:])), "how": how}


def about() -> dict:
    found = {"torch": torch.__version__, "threads": torch.get_num_threads(), "device": DEVICE}
    for name in ("transformers", "trl"):
        try:
            found[name] = __import__(name).__version__
        except ImportError:
            found[name] = None
    return found


def main() -> None:
    tasks = {"about": about, "nano": nano, "generate": generate, "train": train}
    for line in sys.stdin:
        task, *words = line.split()
        try:
            answer = tasks[task](*words)
        except Exception as error:  # reported, so that the other lines of the benchmark are still had
            answer = {"error": (str(error) or repr(error)).strip().splitlines()[0][:160]}
        print("\n" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
