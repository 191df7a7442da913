"""Edits inside one English sentence: contractions, second person, plain words, and cutting it into short ones.

Contracting and changing the person work on the same *sites* (pronoun or auxiliary with what belongs to it, such
as "I am not" or "does not"), found by one pattern that matches a site in all its forms. No edit moves the border of
a site and no cut goes through one, so the three commute, whatever the sentence.
"""

import functools
import re

SHORT_SENTENCE = 14
"""Largest number of units (words, a site counting as one) of a short sentence."""

_END = r"(?![\w'’\-])(?!\.\w)"
_NOT = r"(?:\s+not|n['’]t)"
_SITE = re.compile(
    rf"""(?<![\w'’.\-])(?:
      (?P<fixed>\d+\s+[ap]\.?m\b|(?:war|type|part|phase|class|chapter|article|title|grade|elizabeth|charles|james)\s+i)
    | (?P<inverted>am|was|are|were)\s+(?P<object>i|you|we)
    | (?P<person>i|you|we)(?P<adverb>\s+(?:also|never|always|still|just|only|really|once|often|then|now))?
      (?:\s+(?P<verb>(?:am|are|was|were|have)(?P<not1>{_NOT})?|will(?P<not2>\s+not)?|won['’]t)
        |['’](?P<short>m|re|ve|ll)(?P<not3>\s+not)?)
    | (?P<third>he|she|it|they|that|there|who|what|here|where)
      (?:\s+(?P<verb3>(?:am|are|is|have)(?P<not4>{_NOT})?|will(?P<not5>\s+not)?|won['’]t)
        |['’](?P<short3>s|re|ve|ll)(?P<not6>\s+not)?)
    | (?P<auxiliary>(?:am|is|are|was|were|do|does|did|has|have|had|would|could|should|must){_NOT}
        |will\s+not|won['’]t|can\s?not|can['’]t)
    ){_END}
    | (?P<word>\w+(?:['’.\-]\w+)*)""",
    re.IGNORECASE | re.VERBOSE,
)

_SUFFIX = {("i", "am"): "m", ("i", "are"): "m", ("they", "am"): "re", ("they", "are"): "re"}
_SUFFIX |= {(p, v): "re" for p in ("you", "we") for v in ("am", "are")}
_SUFFIX |= {(p, "is"): "s" for p in "he she it that there who what here where".split()}
_SUFFIX |= {(p, "have"): "ve" for p in "i you we they".split()}
_SUFFIX |= {(p, "will"): "ll" for p in "i you we he she it they".split()}
_IRREGULAR = {"will": "won't", "can": "can't", "am": "aren't"}
_POSSESSION = re.compile(r"\s+(?:a|an|the|to|no|some|any|my|your|our|his|her|their|its)\b", re.IGNORECASE)
_PERFECT = re.compile(r"\s+(?:been|got|had|become|gone|taken|made|done|come|said|told)\b", re.IGNORECASE)

SECOND_PERSON = {
    "i": "you", "i'd": "you'd", "i’d": "you'd", "me": "you", "my": "your", "myself": "yourself", "we": "you",
    "we'd": "you'd", "we’d": "you'd", "us": "you", "our": "your", "ours": "yours", "ourselves": "yourselves",
    "am": "are",
}  # fmt: skip

CASUAL_WORDS = dict(
    pair.split(":")
    for pair in """children:kids child:kid people:folks man:guy men:guys mother:mom father:dad television:TV
    photograph:photo photographs:photos telephone:phone advertisement:ad doctor:doc very:really large:big
    additional:extra approximately:about purchase:buy purchased:bought assist:help numerous:many until:till
    received:got receive:get obtain:get obtained:got require:need requires:needs required:needed
    attempt:try attempted:tried begin:start begins:starts began:started remain:stay remains:stays
    remained:stayed inform:tell informed:told therefore:so however:still approached:neared""".split()
)
_FORMAL_WORDS = {
    casual.lower(): formal
    for formal, casual in CASUAL_WORDS.items()
    if casual.lower() in {"kids", "kid", "folks", "mom", "dad", "tv", "photo", "photos", "phone", "ad", "doc"}
}


def capitalise(sentence: str) -> str:
    """Upper-case the first letter where only marks stand before it."""
    match = re.match(r"[\W_]*([^\W\d_])", sentence)
    if not match or len(match.group(1).upper()) != 1:
        return sentence
    return sentence[: match.start(1)] + match.group(1).upper() + sentence[match.end(1) :]


def _like(model: str, word: str) -> str:
    """Give `word` the capital of `model`."""
    return word[0].upper() + word[1:] if model[:1].isupper() else word


def _contract_site(match: re.Match[str]) -> str:
    whole = match.group()
    after = match.string[match.end() :]
    subject = match["person"] or match["third"]
    verb = match["verb"] or match["verb3"] or match["auxiliary"]
    if not verb or re.search(r"['’]", whole):
        return whole
    negated = re.fullmatch(r"(\w+?)\s*not", verb, re.IGNORECASE)
    if negated:
        stem = negated[1]
        suffix = _SUFFIX.get((subject.lower(), stem.lower())) if subject and not match["adverb"] else None
        if suffix in ("m", "re", "s"):
            return f"{subject}'{suffix} not"
        return whole[: len(whole) - len(verb)] + _like(stem, _IRREGULAR.get(stem.lower(), stem + "n't"))
    suffix = _SUFFIX.get((subject.lower(), verb.lower())) if subject and not match["adverb"] else None
    if suffix is None or not re.match(r"\s+\w", after) or (suffix == "ve" and _POSSESSION.match(after)):
        return whole
    return f"{subject}'{suffix}"


def _expand_site(match: re.Match[str]) -> str:
    whole = match.group()
    subject, short = match["person"] or match["third"], match["short"] or match["short3"]
    if short:
        if short.lower() == "s" and _PERFECT.match(match.string[match.end() :]):
            return whole
        verb = {"m": "am", "re": "are", "ve": "have", "ll": "will", "s": "is"}[short.lower()]
        return f"{subject} {verb}" + (" not" if match["not3"] or match["not6"] else "")
    for pattern, full in ((r"won['’]t$", "will not"), (r"can['’]t$", "cannot"), (r"n['’]t$", " not")):
        found = re.search(pattern, whole, re.IGNORECASE)
        if found:
            return whole[: found.start()] + _like(found.group(), full)
    return whole


def _second_person_word(word: re.Match[str]) -> str:
    new = {"i": "you", "we": "you", "am": "are", "was": "were"}[word.group().lower()]
    if len(word.group()) > 1 and word.group().isupper():
        return new.upper()
    return new if word.group() == "I" else _like(word.group(), new)


def _second_person_site(match: re.Match[str]) -> str:
    if match["fixed"]:
        return match.group()
    pattern = r"\b(?:i|we|am|was)(?![\w])" if match["person"] or match["inverted"] else r"\bam\b"
    text = re.sub(pattern, _second_person_word, match.group(), flags=re.IGNORECASE)
    text = re.sub(r"\bwas(?=n['’]t)", "were", text, flags=re.IGNORECASE) if match["person"] else text
    return re.sub(r"(?<=['’])m\b", "re", text, flags=re.IGNORECASE) if match["person"] else text


def _contracted(match: re.Match[str]) -> str:
    word = match["word"]
    if word is None:
        return _contract_site(match)
    return _like(word, CASUAL_WORDS[word.lower()]) if word.lower() in CASUAL_WORDS else word


@functools.lru_cache(maxsize=1 << 14)
def contract(sentence: str) -> str:
    """Contract every site that English contracts, and use the casual one of each pair of words."""
    return _SITE.sub(_contracted, sentence)


def _expanded(match: re.Match[str]) -> str:
    word = match["word"]
    if word is None:
        return _expand_site(match)
    return _like(word if word != "TV" else "", _FORMAL_WORDS.get(word.lower(), word))


@functools.lru_cache(maxsize=1 << 14)
def expand(sentence: str) -> str:
    """Undo contractions and those casual words that have one formal reading."""
    return _SITE.sub(_expanded, sentence)


def _in_second_person(first: int, match: re.Match[str]) -> str:
    word = match["word"]
    if word is None:
        text = _second_person_site(match)
    else:
        lower = word.lower()
        if lower not in SECOND_PERSON or (len(word) > 1 and word.isupper()):
            return word
        text = SECOND_PERSON[lower] if lower[0] == "i" else _like(word, SECOND_PERSON[lower])
    return capitalise(text) if match.start() == first and match.group()[0].isupper() else text


@functools.lru_cache(maxsize=1 << 14)
def second_person(sentence: str) -> str:
    """Put first-person words, with their verbs, into the second person."""
    first = len(sentence) - len(re.sub(r"^\W+", "", sentence))
    return _SITE.sub(functools.partial(_in_second_person, first), sentence)


def _cuts(sentence: str) -> list[re.Match[str]]:
    """The white space at which a sentence may be cut: none inside a site, none right after one."""
    closed: list[tuple[int, int]] = []
    for match in _SITE.finditer(sentence):
        if match["word"] is None:
            closed.append(match.span())
    gaps = list(re.finditer(r"\s+", sentence))
    return [gap for gap in gaps if not any(start < gap.start() <= end for start, end in closed)]


@functools.lru_cache(maxsize=1 << 14)
def count_units(sentence: str) -> int:
    """Number of words, a site with the word after it counting as one: the same before and after every edit here."""
    return len(_cuts(sentence)) + 1 if sentence.strip() else 0


_CLAUSE = re.compile(r"[,;:—–][\"'”’)]*$")
_SOFT = frozenset(
    """and but so or that which who because while after before as when where although to in on at by of for from with
    into over under about between through during against""".split()
)


def _first_word(text: str) -> str:
    match = re.match(r"\w+", text)
    return match.group().lower() if match else ""


@functools.lru_cache(maxsize=1 << 14)
def short_pieces(sentence: str, limit: int = SHORT_SENTENCE) -> tuple[str, ...]:
    """Cut a sentence into raw pieces of at most `limit` units (at least 5).

    A cut goes, in this order, after a comma or the like, before a joining word or preposition, or where the limit is.
    A sentence short enough is returned as it is. Pieces start with a capital; their ends are not terminated.
    """
    rest, pieces = sentence, []
    while count_units(rest) > limit:
        window = _cuts(rest)[:limit]
        clause = [cut for cut in window[3:] if _CLAUSE.search(rest[: cut.start()])]
        soft = [cut for cut in window[4:] if _first_word(rest[cut.end() :]) in _SOFT]
        cut = (clause or soft or window)[-1]
        pieces.append(rest[: cut.start()])
        rest = rest[cut.end() :]
    pieces.append(rest)
    return (sentence,) if len(pieces) == 1 else tuple(capitalise(piece) for piece in pieces)
