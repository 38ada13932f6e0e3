/* options.c: the table as getopt_long's, and each value to where its row says. */
#include "cli/options.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 64, FIRST_VALUE = 256 /* above all letters */ };

/* ---- values ------------------------------------------------------------------------------- */

error_code option_number(const char *option, const char *text, uint64_t low, uint64_t high,
                         uint64_t *out, failure *fail)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || value < low ||
        value > high)
        return failure_set(fail, ERR_INVALID, "%s: \"%s\" is not a whole number from %llu to %llu",
                           option, text, (unsigned long long)low, (unsigned long long)high);
    *out = value;
    return OK;
}

error_code option_real(const char *option, const char *text, float *out, failure *fail)
{
    char *end = NULL;
    *out = strtof(text, &end);
    if (end == text || isspace((unsigned char)text[0]) || *end != '\0' || !isfinite(*out))
        return failure_set(fail, ERR_INVALID, "%s: \"%s\" is not a number", option, text);
    return OK;
}

static bool takes_value(const option_row *row)
{
    return row->flag == NULL && row->call == NULL;
}

static error_code take_value(const option_row *row, const char *value, failure *fail)
{
    char name[64] = "--";
    strncat(name, row->name, sizeof name - sizeof "--");
    if (row->given != NULL)
        *row->given |= row->bit;
    if (row->flag != NULL)
        *row->flag = true;
    else if (row->call != NULL)
        row->call();
    else if (row->text != NULL)
        *row->text = value;
    else if (row->number != NULL)
        return option_number(name, value, row->low, row->high, row->number, fail);
    else if (row->real != NULL)
        return option_real(name, value, row->real, fail);
    else
        return row->take(row->context, value, fail);
    return OK;
}

/* ---- names -------------------------------------------------------------------------------- */

/* getopt_long takes the beginning of a name for the name: an option that is added later would
 * change what a script says. So `word`, with its dashes, is looked for whole. */
static const option_row *find_name(const option_row *rows, const char *word)
{
    size_t n = strcspn(word + 2, "=");
    for (; rows->name != NULL; rows++)
        if (strlen(rows->name) == n && strncmp(rows->name, word + 2, n) == 0)
            return rows;
    return NULL;
}

static const option_row *find_letter(const option_row *rows, char letter)
{
    for (; rows->name != NULL; rows++)
        if (rows->letter == letter)
            return rows;
    return NULL;
}

/* Whether the next word is this one's value, whatever it looks like. */
static bool takes_next(const option_row *rows, const char *word)
{
    if (word[0] != '-' || word[1] == '\0')
        return false;
    bool is_long = word[1] == '-';
    const option_row *row = is_long ? find_name(rows, word) : find_letter(rows, word[1]);
    bool has_value = is_long ? strchr(word, '=') != NULL : word[2] != '\0';
    return row != NULL && takes_value(row) && !has_value;
}

static error_code check_names(const option_row *rows, int argc, char **argv, failure *fail)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strncmp(argv[i], "--", 2) == 0 && find_name(rows, argv[i]) == NULL)
            return failure_set(fail, ERR_INVALID, "%.*s is not an option here; try: a-io %s --help",
                               (int)strcspn(argv[i], "="), argv[i], argv[0]);
        i += takes_next(rows, argv[i]);
    }
    return OK;
}

/* ---- reading ------------------------------------------------------------------------------ */

/* getopt_long's '?' and ':' in words. */
static error_code refuse(int c, char *const *argv, failure *fail)
{
    const char *option = argv[optind - 1];
    char letter[3] = {'-', (char)optopt, '\0'};
    if (optopt != 0 && optopt < 128 && strncmp(option, "--", 2) != 0)
        option = letter;
    const char *what = c == ':' ? "needs a value" : "is not an option here";
    return failure_set(fail, ERR_INVALID, "%s %s; try: a-io %s --help", option, what, argv[0]);
}

/* A letter's value is the letter, another row's its place in the table. */
static void make_tables(const option_row *rows, struct option *names, char *letters)
{
    *letters++ = ':'; /* a missing value is told apart */
    for (int i = 0; rows[i].name != NULL; i++) {
        bool has_value = takes_value(&rows[i]);
        names[i] = (struct option){rows[i].name, has_value ? required_argument : no_argument, NULL,
                                   FIRST_VALUE + i};
        if (rows[i].letter != '\0')
            *letters++ = rows[i].letter;
        if (rows[i].letter != '\0' && has_value)
            *letters++ = ':';
    }
    *letters = '\0';
}

error_code options_read(const option_row *rows, int argc, char **argv, failure *fail)
{
    struct option names[MAX_ROWS + 1] = {{0}};
    char letters[2 * MAX_ROWS + 2];
    for (size_t n = 0; rows[n].name != NULL; n++)
        assert(n < MAX_ROWS);
    make_tables(rows, names, letters);
    error_code code = check_names(rows, argc, argv, fail);
    opterr = 0;
    optind = 1;
    for (int c; code == OK && (c = getopt_long(argc, argv, letters, names, NULL)) != -1;) {
        const option_row *row =
            c >= FIRST_VALUE ? &rows[c - FIRST_VALUE] : find_letter(rows, (char)c);
        code = c == '?' || c == ':' ? refuse(c, argv, fail) : take_value(row, optarg, fail);
    }
    return code;
}
