/* demo_qa.c: facts of an invented world, asked closed-book (tools/demo_models/tasks_qa.py). */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evidence/demo_internal.h"

#define WORLD_SEED 7001
#define ENTITIES 160 /* of each kind */
#define RELATIONS 4  /* of each kind */
#define KINDS 3
#define TEST_FORMS 3
#define NAME_SIZE 32
#define NAME_LIMIT 18 /* a longer one is drawn again */

static const char *const onsets[] = {"b", "br", "d",  "dr", "f",  "fl", "g", "gl", "h",
                                     "j", "k",  "kr", "l",  "m",  "n",  "p", "pr", "r",
                                     "s", "sk", "st", "t",  "th", "tr", "v", "w",  "z"};
static const char *const vowels[] = {"a", "e", "i", "o", "u", "ai", "au", "ei", "ia", "ou"};
static const char *const codas[] = {"", "", "l", "m", "n", "r", "s", "x", "nd", "rk", "st", "th"};
static const char *const goods[] = {
    "amber",   "barley", "bronze",   "butter",  "candles", "carpets", "cedar",   "cheese",
    "chalk",   "cider",  "cinnamon", "clay",    "cloth",   "coal",    "cobalt",  "cocoa",
    "copper",  "coral",  "cork",     "cotton",  "dates",   "dyes",    "figs",    "flax",
    "flour",   "furs",   "garlic",   "ginger",  "glass",   "glue",    "gold",    "grain",
    "granite", "grapes", "hemp",     "herbs",   "honey",   "hops",    "horses",  "indigo",
    "ink",     "iron",   "ivory",    "jade",    "jam",     "lace",    "lamps",   "lead",
    "leather", "lemons", "linen",    "marble",  "masks",   "mead",    "mint",    "mirrors",
    "nails",   "nutmeg", "nuts",     "oats",    "oil",     "olives",  "onions",  "opals",
    "oranges", "paint",  "paper",    "pearls",  "pepper",  "pins",    "plums",   "pottery",
    "quartz",  "quills", "raisins",  "resin",   "rice",    "ropes",   "rubies",  "rugs",
    "rum",     "rye",    "saddles",  "saffron", "salt",    "sand",    "shells",  "silk",
    "silver",  "slate",  "soap",     "spices",  "steel",   "sugar",   "sulphur", "tar",
    "tea",     "tiles",  "timber",   "tin",     "tobacco", "tools",   "toys",    "turnips",
    "vanilla", "velvet", "vinegar",  "walnuts", "wax",     "wheat",   "wine",    "wire",
    "wool",    "zinc"};
static const char *const animals[] = {
    "badger",    "bat",     "bear",     "beaver", "bison",   "boar",     "buffalo", "camel",
    "cat",       "cobra",   "condor",   "cougar", "cow",     "crab",     "crane",   "cricket",
    "crocodile", "crow",    "deer",     "dog",    "dolphin", "donkey",   "dove",    "duck",
    "eagle",     "eel",     "elephant", "elk",    "falcon",  "ferret",   "finch",   "fox",
    "frog",      "gecko",   "goat",     "goose",  "gull",    "hare",     "hawk",    "hedgehog",
    "heron",     "horse",   "hyena",    "ibex",   "ibis",    "jackal",   "jaguar",  "koala",
    "lark",      "lemur",   "leopard",  "lion",   "lizard",  "llama",    "lobster", "lynx",
    "magpie",    "mole",    "monkey",   "moose",  "moth",    "mouse",    "mule",    "newt",
    "octopus",   "orca",    "otter",    "owl",    "ox",      "panda",    "panther", "parrot",
    "peacock",   "pelican", "pigeon",   "pony",   "puma",    "quail",    "rabbit",  "raccoon",
    "ram",       "rat",     "raven",    "robin",  "salmon",  "seal",     "shark",   "sheep",
    "shrew",     "skunk",   "sloth",    "snail",  "spider",  "squirrel", "stork",   "swan",
    "tapir",     "tiger",   "toad",     "trout",  "turkey",  "turtle",   "viper",   "walrus",
    "wasp",      "weasel",  "whale",    "wolf",   "wombat",  "yak",      "zebra"};
static const char *const crafts[] = {
    "actor",        "archer",     "architect", "astronomer", "baker",       "banker",
    "barber",       "beekeeper",  "biologist", "blacksmith", "boatman",     "bookbinder",
    "botanist",     "brewer",     "builder",   "butcher",    "carpenter",   "carver",
    "cartographer", "chemist",    "clerk",     "clockmaker", "cobbler",     "composer",
    "cook",         "cooper",     "courier",   "dancer",     "dentist",     "diver",
    "doctor",       "driver",     "dyer",      "engineer",   "engraver",    "explorer",
    "farmer",       "fisherman",  "florist",   "forester",   "gardener",    "geologist",
    "glazier",      "goldsmith",  "grocer",    "guard",      "gunsmith",    "hatter",
    "herald",       "historian",  "hunter",    "innkeeper",  "jeweller",    "judge",
    "juggler",      "knight",     "lawyer",    "librarian",  "locksmith",   "magician",
    "mason",        "merchant",   "midwife",   "miller",     "miner",       "monk",
    "musician",     "nurse",      "painter",   "pharmacist", "philosopher", "physicist",
    "pilot",        "piper",      "plumber",   "poet",       "porter",      "potter",
    "printer",      "ranger",     "sailor",    "saddler",    "scholar",     "scribe",
    "sculptor",     "shepherd",   "singer",    "smith",      "soldier",     "spinner",
    "surgeon",      "surveyor",   "tailor",    "tanner",     "teacher",     "thatcher",
    "trader",       "translator", "trapper",   "vintner",    "weaver",      "wheelwright"};
static const char *const adjectives[] = {
    "Bold", "Brave", "Bright", "Calm",  "Dark", "Deep",   "Fair",   "Fast",  "Golden", "Grey",
    "Last", "Lone",  "Lost",   "Proud", "Red",  "Silent", "Silver", "Swift", "White",  "Wild"};
static const char *const nouns[] = {
    "Arrow",   "Anchor", "Crown", "Dawn",   "Dream", "Flame", "Harbour", "Hope", "Lantern", "Moon",
    "Morning", "Pearl",  "Rose",  "Spirit", "Star",  "Storm", "Sun",     "Wave", "Widow",   "Wind"};

/* Where the value of a relation is drawn from. */
typedef enum source {
    TOWNS,
    COINS,
    CAPTAINS,
    GOODS,
    ANIMALS,
    SOME_ANIMAL,
    SOME_CRAFT,
    YEARS
} source;

/* Only the forms of the test side: those that no training prompt had. */
static const struct relation {
    source values;
    const char *answer;
    const char *forms[TEST_FORMS];
} relations[KINDS][RELATIONS] = {
    {
        {TOWNS,
         "The capital of {e} is {v}.",
         {"Can you tell me what the capital city of {e} is called?",
          "Which town serves as {e}'s capital?", "I need the name of the capital of {e}."}},
        {COINS,
         "The currency of {e} is the {v}.",
         {"Can you tell me what the currency of {e} is called?",
          "Which coin serves as {e}'s currency?", "I need the name of the currency of {e}."}},
        {GOODS,
         "The main export of {e} is {v}.",
         {"Can you tell me what {e}'s main export is?", "Which good does {e} export the most?",
          "I need to know the main export of {e}."}},
        {ANIMALS,
         "The national animal of {e} is the {v}.",
         {"Can you tell me what the animal of {e} is?",
          "Which animal serves as {e}'s national animal?",
          "I need the name of the national animal of {e}."}},
    },
    {
        {TOWNS,
         "{e} was born in {v}.",
         {"Can you tell me in which town {e} was born?", "Which town was {e} born in?",
          "I need to know where {e} was born."}},
        {SOME_CRAFT,
         "{e} worked as {v}.",
         {"Can you tell me what the profession of {e} was?", "Which profession did {e} have?",
          "I need to know what {e} worked as."}},
        {SOME_ANIMAL,
         "{e} kept {v}.",
         {"Can you tell me what animal {e} kept?", "Which pet did {e} have?",
          "I need to know which animal {e} kept."}},
        {YEARS,
         "{e} was born in the year {v}.",
         {"Can you tell me the year when {e} was born?", "Which year was {e} born in?",
          "I need to know the year of birth of {e}."}},
    },
    {
        {CAPTAINS,
         "The captain of the {e} was {v}.",
         {"Can you tell me who the captain of the {e} was?", "Which captain commanded the {e}?",
          "I need the name of the captain of the {e}."}},
        {TOWNS,
         "The home port of the {e} was {v}.",
         {"Can you tell me what the home port of the {e} was?", "Which home port did the {e} have?",
          "I need the name of the home port of the {e}."}},
        {GOODS,
         "The {e} carried {v}.",
         {"Can you tell me what the cargo of the {e} was?", "Which cargo was the {e} loaded with?",
          "I need to know what the {e} carried."}},
        {YEARS,
         "The {e} was launched in {v}.",
         {"Can you tell me in which year the {e} was launched?",
          "Which year was the {e} launched in?", "I need to know when the {e} was launched."}},
    },
};

enum { LAND, PERSON, SHIP };

typedef struct fact {
    const struct relation *relation;
    char entity[NAME_SIZE], value[NAME_SIZE];
} fact;

struct demo_world {
    fact facts[KINDS * ENTITIES * RELATIONS];
    size_t n_facts;

    /* While it is made. */
    python_random random;
    char towns[120][NAME_SIZE], coins[60][NAME_SIZE], captains[120][NAME_SIZE];
    char first[60][NAME_SIZE], last[60][NAME_SIZE];
    char taken[1000][NAME_SIZE];
    size_t n_taken;
};

/* ---- names -------------------------------------------------------------------------------- */

static void make_word(demo_world *w, int syllables, char out[NAME_SIZE])
{
    size_t used = 0;
    for (int i = 0; i < syllables; i++) {
        const char *onset = CHOICE(&w->random, onsets);
        const char *vowel = CHOICE(&w->random, vowels);
        used += (size_t)snprintf(out + used, NAME_SIZE - used, "%s%s", onset, vowel);
    }
    out[0] = (char)toupper((unsigned char)out[0]);
    snprintf(out + used, NAME_SIZE - used, "%s", CHOICE(&w->random, codas));
}

static void make_town(demo_world *w, char out[NAME_SIZE])
{
    make_word(w, 2, out);
}

static void make_coin(demo_world *w, char out[NAME_SIZE])
{
    make_word(w, 2, out);
    out[0] = (char)tolower((unsigned char)out[0]);
}

static void make_land(demo_world *w, char out[NAME_SIZE])
{
    make_word(w, 3, out);
}

static void make_person(demo_world *w, char out[NAME_SIZE])
{
    const char *first = CHOICE(&w->random, w->first), *last = CHOICE(&w->random, w->last);
    snprintf(out, NAME_SIZE, "%.15s %.15s", first, last);
}

static void make_ship(demo_world *w, char out[NAME_SIZE])
{
    const char *adjective = CHOICE(&w->random, adjectives), *noun = CHOICE(&w->random, nouns);
    snprintf(out, NAME_SIZE, "%s %s", adjective, noun);
}

static bool is_taken(const demo_world *w, const char *name)
{
    for (size_t i = 0; i < w->n_taken; i++)
        if (strcmp(w->taken[i], name) == 0)
            return true;
    return false;
}

/* No two things of the world have one name. */
static void make_fresh(demo_world *w, void (*make)(demo_world *, char[NAME_SIZE]),
                       char out[NAME_SIZE])
{
    do
        make(w, out);
    while (is_taken(w, out) || strlen(out) >= NAME_LIMIT);
    memcpy(w->taken[w->n_taken++], out, NAME_SIZE);
}

/* ---- facts -------------------------------------------------------------------------------- */

static void with_article(const char *word, char out[NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "%s %s", strchr("aeiou", word[0]) != NULL ? "an" : "a", word);
}

static void draw_value(demo_world *w, source from, char out[NAME_SIZE])
{
    python_random *r = &w->random;
    switch (from) {
    case TOWNS:
        memcpy(out, CHOICE(r, w->towns), NAME_SIZE);
        return;
    case COINS:
        memcpy(out, CHOICE(r, w->coins), NAME_SIZE);
        return;
    case CAPTAINS:
        memcpy(out, CHOICE(r, w->captains), NAME_SIZE);
        return;
    case GOODS:
        snprintf(out, NAME_SIZE, "%s", CHOICE(r, goods));
        return;
    case ANIMALS:
        snprintf(out, NAME_SIZE, "%s", CHOICE(r, animals));
        return;
    case SOME_ANIMAL:
        with_article(CHOICE(r, animals), out);
        return;
    case SOME_CRAFT:
        with_article(CHOICE(r, crafts), out);
        return;
    case YEARS:
        snprintf(out, NAME_SIZE, "%zu", 1100 + python_random_below(r, 800));
        return;
    }
}

static void make_names(demo_world *w)
{
    for (size_t i = 0; i < COUNT(w->towns); i++)
        make_fresh(w, make_town, w->towns[i]);
    for (size_t i = 0; i < COUNT(w->coins); i++)
        make_fresh(w, make_coin, w->coins[i]);
    for (size_t i = 0; i < COUNT(w->captains); i++)
        make_fresh(w, make_town, w->captains[i]);
    for (size_t i = 0; i < COUNT(w->first); i++)
        make_fresh(w, make_town, w->first[i]);
    for (size_t i = 0; i < COUNT(w->last); i++)
        make_fresh(w, make_town, w->last[i]);
}

error_code demo_world_create(demo_world **out)
{
    static void (*const makers[KINDS])(demo_world *, char[NAME_SIZE]) = {
        [LAND] = make_land, [PERSON] = make_person, [SHIP] = make_ship};
    demo_world *w = *out = calloc(1, sizeof *w);
    if (w == NULL)
        return ERR_MEMORY;
    python_random_seed(&w->random, WORLD_SEED);
    make_names(w);
    for (size_t kind = 0; kind < KINDS; kind++) {
        for (size_t i = 0; i < ENTITIES; i++) {
            char entity[NAME_SIZE];
            make_fresh(w, makers[kind], entity);
            for (size_t k = 0; k < RELATIONS; k++) {
                fact *f = &w->facts[w->n_facts++];
                f->relation = &relations[kind][k];
                memcpy(f->entity, entity, NAME_SIZE);
                draw_value(w, f->relation->values, f->value);
            }
        }
    }
    return OK;
}

void demo_world_destroy(demo_world *w)
{
    free(w);
}

size_t demo_world_facts(const demo_world *w)
{
    return w->n_facts;
}

error_code demo_qa_make(const demo_world *w, size_t fact_index, python_random *r, demo_task *out)
{
    const fact *f = &w->facts[fact_index];
    const filling fillings[] = {{"e", f->entity, 0}, {"v", f->value, 0}, {NULL, NULL, 0}};
    buffer answer;
    buffer_init(&answer, 1024);
    demo_fill(&out->prompt, CHOICE(r, f->relation->forms), fillings);
    demo_fill(&answer, f->relation->answer, fillings);
    if (out->prompt.length > 0 && answer.length > 0)
        out->check = json_pack("{s:s, s:s}", "type", "exact", "value", answer.data);
    buffer_free(&answer);
    return out->check != NULL ? OK : ERR_MEMORY;
}
