/*
 * chat_form.h: how a model writes what is not the answer itself: its thoughts, and its calls of
 * tools. A chat template shows it, because it has to write earlier calls the same way.
 */
#ifndef MODEL_CHAT_FORM_H
#define MODEL_CHAT_FORM_H

#include <stdbool.h>
#include <stddef.h>

/* How the call stands between its marks. */
typedef enum call_syntax {
    CALL_OBJECT,  /* {"name": …, "arguments": {…}} */
    CALL_LIST,    /* [{"name": …, "arguments": {…}}, …], or as CALL_NAMED */
    CALL_NAMED,   /* NAME, some separator, {…} */
    CALL_LOOSE,   /* call:NAME{key:value}, texts between marks of their own */
    CALL_ELEMENT, /* <function=NAME><parameter=KEY>…</parameter></function>, or CALL_OBJECT */
    CALL_CHANNEL, /* gpt-oss: messages on channels, a call to=functions.NAME */
} call_syntax;

#define CHAT_FORM_MARKS 5

typedef struct chat_form {
    const char *name;
    const char *shown; /* what a template has in it that shows this form */
    call_syntax syntax;
    const char *begin;                    /* before a call, or before all of them */
    const char *dropped[CHAT_FORM_MARKS]; /* what else belongs to calls and not to the text */
    const char *quote;                    /* CALL_LOOSE: around texts */
    bool is_bare; /* a reply that is a CALL_OBJECT, without marks, is a call, too */
    bool
        is_control; /* the marks are control tokens, which a reply's text does not show by itself */
    bool short_ids; /* its template wants ids of nine letters and digits */
} chat_form;

/* What stands around a thought. */
typedef struct chat_thoughts {
    const char *begin, *end;
} chat_thoughts;

typedef struct chat_style {
    const chat_form *form;
    const chat_thoughts *thoughts; /* NULL: its model thinks as it speaks */
    bool takes_tools;              /* the template knows what to do with tools */
} chat_style;

/* What a template shows. The form is the table's last one, bare JSON objects, where it shows none.
 */
chat_style chat_style_of(const char *jinja, size_t length);
/* The form of this name, or NULL. */
const chat_form *chat_form_find(const char *name);

#endif
