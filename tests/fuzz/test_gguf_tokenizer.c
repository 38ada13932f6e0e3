/* Broken vocabularies: loading must succeed or say why not, and a tokenizer that was loaded must
 * take any text and any of its ids. */
#include "fuzz/mutations.h"
#include "base/log.h"
#include "model/tokenizer.h"

static const char text[] =
    "The \xe4\xb8\xad\xe6\x96\x87 returned 1234,  and\n\n\t'tis <|im_end|></s> \xff\xc3";

static void use(const tokenizer *t)
{
    for (int specials = 0; specials < 2; specials++) {
        token_list ids = {0};
        buffer out;
        buffer_init(&out, 1 << 16);
        text_decoder decoder;
        text_decoder_init(&decoder, t, true);
        /* May fail (a vocabulary without byte tokens), but says so and adds no foreign id. */
        tokenizer_encode(t, text, sizeof text, specials == 1, true, &ids, NULL);
        for (size_t i = 0; i < ids.length; i++) {
            assert_true(ids.ids[i] >= 0 && (size_t)ids.ids[i] < tokenizer_size(t));
            assert_int_equal(text_decoder_push(&decoder, ids.ids[i], &out), OK);
        }
        assert_int_equal(text_decoder_finish(&decoder, &out), OK);
        buffer_free(&out);
        token_list_free(&ids);
    }
    int32_t n = (int32_t)tokenizer_size(t);
    assert_true(tokenizer_bos(t) >= -1 && tokenizer_bos(t) < n);
    assert_true(tokenizer_eos(t) >= -1 && tokenizer_eos(t) < n);
    for (int32_t id = 0; id < n; id++) {
        size_t length;
        const char *bytes = tokenizer_bytes(t, id, true, &length);
        if (length > 0)
            tokenizer_find(t, bytes, length);
        tokenizer_is_end(t, id);
    }
}

static void try_tokenizer(sample *s)
{
    gguf *file;
    tokenizer *t = NULL;
    failure fail = {0};
    error_code code = gguf_open(&file, s->path, &fail);
    if (code == OK) {
        code = tokenizer_load(&t, file, &fail);
        gguf_close(file);
    }
    if (code == OK) {
        use(t);
        tokenizer_destroy(t);
        s->opened++;
        return;
    }
    assert_null(t);
    assert_int_equal(code, fail.code);
    assert_true(fail.text[0] != '\0');
    s->refused++;
}

static void break_golden(const char *path)
{
    sample s = {.try_file = try_tokenizer};
    buffer b;
    read_sample(&s, &b, path);
    break_in_every_way(&s);
    buffer_free(&b);
}

static void byte_level(void **state)
{
    (void)state;
    break_golden("tests/golden/data/llama-linear-tied.F32.gguf");
}

static void sentencepiece(void **state)
{
    (void)state;
    break_golden("tests/golden/data/pangu.Q8_0.gguf");
}

int main(void)
{
    alarm(300);
    log_set_level(LOG_ERROR); /* thousands of warnings would say nothing */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_level),
        cmocka_unit_test(sentencepiece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
