/* Events that are a piece of text are read at once; whatever else says something is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "backend/event_text.h"

/* NULL: it is not taken. */
static void check(const char *event, const char *text)
{
    buffer out;
    event_frame frame;
    event_frame_init(&frame);
    buffer_init(&out, 4096);
    buffer_add_text(&out, "before:");
    event_end end;
    assert_int_equal(event_text_take(&frame, event, strlen(event), &out, &end), text != NULL);
    assert_false(end.is_told || end.has_usage);
    event_frame_free(&frame);
    assert_memory_equal(out.data, "before:", 7);
    assert_string_equal(out.data + 7, text != NULL ? text : "");
    buffer_free(&out);
}

#define CHUNK(choices, more)                                                                       \
    "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","            \
    "\"choices\":[" choices "]" more "}"
#define CHOICE(delta, more) "{\"index\":0,\"delta\":{" delta "}" more "}"

static void texts_are_taken(void **state)
{
    (void)state;
    check(CHUNK(CHOICE("\"content\":\" word\"", ""), ""), " word");
    check(CHUNK(CHOICE("\"content\":\" word\"", ",\"finish_reason\":null,\"logprobs\":null"),
                ",\"usage\":null"),
          " word");
    check(CHUNK(CHOICE("\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":null", ""), ""), "");
    check(CHUNK(CHOICE("\"content\":\"\\u00e9\\n\\\"\\ud83d\\ude00\"", ""), ""),
          "\xC3\xA9\n\"\xF0\x9F\x98\x80");
    check(CHUNK(CHOICE("\"content\":\"x\",\"extra\":{\"deep\":[1,2]}", ",\"token_ids\":[1]"), ""),
          "x");
    check(CHUNK(CHOICE("", ""), ""), "");
}

static void check_end(const char *event, const char *text, event_end wanted)
{
    buffer out;
    event_frame frame;
    event_end end;
    event_frame_init(&frame);
    buffer_init(&out, 4096);
    buffer_add_text(&out, "");
    assert_true(event_text_take(&frame, event, strlen(event), &out, &end));
    assert_string_equal(out.data, text);
    assert_int_equal(end.is_told, wanted.is_told);
    assert_int_equal(end.is_cut, wanted.is_cut);
    assert_int_equal(end.has_usage, wanted.has_usage);
    assert_int_equal(end.prompt_tokens, wanted.prompt_tokens);
    assert_int_equal(end.reply_tokens, wanted.reply_tokens);
    assert_int_equal(end.cached_tokens, wanted.cached_tokens);
    /* The event is no frame: a text in its place is no end. */
    const char *next = CHUNK(CHOICE("\"content\":\"y\"", ""), "");
    assert_true(event_text_take(&frame, next, strlen(next), &out, &end));
    assert_false(end.is_told || end.has_usage);
    event_frame_free(&frame);
    buffer_free(&out);
}

#define USAGE(prompt, reply, details)                                                              \
    ",\"usage\":{\"prompt_tokens\":" prompt ",\"completion_tokens\":" reply                        \
    ",\"total_tokens\":0,\"prompt_tokens_details\":" details "}"

static void ends_are_taken(void **state)
{
    (void)state;
    check_end(CHUNK(CHOICE("", ",\"finish_reason\":\"stop\""), USAGE("9", "8", "null")), "",
              (event_end){true, false, true, 9, 8, 0});
    check_end(CHUNK(CHOICE("\"content\":\"x\"", ",\"finish_reason\":\"length\""), ""), "x",
              (event_end){true, true, false, 0, 0, 0});
    check_end(CHUNK(CHOICE("\"content\":\"x\"", ""), USAGE("9", "1", "{\"cached_tokens\":4}")), "x",
              (event_end){false, false, true, 9, 1, 4});
    check_end(CHUNK(CHOICE("\"content\":\"\"", ",\"finish_reason\":\"tool_calls\""),
                    USAGE("0", "0", "{}")),
              "", (event_end){true, false, true, 0, 0, 0});
}

static void all_else_is_left(void **state)
{
    (void)state;
    check(CHUNK("", ""), NULL);
    check(CHUNK("", ",\"usage\":{\"prompt_tokens\":1}"), NULL);
    check(CHUNK(CHOICE("\"content\":\"x\"", ""), ",\"usage\":{\"prompt_tokens\":1}"), NULL);
    check(CHUNK(CHOICE("\"content\":\"x\"", ""), USAGE("-1", "2", "null")), NULL);
    check(CHUNK(CHOICE("\"content\":\"x\"", ""), USAGE("1.5", "2", "null")), NULL);
    check(CHUNK(CHOICE("\"content\":\"x\"", ",\"finish_reason\":1"), ""), NULL);
    check(CHUNK(CHOICE("\"content\":\"x\"", ",\"finish_reason\":\"st\\u006fp\""), ""), NULL);
    check(CHUNK(CHOICE("\"content\":\"x\"", ",\"logprobs\":{\"content\":[]}"), ""), NULL);
    check(CHUNK(CHOICE("\"content\":\"x\",\"reasoning_content\":\"y\"", ""), ""), NULL);
    check(CHUNK(CHOICE("\"content\":\"x\",\"reasoning\":\"y\"", ""), ""), NULL);
    check(CHUNK(CHOICE("\"content\":\"x\",\"tool_calls\":[{}]", ""), ""), NULL);
    check(CHUNK(CHOICE("\"content\":null", ""), ""), NULL);
    check(CHUNK(CHOICE("\"content\":1", ""), ""), NULL);
    check(CHUNK(CHOICE("\"content\":\"x\"", "") "," CHOICE("\"content\":\"y\"", ""), ""), NULL);
    check(CHUNK(CHOICE("\"content\":\"x\",\"content\":\"y\"", ""), ""), NULL);
    check(CHUNK(CHOICE("\"content\":\"x\"", ""), ",\"error\":{\"message\":\"no\"}"), NULL);
    check(CHUNK(CHOICE("\"content\":\"\\ud800\"", ""), ""), NULL);
    check(CHUNK(CHOICE("\"content\":\"x", ""), ""), NULL);
    check(CHUNK(CHOICE("\"content\":\"x\"", ""), "") "x", NULL);
    check("[DONE]", NULL);
    check("", NULL);
}

/* One after the other: the frame of the ones before must change nothing. */
static void a_frame_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *event, *text;
    } events[] = {
        {CHUNK(CHOICE("\"content\":\" word\"", ""), ""), " word"},
        {CHUNK(CHOICE("\"content\":\"\"", ""), ""), ""},
        {CHUNK(CHOICE("\"content\":\"another, longer than all of the ones before it\"", ""), ""),
         "another, longer than all of the ones before it"},
        {CHUNK(CHOICE("\"content\":\"caf\xC3\xA9\"", ""), ""), "caf\xC3\xA9"},
        {CHUNK(CHOICE("\"content\":\"caf\xC3\"", ""), ""), NULL},
        {CHUNK(CHOICE("\"content\":\"\\n\"", ""), ""), "\n"},
        {CHUNK(CHOICE("\"content\":\"x\"", ""), ""), "x"},
        {CHUNK(CHOICE("\"content\":\"x\",\"tool_calls\":[{\"y\":\"z\"}]", ""), ""), NULL},
        {CHUNK(CHOICE("\"content\":\"x\",\"content\":\"y\"", ""), ""), NULL},
        {CHUNK(CHOICE("\"content\":\"a\\\"b\"", ""), ""), "a\"b"},
        {CHUNK(CHOICE("\"content\":\"tab\there\"", ""), ""), NULL},
        {CHUNK(CHOICE("\"content\":\" end\"", ""), ",\"usage\":null"), " end"},
        {CHUNK(CHOICE("\"content\":\" end\"", ",\"finish_reason\":\"stop\""), ""), " end"},
        {CHUNK(CHOICE("\"content\":\" \"", ""), ",\"usage\":null"), " "},
        {"{}", NULL},
    };
    event_frame frame;
    event_frame_init(&frame);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        buffer out;
        buffer_init(&out, 4096);
        buffer_add_text(&out, "");
        event_end end;
        assert_int_equal(
            event_text_take(&frame, events[i].event, strlen(events[i].event), &out, &end),
            events[i].text != NULL);
        assert_string_equal(out.data, events[i].text != NULL ? events[i].text : "");
        buffer_free(&out);
    }
    event_frame_free(&frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_taken),
        cmocka_unit_test(ends_are_taken),
        cmocka_unit_test(all_else_is_left),
        cmocka_unit_test(a_frame_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
