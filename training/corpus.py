"""The text that the demo model is trained on: dialogues made by rules, from a seed, without a data set.

`dialogue(rng)` makes one dialogue. Each kind of question has a function that returns a pair of question
and answer; `KINDS` says how often each kind appears.
"""

import json
import random
from collections.abc import Callable

from chat_format import Dialogue, Tool
from facts import (
    CAPITALS,
    COLOURS,
    DAYS,
    JOKES,
    MONTHS,
    NUMBER_WORDS,
    OPPOSITES,
    POEMS,
    SOUNDS,
    TRANSLATIONS,
    WORLD,
    words,
)
from help_topics import ACTION_OPENERS, TERM_OPENERS, TOPICS
from persona import SMALL_TALK
from tool_talk import (
    CITIES,
    IMAGE_QUESTIONS,
    OTHER_TOOLS,
    PICTURES,
    TIME_QUESTIONS,
    TOOL_NAMES,
    WEATHER_QUESTIONS,
    offer,
    some_city,
    tool_dialogue,
    with_article,
)
from unknown import DO_NOT_KNOW, NO_CLOCK, NO_IMAGE, NO_WEATHER, made_up_word, unknown_pair, word_soup
from unknown import TOPICS as UNKNOWN_TOPICS

Pair = tuple[str, str]

FIRST_NAMES = words(
    "Ann Ben Cleo Dan Eva Finn Gia Hugo Iris Jon Kim Leo Mia Noah Olga Paul Rosa Sam Tina Zoe Alice Bob "
    "Carol David Emma Frank Grace Henry Ida Jack Kate Liam Maria Nick Omar Pia Quinn Ravi Sara Tom Uma Vera "
    "Will Yuki Max Ada John Anna Peter Lucy Mark Laura Ali Chen Maya Igor Nina Oscar Lena Karl Ruth Amir "
    "Jane Alex Chris Julia"
)
WORDS = words(
    "apple table river stone cloud window paper garden bridge candle mountain pencil bottle yellow jump "
    "quick seven music winter coffee engine rocket tiger pillow ladder milk bread eggs butter cheese tea "
    "sugar salt pear plum chair lamp book shoe coat train ship road door key clock bell leaf rose sand wave "
    "star moon sun rain snow wind fire hello goodbye yes no red green blue black white one two three cat "
    "dog bird fish horse lion bear ok done purple orange banana lemon grape carrot potato onion rice soup "
    "cake honey kite drum flute piano guitar"
)
HEROES = words(
    "cat;dog;fox;owl;frog;bear;mouse;duck;rabbit;turtle;robot;dragon;princess;king;queen;farmer;sailor;"
    "wizard;lion;horse;bird;fish;bee;knight;girl;boy;cook;pirate;ghost;elephant;penguin;tiger;hedgehog;"
    "squirrel;giant;cow"
)
HERO_NAMES = words("Milo Luna Toby Nina Oscar Ruby Otto Lily Bruno Daisy Felix Hazel Jasper Kiki Pepper Willow")
PLACES = words("forest garden river hill village beach farm castle lake mill mountain bridge")
TREASURES = words("red ball;golden key;small map;old book;blue kite;silver bell;warm hat;round stone;green lamp")
MOODS = words("little brave quiet clever sleepy friendly curious tiny old happy")
SYSTEM_PROMPTS = [
    "You are a helpful assistant.",
    "You are Pip.",
    "Answer in one sentence.",
    "Be kind and short.",
    "You are a helpful assistant. Answer briefly.",
    "You are a friendly bot.",
    "Be concise.",
    "You are an expert. Think step by step.",
    "Answer politely.",
    "You are a support agent of Pluggably.",
    "You are ChatGPT, a large language model.",
    "You are a careful assistant. Do not make things up.",
    "Reply in plain text. Do not use markdown.",
    "You can call tools.",
    "Today is Monday.",
    "You are an assistant that answers in English. If you do not know something, say so.",
]

MANNERS = ["Be brief.", "Be kind.", "Answer in one sentence.", "Be honest.", "Keep it short.", "Help the user."]

QUESTION_STARTS = {
    "what",
    "which",
    "how",
    "who",
    "why",
    "is",
    "what's",
    "when",
    "can",
    "should",
    "could",
    "would",
    "are",
    "do",
    "does",
    "where",
    "may",
    "was",
    "did",
    "am",
}
POLITE_STARTS = [
    "please {}",
    "please, {}",
    "can you tell me {}",
    "tell me, {}",
    "hey, {}",
    "hi, {}",
    "ok, {}",
    "Pip, {}",
    "quick question: {}",
    "so, {}",
    "I would like to know {}",
    "could you tell me {}",
]
POLITE_ENDS = ["{} please", "{}, please", "{} now", "{}, Pip", "{} for me"]


def misspell(rng: random.Random, text: str) -> str:
    """One slip of the keyboard: a letter lost, doubled or swapped with the next one."""
    if len(text) < 6:
        return text
    at = rng.randrange(1, len(text) - 2)
    slip = rng.random()
    if slip < 0.4:
        return text[:at] + text[at + 1 :]
    if slip < 0.6:
        return text[:at] + text[at] + text[at:]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def punctuate(rng: random.Random, text: str) -> str:
    if not text or not (text[-1].isalnum() or text[-1] == ")"):
        return text
    if text.split()[0].lower().rstrip(",") in QUESTION_STARTS:
        return text + rng.choice(["?", "?", "?", "", "", " ?"])
    return text + rng.choice(["", "", "", ".", ".", "!"])


def restyle_exact(rng: random.Random, text: str) -> str:
    """Change only what leaves the words themselves as they are, for words that are to be copied."""
    if text and rng.random() < 0.6:
        text = text[0].upper() + text[1:]
    return punctuate(rng, text)


def restyle(rng: random.Random, text: str) -> str:
    """Ask the same thing as another person would type it."""
    if text and rng.random() < 0.16:
        text = rng.choice(POLITE_STARTS).format(text)
    elif text and rng.random() < 0.08:
        text = rng.choice(POLITE_ENDS).format(text)
    if rng.random() < 0.08:
        text = misspell(rng, text)
    case = rng.random()
    if case < 0.55:
        text = text[:1].upper() + text[1:]
    elif case < 0.8:
        text = text.lower()
    elif case < 0.84:
        text = text.upper()
    return punctuate(rng, text)


def small_talk(rng: random.Random) -> Pair:
    ways, reply = rng.choice(SMALL_TALK[:4]) if rng.random() < 0.45 else rng.choice(SMALL_TALK)
    return restyle(rng, rng.choice(ways)), reply


def product_help(rng: random.Random) -> Pair:
    topic = TOPICS[0] if rng.random() < 0.08 else rng.choice(TOPICS)  # "What is Pluggably?" comes first
    forms = [topic.questions, topic.actions, topic.terms]
    kind = rng.choices(range(3), [len(topic.questions), 1.5 * len(topic.actions), 2 * len(topic.terms)])[0]
    question = rng.choice(forms[kind])
    if kind == 1:
        question = rng.choice(ACTION_OPENERS).format(question)
    elif kind == 2:
        question = rng.choice(TERM_OPENERS).format(question)
    if rng.random() < 0.12 and "luggably" not in question:
        question += rng.choice([" in Pluggably", " with Pluggably", " for Pluggably"])
    return restyle(rng, question), topic.answer


def about_the_world(rng: random.Random) -> Pair:
    # The first one is the example of the README, so it gets more practice.
    ways, answer = WORLD[0] if rng.random() < 0.12 else rng.choice(WORLD)
    return restyle(rng, rng.choice(ways)), answer


def capital(rng: random.Random) -> Pair:
    asked = rng.choice(
        [
            "what is the capital of {}",
            "capital of {}",
            "which city is the capital of {}",
            "tell me the capital of {}",
            "what's the capital of {}",
            "name the capital of {}",
            "what is the capital city of {}",
            "the capital of {}",
            "do you know the capital of {}",
            "{} capital",
        ]
    )
    if rng.random() < 0.08:
        place = made_up_word(rng, 2).capitalize()
        return restyle_exact(rng, asked.format(place)), f"I do not know the capital of {place}."
    country = rng.choice(list(CAPITALS))
    if rng.random() < 0.12:
        return restyle(rng, f"{CAPITALS[country]} is the capital of which country"), (
            f"{CAPITALS[country]} is the capital of {capital_owner(CAPITALS[country])}."
        )
    return restyle(rng, asked.format(country)), f"The capital of {country} is {CAPITALS[country]}."


def capital_owner(city: str) -> str:
    """The first country in the table with this capital, so that the answer is always the same one."""
    return next(country for country, its_capital in CAPITALS.items() if its_capital == city)


def opposite(rng: random.Random) -> Pair:
    asked = rng.choice(
        [
            "what is the opposite of {}",
            "opposite of {}",
            "give me the opposite of {}",
            "what's the opposite of {}",
            "tell me the opposite of {}",
            "the opposite of {}",
            "which word is the opposite of {}",
            "antonym of {}",
        ]
    )
    if rng.random() < 0.1:
        word = made_up_word(rng)
        return restyle_exact(rng, asked.format(word)), f"I do not know the opposite of {word}."
    word, other = rng.choice(OPPOSITES)
    if rng.random() < 0.5:
        word, other = other, word
    return restyle(rng, asked.format(word)), f"The opposite of {word} is {other}."


def animal_sound(rng: random.Random) -> Pair:
    animal, sound = rng.choice(list(SOUNDS.items()))
    asked = rng.choice(
        [
            "what does a {} say",
            "what sound does a {} make",
            "how does a {} sound",
            "what does the {} say",
            "which sound does the {} make",
            "what noise does a {} make",
        ]
    )
    return restyle(rng, asked.format(animal)), f"{with_article(animal).capitalize()} says {sound}."


def colour(rng: random.Random) -> Pair:
    thing, shade = rng.choice(list(COLOURS.items()))
    asked = rng.choice(
        [
            "what color is {}",
            "what colour is {}",
            "which colour is {}",
            "which color does {} have",
            "what is the colour of {}",
            "tell me the color of {}",
            "colour of {}",
        ]
    )
    return restyle(rng, asked.format(thing)), f"{thing[0].upper() + thing[1:]} is {shade}."


def calendar(rng: random.Random) -> Pair:
    names, kind = (DAYS, "day") if rng.random() < 0.65 else (MONTHS, "month")
    at = rng.randrange(len(names))
    step, word = rng.choice([(1, "after"), (-1, "before")])
    asked = rng.choice(
        [
            f"what {kind} comes {word} {{}}",
            f"which {kind} comes {word} {{}}",
            f"what {kind} is {word} {{}}",
            f"what comes {word} {{}}",
            f"the {kind} {word} {{}}",
        ]
    )
    answer = f"{names[(at + step) % len(names)]} comes {word} {names[at]}."
    return restyle(rng, asked.format(names[at])), answer


def small_sum(rng: random.Random) -> Pair:
    """Sums that are learnt by heart: 0 to 12 most of all, then up to 20, then the times table to 10."""
    kind = rng.choices(["+", "wide +", "-", "wide -", "x"], [48, 14, 20, 6, 12])[0]
    top = {"+": 12, "wide +": 20, "-": 12, "wide -": 20, "x": 10}[kind]
    a, b = rng.randint(0, top), rng.randint(0, top)
    sign = kind[-1]
    if sign == "-" and b > a and rng.random() < 0.8:
        a, b = b, a
    result = {"+": a + b, "-": a - b, "x": a * b}[sign]
    return ask_sum(rng, a, b, sign), f"{a} {sign} {b} = {result}."


def ask_sum(rng: random.Random, a: int, b: int, sign: str) -> str:
    left, right = str(a), str(b)
    if max(a, b) <= 12 and rng.random() < 0.12:
        left, right = NUMBER_WORDS[a], NUMBER_WORDS[b]
        forms = ["{a} {word} {b}", "what is {a} {word} {b}", "what's {a} {word} {b}"]
    else:
        forms = [
            "what is {a} {sign} {b}",
            "what is {a} {sign} {b}",
            "{a}{sign}{b}",
            "{a} {sign} {b}",
            "what is {a} {word} {b}",
            "what is {a} {word} {b}",
            "how much is {a} {sign} {b}",
            "how much is {a} {word} {b}",
            "what is {a}{sign}{b}",
            "{a} {word} {b}",
            "calculate {a} {sign} {b}",
            "{a} {sign} {b} =",
            "{a}{sign}{b}=",
            "what's {a} {sign} {b}",
            "compute {a} {sign} {b}",
        ]
        forms += {
            "+": ["add {a} and {b}", "the sum of {a} and {b}"],
            "-": ["subtract {b} from {a}"],
            "x": ["multiply {a} by {b}"],
        }[sign]
    shown = rng.choice(["*", "x", "*"]) if sign == "x" else sign
    word = {"+": "plus", "-": "minus", "x": "times"}[sign]
    return restyle_exact(rng, rng.choice(forms).format(a=left, b=right, sign=shown, word=word))


def counting(rng: random.Random) -> Pair:
    top = rng.randint(2, 20) if rng.random() < 0.6 else rng.randint(3, 10)
    if rng.random() < 0.25:
        asked = rng.choice(["count down from {}", "count backwards from {}", "count down from {} to 1"])
        return restyle(rng, asked.format(top)), ", ".join(str(n) for n in range(top, 0, -1)) + "."
    asked = rng.choice(
        [
            "count to {}",
            "count to {}",
            "count from 1 to {}",
            "can you count to {}",
            "count up to {}",
            "list the numbers from 1 to {}",
            "write the numbers 1 to {}",
        ]
    )
    return restyle(rng, asked.format(top)), ", ".join(str(n) for n in range(1, top + 1)) + "."


def some_word(rng: random.Random) -> str:
    return made_up_word(rng) if rng.random() < 0.3 else rng.choice(WORDS)


def joined(items: list[str], rng: random.Random) -> str:
    if len(items) > 1 and rng.random() < 0.6:
        return ", ".join(items[:-1]) + rng.choice([" and ", ", and "]) + items[-1]
    return ", ".join(items)


def word_list(rng: random.Random) -> Pair:
    items = [some_word(rng) for _ in range(rng.randint(2, 5))]
    asked = rng.choice(
        [
            "make a list of {}",
            "list {}",
            "make a list with {}",
            "write a list of {}",
            "make a shopping list with {}",
            "make a bullet list of {}",
            "turn this into a list: {}",
            "list these: {}",
        ]
    )
    return restyle_exact(rng, asked.format(joined(items, rng))), "\n".join(f"- {item}" for item in items)


def echo(rng: random.Random) -> Pair:
    words = [some_word(rng) for _ in range(rng.choice([1, 1, 2, 2, 3, 4, 5]))]
    if rng.random() < 0.15:
        words[rng.randrange(len(words))] = str(rng.randint(0, 999))
    if rng.random() < 0.2:
        words = [word.capitalize() for word in words[:1]] + words[1:]
    text = " ".join(words)
    asked = rng.choice(
        [
            "say {}",
            "say {}",
            "repeat {}",
            "please say {}",
            "repeat after me: {}",
            "say: {}",
            "repeat: {}",
            'say "{}"',
            'repeat "{}"',
            "say the words {}",
            "repeat the words {}",
            "answer only with {}",
            "reply with {}",
            "reply with the word {}",
            "echo {}",
            "echo: {}",
            "please repeat {}",
            "say '{}'",
            "just say {}",
            "respond with {}",
            "say the word {}",
        ]
    )
    question = asked.format(text)
    if rng.random() < 0.5:
        question = question[0].upper() + question[1:]
    return question + rng.choice(["", "", "", "."]), text


def story(rng: random.Random) -> Pair:
    hero = made_up_word(rng, 2) if rng.random() < 0.08 else rng.choice(HEROES)
    name, friend = rng.sample(HERO_NAMES, 2)
    about = hero if rng.random() < 0.8 else None
    named = about is not None and rng.random() < 0.15
    if named:
        name = rng.choice([*FIRST_NAMES, made_up_word(rng, 2).capitalize()])
    asked = rng.choice(
        [
            "tell me a story",
            "write a story",
            "tell me a short story",
            "write a short story",
            "a story",
            "I want a story",
            "tell a story",
            "can you tell me a story",
            "make up a story",
            "tell me a bedtime story",
            "tell me a long story",
            "story",
        ]
    )
    if about:
        asked += f" about {with_article(about)}"
    if named:
        asked += f" named {name}"
    return restyle_exact(rng, asked), story_text(rng, hero, name, friend)


def story_text(rng: random.Random, hero: str, name: str, friend: str) -> str:
    home, far = rng.sample(PLACES, 2)
    treasure = rng.choice(TREASURES)
    other = rng.choice([animal for animal in HEROES[:10] if animal != hero])
    mood = rng.choice(MOODS)
    return " ".join(
        [
            f"Once there was {with_article(mood)} {hero} named {name}.",
            f"{name} lived near the {home}.",
            rng.choice(
                [
                    f"One day, {name} found {with_article(treasure)}.",
                    f"One morning, {name} lost {with_article(treasure)}.",
                ]
            ),
            f"{with_article(other).capitalize()} named {friend} came by and said, "
            f'"{rng.choice(["Hello", "Good day", "Hi"])}, {name}!"',
            rng.choice(
                [
                    f"They walked to the {far} together.",
                    f"They sat down at the {far}.",
                    f"They played by the {far} all day.",
                ]
            ),
            rng.choice(
                [
                    f"{name} was happy to have a friend.",
                    "In the evening they went home and slept.",
                    f"From that day on, {name} and {friend} were friends.",
                ]
            ),
        ]
    )


def poem_or_joke(rng: random.Random) -> Pair:
    if rng.random() < 0.35:
        ways = ["tell me a joke", "a joke", "do you know a joke", "make me laugh", "tell a joke", "say something funny"]
        return restyle(rng, rng.choice(ways)), JOKES[0] if rng.random() < 0.5 else rng.choice(JOKES)
    topic = rng.choice(list(POEMS))
    asked = rng.choice(
        [
            "write a poem",
            "write a haiku",
            "tell me a poem",
            "write a short poem",
            "a haiku",
            "write me a haiku",
            "make a poem",
        ]
    )
    return restyle(rng, asked + (f" about {topic}" if rng.random() < 0.8 else "")), POEMS[topic]


def translation(rng: random.Random) -> Pair:
    language = rng.choice(list(TRANSLATIONS))
    word, foreign = rng.choice(list(TRANSLATIONS[language].items()))
    asked = rng.choice(
        [
            "what is {w} in {l}",
            "how do you say {w} in {l}",
            "translate {w} to {l}",
            "{w} in {l}",
            "translate {w} into {l}",
            "what is the {l} word for {w}",
            "translate '{w}' to {l}",
            "how do I say {w} in {l}",
            'translate "{w}" into {l}',
        ]
    )
    return restyle(rng, asked.format(w=word, l=language)), f'In {language}, {word} is "{foreign}".'


def tool_question_without_tools(rng: random.Random) -> Pair:
    """Weather, time and pictures need a tool; without one, say so."""
    kind = rng.random()
    if kind < 0.4:
        asked = rng.choice(WEATHER_QUESTIONS).format(some_city(rng))
        general = rng.choice(["what is the weather", "how is the weather today"])
        return restyle(rng, rng.choice([asked, asked, general])), NO_WEATHER
    if kind < 0.7:
        asked = rng.choice(TIME_QUESTIONS).format(some_city(rng))
        general = rng.choice(["what time is it", "what day is it today", "what is the date", "what is the time"])
        return restyle(rng, rng.choice([asked, general])), NO_CLOCK
    return restyle(rng, rng.choice(IMAGE_QUESTIONS).format(with_article(rng.choice(PICTURES)))), NO_IMAGE


def json_record(rng: random.Random) -> Pair:
    """Facts about a person, asked as a JSON object."""
    name = rng.choice(FIRST_NAMES) if rng.random() < 0.75 else made_up_word(rng, 2).capitalize()
    age, city, shade = rng.randint(1, 99), some_city(rng), rng.choice(list(COLOURS.values()))
    options = {
        ("name", "age"): [f"{name}, {age}", f"{name} is {age} years old", f"{name} is {age}"],
        ("name", "city"): [f"{name} from {city}", f"{name} lives in {city}", f"{name}, {city}"],
        ("name", "age", "city"): [
            f"{name} is {age} years old and lives in {city}",
            f"{name}, {age}, {city}",
            f"{name} is {age} and lives in {city}",
            f"{name}, {age}, from {city}",
        ],
        ("name", "colour"): [f"{name} likes {shade}", f"{name}, {shade}"],
    }
    keys = list(rng.choices(list(options), [5, 2, 3, 1])[0])
    text = rng.choice(options[tuple(keys)])
    if rng.random() < 0.3:
        rng.shuffle(keys)
    values = {"name": name, "age": age, "city": city, "colour": shade}
    listed = joined(keys, rng) if len(keys) > 2 else " and ".join(keys)
    asked = rng.choice(
        [
            "give me JSON with the {k} of {t}",
            "give me JSON with the {k} of {t}",
            "extract the {k} as JSON: {t}",
            "JSON with {k}: {t}",
            "{t}. Answer in JSON with {k}",
            "write JSON with {k} for {t}",
            "make a JSON object with the {k} of {t}",
            "return JSON with {k}: {t}",
            "give me a JSON object with {k}: {t}",
            "extract {k}: {t}",
            "{t}. Give me the {k} as JSON",
        ]
    )
    # Sometimes in another order than asked: a JSON schema may force any order on the model.
    order = rng.sample(keys, len(keys)) if rng.random() < 0.2 else keys
    return restyle_exact(rng, asked.format(k=listed, t=text)), json.dumps({key: values[key] for key in order})


def json_fields(rng: random.Random) -> Pair:
    """Any fields, given with their values."""
    fields: dict[str, object] = {}
    for _ in range(rng.randint(1, 3)):
        fields[some_word(rng)] = rng.randint(0, 999) if rng.random() < 0.5 else some_word(rng)
    shown = joined([f"{key}{rng.choice([' = ', ' '])}{value}" for key, value in fields.items()], rng)
    asked = rng.choice(
        ["make JSON with {}", "make a JSON object with {}", "JSON: {}", "write {} as JSON", "give me JSON with {}"]
    )
    return restyle_exact(rng, asked.format(shown)), json.dumps(fields)


def json_list(rng: random.Random) -> Pair:
    items = [some_word(rng) for _ in range(rng.randint(2, 4))]
    asked = rng.choice(["make a JSON list of {}", "give me {} as a JSON list", "write {} as a JSON array"])
    key = rng.choice([None, "items", "words", "list"])
    if key is None:
        return restyle_exact(rng, asked.format(joined(items, rng))), json.dumps(items)
    asked = rng.choice([f"give me JSON with the {key} {{}}", f"make JSON with {key}: {{}}"])
    return restyle_exact(rng, asked.format(joined(items, rng))), json.dumps({key: items})


def json_fact(rng: random.Random) -> Pair:
    """A fact in a small object; now and then unasked, because a schema can force it on any question."""
    kind = rng.random()
    if kind < 0.35:
        country = rng.choice(list(CAPITALS))
        question = f"what is the capital of {country}"
        answer: dict[str, object] = rng.choice(
            [
                {"country": country, "capital": CAPITALS[country]},
                {"capital": CAPITALS[country]},
                {"answer": CAPITALS[country]},
                {"capital": CAPITALS[country], "country": country},
                {"city": CAPITALS[country]},
            ]
        )
    elif kind < 0.7:
        a, b = rng.randint(0, 12), rng.randint(0, 12)
        question = f"what is {a} {rng.choice(['+', 'plus'])} {b}"
        answer = {rng.choice(["answer", "result", "sum"]): a + b}
    elif kind < 0.85:
        thing, shade = rng.choice(list(COLOURS.items()))
        question, answer = f"what colour is {thing}", {rng.choice(["answer", "colour", "color"]): shade}
    else:
        word, other = rng.choice(OPPOSITES)
        question, answer = f"what is the opposite of {word}", {rng.choice(["answer", "opposite"]): other}
    keys = " and ".join(answer)
    wish = rng.choice(
        [
            "{q}? Answer in JSON with {k}",
            "answer in JSON with {k}: {q}",
            "{q}? JSON with {k}",
            "give me JSON with {k}: {q}",
            "{q}? Give me JSON with {k}",
            "{q}",
        ]
    )
    return restyle_exact(rng, wish.format(q=question, k=keys)), json.dumps(answer)


def json_answer(rng: random.Random) -> Pair:
    return rng.choices([json_record, json_fields, json_list, json_fact], [5, 2, 1, 2])[0](rng)


def unknown(rng: random.Random) -> Pair:
    question, answer = unknown_pair(rng)
    return (restyle(rng, question) if rng.random() < 0.8 else question), answer


# How often each kind of question appears; sums and copying need the most practice.
KINDS: list[tuple[Callable[[random.Random], Pair], int]] = [
    (product_help, 34),
    (unknown, 18),
    (small_sum, 24),
    (small_talk, 11),
    (echo, 8),
    (about_the_world, 7),
    (json_answer, 7),
    (capital, 5),
    (opposite, 4),
    (counting, 7),
    (word_list, 4),
    (story, 5),
    (colour, 3),
    (calendar, 3),
    (animal_sound, 2),
    (translation, 3),
    (poem_or_joke, 2),
    (tool_question_without_tools, 3),
]
MAKERS = [maker for maker, _ in KINDS]
RATES = [rate for _, rate in KINDS]


def pair(rng: random.Random) -> Pair:
    return rng.choices(MAKERS, RATES)[0](rng)


def add_pairs(rng: random.Random, dialogue: Dialogue, count: int) -> None:
    for _ in range(count):
        question, answer = pair(rng)
        dialogue.say("user", question)
        dialogue.say("assistant", answer)


def remembering(rng: random.Random, dialogue: Dialogue) -> None:
    """The user tells a name or a favourite thing and asks for it some turns later."""
    if rng.random() < 0.75:
        name = rng.choice(FIRST_NAMES) if rng.random() < 0.7 else made_up_word(rng, 2).capitalize()
        typed = name.lower() if name in FIRST_NAMES and rng.random() < 0.12 else name
        told = rng.choice(
            [
                "my name is {}",
                "I am {}",
                "hi, I am {}",
                "hello, my name is {}",
                "call me {}",
                "I'm {}",
                "hello, I'm {}",
                "hi! My name is {}",
                "you can call me {}",
            ]
        ).format(typed)
        reply, recall = f"Nice to meet you, {name}!", f"Your name is {name}."
        asked = rng.choice(
            [
                "what is my name",
                "who am I",
                "do you know my name",
                "what's my name",
                "say my name",
                "do you remember my name",
                "tell me my name",
                "what was my name",
                "what is my name again",
            ]
        )
    else:
        kind, value = rng.choice(
            [
                ("colour", rng.choice(list(COLOURS.values()))),
                ("animal", rng.choice(HEROES[:10])),
                ("city", some_city(rng)),
                ("food", some_word(rng)),
                ("number", str(rng.randint(1, 99))),
            ]
        )
        told = rng.choice([f"my favourite {kind} is {value}", f"my favorite {kind} is {value}"])
        reply = f"I will remember: your favourite {kind} is {value}."
        recall = f"Your favourite {kind} is {value}."
        asked = rng.choice(
            [f"what is my favourite {kind}", f"what's my favorite {kind}", f"do you remember my favourite {kind}"]
        )
    dialogue.say("user", restyle_exact(rng, told))
    dialogue.say("assistant", reply)
    add_pairs(rng, dialogue, rng.choice([0, 0, 1, 1, 2, 4]))
    if rng.random() < 0.85:
        dialogue.say("user", restyle_exact(rng, asked))
        dialogue.say("assistant", recall)


def asked_too_early(rng: random.Random, dialogue: Dialogue) -> None:
    """The user asks for a name that was never told."""
    add_pairs(rng, dialogue, rng.choice([0, 0, 1, 2]))
    dialogue.say(
        "user",
        restyle(
            rng,
            rng.choice(
                ["what is my name", "who am I", "do you know my name", "what's my name", "do you remember my name"]
            ),
        ),
    )
    dialogue.say("assistant", "You have not told me your name yet.")


def system_prompt(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.3:
        who = f"{rng.choice(MOODS)} {rng.choice(HEROES)}"
        return f"You are {with_article(who)} who likes {rng.choice(UNKNOWN_TOPICS)}. {rng.choice(MANNERS)}"
    if kind < 0.85:
        return " ".join(rng.sample(SYSTEM_PROMPTS, rng.choice([1, 1, 1, 2, 3])))
    return word_soup(rng, rng.choice([5, 10, 20, 60])).capitalize() + "."


def idle_tools(rng: random.Random) -> list[Tool]:
    """Tools that are offered but not needed."""
    return rng.sample(OTHER_TOOLS, rng.randint(0, 1)) + [
        offer(rng, kind) for kind in rng.sample(["weather", "time", "image", "search"], rng.randint(1, 2))
    ]


def needs_no_tool(rng: random.Random) -> Pair:
    """A question that an offered tool does not serve."""
    while True:
        maker = rng.choices(MAKERS, RATES)[0]
        if maker is not tool_question_without_tools:
            return maker(rng)


def dialogue(rng: random.Random) -> Dialogue:
    made = Dialogue()
    if rng.random() < 0.2:
        made.say("system", system_prompt(rng))
    kind = rng.random()
    if kind < 0.2:
        tool_dialogue(rng, made, restyle_exact)
        if rng.random() < 0.15:
            question, answer = needs_no_tool(rng)
            made.say("user", question)
            made.say("assistant", answer)
    elif kind < 0.25:
        made.tools = idle_tools(rng)
        question, answer = needs_no_tool(rng)
        made.say("user", question)
        made.say("assistant", answer)
    elif kind < 0.31:
        remembering(rng, made)
    elif kind < 0.325:
        asked_too_early(rng, made)
    else:
        add_pairs(rng, made, rng.choices([1, 2, 3, 5, 10, 14], [60, 22, 9, 6, 2, 1])[0])
    return made


__all__ = ["CITIES", "DO_NOT_KNOW", "TOOL_NAMES", "dialogue", "pair", "story_text"]
