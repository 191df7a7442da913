"""Frames from chat templates: formats in use, sandboxed, and what is refused."""

import json

import jax
import pytest

from edittheory.core.errors import InputError
from edittheory.language.model.byte_bpe import CHATML, ByteBPE
from edittheory.language.model.chat_template import frame_of, read_template
from edittheory.language.model.checkpoint_folder import save_folder, special_ids
from edittheory.language.model.transformer import Transformer
from edittheory.language.train.agents import nano_architecture
from edittheory.text.sample_texts import SAMPLE_TEXTS

SPECIALS = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": None}
PLAIN = """{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>'
 + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
SYSTEM = """{% for message in messages %}
    {% if loop.first and messages[0]['role'] != 'system' %}
{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}
    {% endif %}
{{ '<|im_start|>' + message['role'] + '\n' + message['content'] | trim + '<|im_end|>\n' }}
{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
INSTRUCT = """{{ bos_token }}{% for m in messages %}{% if m['role'] not in ['user', 'assistant'] %}{{
 raise_exception('No ' + m['role']) }}{% endif %}[INST] {{ m['content'] }} [/INST]{% endfor %}"""


@pytest.mark.parametrize(
    ("template", "frame"),
    [
        (PLAIN, CHATML),
        (
            SYSTEM,
            ("<|im_start|>system\nBe kind.<|im_end|>\n\n" + CHATML[0], CHATML[1].replace(">\n<", ">\n\n<")),
        ),
        (INSTRUCT, ("<bos>[INST] ", " [/INST]")),
        (
            "{% if strftime_now is defined %}{{ strftime_now('%d') }}{% endif %}{{ messages[0].content }}",
            ("", ""),
        ),
    ],
)
def test_frames_of_formats_in_use(template, frame):
    assert frame_of(template, SPECIALS, "it") == frame


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for %}", "it cannot be rendered"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "it cannot be rendered: access to attribute"),
        ("{{ messages.append(1) }}", "it cannot be rendered"),
        ("{{ raise_exception('no users here') }}", "it cannot be rendered: no users here"),
        ("{{ 1 / 0 }}", "it cannot be rendered"),
        ("{{ messages[0].content }} {{ messages[0].content }}", "shows a user's text 2 times"),
        ("nothing", "shows a user's text 0 times"),
    ],
)
def test_templates_refused(template, message):
    with pytest.raises(InputError, match=message):
        frame_of(template, SPECIALS, "it")


def test_where_templates_lie(tmp_path):
    assert read_template(tmp_path, {}) is None
    named = [{"name": "tool_use", "template": "b"}, {"name": "default", "template": "a"}]
    assert read_template(tmp_path, {"chat_template": named}) == "a"
    with pytest.raises(InputError, match="chat_template must be text, but it is 3"):
        read_template(tmp_path, {"chat_template": 3})
    (tmp_path / "chat_template.jinja").write_text("c")
    assert read_template(tmp_path, {"chat_template": named}) == "c"


@pytest.fixture
def folder(tmp_path):
    """A checkpoint whose chat template is not our own."""
    tokeniser = ByteBPE.train(SAMPLE_TEXTS, 400)
    model = Transformer.init(jax.random.key(0), nano_architecture(tokeniser.size, 8, 1, 1, 8, 60))
    save_folder(tmp_path, model, tokeniser)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": INSTRUCT}))
    return tmp_path


def test_a_folders_template_frames_its_prompts(folder):
    loaded = ByteBPE.load(folder)
    assert loaded.before == (loaded.bos_id, *loaded.encode("[INST] "))
    assert loaded.after == tuple(loaded.encode(" [/INST]"))
    assert ByteBPE.load(folder, frame=("a", "b")).before == tuple(loaded.encode("a"))
    for name, content in loaded.files().items():
        (folder / name).write_text(content)
    again = ByteBPE.load(folder)
    assert (again.before, again.after) == (loaded.before, loaded.after)


@pytest.mark.filterwarnings("ignore")  # theirs
def test_a_folders_template_is_rendered_as_transformers_does(folder):
    transformers = pytest.importorskip("transformers")
    loaded, theirs = ByteBPE.load(folder), transformers.AutoTokenizer.from_pretrained(folder)
    found = theirs.apply_chat_template([{"role": "user", "content": "Good day."}], return_dict=False)
    assert tuple(found) == (*loaded.before, *loaded.encode("Good day."), *loaded.after)


def test_every_end_of_text_that_a_folder_names(folder):
    (folder / "generation_config.json").write_text(
        json.dumps({"eos_token_id": [5, 2, 7], "pad_token_id": None})
    )
    assert special_ids(folder) == {"bos": (1,), "eos": (2, 5, 7), "pad": (0,)}
