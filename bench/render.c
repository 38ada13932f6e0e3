/*
 * render.c: what a conversation of 2 KB costs from messages to tokens, by model file.
 *
 *   bench/render MODEL...
 *
 * Columns: rendering alone, and with tokenising, in microseconds (medians); once with a text in
 * which nothing looks like a special token, once with code, which has `<`: it is rendered twice.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "model/chat.h"
#include "model/gguf.h"

#define ROUNDS 301
#define BYTES 500 /* of each of four messages */

static void must(error_code code, const failure *fail)
{
    if (code == OK)
        return;
    fprintf(stderr, "bench/render: %s\n", fail->text);
    exit(error_code_exit(code));
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof *values, by_value);
    return 1000 * values[ROUNDS / 2];
}

static void measure(const char *path, const chat_template *t, const tokenizer *k, const char *what)
{
    static double rendering[ROUNDS], all[ROUNDS];
    char content[BYTES + 1] = "";
    for (size_t n = 0; n + strlen(what) < sizeof content; n += strlen(what))
        memcpy(content + n, what, strlen(what) + 1);
    const chat_message m[] = {{"user", content, strlen(content)},
                              {"assistant", content, strlen(content)},
                              {"user", content, strlen(content)},
                              {"assistant", content, strlen(content)},
                              {"user", "Go on.", 6}};
    const chat_input input = {.messages = m, .n_messages = 5, .generation_prompt = true};
    failure fail = {0};
    size_t n_tokens = 0;
    for (size_t i = 0; i < ROUNDS; i++) {
        token_list ids = {0};
        chat_text text;
        chat_text_init(&text, (size_t)1 << 20);
        double start = clock_ms();
        must(chat_render(t, &input, &text, &fail), &fail);
        rendering[i] = clock_ms() - start;
        must(chat_encode(k, &text, &ids, &fail), &fail);
        all[i] = clock_ms() - start;
        n_tokens = ids.length;
        chat_text_free(&text);
        token_list_free(&ids);
    }
    printf("%-50.50s %-6.6s %8.1f %8.1f %6zu\n", path, what, median(rendering), median(all),
           n_tokens);
}

int main(int argc, char **argv)
{
    printf("%-50s %-6s %8s %8s %6s\n", "", "text", "render", "+ tokens", "tokens");
    for (int i = 1; i < argc; i++) {
        gguf *file = NULL;
        tokenizer *k = NULL;
        chat_template *t = NULL;
        gguf_string jinja;
        failure fail = {0};
        must(gguf_open(&file, argv[i], &fail), &fail);
        if (tokenizer_load(&k, file, &fail) != OK) {
            printf("%s: %s\n", argv[i], fail.text);
        } else if (gguf_text(file, "tokenizer.chat_template", &jinja)) {
            const chat_vocabulary words = {.tokenizer = k};
            must(chat_template_compile(&t, jinja.data, jinja.length, words, &fail), &fail);
            measure(argv[i], t, k, "Tell me about the rivers of Europe. ");
            measure(argv[i], t, k, "for (int i = 0; i < n; i++) s += a[i]; ");
        }
        chat_template_destroy(t);
        tokenizer_destroy(k);
        gguf_close(file);
    }
    return 0;
}
