"""Exported files in the hands of `datasets` and TRL: they load, and one step of each trainer runs on them."""

import math
from pathlib import Path

import pytest

from edittheory.logs import reading
from edittheory.logs.export import export

FIXTURES = Path(__file__).parents[2] / "fixtures" / "logs"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    """The folder of a random Llama of a few thousand weights and a tokeniser learned from the log's own texts."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    pytest.importorskip("trl"), pytest.importorskip("datasets")
    tokenizers = pytest.importorskip("tokenizers")
    log, _ = reading.load(FIXTURES / "edits.jsonl", reading.Options({"source": "domain"}))
    learned = tokenizers.Tokenizer(tokenizers.models.BPE())
    learned.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    learned.decoder = tokenizers.decoders.ByteLevel()
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<pad>", "<eos>"], initial_alphabet=alphabet
    )
    learned.train_from_iterator([*log.records["response"], *log.records["edit"]], trainer)
    template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=learned, pad_token="<pad>", eos_token="<eos>"
    )
    fast.chat_template = template
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=300, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
                                      num_attention_heads=2, max_position_embeddings=256)  # fmt: skip
    folder = str(tmp_path_factory.mktemp("agent"))
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return log, folder


@pytest.mark.parametrize("form, conversational", [
    ("trl-sft", False), ("trl-sft", True), ("trl-dpo", False), ("trl-dpo", True),
])  # fmt: skip
def test_one_step_of_trl_runs_on_what_is_exported(agent, tmp_path, form, conversational):
    log, folder = agent
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    done = export(log, form, tmp_path / "out.jsonl", conversational=conversational)
    rows = datasets.load_dataset(
        "json", data_files=done.files[0], split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(rows) == done.rows == {"trl-sft": 5, "trl-dpo": 4}[form]
    kind, settings = (trl.SFTTrainer, trl.SFTConfig) if form == "trl-sft" else (trl.DPOTrainer, trl.DPOConfig)
    options = settings(output_dir=str(tmp_path / "run"), max_steps=1, per_device_train_batch_size=2, report_to=[],
                       use_cpu=True, save_strategy="no", logging_steps=1, bf16=False)  # fmt: skip
    trainer = kind(model=folder, args=options, train_dataset=rows)
    result = trainer.train()
    assert result.global_step == 1 and math.isfinite(result.training_loss) and result.training_loss > 0
    if form == "trl-dpo":
        assert abs(result.training_loss - math.log(2)) < 1e-3
