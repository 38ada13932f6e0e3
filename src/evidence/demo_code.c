/* demo_code.c: short Python functions from a description (tools/demo_models/tasks_code.py). */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "evidence/demo_internal.h"

static const char *const verbs[] = {"get",    "find",  "make",   "build",  "count",   "take",
                                    "pick",   "sum",   "list",   "read",   "check",   "show",
                                    "give",   "keep",  "scan",   "load",   "collect", "compute",
                                    "select", "fetch", "gather", "measure"};
static const char *const nouns[] = {"values",  "total", "items",  "result",  "words",
                                    "numbers", "score", "parts",  "marks",   "pieces",
                                    "data",    "names", "answer", "entries", "points",
                                    "group",   "level", "amount", "series",  "output"};
static const char *const lists[] = {"values", "numbers", "nums", "data", "items", "scores"};
static const char *const strings[] = {"text", "s", "word", "name", "line"};
static const char *const word_lists[] = {"words", "names", "lines", "parts"};
static const char *const words[] = {"red", "blue", "green", "yes",  "no",   "big",  "small",
                                    "hot", "cold", "good",  "bad",  "high", "low",  "old",
                                    "new", "fast", "slow",  "pass", "fail", "open", "closed"};
static const char *const scalars[] = {"x", "n", "value", "score", "level"};
static const char *const pool[] = {"apple",   "bear", "cat",  "dolphin", "elephants", "fog",
                                   "grapes",  "hill", "lamp", "moon",    "night",     "pears",
                                   "rabbits", "sun",  "tree", "wolf"};
static const char *const forms[] = {"Write a Python function {sig} that {desc}.",
                                    "Please write a function {sig} in Python which {desc}.",
                                    "Implement {sig} in Python. It {desc}.",
                                    "I need a Python function {sig}. It {desc}.",
                                    "write python code for {sig}: it {desc}",
                                    "Complete this function. It {desc}.\ndef {sig}:"};
static const char *const notes[] = {"The tests live in the folder {a} and are run before each {b}.",
                                    "Keep lines short and names clear.",
                                    "Module {a} depends on module {b} but not the other way round.",
                                    "TODO: move {a} into its own file.",
                                    "Version {n}.{k} renamed {a} to {b}.",
                                    "The {a} table has {n} rows and the {b} table has {k}.",
                                    "Ask the {a} team before you change the {b} format.",
                                    "Release {n} was slow because of the {a} cache.",
                                    "Do not log the {a} of a user.",
                                    "The {b} server listens on port {n}{k}.",
                                    "We keep {a} and {b} sorted, so that reviews are easy.",
                                    "Errors in {a} are raised, errors in {b} are counted."};
static const char *const openings[] = {
    "Here is a file of our project.", "This is the file I am working on.",
    "Read these notes and functions first.", "Below is the module so far."};

/* Which numbers of a list count. */
typedef enum test { ALL, EVEN, ODD, POSITIVE, NEGATIVE, ABOVE, BELOW, DIVISIBLE } test;

static const struct filter {
    test test;
    const char *before, *after; /* the list's name stands between */
    const char *condition;      /* of x; NULL: none */
} filters[] = {{ALL, "all ", "", NULL},
               {EVEN, "the even ", "", "x % 2 == 0"},
               {ODD, "the odd ", "", "x % 2 == 1"},
               {POSITIVE, "the positive ", "", "x > 0"},
               {NEGATIVE, "the negative ", "", "x < 0"},
               {ABOVE, "", " above {k}", "x > {k}"},
               {BELOW, "", " below {k}", "x < {k}"},
               {DIVISIBLE, "", " divisible by {k}", "x % {k} == 0"}};

static const struct map {
    const char *words, *expression;
} maps[] = {{"", "x"},
            {"the squares of ", "x * x"},
            {"the doubles of ", "2 * x"},
            {"the cubes of ", "x ** 3"}};

static const struct aggregate {
    const char *words, *before, *after;
    bool needs_one; /* of an empty list it has no value */
} aggregates[] = {{"the sum of ", "sum(", ")", false},
                  {"a list of ", "[", "]", false},
                  {"the largest of ", "max(", ")", true},
                  {"the smallest of ", "min(", ")", true},
                  {"a sorted list of ", "sorted(", ")", false}};

#define CALLS 3

/* A function being made. */
typedef struct function {
    python_random *random;
    const char *p, *p2; /* parameters; p2 may be NULL */
    long k;
    const char *word;
    char letter[2];
    buffer description, body;
    const struct filter *filter;
    bool needs_one;
    void (*call)(struct function *f, int i, buffer *arguments); /* appends those of the i-th call */
    bool is_empty; /* the last call has nothing to take the largest of */
} function;

static long draw(function *f, long low, long high)
{
    return python_random_between(f->random, low, high);
}

/* Appends a template with {p}, {k}, {w} and {c} filled in. */
static void say(function *f, buffer *out, const char *template)
{
    const filling fillings[] = {{"p", f->p, 0},      {"w", f->word, 0}, {"k", NULL, f->k},
                                {"c", f->letter, 0}, {"p2", f->p2, 0},  {NULL, NULL, 0}};
    demo_fill(out, template, fillings);
}

static void describe(function *f, const char *description, const char *expression)
{
    say(f, &f->description, description);
    buffer_add_text(&f->body, "    return ");
    say(f, &f->body, expression);
}

/* ---- arguments ---------------------------------------------------------------------------- */

static bool counts(const function *f, long x)
{
    switch (f->filter->test) {
    case EVEN:
        return x % 2 == 0;
    case ODD:
        return x % 2 != 0;
    case POSITIVE:
        return x > 0;
    case NEGATIVE:
        return x < 0;
    case ABOVE:
        return x > f->k;
    case BELOW:
        return x < f->k;
    case DIVISIBLE:
        return x % f->k == 0;
    default:
        return true;
    }
}

static void number_list(function *f, int i, buffer *out)
{
    static const long always[] = {-6, 12, 45, 90, -9, 7};
    (void)i;
    size_t n = (size_t)draw(f, 4, 8);
    f->is_empty = f->needs_one;
    for (size_t k = 0; k < n + COUNT(always); k++) {
        long x = k < n ? draw(f, -30, 60) : always[k - n];
        buffer_add_format(out, "%s%ld", k == 0 ? "[" : ", ", x);
        if (f->needs_one && counts(f, x))
            f->is_empty = false;
    }
    buffer_add_text(out, "]");
}

static void number_pair(function *f, int i, buffer *out)
{
    (void)i;
    long a = draw(f, -9, 40), b = draw(f, 2, 40);
    buffer_add_format(out, "%ld, %ld", a, b);
}

static void around_limit(function *f, int i, buffer *out)
{
    buffer_add_format(out, "%ld", f->k - 1 + i);
}

static void some_text(function *f, int i, buffer *out)
{
    static const char *const texts[CALLS] = {"'lantern stories'", "'a{w}'", "'{w}mountain rules'"};
    say(f, out, texts[i]);
}

static void some_words(function *f, int i, buffer *out)
{
    (void)i;
    size_t chosen[7];
    python_random_sample(f->random, COUNT(pool), COUNT(chosen), chosen);
    for (size_t k = 0; k < COUNT(chosen); k++)
        buffer_add_format(out, "%s'%s'", k == 0 ? "[" : ", ", pool[chosen[k]]);
    buffer_add_text(out, "]");
}

static void up_to(function *f, int i, buffer *out)
{
    const long values[CALLS] = {3, f->k, f->k + 5};
    buffer_add_format(out, "%ld", values[i]);
}

/* ---- families ----------------------------------------------------------------------------- */

static void draw_filter_limit(function *f)
{
    f->k = f->filter->test == DIVISIBLE ? draw(f, 2, 9) : draw(f, 2, 40);
}

static void add_filtered(function *f)
{
    buffer_add_format(&f->description, "%s%s", f->filter->before, f->p);
    say(f, &f->description, f->filter->after);
}

static void list_family(function *f)
{
    f->p = CHOICE(f->random, lists);
    f->filter = &CHOICE(f->random, filters);
    const struct map *m = &CHOICE(f->random, maps);
    const struct aggregate *a = &CHOICE(f->random, aggregates);
    draw_filter_limit(f);
    buffer_add_format(&f->description, "returns %s%s", a->words, m->words);
    add_filtered(f);
    buffer_add_format(&f->body, "    return %s%s for x in %s", a->before, m->expression, f->p);
    if (f->filter->condition != NULL) {
        buffer_add_text(&f->body, " if ");
        say(f, &f->body, f->filter->condition);
    }
    buffer_add_text(&f->body, a->after);
    f->needs_one = a->needs_one;
    f->call = number_list;
}

static void count_family(function *f)
{
    f->p = CHOICE(f->random, lists);
    f->filter = &filters[1 + python_random_below(f->random, COUNT(filters) - 1)];
    draw_filter_limit(f);
    buffer_add_text(&f->description, "counts ");
    add_filtered(f);
    buffer_add_text(&f->description, " with a loop");
    say(f, &f->body, "    total = 0\n    for x in {p}:\n        if ");
    say(f, &f->body, f->filter->condition);
    say(f, &f->body, ":\n            total += 1\n    return total");
    f->call = number_list;
}

static void loop_sum_family(function *f)
{
    f->p = CHOICE(f->random, lists);
    const struct map *m = &CHOICE(f->random, maps);
    f->k = draw(f, 0, 60);
    buffer_add_format(&f->description, "adds %sall %s to %ld with a loop and returns the total",
                      m->words, f->p, f->k);
    buffer_add_format(&f->body,
                      "    total = %ld\n    for x in %s:\n        total += %s\n    return total",
                      f->k, f->p, m->expression);
    f->call = number_list;
}

static void arithmetic_family(function *f)
{
    static const char *const pairs[][2] = {
        {"a", "b"}, {"x", "y"}, {"m", "n"}, {"left", "right"}, {"width", "height"}};
    static const char *const first[][2] = {{"+", "sum"}, {"-", "difference"}, {"*", "product"}};
    static const char *const second[][2] = {{"+", "plus"}, {"-", "minus"}, {"*", "times"}};
    const char *const *pair = CHOICE(f->random, pairs);
    const char *const *op = CHOICE(f->random, first), *const *op2 = CHOICE(f->random, second);
    f->p = pair[0], f->p2 = pair[1];
    f->k = draw(f, 2, 90);
    buffer_add_format(&f->description, "returns the %s of %s and %s %s %ld", op[1], f->p, f->p2,
                      op2[1], f->k);
    buffer_add_format(&f->body, "    return (%s %s %s) %s %ld", f->p, op[0], f->p2, op2[0], f->k);
    f->call = number_pair;
}

static void condition_family(function *f)
{
    static const char *const conditions[][2] = {
        {"above", ">"}, {"below", "<"}, {"at least", ">="}, {"at most", "<="}, {"equal to", "=="}};
    f->p = CHOICE(f->random, scalars);
    const char *const *c = CHOICE(f->random, conditions);
    f->k = draw(f, 2, 99);
    size_t two[2];
    python_random_sample(f->random, COUNT(words), 2, two);
    const char *u = words[two[0]], *v = words[two[1]];
    buffer_add_format(&f->description, "returns '%s' if %s is %s %ld and '%s' otherwise", u, f->p,
                      c[0], f->k, v);
    buffer_add_format(&f->body, "    if %s %s %ld:\n        return '%s'\n    return '%s'", f->p,
                      c[1], f->k, u, v);
    f->call = around_limit;
}

static void string_family(function *f)
{
    static const char letters[] = "aeioustrnlm";
    static const char *const kinds[][2] = {
        {"returns the first {k} letters of {p}", "{p}[:{k}]"},
        {"returns the last {k} letters of {p}", "{p}[-{k}:]"},
        {"returns {p} repeated {k} times", "{p} * {k}"},
        {"returns {p} with '{w}' in front", "'{w}' + {p}"},
        {"returns {p} with '{w}' at the end", "{p} + '{w}'"},
        {"returns how often '{c}' occurs in {p}", "{p}.count('{c}')"},
        {"returns {p} with every '{c}' replaced by '{w}'", "{p}.replace('{c}', '{w}')"},
        {"returns {p} in upper case with '{w}' at the end", "{p}.upper() + '{w}'"},
        {"returns {p} reversed with '{w}' at the end", "{p}[::-1] + '{w}'"},
        {"returns whether {p} starts with '{w}'", "{p}.startswith('{w}')"},
        {"returns whether {p} ends with '{w}'", "{p}.endswith('{w}')"},
        {"returns whether '{w}' occurs in {p}", "'{w}' in {p}"}};
    f->p = CHOICE(f->random, strings);
    f->k = draw(f, 2, 9);
    f->word = CHOICE(f->random, words);
    f->letter[0] = letters[python_random_below(f->random, sizeof letters - 1)];
    const char *const *kind = CHOICE(f->random, kinds);
    describe(f, kind[0], kind[1]);
    f->call = some_text;
}

static void words_family(function *f)
{
    static const char letters[] = "abcdefghlmnprstw";
    static const char *const kinds[][2] = {
        {"returns a list of the {p} longer than {k} letters", "[w for w in {p} if len(w) > {k}]"},
        {"returns a list of the {p} shorter than {k} letters", "[w for w in {p} if len(w) < {k}]"},
        {"returns a list of the {p} that start with '{c}'",
         "[w for w in {p} if w.startswith('{c}')]"},
        {"returns a list of the {p} that end with '{c}'", "[w for w in {p} if w.endswith('{c}')]"},
        {"returns a list of the {p} that contain '{c}'", "[w for w in {p} if '{c}' in w]"},
        {"returns a list of the first {k} letters of all {p}", "[w[:{k}] for w in {p}]"},
        {"returns a list of all {p} with '{c}' at the end", "[w + '{c}' for w in {p}]"},
        {"returns the number of {p} longer than {k} letters",
         "sum(1 for w in {p} if len(w) > {k})"}};
    f->p = CHOICE(f->random, word_lists);
    f->k = draw(f, 2, 9);
    f->letter[0] = letters[python_random_below(f->random, sizeof letters - 1)];
    const char *const *kind = CHOICE(f->random, kinds);
    describe(f, kind[0], kind[1]);
    f->call = some_words;
}

static void range_family(function *f)
{
    f->k = draw(f, 2, 60);
    const struct map *m = &CHOICE(f->random, maps);
    f->p = "n";
    f->word = m->expression;
    static const char *const expressions[] = {"sum({w} for x in range({k}, n + 1))",
                                              "[{w} for x in range({k}, n + 1)]",
                                              "[{k} * x for x in range(1, n + 1)]"};
    size_t kind = python_random_below(f->random, COUNT(expressions));
    if (kind == 2)
        buffer_add_format(&f->description, "returns a list of the first n multiples of %ld", f->k);
    else
        buffer_add_format(&f->description, "returns %s %sthe numbers from %ld to n",
                          kind == 0 ? "the sum of" : "a list of", m->words, f->k);
    describe(f, "", expressions[kind]);
    f->call = up_to;
}

static void (*const families[])(function *) = {list_family,      list_family,     list_family,
                                               count_family,     loop_sum_family, arithmetic_family,
                                               condition_family, string_family,   string_family,
                                               words_family,     range_family};

/* ---- one task ----------------------------------------------------------------------------- */

/* Texts of a function that is done. */
typedef struct parts {
    buffer signature, description, source;
    buffer calls[CALLS];
    bool is_empty[CALLS];
} parts;

static void parts_init(parts *p)
{
    buffer_init(&p->signature, 4096);
    buffer_init(&p->description, 4096);
    buffer_init(&p->source, 4096);
    for (size_t i = 0; i < CALLS; i++)
        buffer_init(&p->calls[i], 4096);
}

static void parts_free(parts *p)
{
    buffer_free(&p->signature);
    buffer_free(&p->description);
    buffer_free(&p->source);
    for (size_t i = 0; i < CALLS; i++)
        buffer_free(&p->calls[i]);
}

static error_code write_parts(function *f, parts *p)
{
    const char *verb = CHOICE(f->random, verbs), *noun = CHOICE(f->random, nouns);
    buffer_add_format(&p->signature, "%s_%s(%s%s%s)", verb, noun, f->p, f->p2 != NULL ? ", " : "",
                      f->p2 != NULL ? f->p2 : "");
    buffer_add(&p->description, f->description.data, f->description.length);
    buffer_add_format(&p->source, "def %s:\n%s", p->signature.data, f->body.data);
    for (int i = 0; i < CALLS; i++) {
        buffer_add_format(&p->calls[i], "%s_%s(", verb, noun);
        f->is_empty = false;
        f->call(f, i, &p->calls[i]);
        p->is_empty[i] = f->is_empty;
        buffer_add_text(&p->calls[i], ")");
    }
    return p->source.length > 0 ? OK : ERR_MEMORY;
}

/* A function of one side of the split: one description in eight was never trained on. */
static error_code make_parts(python_random *r, bool of_test, parts *p)
{
    function f = {.random = r};
    buffer_init(&f.description, 4096);
    buffer_init(&f.body, 4096);
    error_code code = OK;
    for (bool found = false; code == OK && !found;) {
        function fresh = {.random = r, .description = f.description, .body = f.body};
        buffer_clear(&fresh.description);
        buffer_clear(&fresh.body);
        CHOICE(r, families)(&fresh);
        f = fresh;
        if (f.description.data == NULL || f.body.data == NULL)
            code = ERR_MEMORY;
        else
            found = demo_is_test(f.description.data) == of_test;
    }
    if (code == OK)
        code = write_parts(&f, p);
    buffer_free(&f.description);
    buffer_free(&f.body);
    return code;
}

static json_t *check_of(const parts *p)
{
    json_t *calls = json_array();
    for (size_t i = 0; i < CALLS; i++)
        if (!p->is_empty[i])
            json_array_append_new(calls, json_string(p->calls[i].data));
    return json_pack("{s:s, s:s, s:o}", "type", "python", "reference", p->source.data, "call",
                     calls);
}

error_code demo_code_make(python_random *r, demo_task *out)
{
    for (;;) {
        parts p = {.is_empty = {false}};
        parts_init(&p);
        error_code code = make_parts(r, true, &p);
        bool has_call = !p.is_empty[0] || !p.is_empty[1] || !p.is_empty[2];
        if (code == OK && has_call) {
            const filling fillings[] = {
                {"sig", p.signature.data, 0}, {"desc", p.description.data, 0}, {NULL, NULL, 0}};
            demo_fill(&out->prompt, CHOICE(r, forms), fillings);
            out->check = check_of(&p);
        }
        parts_free(&p);
        if (code != OK || has_call)
            return code;
    }
}

/* ---- behind a long file ------------------------------------------------------------------- */

#define LONG_LOW 400 /* tokens of the whole prompt */
#define LONG_HIGH 560

static error_code add_function(python_random *r, buffer *out)
{
    parts p = {.is_empty = {false}};
    parts_init(&p);
    error_code code = make_parts(r, false, &p);
    if (code == OK)
        code = buffer_add(out, p.source.data, p.source.length);
    parts_free(&p);
    return code;
}

static error_code make_paragraph(python_random *r, buffer *out)
{
    if (python_random_real(r) < 0.5)
        return add_function(r, out);
    long n = python_random_between(r, 1, 3);
    buffer_add_text(out, "#");
    for (long i = 0; i < n; i++) {
        const char *note = CHOICE(r, notes), *a = CHOICE(r, nouns), *b = CHOICE(r, nouns);
        long number = python_random_between(r, 2, 90), k = python_random_between(r, 1, 99);
        const filling fillings[] = {
            {"a", a, 0}, {"b", b, 0}, {"n", NULL, number}, {"k", NULL, k}, {NULL, NULL, 0}};
        buffer_add_text(out, " ");
        demo_fill(out, note, fillings);
    }
    return out->length > 0 ? OK : ERR_MEMORY;
}

error_code demo_long_make(python_random *r, token_counter count, demo_task *out, failure *fail)
{
    demo_task last = {.check = NULL};
    buffer block;
    size_t used = 0, tokens;
    buffer_init(&last.prompt, 4096);
    buffer_init(&block, 4096);
    error_code code = demo_code_make(r, &last);
    size_t goal = (size_t)python_random_between(r, LONG_LOW, LONG_HIGH);
    if (code == OK)
        code = count.call(count.context, last.prompt.data, &used, fail);
    used += 16;
    buffer_add_text(&out->prompt, CHOICE(r, openings));
    while (code == OK) {
        buffer_clear(&block);
        code = make_paragraph(r, &block);
        if (code == OK)
            code = count.call(count.context, block.data, &tokens, fail);
        if (code != OK)
            break;
        used += tokens + 1;
        if (used > goal)
            break;
        code = buffer_add_format(&out->prompt, "\n\n%s", block.data);
    }
    if (code == OK)
        code = buffer_add_format(&out->prompt, "\n\n%s", last.prompt.data);
    out->check = last.check;
    buffer_free(&block);
    buffer_free(&last.prompt);
    return code;
}
