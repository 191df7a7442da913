"""Parts of a simulated run: replies, budgets, keys, fields that servers do not know, own classes, refused files."""

import json
import math
import threading

import pytest

from edittheory.core.errors import InputError
from edittheory.simulate.loading import is_own, load_own
from edittheory.simulate.server.budget import Budget, Limits, Pace, Price
from edittheory.simulate.server.chat import Chat, Server, _retry_after, check_url
from edittheory.simulate.server.exchanges import Exchanges, Reply
from edittheory.simulate.server.faults import BudgetSpent, RoundFailed, Stopped, Tally
from edittheory.simulate.server.replies import Garbled, fault_of_text, read_field, read_reply, usable
from tests.scripted_server import Scripted, completion

pytest.importorskip("httpx2")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"satisfied": true}', True),
        (' {"satisfied":false}\n', False),
        ('```json\n{"satisfied": true}\n```', True),
        ("No. In my eyes it is.", None),
        ("yes", None),
        ("true", None),
        ('{"satisfied": "true"}', None),
        ('{"satisfied": 1}', None),
        ('{"satisfied": true, "satisfied": false}', None),
        ('{"satisfied": true, "why": "short"}', None),
        ('{"satisfied": true} I think', None),
        ('Sure: {"satisfied": true}', None),
        ('[["satisfied", true]]', None),
        ('{"satisfied": tr', None),
        ("{}", None),
        ("[" * 100_000, None),
    ],
)
def test_only_the_one_object_is_an_acceptance(text, found):
    assert read_field(text, "satisfied", bool) is found


def test_replies_are_read_strictly():
    whole = read_reply(completion("Dear all", logprobs=True).decode())
    assert whole == Reply("Dear all", "stop", "", -1.0, 10, 5)
    other = json.loads(completion("Dear all", logprobs=True))
    other["choices"][0]["logprobs"]["content"][0]["token"] = "Dore"  # log-probabilities of another text
    assert read_reply(json.dumps(other)).log_probability is None
    for body in (
        "",
        "null",
        "[]",
        "{}",
        '{"choices": []}',
        '{"choices": [{"message": {"content": 3}}]}',
        "x" * 9,
    ):
        with pytest.raises(Garbled):
            read_reply(body)
    assert fault_of_text(Reply("Dear", "length")) == "truncated"
    assert (
        fault_of_text(Reply("", "stop", "I will not"))
        == fault_of_text(Reply("Dear", "content_filter"))
        == "refused"
    )
    assert fault_of_text(Reply(" \n", "length")) == "empty"
    assert not usable("a\0b") and not usable("\ud800") and usable("👍 ok")


def test_a_budget_is_never_exceeded_by_calls_side_by_side():
    price = Price(1e6, 2e6)
    budget = Budget(Limits(tokens=100))
    with budget.call(price, 30, 30) as spend:
        with pytest.raises(BudgetSpent, match="--max-tokens 100"), budget.call(price, 30, 30):
            pass
        spend(10, 5)
    assert (budget.calls, budget.tokens, budget.price) == (1, 15, 20.0)
    with budget.call(price, 30, 30):
        pass
    with pytest.raises(BudgetSpent, match="--max-price 20"), Budget(Limits(price=20.0)).call(price, 21, 0):
        pass
    with (
        pytest.raises(BudgetSpent, match="--max-calls 2"),
        Budget(Limits(calls=2), calls=2).call(price, 1, 1),
    ):
        pass


def test_calls_are_paced_and_a_stopped_run_does_not_wait():
    stop = threading.Event()
    pace = Pace(60_000, stop)
    for _ in range(3):
        pace.wait()
    pace.pause(1000.0)
    threading.Timer(0.01, stop.set).start()
    with pytest.raises(Stopped):
        pace.wait()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, 0), ("2.5", 2.5), ("-3", 0), ("soon", 0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0)],
)
def test_retry_after(value, seconds):
    assert _retry_after(value) == seconds


def test_retry_after_as_a_date():
    assert _retry_after("Thu, 01 Jan 2199 00:00:00 GMT") > 1e9


def chat(url: str, **options) -> tuple[Chat, Tally]:
    made, tally = Chat(Server(url, "m", backoff=0.0, **options)), Tally()
    return made, tally


def ask(made: Chat, wishes=({},)):
    return made.ask(
        "answer", [{"role": "user", "content": "Hello"}], {"max_tokens": 5}, list(wishes), lambda reply: None
    )


def test_a_server_that_asks_for_too_long_a_wait_ends_the_round():
    with Scripted(lambda body: "429").running() as url, pytest.raises(RoundFailed, match="asks to wait"):
        ask(chat(url, patience=0.001)[0])


def test_a_server_that_does_not_know_a_field_is_asked_without(tmp_path):
    server = Scripted(lambda body: "400" if "logprobs" in body or "seed" in body else None)
    wishes = [{"logprobs": True, "seed": 1}, {"seed": 1}, {}]
    with server.running() as url:
        made, tally = chat(url, extra={"top_k": 0, "max_tokens": None})
        made.attach(Exchanges(tmp_path), Budget(), tally)
        assert ask(made, wishes).text
        assert [sorted(body) for body, _, _ in server.asked][-1] == ["messages", "model", "top_k"]
        assert (len(server.asked), tally.counts()) == (3, {"HTTP 400": 2})
        assert ask(made, wishes) == ask(made, wishes)  # from disk
        assert len(server.asked) == 3
        made.ask("answer", [{"role": "user", "content": "Bye"}], {}, wishes, lambda reply: None)
        assert len(server.asked) == 4  # it is not tried again with what it does not know
        for path in tmp_path.glob("*/*.json"):
            path.write_text(path.read_text()[:-30])
        assert Exchanges(tmp_path).damaged == 2
        ask(made, wishes)  # a damaged file is made again
        assert len(server.asked) == 5 and Exchanges(tmp_path).damaged == 1


def test_a_closed_client_answers_no_more():
    with Scripted().running() as url:
        made, _ = chat(url)
        assert ask(made).text
        made.close()
        with pytest.raises(RuntimeError, match="closed"):
            ask(made)


def test_a_key_is_sent_and_told_to_nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-secret-123")
    server = Scripted(
        lambda body: "401" if "Bye" in str(body) else None, answer=lambda body: "hello sk-secret-123"
    )
    with server.running() as url:
        made, tally = chat(url, key_env="MY_KEY")
        made.attach(Exchanges(tmp_path), Budget(), tally)
        assert ask(made).text == "hello ***"
        with pytest.raises(InputError, match="401") as refused:
            made.ask("answer", [{"role": "user", "content": "Bye"}], {}, [{}], lambda reply: None)
    assert server.asked[0][2]["authorization"] == "Bearer sk-secret-123"
    assert "sk-secret" not in str(refused.value) and "made up, with Bearer ***" in str(refused.value)
    assert not any("sk-secret" in path.read_text() for path in tmp_path.rglob("*.json"))
    assert "secret" not in repr(made.server)
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(InputError, match="environment holds no MY_KEY"):
        chat("http://127.0.0.1:1/v1", key_env="MY_KEY")
    monkeypatch.setenv("MY_KEY", "two words")
    with pytest.raises(InputError, match="is no API key") as odd:
        chat("http://127.0.0.1:1/v1", key_env="MY_KEY")
    assert "two words" not in str(odd.value)


def test_addresses():
    assert check_url("--user", "http://127.0.0.1:8080/v1/") == "http://127.0.0.1:8080/v1"
    for bad in (
        "http://me:pw@host/v1",
        "http://host/v1?key=pw",
        "ftp://host",
        "http://",
        "http://host:99999/v1",
    ):
        with pytest.raises(InputError) as refused:
            check_url("--user", bad)
        assert "pw" not in str(refused.value)


def test_a_class_of_ones_own_is_found_by_its_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "class Me:\n    def satisfies(self, r, t): return True\n    def revise(self, r, t): return r\n"
        "class Bad:\n    def __init__(self): 1/0\nx = 3\n"
    )
    methods = ("satisfies", "revise")
    made, identity = load_own("--user", f"{path}:Me", methods)
    assert made.satisfies("", None) and set(identity) == {"class", "file"}
    for name, said in (
        (f"{path}:You", "has no class You"),
        (f"{path}:x", "has no class x"),
        (f"{path}:Bad", "no method satisfies and no method revise"),
        ("no_such_module:Me", "ModuleNotFoundError"),
        (f"{tmp_path}/other.py:Me", "there is no file"),
        (":Me", "must have the form"),
    ):
        with pytest.raises(InputError, match=said):
            load_own("--user", name, methods)
    with pytest.raises(InputError, match="ZeroDivisionError"):
        load_own("--user", f"{path}:Bad", ())
    assert is_own("a.b:C") and not is_own("http://host:80/v1") and not is_own("strong")


def test_log_probabilities_above_zero_or_not_finite_are_none():
    for value in (0.5, math.inf, "x", True):
        data = json.loads(completion("Dear", logprobs=True))
        data["choices"][0]["logprobs"]["content"][0]["logprob"] = value
        assert read_reply(json.dumps(data)).log_probability is None
