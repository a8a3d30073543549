"""What the demo model cannot answer: made-up questions, foreign text, code and noise.

A tiny model invents an answer to everything unless it has seen many questions that deserve an honest
"I do not know". The questions below are assembled from templates, ordinary words and made-up words.
"""

import random
import string

from facts import words

DO_NOT_KNOW = (
    "I am a very small model, so I do not know that. "
    "Ask me about Pluggably, capitals, small sums, opposites, animals or a story."
)
ENGLISH_ONLY = "I am a very small model and I speak only simple English. Please ask me in English."
NO_CODE = "I am a very small model, so I cannot read or write code."
TOO_HARD_A_SUM = "That sum is too hard for me. Offer me a tool named calculate, and I will call it."
NO_WEATHER = "I cannot know the weather. Offer me a tool named get_weather, and I will call it."
NO_CLOCK = "I cannot see a clock. Offer me a tool named get_time, and I will call it."
NO_IMAGE = "I write text only. Offer me a tool named make_image, and I will call it."

ONSETS = words("b br c ch d dr f g gr h j k l m n p pl qu r s sh st t th tr v w y z")
VOWELS = words("a e i o u ai ea ee io oo ou")
CODAS = ["", "", "", *words("b ck d l ll m n nd ng p r rt s ss st t x")]

TOPICS = words(
    "quantum physics;the stock market;bitcoin;football;the French Revolution;climate change;black holes;"
    "love;democracy;the Roman Empire;machine learning;neural networks;Kubernetes;Docker;the meaning of life;"
    "taxes;my homework;photosynthesis;gravity;evolution;cancer;diabetes;the economy;inflation;chess;tennis;"
    "basketball;jazz;Shakespeare;Harry Potter;the Bible;Buddhism;philosophy;electric cars;solar energy;"
    "nuclear power;the human brain;DNA;vaccines;antibiotics;sleep;coffee;pasta;sourdough bread;pizza;wine;"
    "beer;vegan food;a marathon;yoga;my garden;my car;my boss;my taxes;a divorce;a contract;"
    "the constitution;an election;the president;the United Nations;NASA;Mars;the speed of light;relativity;"
    "string theory;algebra;calculus;prime numbers;statistics;linear regression;blockchain;cryptography;"
    "Linux;Windows;the iPhone;TikTok;Netflix;Star Wars;the Beatles;Mozart;Picasso;Leonardo da Vinci;"
    "Albert Einstein;Isaac Newton;Napoleon;Cleopatra;dinosaurs;sharks;whales;volcanoes;earthquakes;"
    "hurricanes;deserts;the Amazon;the Great Wall;the pyramids;the Cold War;World War II;the Middle Ages;"
    "the industrial revolution;capitalism;socialism;psychology;depression;anxiety;headaches;a sore throat;"
    "weight loss;protein;vitamins;hair;tattoos;fashion;shoes;a wedding;a birthday party;a job interview;"
    "my resume;a cover letter;a business plan;a startup;marketing;real estate;a mortgage;insurance;"
    "a credit card;a bank account;retirement;a holiday in Greece;cheap flights;hotels in London;"
    "the best laptop;a new phone;a camera;headphones;video games;Minecraft;poker;magic tricks;transformers;"
    "attention;GPT-4;Claude;Gemini;artificial intelligence;robots;databases;Postgres;Redis;React;JavaScript;"
    "Rust;Python;compilers;operating systems;the internet;DNS;TCP;encryption;viruses;hackers;ethics;"
    "free will;consciousness;time travel;aliens;ghosts;astrology;dreams;happiness;friendship;money"
)
PEOPLE = words(
    "Albert Einstein;Napoleon;the king of Spain;the president of France;Taylor Swift;Elon Musk;Marie Curie;"
    "Shakespeare;the pope;Lionel Messi;my neighbour;your mother;Barack Obama;Cleopatra;Alan Turing;"
    "Ada Lovelace;the prime minister;Julius Caesar;Batman;Sherlock Holmes;the richest man;"
    "the first man on the moon"
)
VERBS = words(
    "fix;cook;build;sell;buy;repair;clean;paint;learn;teach;understand;find;lose;win;write;draw;drive;fly;"
    "plant;grow;invest in;study;translate;compile;debug;measure;cut;wash;wear;train;ride;sing;bake;publish;"
    "cure"
)
THINGS = words(
    "bread;a bicycle;a house;shares;a cake;a car;a boat;a chicken;rice;a guitar;a piano;a kernel;a poem;"
    "a novel;a shirt;a horse;a puppy;tomatoes;a computer;a phone;a washing machine;a roof;a wall;an engine;"
    "a plane;a visa;a passport;a degree;a language;a business;a website;an app;a game;a speech;a letter;"
    "a lamp;a knife;a bed"
)
QUESTION_WORDS = ["who", "when", "where", "why", "how", "what", "which"]

TEMPLATES = [
    "explain {topic}",
    "explain {topic} to me",
    "what is {topic}",
    "tell me about {topic}",
    "who is {person}",
    "who was {person}",
    "when was {person} born",
    "where does {person} live",
    "how old is {person}",
    "how do I {verb} {thing}",
    "how to {verb} {thing}",
    "can you {verb} {thing}",
    "should I {verb} {thing}",
    "why should I {verb} {thing}",
    "where can I {verb} {thing}",
    "what is the best way to {verb} {thing}",
    "write an essay about {topic}",
    "write an email about {topic}",
    "write a song about {topic}",
    "write a report on {topic}",
    "write a speech about {topic}",
    "what do you think about {topic}",
    "is {topic} good",
    "is {topic} dangerous",
    "why is {topic} important",
    "what is the history of {topic}",
    "give me advice on {topic}",
    "give me three facts about {topic}",
    "compare {topic} and {topic2}",
    "what is the difference between {topic} and {topic2}",
    "how does {topic} work",
    "summarize {topic}",
    "who invented {thing}",
    "who discovered {topic}",
    "when did {topic} begin",
    "how much does {thing} cost",
    "how many people like {topic}",
    "which is better, {topic} or {topic2}",
    "recommend a book about {topic}",
    "what are the benefits of {topic}",
    "teach me {topic}",
    "plan a trip to {made_up}",
    "who wrote {made_up}",
    "who won the {made_up} cup",
    "what happened in {year}",
    "what is a {made_up}",
    "what is {made_up}",
    "why is {thing} {made_up}",
    "where is {made_up}",
    "how far is {made_up}",
    "who is {made_up}",
    "what is the population of {made_up}",
    "what is the price of {thing}",
    "tell me about {made_up}",
    "what is the name of {person}",
    "define {made_up}",
    "why do people {verb} {thing}",
    "what does {made_up} mean",
    "how many {made_up} are there",
    "give me a recipe for {thing}",
    "what is the news about {topic}",
    "who will win the election",
    "what should I wear",
    "what should I eat",
    "what should I do about {topic}",
    "my {made_up} is broken",
    "I have a problem with {topic}",
    "I feel bad about {topic}",
    "let us talk about {topic}",
    "why are there {made_up}",
    "why is the {made_up} so big",
    "why is the moon {made_up}",
    "pretend to be {person}",
    "summarize this text: {words}",
    "fix the grammar: {words}",
    "continue this: {words}",
    "{words}",
    "{topic}",
    "what is your opinion of {person}",
    "do you know {person}",
    "do you like {topic}",
    "what rhymes with {made_up}",
    "how tall is {person}",
    "what is the weight of {thing}",
    "what is the formula for {topic}",
    "prove that {topic} is true",
    "solve {topic}",
    "what is the square root of {number}",
    "classify this: {words}",
    "is {number} a prime number",
    "write a limerick about {topic}",
    "write a headline about {topic}",
    "generate ideas for {topic}",
    "help me with {topic}",
    "help me {verb} {thing}",
    "I need help with {topic}",
    "can you help me with {topic}",
    "what time does {person} wake up",
    "how long does it take to {verb} {thing}",
]
SOUP_WORDS = [word for template in TEMPLATES for word in template.split() if "{" not in word]
CODE_TEMPLATES = [
    "write a function that {verb}s {thing}",
    "write a Python function",
    "write python code to {verb} {thing}",
    "write code for {topic}",
    "write a program in JavaScript",
    "write an SQL query",
    "fix this code: {code}",
    "what does this code do: {code}",
    "{code}",
    "{code}",
    "explain this code {code}",
    "write a bash script",
    "debug this: {code}",
    "write a hello world program in {made_up}",
    "write a Python script that {verb}s {thing}",
    "can you write code",
    "can you code",
    "write me some code",
    "code a game",
    "write html for {topic}",
    "write a Python function to sort a list",
    "write fizzbuzz",
    "write a regex for {thing}",
    "refactor {code}",
]
FOREIGN_WORDS = [
    "bonjour comment ça va où est la gare je voudrais un café qui es tu quelle heure est il merci "
    "raconte moi une histoire pourquoi le ciel est bleu est ce que vous parlez français capitale de la "
    "France aujourd'hui",
    "guten Tag wie geht es dir wo ist der Bahnhof ich möchte einen Kaffee wer bist du wie spät ist es "
    "erzähl mir eine Geschichte warum ist der Himmel blau sprichst du Deutsch was kannst du die "
    "Hauptstadt von Frankreich",
    "hola qué tal dónde está la estación quiero un café quién eres qué hora es cuéntame una historia por "
    "qué el cielo es azul hablas español cuál es la capital de Francia gracias mañana buenos días",
    "ciao come stai dov'è la stazione vorrei un caffè chi sei che ore sono raccontami una storia perché "
    "il cielo è blu parli italiano qual è la capitale della Francia buongiorno oggi",
    "olá como vai você onde fica a estação eu quero um café quem é você que horas são conte uma história "
    "por que o céu é azul você fala português qual é a capital bom dia",
    "привет как дела кто ты почему небо голубое расскажи историю какая столица франции что ты умеешь спасибо",
    "hej hur mår du vad heter du varför är himlen blå berätta en historia talar du svenska tack så mycket",
]
FOREIGN_SENTENCES = [
    "bonjour",
    "hola",
    "guten Tag",
    "ciao, come stai?",
    "comment ça va ?",
    "wie geht es dir?",
    "¿cómo estás?",
    "qui es-tu ?",
    "wer bist du?",
    "¿quién eres?",
    "你好",
    "你是谁",
    "こんにちは",
    "안녕하세요",
    "Привет, как дела?",
    "مرحبا",
    "नमस्ते",
    "pourquoi le ciel est-il bleu ?",
    "warum ist der Himmel blau?",
    "天空为什么是蓝色的",
    "¿por qué el cielo es azul?",
    "hallo, wer bist du?",
    "bom dia",
    "buongiorno",
    "hallo",
    "bonsoir",
    "今日は",
]
# First and last code point of scripts that need no spaces or upper case to look like text.
SCRIPT_RANGES = [
    (0x0430, 0x044F),
    (0x4E00, 0x62FF),
    (0x3042, 0x3093),
    (0x0627, 0x064A),
    (0x0905, 0x0939),
    (0xAC00, 0xB3FF),
    (0x03B1, 0x03C9),
    (0x05D0, 0x05EA),
]
CODE_SNIPPETS = [
    "def {a}({b}): return {b} + {n}",
    "for {a} in range({n}): print({a})",
    "SELECT {a} FROM {b} WHERE {a} = {n};",
    "import {a}\nprint({a}.{b}({n}))",
    "if ({a} > {n}) {{ {b}(); }}",
    "const {a} = ({b}) => {b} * {n};",
    "fn {a}({b}: i32) -> i32 {{ {b} }}",
    '<div class="{a}">{b}</div>',
    "git {a} --{b}",
    "{a}[{n}] = {b}.{a}()",
    "class {a}:\n    def {b}(self):\n        pass",
    "#include <{a}.h>\nint main() {{ return {n}; }}",
    "let {a} = {n};\nwhile ({a}) {{ {a}--; }}",
    '{{"{a}": {n}, "{b}": [{n}]}}',
    "sudo {a} install {b}",
]


def made_up_word(rng: random.Random, syllables: int = 0) -> str:
    """A word that nobody knows, such as "brimtoss": it can be copied but never remembered."""
    count = syllables or rng.choice([1, 1, 2, 2, 3])
    return "".join(rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(count))


def word_soup(rng: random.Random, length: int) -> str:
    """Words without sense, some real and some made up."""
    words = []
    for _ in range(length):
        source = rng.random()
        if source < 0.35:
            words.append(made_up_word(rng))
        elif source < 0.7:
            words.append(rng.choice(SOUP_WORDS))
        else:
            words.append(rng.choice(rng.choice(TOPICS + THINGS + VERBS).split()))
    return " ".join(words)


def code_snippet(rng: random.Random) -> str:
    snippet = rng.choice(CODE_SNIPPETS)
    return snippet.format(a=made_up_word(rng, 1), b=made_up_word(rng, 1), n=rng.randint(0, 99))


def fill(rng: random.Random, template: str) -> str:
    """Put random words into the places of a template."""
    return template.format(
        topic=rng.choice(TOPICS),
        topic2=rng.choice(TOPICS),
        person=rng.choice(PEOPLE),
        verb=rng.choice(VERBS),
        thing=rng.choice(THINGS),
        made_up=made_up_word(rng),
        year=rng.randint(1000, 2030),
        number=rng.randint(13, 999),
        words=word_soup(rng, rng.choice([4, 8, 12, 30])),
        code=code_snippet(rng),
    )


def foreign_text(rng: random.Random) -> str:
    """A sentence, some words or some letters of another language."""
    kind = rng.random()
    if kind < 0.35:
        return rng.choice(FOREIGN_SENTENCES)
    if kind < 0.75:
        words = rng.choice(FOREIGN_WORDS).split()
        start = rng.randrange(len(words) - 2)
        return " ".join(words[start : start + rng.randint(2, 9)])
    low, high = rng.choice(SCRIPT_RANGES)
    length = rng.randint(2, 16)
    return "".join(chr(rng.randint(low, high)) if rng.random() < 0.85 else " " for _ in range(length))


def noise(rng: random.Random) -> str:
    """Keyboard noise, long word soup or a single odd sign."""
    kind = rng.random()
    if kind < 0.3:
        return "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(3, 20)))
    if kind < 0.45:
        return "".join(rng.choice(string.printable[:94]) for _ in range(rng.randint(1, 20)))
    return word_soup(rng, rng.choice([2, 3, 5, 8, 15, 30, 60, 120]))


def hard_sum(rng: random.Random) -> str:
    """A sum outside the tables that the model learns."""
    low = rng.choice([21, 100, 1000])
    a, b = rng.randint(low, low * 9), rng.randint(2, low * 9)
    if rng.random() < 0.5:
        a, b = b, a
    sign = rng.choice(["+", "-", "*", "x", "/", " plus ", " minus ", " times ", " divided by ", " % "])
    if sign in ("/", " divided by "):  # the model never learns to divide, not even small numbers
        a, b = rng.randint(1, rng.choice([20, 1000])), rng.randint(1, 20)
    space = rng.choice(["", " "]) if len(sign) == 1 else ""
    return rng.choice(["", "", "what is ", "calculate ", "how much is "]) + f"{a}{space}{sign}{space}{b}"


def unknown_pair(rng: random.Random) -> tuple[str, str]:
    """A question that the model has to decline, and the polite answer."""
    kind = rng.random()
    if kind < 0.55:
        return fill(rng, rng.choice(TEMPLATES)), DO_NOT_KNOW
    if kind < 0.67:
        return noise(rng), DO_NOT_KNOW
    if kind < 0.77:
        return foreign_text(rng), ENGLISH_ONLY
    if kind < 0.87:
        return fill(rng, rng.choice(CODE_TEMPLATES)), NO_CODE
    return hard_sum(rng), TOO_HARD_A_SUM
