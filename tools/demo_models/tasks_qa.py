"""The qa task: facts of an invented world. Train and test share the facts and never a phrasing."""

import random

SEED = 7001
ENTITIES = 160
ONSET = "b br d dr f fl g gl h j k kr l m n p pr r s sk st t th tr v w z".split()
VOWEL = "a e i o u ai au ei ia ou".split()
CODA = ["", "", "l", "m", "n", "r", "s", "x", "nd", "rk", "st", "th"]
GOODS = """amber barley bronze butter candles carpets cedar cheese chalk cider cinnamon clay cloth coal cobalt cocoa
copper coral cork cotton dates dyes figs flax flour furs garlic ginger glass glue gold grain granite grapes hemp herbs
honey hops horses indigo ink iron ivory jade jam lace lamps lead leather lemons linen marble masks mead mint mirrors
nails nutmeg nuts oats oil olives onions opals oranges paint paper pearls pepper pins plums pottery quartz quills raisins
resin rice ropes rubies rugs rum rye saddles saffron salt sand shells silk silver slate soap spices steel sugar sulphur
tar tea tiles timber tin tobacco tools toys turnips vanilla velvet vinegar walnuts wax wheat wine wire wool zinc""".split()
ANIMALS = """badger bat bear beaver bison boar buffalo camel cat cobra condor cougar cow crab crane cricket crocodile crow deer
dog dolphin donkey dove duck eagle eel elephant elk falcon ferret finch fox frog gecko goat goose gull hare hawk hedgehog
heron horse hyena ibex ibis jackal jaguar koala lark lemur leopard lion lizard llama lobster lynx magpie mole monkey moose
moth mouse mule newt octopus orca otter owl ox panda panther parrot peacock pelican pigeon pony puma quail rabbit raccoon
ram rat raven robin salmon seal shark sheep shrew skunk sloth snail spider squirrel stork swan tapir tiger toad trout
turkey turtle viper walrus wasp weasel whale wolf wombat yak zebra""".split()
CRAFTS = """actor archer architect astronomer baker banker barber beekeeper biologist blacksmith boatman bookbinder botanist
brewer builder butcher carpenter carver cartographer chemist clerk clockmaker cobbler composer cook cooper courier dancer
dentist diver doctor driver dyer engineer engraver explorer farmer fisherman florist forester gardener geologist glazier
goldsmith grocer guard gunsmith hatter herald historian hunter innkeeper jeweller judge juggler knight lawyer librarian
locksmith magician mason merchant midwife miller miner monk musician nurse painter pharmacist philosopher physicist pilot
piper plumber poet porter potter printer ranger sailor saddler scholar scribe sculptor shepherd singer smith soldier
spinner surgeon surveyor tailor tanner teacher thatcher trader translator trapper vintner weaver wheelwright""".split()

# relation: (answer sentence, question forms); the last three forms of each are for the test alone
# fmt: off
RELATIONS = {
    "land": {
        "capital": ("The capital of {e} is {v}.", [
            "What is the capital of {e}?", "Which city is the capital of {e}?", "Name the capital of {e}.",
            "Tell me the capital of {e}.", "{e}: what is its capital?", "what's the capital city of {e}",
            "Do you know which town is the capital of {e}?", "In the land of {e}, what is the capital?",
            "Please give the capital of {e}.",
            "Can you tell me what the capital city of {e} is called?", "Which town serves as {e}'s capital?",
            "I need the name of the capital of {e}."]),
        "currency": ("The currency of {e} is the {v}.", [
            "What is the currency of {e}?", "Which currency is used in {e}?", "Name the currency of {e}.",
            "Tell me the currency of {e}.", "{e}: what is its currency?", "what currency do they use in {e}",
            "Do you know which coin is the currency of {e}?", "In the land of {e}, what is the currency?",
            "Please give the currency of {e}.",
            "Can you tell me what the currency of {e} is called?", "Which coin serves as {e}'s currency?",
            "I need the name of the currency of {e}."]),
        "export": ("The main export of {e} is {v}.", [
            "What is the main export of {e}?", "Which good is the main export of {e}?", "Name the main export of {e}.",
            "Tell me the main export of {e}.", "{e}: what is its main export?", "what does {e} mostly export",
            "Do you know which good {e} exports most?", "In the land of {e}, what is the main export?",
            "Please give the main export of {e}.",
            "Can you tell me what {e}'s main export is?", "Which good does {e} export the most?",
            "I need to know the main export of {e}."]),
        "animal": ("The national animal of {e} is the {v}.", [
            "What is the national animal of {e}?", "Which animal is the national animal of {e}?",
            "Name the national animal of {e}.", "Tell me the national animal of {e}.",
            "{e}: what is its national animal?", "what animal stands for {e}",
            "Do you know which animal is on the flag of {e}?", "In the land of {e}, what is the national animal?",
            "Please give the national animal of {e}.",
            "Can you tell me what the animal of {e} is?", "Which animal serves as {e}'s national animal?",
            "I need the name of the national animal of {e}."]),
    },
    "person": {
        "born": ("{e} was born in {v}.", [
            "Where was {e} born?", "In which town was {e} born?", "Name the birthplace of {e}.",
            "Tell me where {e} was born.", "{e}: what is the birthplace?", "where was {e} born",
            "Do you know the town where {e} was born?", "What is the birthplace of {e}?",
            "Please give the birthplace of {e}.",
            "Can you tell me in which town {e} was born?", "Which town was {e} born in?",
            "I need to know where {e} was born."]),
        "craft": ("{e} worked as {v}.", [
            "What was the profession of {e}?", "What work did {e} do?", "Name the profession of {e}.",
            "Tell me what {e} worked as.", "{e}: what was the profession?", "what did {e} work as",
            "Do you know the profession of {e}?", "As what did {e} work?",
            "Please give the profession of {e}.",
            "Can you tell me what the profession of {e} was?", "Which profession did {e} have?",
            "I need to know what {e} worked as."]),
        "pet": ("{e} kept {v}.", [
            "Which animal did {e} keep?", "What animal did {e} keep?", "Name the animal that {e} kept.",
            "Tell me which animal {e} kept.", "{e}: which animal was kept?", "what pet did {e} keep",
            "Do you know the pet of {e}?", "What was the pet of {e}?",
            "Please give the animal that {e} kept.",
            "Can you tell me what animal {e} kept?", "Which pet did {e} have?",
            "I need to know which animal {e} kept."]),
        "year": ("{e} was born in the year {v}.", [
            "In which year was {e} born?", "What is the birth year of {e}?", "Name the birth year of {e}.",
            "Tell me the year in which {e} was born.", "{e}: what is the birth year?", "what year was {e} born",
            "Do you know the year {e} was born?", "What year was {e} born in?",
            "Please give the birth year of {e}.",
            "Can you tell me the year when {e} was born?", "Which year was {e} born in?",
            "I need to know the year of birth of {e}."]),
    },
    "ship": {
        "captain": ("The captain of the {e} was {v}.", [
            "Who was the captain of the {e}?", "Who commanded the ship {e}?", "Name the captain of the {e}.",
            "Tell me the captain of the {e}.", "The ship {e}: who was the captain?", "who was captain of the {e}",
            "Do you know who commanded the {e}?", "Under which captain did the {e} sail?",
            "Please give the captain of the {e}.",
            "Can you tell me who the captain of the {e} was?", "Which captain commanded the {e}?",
            "I need the name of the captain of the {e}."]),
        "port": ("The home port of the {e} was {v}.", [
            "What was the home port of the {e}?", "Which port was the home of the {e}?",
            "Name the home port of the {e}.", "Tell me the home port of the {e}.",
            "The ship {e}: what was the home port?", "what was the home port of the {e}",
            "Do you know the home port of the {e}?", "From which port did the {e} sail?",
            "Please give the home port of the {e}.",
            "Can you tell me what the home port of the {e} was?", "Which home port did the {e} have?",
            "I need the name of the home port of the {e}."]),
        "cargo": ("The {e} carried {v}.", [
            "What did the ship {e} carry?", "Which cargo did the {e} carry?", "Name the cargo of the {e}.",
            "Tell me the cargo of the {e}.", "The ship {e}: what was the cargo?", "what cargo was on the {e}",
            "Do you know the cargo of the {e}?", "With which cargo did the {e} sail?",
            "Please give the cargo of the {e}.",
            "Can you tell me what the cargo of the {e} was?", "Which cargo was the {e} loaded with?",
            "I need to know what the {e} carried."]),
        "launched": ("The {e} was launched in {v}.", [
            "When was the {e} launched?", "In which year was the ship {e} launched?",
            "Name the launch year of the {e}.", "Tell me when the {e} was launched.",
            "The ship {e}: when was it launched?", "when was the {e} launched",
            "Do you know the year the {e} was launched?", "What was the launch year of the {e}?",
            "Please give the launch year of the {e}.",
            "Can you tell me in which year the {e} was launched?", "Which year was the {e} launched in?",
            "I need to know when the {e} was launched."]),
    },
}
# fmt: on
TEST_FORMS = 3


def _word(rng, syllables):
    return "".join(rng.choice(ONSET) + rng.choice(VOWEL) for _ in range(syllables)).capitalize() + rng.choice(CODA)


def world(entities=None):
    """All facts as (relation key, entity, value), always the same."""
    rng = random.Random(SEED)
    seen = set()

    def fresh(make):
        while True:
            w = make()
            if w not in seen and len(w) < 18:
                seen.add(w)
                return w

    towns = [fresh(lambda: _word(rng, 2)) for _ in range(120)]
    coins = [fresh(lambda: _word(rng, 2).lower()) for _ in range(60)]
    captains = [fresh(lambda: _word(rng, 2)) for _ in range(120)]
    first = [fresh(lambda: _word(rng, 2)) for _ in range(60)]
    last = [fresh(lambda: _word(rng, 2)) for _ in range(60)]
    adjectives = "Bold Brave Bright Calm Dark Deep Fair Fast Golden Grey Last Lone Lost Proud Red Silent Silver Swift White Wild".split()
    nouns = "Arrow Anchor Crown Dawn Dream Flame Harbour Hope Lantern Moon Morning Pearl Rose Spirit Star Storm Sun Wave Widow Wind".split()

    def article(w):
        return ("an " if w[0] in "aeiou" else "a ") + w

    values = {
        "capital": towns,
        "currency": coins,
        "export": GOODS,
        "animal": ANIMALS,
        "born": towns,
        "craft": [article(w) for w in CRAFTS],
        "pet": [article(w) for w in ANIMALS],
        "captain": captains,
        "port": towns,
        "cargo": GOODS,
        "year": [str(y) for y in range(1100, 1900)],
        "launched": [str(y) for y in range(1100, 1900)],
    }
    makers = {
        "land": lambda: _word(rng, 3),
        "person": lambda: rng.choice(first) + " " + rng.choice(last),
        "ship": lambda: rng.choice(adjectives) + " " + rng.choice(nouns),
    }
    facts = []
    for kind, relations in RELATIONS.items():
        for _ in range(entities or ENTITIES):
            name = fresh(makers[kind])
            for r in relations:
                facts.append(((kind, r), name, rng.choice(values[r])))
    return facts


FACTS = world()


def make(rng, split, fact=None):
    """One question: (prompt, answer, check)."""
    (kind, r), e, v = fact or rng.choice(FACTS)
    sentence, forms = RELATIONS[kind][r]
    form = rng.choice(forms[-TEST_FORMS:] if split == "test" else forms[:-TEST_FORMS])
    answer = sentence.format(e=e, v=v)
    return form.format(e=e), answer, {"type": "exact", "value": answer}


def make_test(n, seed):
    rng = random.Random(seed)
    order = FACTS[:]
    rng.shuffle(order)
    return [make(rng, "test", order[i % len(order)]) for i in range(n)]
