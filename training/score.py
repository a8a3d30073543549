"""Score a GGUF file by asking it questions through llama.cpp's own server (the xllamacpp wheel).

    python score.py ../src/pluggably/demo/demo.gguf            # counts per category
    python score.py ../src/pluggably/demo/demo.gguf --misses   # and every wrong answer

The questions of `unseen_*` are written by hand, mostly in words that the corpus does not use, so they tell how the
model does with people; the other categories count how well the tables are learnt.
"""

import argparse
import json
import random
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xllamacpp
from chat_format import Dialogue, Tool, render
from corpus import FIRST_NAMES
from facts import CAPITALS, COLOURS, DAYS, OPPOSITES, SOUNDS
from help_topics import TOPICS
from persona import GREETING
from unknown import DO_NOT_KNOW, ENGLISH_ONLY, NO_CODE, TOO_HARD_A_SUM, made_up_word

SLOTS = 2
REFUSALS = {DO_NOT_KNOW, ENGLISH_ONLY, NO_CODE, TOO_HARD_A_SUM}

Reply = dict[str, Any]
Check = Callable[[Reply], bool]


@dataclass
class Case:
    """One request and the test that its reply has to pass."""

    messages: list[dict[str, Any]]
    check: Check
    options: dict[str, Any] = field(default_factory=dict)


class Server:
    """llama.cpp's HTTP server inside this process."""

    def __init__(self, path: Path) -> None:
        options = xllamacpp.CommonParams()
        options.model.path = str(path)
        options.hostnames = ["127.0.0.1"]
        options.port = 0
        options.n_parallel = SLOTS
        options.n_ctx = 1024 * SLOTS
        options.use_jinja = True
        options.verbosity = 0
        options.cpuparams.n_threads = 1
        self.server = xllamacpp.Server(options)
        self.address = self.server.listening_address

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            self.address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def chat(self, messages: list[dict[str, Any]], **options: Any) -> Reply:
        body = {"messages": messages, "temperature": 0, "max_tokens": 200, **options}
        return self.post("/v1/chat/completions", body)["choices"][0]["message"]


def function(name: str, *parameters: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {key: {"type": "string"} for key in parameters}}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": schema}}


def calls_of(reply: Reply) -> list[tuple[str, dict[str, Any]]]:
    """The calls of a reply; arguments that are no JSON (cut off) count as none."""
    calls = []
    for call in reply.get("tool_calls") or []:
        try:
            calls.append((call["function"]["name"], json.loads(call["function"]["arguments"])))
        except ValueError:
            calls.append((call["function"]["name"], {}))
    return calls


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def says(*texts: str) -> Check:
    return lambda reply: (reply["content"] or "").strip() in texts


def mentions(*texts: str) -> Check:
    return lambda reply: all(text.lower() in (reply["content"] or "").lower() for text in texts)


def says_json(expected: object) -> Check:
    def check(reply: Reply) -> bool:
        try:
            return json.loads(reply["content"]) == expected
        except (TypeError, ValueError):
            return False

    return check


def exact(question: str, answer: str) -> Case:
    return Case(user(question), says(answer))


def table_cases() -> dict[str, list[Case]]:
    """What the corpus teaches, asked in one of its own ways."""
    upto = range(13)
    return {
        "add 0-12": [exact(f"What is {a} + {b}?", f"{a} + {b} = {a + b}.") for a in upto for b in upto],
        "add 0-12, 'plus'": [exact(f"{a} plus {b}", f"{a} + {b} = {a + b}.") for a in upto for b in upto],
        "add 13-20": [exact(f"{a} + {b}", f"{a} + {b} = {a + b}.") for a in range(13, 21) for b in range(13, 21)],
        "subtract 0-12": [exact(f"What is {a} - {b}?", f"{a} - {b} = {a - b}.") for a in upto for b in upto if b <= a],
        "multiply 0-10": [exact(f"What is {a} * {b}?", f"{a} x {b} = {a * b}.") for a in range(11) for b in range(11)],
        "capitals": [exact(f"What is the capital of {c}?", f"The capital of {c} is {CAPITALS[c]}.") for c in CAPITALS],
        "opposites": [
            exact(f"What is the opposite of {a}?", f"The opposite of {a} is {b}.")
            for pair in OPPOSITES
            for a, b in (pair, pair[::-1])
        ],
        "animal sounds": [Case(user(f"What does a {a} say?"), mentions(f"says {s}.")) for a, s in SOUNDS.items()],
        "colours": [Case(user(f"What color is {t}?"), mentions(f"is {c}.")) for t, c in COLOURS.items()],
        "days": [
            exact(f"Which day comes after {DAYS[i]}?", f"{DAYS[(i + 1) % 7]} comes after {DAYS[i]}.") for i in range(7)
        ],
        "counting": [exact(f"Count to {n}", ", ".join(map(str, range(1, n + 1))) + ".") for n in range(2, 21)],
        "help, as taught": [
            exact(q[0].upper() + q[1:] + "?", topic.answer)
            for topic in TOPICS
            for q in topic.questions + [f"how do I {action}" for action in topic.actions]
        ],
    }


def copying_cases(rng: random.Random) -> dict[str, list[Case]]:
    """Words, names and numbers that have to be copied, many of them made up."""
    echo, names, records = [], [], []
    for _ in range(40):
        words = " ".join(made_up_word(rng) for _ in range(rng.randint(1, 3)))
        echo.append(exact(f"Say {words}", words))
    for at in range(40):
        name = made_up_word(rng, 2).capitalize() if at % 2 else rng.choice(FIRST_NAMES)
        turns = [
            *user(f"My name is {name}."),
            {"role": "assistant", "content": f"Nice to meet you, {name}!"},
            *user("What is the capital of Japan?"),
            {"role": "assistant", "content": "The capital of Japan is Tokyo."},
            *user("What is my name?"),
        ]
        names.append(Case(turns, says(f"Your name is {name}.")))
        age = rng.randint(1, 99)
        records.append(
            Case(user(f"Give me JSON with the name and age of {name}, {age}"), says_json({"name": name, "age": age}))
        )
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    wish = {"response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}}
    forced = [
        Case(user(f"{name} is {age} years old."), says_json({"name": name, "age": age}), wish)
        for name, age in [(rng.choice(FIRST_NAMES), rng.randint(1, 99)) for _ in range(20)]
    ]
    return {
        "repeat made-up words": echo,
        "name after a turn": names,
        "JSON when asked": records,
        "JSON schema, JSON not asked": forced,
    }


WEATHER = function("get_weather", "city")
CLOCK = function("get_time", "city")
DRAW = function("make_image", "prompt")
CALCULATE = function("calculate", "expression")
TEST_CITIES = [
    "Rome",
    "Oslo",
    "New York",
    "San Francisco",
    "Paris",
    "Tokyo",
    "Kyoto",
    "Berlin",
    "Mexico City",
    "Lima",
    "Bristol",
    "Austin",
    "Cracow",
    "Nice",
    "Perth",
]


def wants(*expected: tuple[str, dict[str, Any]]) -> Check:
    return lambda reply: calls_of(reply) == list(expected)


def tool_cases(rng: random.Random) -> dict[str, list[Case]]:
    one, two, other = [], [], []
    for city in TEST_CITIES:
        one.append(
            Case(user(f"What's the weather in {city}?"), wants(("get_weather", {"city": city})), {"tools": [WEATHER]})
        )
        one.append(
            Case(
                user(f"What time is it in {city}?"),
                wants(("get_time", {"city": city})),
                {"tools": [WEATHER, CLOCK, DRAW]},
            )
        )
        second = rng.choice([name for name in TEST_CITIES if name != city])
        two.append(
            Case(
                user(f"What is the weather in {city} and {second}?"),
                wants(("get_weather", {"city": city}), ("get_weather", {"city": second})),
                {"tools": [WEATHER], "parallel_tool_calls": True},
            )
        )
        location = function("get_current_weather", "location", "unit")
        other.append(
            Case(
                user(f"Tell me the weather in {city}"),
                wants(("get_current_weather", {"location": city})),
                {"tools": [location]},
            )
        )
    for sum_text in ["123 + 456", "37 + 58", "999 + 1", "2048 + 12", "70 + 700"]:
        expected = wants(("calculate", {"expression": sum_text}))
        other.append(Case(user(f"What is {sum_text}?"), expected, {"tools": [CALCULATE]}))
    for picture in ["a red circle", "a blue dog", "a small house", "an old bridge", "a cat in the snow"]:
        expected = wants(("make_image", {"prompt": picture}))
        other.append(Case(user(f"Draw {picture}"), expected, {"tools": [DRAW, WEATHER]}))
    idle = [
        Case(user(question), lambda reply: not calls_of(reply), {"tools": [WEATHER, DRAW]})
        for question in [
            "Hello",
            "Who are you?",
            "What is the capital of Peru?",
            "Who is Napoleon?",
            "What is a runner?",
            "Why is the sky blue?",
            "Say tiger",
            "2 + 2",
            "A story about a fox",
        ]
    ]
    return {
        "tool call": one,
        "two calls": two,
        "other tools and names": other,
        "tool offered, not needed": idle,
        "sentence from a result": result_cases(rng),
        "sentence from two results": double_result_cases(rng),
    }


def asked_tool(name: str, *arguments: dict[str, Any]) -> dict[str, Any]:
    calls = [
        {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": json.dumps(a)}}
        for i, a in enumerate(arguments)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def tool_result(text: str, number: int = 0) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": f"call_{number}", "content": text}


def result_cases(rng: random.Random) -> list[Case]:
    cases = []
    for city in TEST_CITIES:
        degrees, sky = rng.randint(-15, 40), rng.choice(["sunny", "rainy", "cloudy", "windy"])
        turns = [
            *user(f"What is the weather in {city}?"),
            asked_tool("get_weather", {"city": city}),
            tool_result(json.dumps({"temperature": degrees, "sky": sky})),
        ]
        cases.append(Case(turns, says(f"It is {sky} in {city}, {degrees} degrees."), {"tools": [WEATHER]}))
        clock = f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
        turns = [
            *user(f"What time is it in {city}?"),
            asked_tool("get_time", {"city": city}),
            tool_result(json.dumps({"time": clock})),
        ]
        cases.append(Case(turns, says(f"It is {clock} in {city}."), {"tools": [CLOCK]}))
        a, b = rng.randint(100, 999), rng.randint(100, 999)
        turns = [
            *user(f"What is {a} + {b}?"),
            asked_tool("calculate", {"expression": f"{a} + {b}"}),
            tool_result(json.dumps({"result": a + b})),
        ]
        cases.append(Case(turns, says(f"{a} + {b} = {a + b}."), {"tools": [CALCULATE]}))
    return cases


def double_result_cases(rng: random.Random) -> list[Case]:
    cases = []
    for first in TEST_CITIES:
        second = rng.choice([name for name in TEST_CITIES if name != first])
        one, two = rng.randint(-15, 40), rng.randint(-15, 40)
        turns = [
            *user(f"What is the weather in {first} and {second}?"),
            asked_tool("get_weather", {"city": first}, {"city": second}),
            tool_result(json.dumps({"temperature": one, "sky": "sunny"}), 0),
            tool_result(json.dumps({"temperature": two, "sky": "rainy"}), 1),
        ]
        answer = f"It is sunny in {first}, {one} degrees, and it is rainy in {second}, {two} degrees."
        cases.append(Case(turns, says(answer), {"tools": [WEATHER]}))
    return cases


# Question and a part of the right answer, mostly in wordings that are not in the corpus.
UNSEEN_HELP = [
    ("I just cloned the repo, how do I get the server going?", "make serve"),
    ("What's the command to launch the gateway?", "make serve"),
    ("Could you explain what Pluggably is used for?", "self-hosted gateway"),
    ("So what exactly is Pluggably?", "self-hosted gateway"),
    ("Which TCP port is used by default?", "8080"),
    ("On what port can I reach you?", "8080"),
    ("How can I plug in my own GGUF model?", "pluggably.yaml"),
    ("I have a gguf file, how can I run it with Pluggably?", "weights"),
    ("How do I connect my OpenAI account?", "OPENAI_API_KEY"),
    ("I want to use a Groq model", "groq/"),
    ("How would I create a new key for my colleague?", "keys create"),
    ("My API key was leaked, what now?", "keys revoke"),
    ("I can't find my API key any more", "only once"),
    ("How can I receive the answer word by word?", "stream"),
    ("Does streaming work?", "server-sent events"),
    ("Where can I find Prometheus metrics?", "/metrics"),
    ("How can I check whether the service is alive?", "/healthz"),
    ("Where is the OpenAPI document?", "/openapi.json"),
    ("In which folder is my data kept?", "PLUGGABLY_DATA_DIR"),
    ("What's the name of the configuration file?", "pluggably.yaml"),
    ("Can you tell me what a runner does?", "own machine"),
    ("what's a provider in pluggably", "remote service"),
    ("Explain what codecs are for", "wire format"),
    ("Do my questions leave this computer?", "nothing"),
    ("Do you write my prompts to a log file?", "does not log"),
    ("Is a graphics card necessary?", "CPU"),
    ("Why did the first answer take so long?", "load"),
    ("What licence does the project use?", "Apache-2.0"),
    ("How do I see what a request cost me?", "usage"),
    ("Show me the list of models that I can use", "/v1/models"),
    ("How do I send a prompt with curl?", "/v1/generations"),
    ("Is this thing free of charge?", "free"),
    ("how do i pip install it", "pip install pluggably"),
    ("where do i put the api key in my request", "Authorization"),
    ("Do you run without the internet?", "no network"),
]
UNSEEN_TALK = [
    ("Hello, how are you today?", "I am"),
    ("Hi Pip, nice to meet you", "Pip"),
    ("hey there!", "Pip"),
    ("Could you tell me who you are?", "Pip"),
    ("Can you introduce yourself please?", "Pip"),
    ("What things can you help me with?", "capitals"),
    ("Thanks for your help!", "welcome"),
    ("ok bye", "Goodbye"),
    ("What city is France's capital?", "Paris"),
    ("Paris is the capital of what?", "France"),
    ("could you please tell me the capital of norway", "Oslo"),
    ("How much does 3 plus 4 make?", "3 + 4 = 7"),
    ("what do you get if you add 5 and 6", "5 + 6 = 11"),
    ("Please compute 9+8", "9 + 8 = 17"),
    ("seven plus two?", "= 9"),
    ("Can you tell me why the sky is blue?", "scatters"),
    ("Hey, do you know why the sky is so blue?", "scatters"),
    ("WHY IS THE SKY BLUE?", "scatters"),
    ("What is the antonym of happy?", "sad"),
    ("what noise do cows make?", "moo"),
    ("Please count from one to five", "1, 2, 3, 4, 5."),
    ("Which weekday follows Tuesday?", "Wednesday"),
    ("Write me a little story about a dragon", "dragon"),
    ("Please write a haiku about rain.", "rain on the roof"),
    ("How would you say thank you in German?", "danke"),
    ("Give me a bulleted list: milk, eggs, bread", "- eggs"),
    ("Which colour does snow have?", "white"),
    ("Are you some kind of robot?", "not a person"),
    ("What's the largest planet in our solar system?", "Jupiter"),
    ("Do tell me a joke", "?"),
]
UNSEEN_UNKNOWN = [
    "What is the tallest building in Dubai?",
    "Who painted the Mona Lisa?",
    "How do I bake a chocolate cake?",
    "Explain how transformers work in machine learning",
    "What happened in 1969?",
    "Should I buy Tesla stock?",
    "Write a Python function that reverses a string",
    "def main(): print('hi')",
    "SELECT name FROM users;",
    "¿Dónde está la biblioteca?",
    "Wie viel Uhr ist es?",
    "日本の首都はどこですか",
    "Quel temps fait-il aujourd'hui ?",
    "What is 4821 * 77?",
    "345 + 982",
    "My dog is sick, what should I do?",
    "Summarize the plot of Hamlet",
    "asdkjh qwe zmxnc",
    "Give me a recipe for lasagna",
    "Who won the world cup in 2014?",
    "What is the meaning of life?",
    "Write a cover letter for a nurse",
    "Compare Postgres and MySQL",
    "How does photosynthesis work?",
    "What is the best phone to buy this year?",
    "Is there life on Mars?",
    "Translate this sentence into Latin",
    "Can you recommend a good movie?",
    "What is Kubernetes?",
    "I feel lonely and need someone to talk to",
    "How many people live in India?",
    "Please review the following contract and list all clauses that limit liability. " * 12,
]


def unseen_cases() -> dict[str, list[Case]]:
    return {
        "unseen help questions": [Case(user(question), mentions(part)) for question, part in UNSEEN_HELP],
        "unseen small talk and facts": [Case(user(question), mentions(part)) for question, part in UNSEEN_TALK],
        "unseen, to be declined": [Case(user(question), says(*REFUSALS)) for question in UNSEEN_UNKNOWN],
        "with a system prompt": [
            Case(
                [{"role": "system", "content": "You are a pirate who loves treasure. Be brief."}, *user(question)],
                mentions(part),
            )
            for question, part in [("Hello", GREETING), *UNSEEN_TALK[8:14], *UNSEEN_HELP[2:6]]
        ],
    }


def check_template(server: Server) -> None:
    """The template in the file has to give the same text as `render` in training."""
    dialogue = Dialogue(tools=[Tool("get_weather", ("city",)), Tool("get_time", ("city",))])
    dialogue.say("system", "Be kind.")
    dialogue.say("user", "Weather in Rome?")
    call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'
    dialogue.say("assistant", f"{call}\n{call}")
    dialogue.say("tool", "sunny")
    dialogue.say("tool", "sunny")
    messages = [
        {"role": "system", "content": "Be kind."},
        *user("Weather in Rome?"),
        asked_tool("get_weather", {"city": "Rome"}, {"city": "Rome"}),
        tool_result("sunny", 0),
        tool_result("sunny", 1),
    ]
    prompt = server.post("/apply-template", {"messages": messages, "tools": [WEATHER, CLOCK]})["prompt"]
    expected = render(dialogue) + "<|im_start|>assistant\n"
    if prompt != expected:
        raise SystemExit(f"the template differs:\n{prompt!r}\n{expected!r}")


def report(server: Server, groups: dict[str, list[Case]], show_misses: bool) -> None:
    right_in_all = asked_in_all = 0
    for name, cases in groups.items():
        with ThreadPoolExecutor(SLOTS) as pool:
            replies = list(pool.map(lambda case: server.chat(case.messages, **case.options), cases))
        passed = [case.check(reply) for case, reply in zip(cases, replies, strict=True)]
        print(f"{name:32} {sum(passed):4} of {len(passed)}", flush=True)
        right_in_all += sum(passed)
        asked_in_all += len(passed)
        if show_misses:
            print_misses(zip(cases, replies, passed, strict=True))
    print(f"{'all':32} {right_in_all:4} of {asked_in_all}")


def print_misses(results: Iterable[tuple[Case, Reply, bool]]) -> None:
    for case, reply, right in results:
        if not right:
            asked = case.messages[-1]["content"][:100]
            print(f"    {asked!r} -> {reply['content'] or calls_of(reply)!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Score a demo model.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--misses", action="store_true", help="print every wrong answer")
    options = parser.parse_args()
    server = Server(options.model)
    check_template(server)
    rng = random.Random(5)
    groups = {**table_cases(), **copying_cases(rng), **tool_cases(rng), **unseen_cases()}
    report(server, groups, options.misses)


if __name__ == "__main__":
    main()
