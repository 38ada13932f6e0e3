/* Names of models, which files they mean, the environment, and checksums. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/path.h"
#include "hub/internal.h"

/* ---- names -------------------------------------------------------------------------------- */

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *text, *repository, *revision, *quant, *file;
    } good[] = {
        {"a/b", "a/b", "", "", ""},
        {"Qwen/Qwen2.5-0.5B-Instruct-GGUF:q4_k_m", "Qwen/Qwen2.5-0.5B-Instruct-GGUF", "", "q4_k_m",
         ""},
        {"a/b:UD-Q4_K_XL", "a/b", "", "UD-Q4_K_XL", ""},
        {"a/b@v1.0:Q8_0", "a/b", "v1.0", "Q8_0", ""},
        {"a/b@v1.0", "a/b", "v1.0", "", ""},
        {"a/b/c.gguf", "a/b", "", "", "c.gguf"},
        {"a/b/c d/e.GGUF", "a/b", "", "", "c d/e.GGUF"},
        {"a/b@x/c/d.gguf", "a/b", "x", "", "c/d.gguf"},
        {"_a/b_", "_a/b_", "", "", ""},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        hub_name n;
        char text[HUB_NAME_SIZE];
        if (!hub_name_parse(&n, good[i].text))
            fail_msg("refused: %s", good[i].text);
        assert_string_equal(n.repository, good[i].repository);
        assert_string_equal(n.revision, good[i].revision);
        assert_string_equal(n.quant, good[i].quant);
        assert_string_equal(n.file, good[i].file);
        hub_name_text(&n, text);
        assert_string_equal(text, good[i].text);
    }
}

static void test_no_names(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "a",
        "a/",
        "/a",
        "a//b",
        "a/b/",
        "a/b/c",
        "../b",
        "a/..",
        "./a",
        "a/.b",
        "~/b",
        "a--b/c",
        "a/b--c",
        "a/b..c",
        "-a/b",
        "a/b-",
        "a/b.git",
        "a/b.gguf",
        "a b/c",
        "a/b:",
        "a/b:x/y",
        "a/b:x y",
        "a/b@",
        "a/b@..",
        "a/b@-x",
        "a/b@x:",
        "a/b/../c.gguf",
        "a/b//c.gguf",
        "a/b/.c.gguf",
        "a/b/c\n.gguf",
        "a/b/c\\d.gguf",
        "https://a/b",
        "C:/a/b.gguf",
        "a/b/.gguf",
        "a/b/\xff.gguf",
        "a/b/\xc2\x9b.gguf",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hub_name n;
        if (hub_name_parse(&n, bad[i]))
            fail_msg("taken for a name: \"%s\"", bad[i]);
    }
    char longest[1024] = "a/";
    memset(longest + 2, 'b', 97);
    hub_name n;
    assert_false(hub_name_parse(&n, longest));
    longest[98] = '\0';
    assert_true(hub_name_parse(&n, longest));
    memset(longest + 98, ':', 1);
    memset(longest + 99, 'q', 900);
    assert_false(hub_name_parse(&n, longest));
}

static void test_revisions(void **state)
{
    (void)state;
    static const char *const good[] = {"main", "v1.0", "refs/pr/1", "a-b+c", "0123abcd"};
    static const char *const bad[] = {"",   "/a",   "a/",  "a//b", "..",     "a/../b", "-a",
                                      ".a", "a/.b", "a b", "a\n",  "x.lock", "a~1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(hub_revision_is_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (hub_revision_is_valid(bad[i]))
            fail_msg("taken for a revision: \"%s\"", bad[i]);
}

/* ---- which file ----------------------------------------------------------------------------- */

static void check_split(const char *name, size_t prefix, unsigned part, unsigned n_parts)
{
    size_t found;
    unsigned a, b;
    hub_split(name, &found, &a, &b);
    assert_int_equal(found, prefix);
    assert_int_equal(a, part);
    assert_int_equal(b, n_parts);
}

static void test_file_names(void **state)
{
    (void)state;
    check_split("x.gguf", 1, 1, 1);
    check_split("x-00002-of-00003.gguf", 1, 2, 3);
    check_split("d/x-00002-OF-00003.GGUF", 3, 2, 3);
    check_split("x-0002-of-00003.gguf", 15, 1, 1);
    check_split("-00002-of-00003.gguf", 15, 1, 1);
    check_split("README.md", 0, 1, 1);
    static const struct {
        const char *file, *quant;
    } quants[] = {{"m-q4_k_m.gguf", "Q4_K_M"},
                  {"m.Q8_0.gguf", "Q8_0"},
                  {"m-IQ2_XXS-00001-of-00002.gguf", "IQ2_XXS"},
                  {"model.gguf", ""},
                  {"README.md", ""}};
    for (size_t i = 0; i < sizeof quants / sizeof quants[0]; i++) {
        char quant[HUB_QUANT_SIZE];
        hub_quant_of(quants[i].file, quant);
        assert_string_equal(quant, quants[i].quant);
    }
}

static const char *const files[] = {
    "README.md",
    "imatrix-Q4_K_M.gguf",
    "m-BF16.gguf",
    "m-Q2_K-00001-of-00002.gguf",
    "m-Q2_K-00002-of-00002.gguf",
    "m-Q3_K_L-00002-of-00002.gguf", /* its first part is missing */
    "m-UD-Q4_K_XL.gguf",
    "m-iq4_xs.gguf",
    "m-q4_k_m.gguf",
    "mmproj-m-Q8_0.gguf",
};

static hub_listing make_listing(size_t n)
{
    hub_listing l = {.n = 0};
    for (size_t i = n; i-- > 0;) /* whatever the order */
        assert_int_equal(hub_listing_add(&l, files[i], 1, NULL), OK);
    hub_listing_sort(&l);
    return l;
}

/* The first file's name, or "" and the failure's text in `why`. */
static const char *choose(const hub_listing *l, const char *text, size_t *n, failure *why)
{
    hub_name name;
    size_t *chosen;
    assert_true(hub_name_parse(&name, text));
    const char *found = hub_choose(l, &name, &chosen, n, why) == OK ? l->files[chosen[0]].name : "";
    free(chosen);
    return found;
}

static void test_choice(void **state)
{
    (void)state;
    static const struct {
        const char *name, *file;
        size_t n;
    } cases[] = {
        {"a/b", "m-q4_k_m.gguf", 1},
        {"a/b:Q4_K_M", "m-q4_k_m.gguf", 1},
        {"a/b:bf16", "m-BF16.gguf", 1},
        {"a/b:Q2_K", "m-Q2_K-00001-of-00002.gguf", 2},
        {"a/b:UD-Q4_K_XL", "m-UD-Q4_K_XL.gguf", 1},
        {"a/b:Q4_K_XL", "m-UD-Q4_K_XL.gguf", 1},
        {"a/b/mmproj-m-Q8_0.gguf", "mmproj-m-Q8_0.gguf", 1},
        {"a/b/M-BF16.gguf", "m-BF16.gguf", 1},
        {"a/b/m-Q2_K-00002-of-00002.gguf", "m-Q2_K-00001-of-00002.gguf", 2},
    };
    hub_listing l = make_listing(sizeof files / sizeof files[0]);
    failure why;
    size_t n;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(choose(&l, cases[i].name, &n, &why), cases[i].file);
        assert_int_equal(n, cases[i].n);
    }
    /* Not those of other things, not F16 for BF16, not XS for IQ4_XS; nothing that is not whole. */
    static const char *const none[] = {"a/b:Q8_0", "a/b:F16",    "a/b:Q4_XS",
                                       "a/b:Q9",   "a/b/x.gguf", "a/b:Q3_K_L"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_string_equal(choose(&l, none[i], &n, &why), "");
        assert_int_equal(why.code, ERR_NOT_FOUND);
    }
    assert_string_equal(choose(&l, "a/b/m-Q3_K_L-00002-of-00002.gguf", &n, &why), "");
    assert_non_null(strstr(why.text, "part 1 of 2"));
    hub_listing_free(&l);
    l = make_listing(4); /* no Q4_K_M, no Q8_0: the first model */
    assert_string_equal(choose(&l, "a/b", &n, &why), "m-BF16.gguf");
    hub_listing_free(&l);
    l = make_listing(2);
    assert_string_equal(choose(&l, "a/b", &n, &why), "");
    hub_listing_free(&l);
}

/* ---- the environment ------------------------------------------------------------------------- */

static const char *const variables[] = {"HF_HOME",
                                        "HF_HUB_CACHE",
                                        "HUGGINGFACE_HUB_CACHE",
                                        "XDG_CACHE_HOME",
                                        "HF_ENDPOINT",
                                        "HF_TOKEN",
                                        "HUGGING_FACE_HUB_TOKEN",
                                        "HF_TOKEN_PATH",
                                        "HF_HUB_OFFLINE",
                                        "TRANSFORMERS_OFFLINE",
                                        "HF_HUB_DISABLE_IMPLICIT_TOKEN",
                                        "HF_HUB_ETAG_TIMEOUT",
                                        "HF_HUB_DOWNLOAD_TIMEOUT"};

static hub_settings settings(failure *why)
{
    hub_settings s;
    why->code = OK;
    hub_settings_read(&s, why);
    return s;
}

static void check_cache(const char *expected)
{
    failure why;
    hub_settings s = settings(&why);
    assert_int_equal(why.code, OK);
    assert_string_equal(s.cache, expected);
    hub_settings_free(&s);
}

static void test_folders(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        unsetenv(variables[i]);
    setenv("HOME", "/home/me", 1);
    check_cache("/home/me/.cache/huggingface/hub");
    setenv("XDG_CACHE_HOME", "/xdg", 1);
    check_cache("/xdg/huggingface/hub");
    setenv("HF_HOME", "~/hf", 1);
    check_cache("/home/me/hf/hub");
    setenv("HF_HOME", "$HOME/${XDG_CACHE_HOME}/$NONE$", 1);
    check_cache("/home/me//xdg/$NONE$/hub");
    setenv("HUGGINGFACE_HUB_CACHE", "/old", 1);
    check_cache("/old");
    setenv("HF_HUB_CACHE", "/new", 1);
    check_cache("/new");
    setenv("HF_HUB_CACHE", "", 1); /* as if it were not there */
    check_cache("/old");
}

static void test_endpoint_and_token(void **state)
{
    (void)state;
    failure why;
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        unsetenv(variables[i]);
    setenv("HF_HOME", "/nowhere", 1);
    hub_settings s = settings(&why);
    assert_string_equal(s.endpoint, "https://huggingface.co");
    assert_null(s.token);
    assert_false(s.offline);
    hub_settings_free(&s);
    setenv("HF_ENDPOINT", "http://mirror:8080//", 1);
    setenv("HUGGING_FACE_HUB_TOKEN", "old", 1);
    setenv("HF_TOKEN", " hf_x\n", 1);
    setenv("HF_HUB_OFFLINE", "On", 1);
    setenv("HF_HUB_DOWNLOAD_TIMEOUT", "7", 1);
    s = settings(&why);
    assert_string_equal(s.endpoint, "http://mirror:8080");
    assert_string_equal(s.token, "hf_x");
    assert_true(s.offline);
    assert_true(s.stall_ms == 7000);
    hub_settings_free(&s);
    static const struct {
        const char *name, *value;
    } bad[] = {{"HF_ENDPOINT", "ftp://x"},
               {"HF_TOKEN", "a b"},
               {"HF_TOKEN", "a\r\nX: y"},
               {"HF_HUB_ETAG_TIMEOUT", "0"},
               {"HF_HUB_DOWNLOAD_TIMEOUT", "1s"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *before = getenv(bad[i].name);
        char *kept = before != NULL ? strdup(before) : NULL;
        setenv(bad[i].name, bad[i].value, 1);
        s = settings(&why);
        assert_int_equal(why.code, ERR_INVALID);
        assert_non_null(strstr(why.text, bad[i].name));
        if (kept != NULL)
            setenv(bad[i].name, kept, 1);
        else
            unsetenv(bad[i].name);
        free(kept);
    }
}

/* ---- checksums and addresses ---------------------------------------------------------------- */

static void check_digest(digest_kind kind, const char *text, size_t length, const char *expected)
{
    digest *d;
    char sum[DIGEST_TEXT_SIZE];
    assert_int_equal(digest_create(&d, kind, NULL), OK);
    for (int i = 0; i < 2; i++) { /* and from nothing again */
        digest_start(d);
        for (size_t at = 0; at < length; at++)
            digest_add(d, text + at, 1);
        for (int again = 0; again < 2; again++) /* reading ends nothing */
            assert_int_equal(digest_read_text(d, sum, NULL), OK);
        assert_string_equal(sum, expected);
    }
    digest_destroy(d);
}

static void test_digests(void **state)
{
    (void)state;
    check_digest(DIGEST_SHA1, "abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d");
    check_digest(DIGEST_SHA256, "abc", 3,
                 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    /* `git hash-object` of a file with "hello\n" */
    check_digest(DIGEST_SHA1, "blob 6\0hello\n", 13, "ce013625030ba8dba906f756967f9e9ca394464a");
}

static void test_addresses(void **state)
{
    (void)state;
    assert_true(http_same_origin("https://a.b/c", "https://a.b:443/d?e#f"));
    assert_true(http_same_origin("https://A.b/c", "https://a.b"));
    assert_true(http_same_origin("http://a:80/", "http://u:p@a"));
    assert_false(http_same_origin("http://a/", "https://a/"));
    assert_false(http_same_origin("http://a:81/", "http://a/"));
    assert_false(http_same_origin("http://a/", "http://b/"));
    assert_false(http_same_origin("http://a/", "http://a.b/"));
    assert_false(http_same_origin("nonsense", "nonsense"));
    char *text = http_escape("a b/ü?#%", true);
    assert_string_equal(text, "a%20b/%C3%BC%3F%23%25");
    free(text);
    text = http_escape("refs/pr/1", false);
    assert_string_equal(text, "refs%2Fpr%2F1");
    free(text);
}

static void test_home(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"~", "/home/me"}, {"~/a", "/home/me/a"}, {"~a", "~a"},
                                           {"a/~", "a/~"},    {"/~/a", "/~/a"},      {"", ""}};
    setenv("HOME", "/home/me", 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *path = path_expand_home(cases[i][0]);
        assert_string_equal(path, cases[i][1]);
        free(path);
    }
    unsetenv("HOME");
    char *path = path_expand_home("~/a");
    assert_int_equal(path[0], '/'); /* the system knows one */
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_no_names),
        cmocka_unit_test(test_revisions),
        cmocka_unit_test(test_file_names),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_endpoint_and_token),
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
