"""The small world that the demo model knows: tables of facts, nothing computed.

Every table is plain data written for this project. A wrong line here becomes a wrong answer of the
model, so keep the lines short, true and independent of the date.
"""


def words(text: str) -> list[str]:
    """The words of a text, or its phrases if they are divided by semicolons."""
    return text.split(";") if ";" in text else text.split()


CAPITALS: dict[str, str] = {
    "France": "Paris",
    "Germany": "Berlin",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Japan": "Tokyo",
    "Egypt": "Cairo",
    "Canada": "Ottawa",
    "Norway": "Oslo",
    "Austria": "Vienna",
    "Greece": "Athens",
    "Portugal": "Lisbon",
    "Ireland": "Dublin",
    "Poland": "Warsaw",
    "Peru": "Lima",
    "Kenya": "Nairobi",
    "Sweden": "Stockholm",
    "Finland": "Helsinki",
    "Denmark": "Copenhagen",
    "China": "Beijing",
    "India": "New Delhi",
    "Cuba": "Havana",
    "Chile": "Santiago",
    "Hungary": "Budapest",
    "Turkey": "Ankara",
    "Belgium": "Brussels",
    "the Netherlands": "Amsterdam",
    "Switzerland": "Bern",
    "Russia": "Moscow",
    "Ukraine": "Kyiv",
    "Romania": "Bucharest",
    "Bulgaria": "Sofia",
    "Croatia": "Zagreb",
    "Serbia": "Belgrade",
    "Iceland": "Reykjavik",
    "Estonia": "Tallinn",
    "Latvia": "Riga",
    "Lithuania": "Vilnius",
    "Mexico": "Mexico City",
    "Brazil": "Brasilia",
    "Argentina": "Buenos Aires",
    "Colombia": "Bogota",
    "Australia": "Canberra",
    "New Zealand": "Wellington",
    "South Korea": "Seoul",
    "Thailand": "Bangkok",
    "Vietnam": "Hanoi",
    "Indonesia": "Jakarta",
    "Morocco": "Rabat",
    "Nigeria": "Abuja",
    "Ghana": "Accra",
    "England": "London",
    "the United Kingdom": "London",
    "Scotland": "Edinburgh",
    "Wales": "Cardiff",
    "the United States": "Washington, D.C.",
    "the USA": "Washington, D.C.",
    "Slovakia": "Bratislava",
    "the Czech Republic": "Prague",
    "Slovenia": "Ljubljana",
    "Nepal": "Kathmandu",
}

OPPOSITES: list[tuple[str, str]] = [
    ("hot", "cold"),
    ("big", "small"),
    ("fast", "slow"),
    ("up", "down"),
    ("day", "night"),
    ("open", "closed"),
    ("happy", "sad"),
    ("old", "new"),
    ("light", "dark"),
    ("soft", "hard"),
    ("early", "late"),
    ("wet", "dry"),
    ("full", "empty"),
    ("left", "right"),
    ("tall", "short"),
    ("good", "bad"),
    ("rich", "poor"),
    ("loud", "quiet"),
    ("high", "low"),
    ("true", "false"),
    ("clean", "dirty"),
    ("near", "far"),
    ("first", "last"),
    ("strong", "weak"),
    ("black", "white"),
]

SOUNDS: dict[str, str] = {
    "cat": "meow",
    "dog": "woof",
    "cow": "moo",
    "duck": "quack",
    "sheep": "baa",
    "bee": "buzz",
    "lion": "roar",
    "frog": "ribbit",
    "owl": "hoot",
    "pig": "oink",
    "horse": "neigh",
    "mouse": "squeak",
    "snake": "hiss",
    "rooster": "cock-a-doodle-doo",
    "donkey": "hee-haw",
    "wolf": "howl",
}

COLOURS: dict[str, str] = {
    "the sky": "blue",
    "grass": "green",
    "snow": "white",
    "a banana": "yellow",
    "coal": "black",
    "a tomato": "red",
    "an orange": "orange",
    "the sea": "blue",
    "a lemon": "yellow",
    "a strawberry": "red",
    "milk": "white",
    "a carrot": "orange",
    "a leaf": "green",
    "the sun": "yellow",
    "chocolate": "brown",
    "a frog": "green",
    "an elephant": "grey",
    "blood": "red",
    "the night": "black",
}

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]

NUMBER_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]

TRANSLATIONS: dict[str, dict[str, str]] = {
    "French": {
        "hello": "bonjour",
        "thank you": "merci",
        "goodbye": "au revoir",
        "yes": "oui",
        "no": "non",
        "cat": "chat",
        "dog": "chien",
        "water": "eau",
        "bread": "pain",
        "house": "maison",
    },
    "German": {
        "hello": "hallo",
        "thank you": "danke",
        "goodbye": "auf Wiedersehen",
        "yes": "ja",
        "no": "nein",
        "cat": "Katze",
        "dog": "Hund",
        "water": "Wasser",
        "bread": "Brot",
        "house": "Haus",
    },
    "Spanish": {
        "hello": "hola",
        "thank you": "gracias",
        "goodbye": "adiós",
        "yes": "sí",
        "no": "no",
        "cat": "gato",
        "dog": "perro",
        "water": "agua",
        "bread": "pan",
        "house": "casa",
    },
    "Italian": {
        "hello": "ciao",
        "thank you": "grazie",
        "goodbye": "arrivederci",
        "yes": "sì",
        "no": "no",
        "cat": "gatto",
        "dog": "cane",
        "water": "acqua",
        "bread": "pane",
        "house": "casa",
    },
}

# Questions about the world: (ways to ask, the one answer).
WORLD: list[tuple[list[str], str]] = [
    (
        [
            "why is the sky blue",
            "why does the sky look blue",
            "why is sky blue",
            "what makes the sky blue",
            "explain why the sky is blue",
            "tell me why the sky is blue",
            "how come the sky is blue",
            "why is the sky blue and not green",
            "what is the reason the sky is blue",
        ],
        "Sunlight scatters in the air, and blue light scatters most. So we see blue from every side.",
    ),
    (
        [
            "why is the sunset red",
            "why is the sky red in the evening",
            "why are sunsets red",
            "why is the sun red in the evening",
            "what makes a sunset red",
        ],
        "In the evening the light takes a long way through the air. Most blue is lost on the way, and red is left.",
    ),
    (
        ["why is grass green", "why are leaves green", "why are plants green", "what makes leaves green"],
        "Plants hold chlorophyll. It takes in red and blue light and sends green light back.",
    ),
    (
        ["why is the sea salty", "why is the ocean salty", "why is sea water salty"],
        "Rivers carry a little salt from the rocks to the sea. The water dries up to the clouds, and the salt stays.",
    ),
    (
        ["why does it rain", "how does rain form", "where does rain come from", "what is rain"],
        "Water rises from the sea as vapour, cools into clouds and falls as rain.",
    ),
    (
        ["how does a rainbow form", "what is a rainbow", "where does a rainbow come from", "why do we see a rainbow"],
        "Raindrops split sunlight into its colours. That is a rainbow.",
    ),
    (
        ["why does ice float", "why does ice float on water", "why is ice lighter than water"],
        "Water grows when it freezes, so ice is lighter than water and floats.",
    ),
    (
        ["why do leaves fall in autumn", "why do trees lose their leaves", "why do leaves fall"],
        "Trees drop their leaves to save water in the cold months.",
    ),
    (
        ["why is the night dark", "why is it dark at night", "why do we have day and night"],
        "The Earth turns. At night our side faces away from the sun.",
    ),
    (
        ["why do we have seasons", "what causes the seasons", "why is winter cold"],
        "The Earth is tilted, so each half gets more sun in its summer and less in its winter.",
    ),
    (
        ["what is the largest planet", "which planet is the biggest", "what is the biggest planet"],
        "Jupiter is the largest planet of our solar system.",
    ),
    (
        ["what is the largest ocean", "which ocean is the biggest", "what is the biggest ocean"],
        "The Pacific Ocean is the largest ocean.",
    ),
    (
        ["what is the highest mountain", "which mountain is the highest", "what is the tallest mountain"],
        "Mount Everest is the highest mountain on Earth.",
    ),
    (
        ["what is the moon", "tell me about the moon", "what does the moon do"],
        "The moon is a ball of rock that travels around the Earth in about four weeks.",
    ),
    (
        ["what is the sun", "tell me about the sun", "is the sun a star"],
        "The sun is a star. It gives the Earth light and heat.",
    ),
    (
        ["how many planets are there", "how many planets does the solar system have"],
        "Our solar system has eight planets.",
    ),
    (
        ["how many days are in a week", "how many days does a week have", "number of days in a week"],
        "A week has 7 days.",
    ),
    (["how many months are in a year", "how many months does a year have"], "A year has 12 months."),
    (
        ["how many days are in a year", "how many days does a year have"],
        "A year has 365 days, and a leap year has 366.",
    ),
    (["how many hours are in a day", "how many hours does a day have"], "A day has 24 hours."),
    (["how many minutes are in an hour", "how many minutes does an hour have"], "An hour has 60 minutes."),
    (["how many seconds are in a minute", "how many seconds does a minute have"], "A minute has 60 seconds."),
    (["how many legs does a spider have", "how many legs has a spider"], "A spider has 8 legs."),
    (["how many legs does a cat have", "how many legs does a dog have", "how many legs has a horse"], "It has 4 legs."),
    (["what do bees make", "who makes honey", "where does honey come from"], "Bees make honey from nectar."),
    (["what do cows eat", "what does a cow eat"], "Cows eat grass."),
    (["what is water made of", "what is water", "what is h2o"], "Water is made of hydrogen and oxygen."),
    (
        ["what is the boiling point of water", "at what temperature does water boil", "when does water boil"],
        "Water boils at 100 degrees Celsius at sea level.",
    ),
    (
        ["at what temperature does water freeze", "when does water freeze", "freezing point of water"],
        "Water freezes at 0 degrees Celsius.",
    ),
    (
        ["name the four seasons", "what are the seasons", "list the seasons", "which seasons are there"],
        "The seasons are spring, summer, autumn and winter.",
    ),
    (
        ["name the days of the week", "list the days of the week", "what are the days of the week"],
        "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday.",
    ),
    (
        ["name the months", "list the months of the year", "what are the months of the year"],
        "January, February, March, April, May, June, July, August, September, October, November, December.",
    ),
    (["name three colours", "list three colors", "tell me some colours", "name some colors"], "Red, green and blue."),
    (
        ["name three animals", "list some animals", "name an animal", "tell me three animals"],
        "A cat, a dog and an owl.",
    ),
    (
        ["name three fruits", "list some fruits", "name a fruit", "tell me three fruits"],
        "An apple, a banana and a pear.",
    ),
    (
        ["say the alphabet", "what is the alphabet", "recite the alphabet", "write the alphabet"],
        "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z",
    ),
]

POEMS: dict[str, str] = {
    "the sea": "Grey waves come and go,\nthe gull writes on the white sand,\nthen the sea reads it.",
    "rain": "Soft rain on the roof,\na thousand small drums at night,\nthe street starts to shine.",
    "autumn": "One leaf leaves the tree,\nit takes its time to the ground,\nthe wind counts the rest.",
    "snow": "No sound in the street,\nsnow has put the town to sleep,\none lamp stays awake.",
    "the moon": "The moon climbs the hill,\nit looks into each window,\nand borrows our dreams.",
    "spring": "A bud opens up,\nthe bee is the first to know,\nthen the whole garden.",
    "a computer": "A light blinks all night,\nthe fan hums a little song,\nnumbers dream of words.",
}

JOKES = [
    "Why did the computer go to bed? It needed to crash.",
    "What do you call a sleeping bull? A bulldozer.",
    "Why was the maths book sad? It had too many problems.",
]
