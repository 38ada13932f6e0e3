/* Mixtures of types: which tensors have the finer one, as in files that llama.cpp has made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "model/weight_mix.h"

static tensor_type type_of(const char *mix_name, weight_setting model, const char *tensor)
{
    weight_mix mix;
    assert_true(weight_mix_find(mix_name, &mix));
    const tensor_type_info *info =
        weight_mix_type(&mix, &model, (gguf_string){tensor, strlen(tensor)}, 2);
    return info->type;
}

/* What Qwen's own Q4_K_M file of Qwen2.5-Coder-1.5B has: the layers whose attn_v and ffn_down are
 * Q6_K. */
static void layers_of_a_real_file(void **state)
{
    (void)state;
    static const uint32_t finer[] = {0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 24, 25, 26, 27};
    static const char *const suffixes[] = {"attn_v", "ffn_down", "attn_k", "ffn_up"};
    const weight_setting model = {.n_layers = 28};
    for (uint32_t layer = 0, next = 0; layer < 28; layer++) {
        bool is_finer = next < sizeof finer / sizeof finer[0] && finer[next] == layer;
        next += is_finer;
        for (size_t i = 0; i < 4; i++) {
            char name[48];
            snprintf(name, sizeof name, "blk.%u.%s.weight", layer, suffixes[i]);
            assert_int_equal(type_of("q4_k_m", model, name),
                             is_finer && i < 2 ? TENSOR_Q6_K : TENSOR_Q4_K);
        }
    }
}

static void tensors_outside_of_layers(void **state)
{
    (void)state;
    const weight_setting own = {.n_layers = 2}, tied = {.n_layers = 2, .tied = true};
    assert_int_equal(type_of("Q5_K_M", own, "output.weight"), TENSOR_Q6_K);
    assert_int_equal(type_of("Q5_K_M", own, "token_embd.weight"), TENSOR_Q5_K);
    assert_int_equal(type_of("Q5_K_M", tied, "token_embd.weight"), TENSOR_Q6_K);
    static const char *const odd[] = {"",
                                      "blk.",
                                      "blk.1",
                                      "blk.1.",
                                      "blk..attn_v.weight",
                                      "blk.1.attn_v.weights",
                                      "blk.99999999999.attn_v.weight"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        assert_int_equal(type_of("Q4_K_M", own, odd[i]), TENSOR_Q4_K);
}

static void one_type_for_all(void **state)
{
    (void)state;
    const weight_setting model = {.n_layers = 8};
    weight_mix mix;
    assert_int_equal(type_of("q8_0", model, "blk.0.attn_v.weight"), TENSOR_Q8_0);
    assert_int_equal(type_of("q8_0", model, "output.weight"), TENSOR_Q8_0);
    assert_int_equal(type_of("q8_0", model, "blk.7.ffn_gate_inp.weight"), TENSOR_F32);
    assert_true(weight_mix_find("q8_0", &mix));
    assert_int_equal(weight_mix_type(&mix, &model, (gguf_string){"x", 1}, 1)->type, TENSOR_F32);
    assert_false(weight_mix_find("q4_k_x", &mix));
    assert_false(weight_mix_find("", &mix));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_of_a_real_file),
        cmocka_unit_test(tensors_outside_of_layers),
        cmocka_unit_test(one_type_for_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
