"""Templates and words of the small world: for each kind of document three prompts, and the plain answer to each.

Each prompt speaks of three facts, which the plain answer repeats, and of one detail, which it leaves out.
"""

import dataclasses

WORDS: dict[str, tuple[str, ...]] = {
    name: tuple(words.split())
    for name, words in {
        "name": "Anna Boris Clara David Elena Farid Greta Hugo Ines Jonas Kira Leo",
        "place": "Oslo Lima Cairo Delhi Paris Quito Seoul Turin Dakar Perth Bergen Lyon",
        "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
        "number": "two three four five six seven eight nine ten eleven twelve",
        "building": "library bridge museum market harbour theatre station hospital school tower",
        "person": "mayor judge guard bishop driver nurse baker teacher",
        "creature": "heron otter badger lynx falcon turtle beaver eagle owl salamander",
        "habitat": "wetlands forests mountains deserts valleys islands lakes plains",
        "trait": "shy grey fast noisy gentle rare clever striped",
        "topic": "graphs proteins galaxies traffic weather translation privacy markets vision speech",
        "method": "network sampler kernel planner filter solver simulator classifier",
        "data": "sparse public synthetic biased historical small medical global",
        "genre": "thriller comedy western musical drama romance mystery documentary",
        "hero": "detective pianist soldier widow farmer dancer thief pilot sailor clown",
        "quality": "dull bright sharp empty funny sad silly perfect",
        "relative": "sister brother cousin uncle aunt daughter neighbour roommate",
        "object": "guitar lamp bicycle clock mirror kettle violin suitcase camera ring",
        "mood": "happy lonely proud nervous grateful bored calm restless",
        "part": "proof notation evaluation abstract appendix discussion ablation motivation",
        "flaw": "unclear wrong confusing incomplete outdated weak repetitive careless",
        "setting": "seeds prompts metrics thresholds losses features",
        "trick": "pruning caching distillation rendering compression decoding routing alignment",
        "link": "slides demo poster video notebook tutorial",
    }.items()
}
"""Slot -> the words that fill it. No edit of a style changes one of them."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of document.

    Attributes:
        facts: the slots that are facts; the other one is the detail.
        contexts: templates of what the document says.
        plain: task -> for each context template, that of its plain answer.
    """

    facts: frozenset[str]
    contexts: tuple[str, ...]
    plain: dict[str, tuple[str, ...]]


def _kind(facts: str, contexts: tuple[str, ...], **plain: tuple[str, ...]) -> Kind:
    return Kind(frozenset(facts.split()), contexts, plain)


KINDS: dict[str, Kind] = {
    "news": _kind(
        "building place day number",
        (
            "The {building} in {place} will close on {day}. Workers heard it from the {person}, and the council has no "
            "money left for the roof.",
            "A storm has damaged the {building} in {place}. The {person} said that repairs will take {number} weeks and "
            "that nobody was hurt.",
            "Voters in {place} want to keep the old {building}. The council will decide on {day}, and the {person} hopes "
            "for a quiet evening.",
        ),
        summarization=(
            "The {building} in {place} will close on {day}, because the council has no money left for the roof. It is not "
            "clear when it will open again.",
            "A storm has damaged the {building} in {place}, and the repairs will take {number} weeks although nobody was "
            "hurt. Nobody is allowed to enter it.",
            "Voters in {place} want to keep the old {building}, and the council will decide about it on {day}. They have "
            "not been told what it would cost.",
        ),
    ),
    "wiki": _kind(
        "creature habitat number",
        (
            "The {creature} is found in the {habitat} and lives for about {number} years. It is {trait} and feeds mostly "
            "at night.",
            "The {creature} spends the winter in the {habitat}. A female raises {number} young a year and is {trait} "
            "towards strangers.",
            "Adults of the {creature} weigh about {number} pounds. They are {trait}, nest in the {habitat} and return "
            "there every spring.",
        ),
        summarization=(
            "The {creature} is an animal of the {habitat}. It lives for about {number} years. It feeds at night and is "
            "not easy to see.",
            "The {creature} is an animal that spends the winter in the {habitat}. A female raises {number} young in a "
            "year. It is seldom seen by people.",
            "The {creature} is an animal of the {habitat}. An adult weighs about {number} pounds. It returns to its nest "
            "in spring and does not leave until autumn.",
        ),
    ),
    "papers": _kind(
        "topic method number",
        (
            "We study {topic} with a {method}. On {data} data it is {number} times faster than the best system, and we "
            "prove a bound on its error.",
            "This work asks why a {method} fails on {topic}. We find {number} causes, and a test on {data} data shows "
            "which of them matters most.",
            "We train a {method} for {topic} on {data} data. It needs only {number} labels, and the code is open.",
        ),
        summarization=(
            "The authors study {topic} with a {method}. It is {number} times faster than the best system. They do not say "
            "how it would work on other data.",
            "The authors ask why a {method} fails on {topic}. They have found {number} causes. It is not yet known which "
            "of them matters most.",
            "The authors train a {method} for {topic}. It needs only {number} labels. They will share the code, but it is "
            "not ready.",
        ),
        email=(
            "I am writing about our work on {topic}. We have used a {method}, which is {number} times faster than the "
            "best system. Please read the proof before the meeting.",
            "I would like to show you why a {method} fails on {topic}. We have found {number} causes. A test shows which "
            "of them matters most.",
            "We have trained a {method} for {topic}. It needs only {number} labels and the code is open. I hope the "
            "results are useful for your work.",
        ),
    ),
    "films": _kind(
        "genre hero number",
        (
            "This {genre} follows a {hero} through one long night. The music is lovely, the last scene is {quality}, and "
            "it gets {number} stars from me.",
            "My eyes hurt after this {genre}. The {hero} has no reason to act, the jokes are {quality}, and {number} "
            "stars are too many.",
            "A {hero} returns home in this {genre}. The actors are {quality}, the camera is slow, and {number} stars are "
            "well earned.",
        ),
        summarization=(
            "It is a {genre} about a {hero}. The writer liked the music and gives it {number} stars. The last scene did "
            "not work as well as the rest.",
            "The writer did not enjoy this {genre}. The {hero} has no reason to act and the jokes are old. It gets "
            "{number} stars and a warning.",
            "In this {genre} a {hero} returns home. The writer likes the actors and the slow camera. It gets {number} "
            "stars, and it is not too long.",
        ),
    ),
    "posts": _kind(
        "relative place object",
        (
            "Yesterday my {relative} and I went to {place}. We bought a {object}, missed the last bus and laughed all the "
            "way. So {mood} now.",
            "I cannot sleep. My {relative} moves to {place} tomorrow, and I still have the {object} from school. Feeling "
            "{mood}.",
            "Last year my {relative} gave me a {object}. Today it broke in {place}, in the rain. I am {mood} and cold.",
        ),
        email=(
            "I went to {place} with my {relative}. We have bought a {object} and missed the last bus. I am tired, but it "
            "was not a bad day.",
            "My {relative} will move to {place} tomorrow. I still have the {object} from school. It is hard, and I do not "
            "sleep very well.",
            "The {object} that my {relative} gave me broke in {place} today. I am not angry. It is very old, and I will "
            "buy a new one.",
        ),
    ),
    "reviews": _kind(
        "part flaw number",
        (
            "Strengths: the question matters. Weaknesses: the {part} is {flaw}, and {number} claims lack evidence. The "
            "choice of {setting} is odd.",
            "I like the idea, yet the {part} is {flaw}. Please add {number} baselines and explain the choice of "
            "{setting}.",
            "After the rebuttal my concern remains: the {part} is {flaw}. The authors answered {number} of my questions, "
            "none on {setting}.",
        ),
        email=(
            "I have read the submission. The {part} is {flaw} and {number} claims are not supported. You will need "
            "additional evidence before we can accept it.",
            "The idea is good but the {part} is {flaw}. You should add {number} baselines. I do not think that it is "
            "ready.",
            "The {part} is still {flaw} after the rebuttal. You have answered {number} of my questions. I cannot accept "
            "it, but it is not bad.",
        ),
    ),
    "tweets": _kind(
        "name trick number",
        (
            "Thrilled to share new work with {name}! We show that {trick} can be done in {number} lines of code. Thread "
            "and {link} below.",
            "Our thread on {trick} is out! {name} and I needed {number} months. We will show the {link} next week.",
            "Big thanks to {name} for {number} hours of help. Our {link} on {trick} won an award!",
        ),
        email=(
            "I have new work with {name} to share. We show that {trick} can be done in {number} lines of code. It is open "
            "to all.",
            "{name} and I have finished our work on {trick}. It took us {number} months. I am glad to answer questions "
            "about it.",
            "We have won an award for our work on {trick}. {name} gave us {number} hours of help. My thanks are not "
            "enough for that.",
        ),
    ),
}
"""Source -> its kind of document."""
