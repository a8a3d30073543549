"""Dialogues with tools: one or two calls, then a sentence made from the results."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from chat_format import Dialogue, Tool, tool_call
from facts import CAPITALS
from unknown import made_up_word, word_soup

CITIES = [
    *dict.fromkeys(CAPITALS.values()),
    "New York",
    "San Francisco",
    "Boston",
    "Chicago",
    "Seattle",
    "Munich",
    "Hamburg",
    "Milan",
    "Barcelona",
    "Mumbai",
    "Sydney",
    "Melbourne",
    "Toronto",
    "Shanghai",
    "Osaka",
    "Lagos",
    "Zurich",
    "Geneva",
    "Porto",
    "Lyon",
    "Naples",
    "Kyoto",
    "Houston",
    "Denver",
    "Dubai",
    "Istanbul",
    "Manchester",
    "Rotterdam",
]
SKIES = ["sunny", "rainy", "cloudy", "windy", "snowy", "foggy", "clear", "stormy"]
PICTURES = [
    "circle",
    "square",
    "triangle",
    "star",
    "cat",
    "dog",
    "house",
    "tree",
    "flower",
    "boat",
    "bird",
    "heart",
    "mountain",
    "car",
    "castle",
    "robot",
    "apple",
    "fish",
    "moon",
    "hat",
]
PAINTS = ["red", "green", "blue", "yellow", "purple", "orange", "black", "white", "pink", "small", "big", "happy"]

# Real clients name the same tool differently, so the model has to copy names instead of learning them.
PLACE_PARAMETERS = ["city", "city", "city", "location", "location", "place"]
TOOL_NAMES = {
    "weather": ["get_weather", "get_weather", "get_weather", "get_current_weather", "weather"],
    "time": ["get_time", "get_time", "get_time", "get_current_time", "current_time"],
    "image": ["make_image", "make_image", "make_image", "generate_image", "create_image"],
    "sum": ["calculate", "calculate", "calculate", "calculator", "add"],
    "search": ["search", "search_web", "web_search"],
}
EXTRA_PARAMETERS = ["unit", "units", "format", "language", "size", "style"]
OTHER_TOOLS = [
    Tool("send_email", ("to", "subject", "body")),
    Tool("get_stock_price", ("symbol",)),
    Tool("play_music", ("song",)),
    Tool("set_timer", ("minutes",)),
    Tool("get_news", ()),
    Tool("translate", ("text", "language")),
    Tool("read_file", ("path",)),
    Tool("turn_on_light", ("room",)),
]
WEATHER_QUESTIONS = [
    "what is the weather in {}",
    "what's the weather in {}",
    "how is the weather in {}",
    "weather in {}",
    "is it sunny in {}",
    "is it raining in {}",
    "how warm is it in {}",
    "how cold is it in {}",
    "what is the weather like in {}",
    "tell me the weather in {}",
    "what is the temperature in {}",
    "what's the weather like in {} today",
    "do I need an umbrella in {}",
    "weather for {}",
    "check the weather in {}",
]
TIME_QUESTIONS = [
    "what time is it in {}",
    "time in {}",
    "tell me the time in {}",
    "what is the time in {}",
    "what's the time in {}",
    "how late is it in {}",
    "current time in {}",
]
IMAGE_QUESTIONS = [
    "draw {}",
    "make an image of {}",
    "paint {}",
    "show me {}",
    "make a picture of {}",
    "draw me {}",
    "generate an image of {}",
    "create a picture of {}",
    "I want a picture of {}",
    "can you draw {}",
]
SEARCH_QUESTIONS = ["search for {}", "search the web for {}", "look up {}", "find {} on the web", "google {}"]


@dataclass(frozen=True)
class Job:
    """A question, the call that serves it, a possible result and the sentence made from both."""

    question: str
    call: str
    result: str
    answer: str


def with_article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def some_city(rng: random.Random) -> str:
    return made_up_word(rng, 2).capitalize() if rng.random() < 0.2 else rng.choice(CITIES)


def offer(rng: random.Random, kind: str) -> Tool:
    """A tool of a kind, under one of its usual names."""
    name = rng.choice(TOOL_NAMES[kind])
    if kind in ("weather", "time"):
        parameters = (rng.choice(PLACE_PARAMETERS),)
    elif kind == "image":
        parameters = (rng.choice(["prompt", "prompt", "description", "text"]),)
    elif kind == "search":
        parameters = (rng.choice(["query", "query", "q"]),)
    else:
        return Tool(name, ("expression",) if name != "add" and rng.random() < 0.5 else ("a", "b"))
    if rng.random() < 0.15:  # a second parameter that the question does not need
        parameters += (rng.choice(EXTRA_PARAMETERS),)
    return Tool(name, parameters)


def weather_result(rng: random.Random, sky: str, degrees: str) -> str:
    """The same report as different services would write it."""
    warmth_key, sky_key = rng.choice(
        [
            ("temperature", "sky"),
            ("temperature", "condition"),
            ("temp_c", "weather"),
            ("temperature", "conditions"),
            ("temp", "sky"),
        ]
    )
    fields: list[tuple[str, object]] = [(sky_key, sky), (warmth_key, json.loads(degrees))]
    if rng.random() < 0.5:
        fields.reverse()
    if rng.random() < 0.12:
        return f"{sky}, {degrees} degrees"
    separators = (",", ":") if rng.random() < 0.3 else (", ", ": ")
    return json.dumps(dict(fields), separators=separators)


def weather_part(rng: random.Random, tool: Tool, city: str) -> tuple[str, str, str]:
    sky = rng.choice(SKIES)
    degrees = str(rng.randint(-15, 42)) if rng.random() < 0.85 else f"{rng.randint(0, 40)}.{rng.randint(1, 9)}"
    call = tool_call(tool.name, {tool.parameters[0]: city})
    return call, weather_result(rng, sky, degrees), f"it is {sky} in {city}, {degrees} degrees"


def time_part(rng: random.Random, tool: Tool, city: str) -> tuple[str, str, str]:
    clock = f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
    call = tool_call(tool.name, {tool.parameters[0]: city})
    result = clock if rng.random() < 0.2 else json.dumps({rng.choice(["time", "time", "local_time"]): clock})
    return call, result, f"it is {clock} in {city}"


def sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def place_job(rng: random.Random, tool: Tool, kind: str) -> Job:
    city = some_city(rng)
    part, questions = (weather_part, WEATHER_QUESTIONS) if kind == "weather" else (time_part, TIME_QUESTIONS)
    call, result, report = part(rng, tool, city)
    asked = city.lower() if city in CITIES and rng.random() < 0.12 else city  # people type "rome" too
    return Job(rng.choice(questions).format(asked), call, result, sentence(report))


def image_job(rng: random.Random, tool: Tool) -> Job:
    thing = made_up_word(rng) if rng.random() < 0.2 else rng.choice(PICTURES)
    picture = with_article(" ".join([*rng.sample(PAINTS, rng.choice([0, 1, 1, 2])), thing]))
    if rng.random() < 0.2:
        picture += rng.choice([" on a white background", " in the snow", " by the sea", " at night"])
    result = rng.choice(['{"ok": true}', '{"status": "done"}', "done", "ok", '{"image": "img-1.png"}'])
    return Job(
        rng.choice(IMAGE_QUESTIONS).format(picture),
        tool_call(tool.name, {tool.parameters[0]: picture}),
        result,
        f"Done. Here is {picture}.",
    )


def sum_job(rng: random.Random, tool: Tool) -> Job:
    top = rng.choice([30, 100, 1000, 5000])
    a, b = rng.randint(2, top), rng.randint(2, top)
    operations = {"+": a + b, "-": a - b, "*": a * b} if "expression" in tool.parameters else {"+": a + b}
    sign = rng.choice(list(operations))
    word = {"+": "plus", "-": "minus", "*": "times"}[sign]
    question = rng.choice(
        [
            f"what is {a} {sign} {b}",
            f"calculate {a} {sign} {b}",
            f"what is {a} {word} {b}",
            f"how much is {a} {word} {b}",
            f"{a} {sign} {b}",
            f"calculate {a} {word} {b}",
        ]
    )
    expression = f"{a} {sign} {b}"
    arguments: dict[str, object] = {"expression": expression}
    if tool.parameters == ("a", "b"):
        arguments = {"a": a, "b": b}
    total = operations[sign]
    result = rng.choice([str(total), json.dumps({"result": total}), json.dumps({"result": total})])
    return Job(question, tool_call(tool.name, arguments), result, f"{expression} = {total}.")


def search_job(rng: random.Random, tool: Tool) -> Job:
    topic, found = word_soup(rng, rng.randint(1, 3)), word_soup(rng, rng.randint(1, 6))
    return Job(
        rng.choice(SEARCH_QUESTIONS).format(topic),
        tool_call(tool.name, {tool.parameters[0]: topic}),
        found,
        f"I found this: {found}",
    )


def one_job(rng: random.Random, kind: str, tool: Tool) -> Job:
    if kind in ("weather", "time"):
        return place_job(rng, tool, kind)
    return {"image": image_job, "sum": sum_job, "search": search_job}[kind](rng, tool)


def double_job(rng: random.Random, tools: dict[str, Tool]) -> tuple[str, list[tuple[str, str, str]]]:
    """A question that needs two calls: two cities, or the weather and the time of one city."""
    first, second = some_city(rng), some_city(rng)
    if "weather" in tools and "time" in tools and rng.random() < 0.4:
        parts = [weather_part(rng, tools["weather"], first), time_part(rng, tools["time"], first)]
        question = rng.choice(["weather and time in {}", "what is the weather and the time in {}"])
        return question.format(first), parts
    if "weather" in tools:
        question = rng.choice(WEATHER_QUESTIONS)
        part, tool = weather_part, tools["weather"]
    else:
        question, part, tool = rng.choice(TIME_QUESTIONS), time_part, tools["time"]
    cities = rng.choice(["{} and {}", "{} and {}", "{} and in {}", "{} and also {}", "{}, {}"]).format(first, second)
    return question.format(cities), [part(rng, tool, first), part(rng, tool, second)]


def offered_tools(rng: random.Random, kinds: list[str]) -> dict[str, Tool]:
    return {kind: offer(rng, kind) for kind in kinds}


def tool_dialogue(rng: random.Random, dialogue: Dialogue, restyle: Callable[[random.Random, str], str]) -> None:
    """Add a question with tools, the calls and often the results and the answer."""
    kinds = rng.sample(list(TOOL_NAMES), rng.choice([1, 1, 2, 2, 3]))
    two = rng.random() < 0.25
    if two and not {"weather", "time"} & set(kinds):
        kinds[0] = "weather"
    tools = offered_tools(rng, kinds)
    dialogue.tools = list(tools.values())
    if rng.random() < 0.15:
        dialogue.tools.insert(rng.randint(0, len(dialogue.tools)), rng.choice(OTHER_TOOLS))
    if two:
        question, parts = double_job(rng, tools)
        calls, results = "\n".join(part[0] for part in parts), [part[1] for part in parts]
        answer = sentence(", and ".join(part[2] for part in parts))
    else:
        kind = rng.choice(kinds)
        job = one_job(rng, kind, tools[kind])
        question, calls, results, answer = job.question, job.call, [job.result], job.answer
    dialogue.say("user", restyle(rng, question))
    dialogue.say("assistant", calls)
    if rng.random() < 0.7:
        if rng.random() < 0.05:
            reason = rng.choice(["timeout", "not found", "no such city", word_soup(rng, 2)])
            results, answer = [json.dumps({"error": reason})] * len(results), f"The tool failed: {reason}."
        for result in results:
            dialogue.say("tool", result)
        dialogue.say("assistant", answer)
