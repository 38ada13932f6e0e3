/* demo_math.c: word problems of two and three steps (tools/demo_models/tasks_math.py). */
#include <stdlib.h>
#include <string.h>

#include "evidence/demo_internal.h"

static const char *const names[] = {
    "Ada",   "Ben",  "Carla", "Dan",   "Eva",   "Finn", "Gina",  "Hugo",  "Iris",
    "Jack",  "Kira", "Leo",   "Mia",   "Nils",  "Olga", "Paul",  "Rosa",  "Sam",
    "Tina",  "Uma",  "Vera",  "Will",  "Yara",  "Zoe",  "Anna",  "Boris", "Clara",
    "David", "Emma", "Frank", "Grace", "Henry", "Ivan", "Julia", "Karl",  "Lena",
    "Marco", "Nora", "Oscar", "Petra", "Quinn", "Ruth", "Simon", "Tara"};
static const char *const items[] = {
    "apples", "pears",   "books",    "coins",   "marbles", "pencils",  "stamps",  "cards",
    "shells", "buttons", "stickers", "cookies", "eggs",    "plums",    "tickets", "balls",
    "beads",  "candles", "cups",     "flowers", "keys",    "lemons",   "nuts",    "oranges",
    "pens",   "ribbons", "stones",   "toys",    "badges",  "postcards"};
static const char *const boxes[] = {"bags",   "boxes", "baskets", "packs",
                                    "crates", "trays", "jars",    "bundles"};
static const char *const places[] = {"shop",    "farm",   "school",  "market",
                                     "library", "garden", "factory", "museum"};

/* A story's numbers and words, by the letter that its forms have them under. */
typedef struct story {
    python_random *random;
    const char *first, *second, *item, *other, *box, *place;
    long a, b, c, d, k, t, e;
    long result;
    const char *form;
} story;

static long draw(story *s, long low, long high)
{
    return python_random_between(s->random, low, high);
}

#define FORM(s, ...)                                                                               \
    do {                                                                                           \
        static const char *const forms[] = {__VA_ARGS__};                                          \
        (s)->form = CHOICE((s)->random, forms);                                                    \
    } while (0)

static void gain_lose(story *s)
{
    s->a = draw(s, 11, 90), s->b = draw(s, 11, 60);
    s->c = draw(s, 11, s->a + s->b - 5);
    s->result = s->a + s->b - s->c;
    FORM(s,
         "{n} has {a} {it}. {m} gives {n} {b} more. Then {n} loses {c} of them. How many {it} does "
         "{n} have now?",
         "{n} owned {a} {it}, got another {b} from {m} and sold {c}. How many {it} are left?",
         "There are {a} {it} in a box. {n} puts in {b} more and {m} takes out {c}. How many {it} "
         "are in the box now?");
}

static void boxes_extra(story *s)
{
    s->a = draw(s, 2, 9), s->b = draw(s, 3, 20), s->c = draw(s, 11, 90);
    s->box = CHOICE(s->random, boxes);
    s->result = s->a * s->b + s->c;
    FORM(s,
         "{n} buys {a} {bx} with {b} {it} each and already had {c} {it}. How many {it} does {n} "
         "have in total?",
         "Each of {a} {bx} holds {b} {it}. {m} adds {c} loose {it}. How many {it} are there "
         "altogether?",
         "{n} has {a} {bx} of {b} {it} and {c} single {it}. What is the total number of {it}?");
}

/* Full boxes, of which some are lost. */
static void lose_of_boxes(story *s)
{
    s->a = draw(s, 2, 9), s->b = draw(s, 6, 20);
    s->c = draw(s, 2, s->a * s->b - 4);
    s->result = s->a * s->b - s->c;
}

static void boxes_minus(story *s)
{
    lose_of_boxes(s);
    s->box = CHOICE(s->random, boxes);
    s->place = CHOICE(s->random, places);
    FORM(s, "A {place} gets {a} {bx} with {b} {it} each and sells {c} {it}. How many {it} remain?",
         "{n} packs {a} {bx} of {b} {it}. {m} takes away {c} {it}. How many {it} are left?",
         "{n} ordered {a} {bx}, each with {b} {it}, but {c} {it} were broken. How many good {it} "
         "are there?");
}

static void two_products(story *s)
{
    s->a = draw(s, 2, 9), s->b = draw(s, 3, 20), s->c = draw(s, 2, 9), s->d = draw(s, 3, 20);
    size_t index = python_random_below(s->random, COUNT(items) - 1);
    for (size_t i = 0; i <= index; i++) /* the list without the item itself */
        index += items[i] == s->item;
    s->other = items[index];
    s->result = s->a * s->b + s->c * s->d;
    s->place = CHOICE(s->random, places);
    FORM(s,
         "{n} buys {a} {it} for {b} dollars each and {c} {it2} for {d} dollars each. How many "
         "dollars does {n} pay?",
         "At the {place} {n} sells {a} rows of {b} {it} and {m} sells {c} rows of {d} {it}. How "
         "many {it} do they sell together?",
         "{a} tables have {b} {it} each and {c} shelves have {d} {it} each. How many {it} are "
         "there?");
}

static void more_than(story *s)
{
    s->a = draw(s, 11, 80), s->b = draw(s, 5, 60);
    s->result = s->a + s->a + s->b;
    FORM(s,
         "{n} has {a} {it}. {m} has {b} more {it} than {n}. How many {it} do they have together?",
         "{m} found {b} {it} more than {n}, who found {a}. How many {it} did both find?");
}

static void fewer_than(story *s)
{
    s->a = draw(s, 20, 99);
    s->b = draw(s, 5, s->a - 6);
    s->result = s->a + s->a - s->b;
    FORM(s,
         "{n} has {a} {it}. {m} has {b} fewer {it} than {n}. How many {it} do they have together?",
         "{m} found {b} {it} less than {n}, who found {a}. How many {it} did both find?");
}

static void times_more(story *s)
{
    s->a = draw(s, 3, 20), s->k = draw(s, 2, 9);
    s->result = s->a + s->a * s->k;
    FORM(s,
         "{n} collected {a} {it} and {m} collected {k} times as many. How many {it} did they "
         "collect in all?",
         "{m} has {k} times as many {it} as {n}. If {n} has {a} {it}, how many do they have "
         "together?");
}

static void share(story *s)
{
    s->k = draw(s, 2, 9);
    s->result = draw(s, 3, 20);
    long t = s->k * s->result;
    s->a = draw(s, 2, t - 2);
    s->t = t - s->a;
    s->box = CHOICE(s->random, boxes);
    FORM(s,
         "{n} has {a} {it} and {m} has {t}. They share them equally among {k} children. How many "
         "{it} does each child get?",
         "{a} red and {t} blue {it} are put into {k} equal {bx}. How many {it} are in each?");
}

static void share_left(story *s)
{
    s->k = draw(s, 2, 9);
    s->result = draw(s, 3, 20);
    s->b = draw(s, 5, 60);
    s->t = s->k * s->result + s->b;
    s->place = CHOICE(s->random, places);
    s->box = CHOICE(s->random, boxes);
    FORM(s,
         "{n} has {t} {it}, keeps {b} and shares the rest equally among {k} friends. How many {it} "
         "does each friend get?",
         "A {place} has {t} {it}. {b} are sold and the others go into {k} equal {bx}. How many "
         "{it} are in each?");
}

static void weeks(story *s)
{
    s->a = draw(s, 3, 20), s->d = draw(s, 2, 9);
    s->c = draw(s, 11, 90);
    s->result = s->c + s->a * s->d;
    FORM(s,
         "{n} starts with {c} {it} and makes {a} {it} every day for {d} days. How many {it} does "
         "{n} have then?",
         "{n} saves {a} dollars a week. After {d} weeks, and with the {c} dollars from before, how "
         "many dollars does {n} have?");
}

static void change(story *s)
{
    s->a = draw(s, 2, 9), s->b = draw(s, 3, 20);
    s->result = draw(s, 5, 90);
    s->t = s->a * s->b + s->result;
    FORM(s,
         "{n} has {t} dollars and buys {a} {it} for {b} dollars each. How many dollars are left?",
         "{n} pays with {t} dollars for {a} {it} at {b} dollars a piece. How much change does {n} "
         "get?");
}

static void three_steps(story *s)
{
    lose_of_boxes(s);
    s->d = draw(s, 11, 90);
    s->result += s->d;
    s->box = CHOICE(s->random, boxes);
    s->place = CHOICE(s->random, places);
    FORM(s,
         "{n} has {a} {bx} with {b} {it} each. {n} gives {c} {it} to {m} and then finds {d} more. "
         "How many {it} does {n} have?",
         "A {place} has {a} {bx} of {b} {it}, sells {c} {it} and gets {d} new ones. How many {it} "
         "are there now?");
}

static void three_shares(story *s)
{
    s->k = draw(s, 2, 9);
    long each = draw(s, 3, 20);
    s->e = draw(s, 5, 60);
    long t = s->k * each;
    s->a = draw(s, 2, t - 2);
    s->t = t - s->a;
    s->d = s->k - 1;
    s->result = each + s->e;
    FORM(s,
         "{n} and {d} friends share {a} green and {t} white {it} equally. {n} already had {e} "
         "{it}. How many {it} does {n} have now?",
         "{a} old and {t} new {it} are split evenly among {k} people. {m}, one of them, had {e} "
         "before. How many {it} does {m} have?");
}

static void three_sum(story *s)
{
    s->a = draw(s, 2, 10), s->b = draw(s, 2, 10), s->k = draw(s, 2, 9);
    s->result = (s->a + s->b) * s->k;
    FORM(s,
         "Every day {n} sells {a} {it} and {m} sells {b} {it}. How many {it} do they sell in {k} "
         "days?",
         "A bag holds {a} red and {b} yellow {it}. How many {it} are in {k} such bags?");
}

static void day_by_day(story *s)
{
    s->a = draw(s, 11, 60), s->b = draw(s, 11, 60), s->c = draw(s, 2, 30);
    s->result = s->a + s->b + s->b + s->c;
    FORM(s,
         "{n} sold {a} {it} on Monday, {b} on Tuesday and {c} more on Wednesday than on Tuesday. "
         "How many {it} did {n} sell in the three days?",
         "Room one has {a} {it}, room two has {b}, and room three has {c} more than room two. How "
         "many {it} are in the rooms?");
}

static void (*const stories[])(story *) = {
    gain_lose,  boxes_extra, boxes_minus, two_products, more_than,    fewer_than, times_more, share,
    share_left, weeks,       change,      three_steps,  three_shares, three_sum,  day_by_day};

static void write_prompt(const story *s, buffer *out)
{
    const filling fillings[] = {{"n", s->first, 0},   {"m", s->second, 0}, {"it", s->item, 0},
                                {"it2", s->other, 0}, {"bx", s->box, 0},   {"place", s->place, 0},
                                {"a", NULL, s->a},    {"b", NULL, s->b},   {"c", NULL, s->c},
                                {"d", NULL, s->d},    {"k", NULL, s->k},   {"t", NULL, s->t},
                                {"e", NULL, s->e},    {NULL, NULL, 0}};
    buffer_clear(out);
    demo_fill(out, s->form, fillings);
}

error_code demo_math_make(python_random *r, demo_task *out)
{
    for (;;) {
        story s = {.random = r};
        size_t who[2];
        python_random_sample(r, COUNT(names), 2, who);
        s.first = names[who[0]], s.second = names[who[1]];
        void (*tell)(story *) = CHOICE(r, stories);
        s.item = CHOICE(r, items);
        tell(&s);
        write_prompt(&s, &out->prompt);
        if (out->prompt.length == 0)
            return ERR_MEMORY;
        if (!demo_is_test(out->prompt.data))
            continue;
        out->check =
            json_pack("{s:s, s:o}", "type", "number", "value", json_sprintf("%ld", s.result));
        return OK;
    }
}
