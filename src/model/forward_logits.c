/* forward_logits.c: from the residual stream to logits, all of an output's or those that may be
 * chosen from: of the output matrix only these rows' groups are read. */
#include "model/forward_internal.h"

size_t forward_output_pieces(const forward *f)
{
    size_t each = matrix_piece_rows(f->m->output, f->n_outputs);
    return f->n_outputs > 0 ? (f->m->config.n_vocab + each - 1) / each : 0;
}

/* Here it is asked what of the output is wanted: late, and once for all threads. */
void forward_normalise_output(const worker *w, size_t output)
{
    forward *f = w->f;
    size_t n = w->c->n_embd;
    forward_normalise(w, w->scratch->normed, f->x + f->outputs[output] * n, f->m->output_norm, n);
    activation_set(f->shared, output, w->scratch->normed, n, f->m->output);
    f->chosen[output] = f->choose != NULL ? f->choose(f->choose_context, output) : NULL;
}

static void multiply_rows(const worker *w, size_t begin, size_t end)
{
    forward *f = w->f;
    const model_config *c = w->c;
    matrix_multiply(f->m->output, f->shared, f->n_outputs, begin, end, f->logits, c->n_vocab);
    for (size_t i = 0; i < f->n_outputs; i++) {
        float *logits = f->logits + i * c->n_vocab + begin;
        if (c->logit_scale != 1.0f)
            vector_scale(logits, c->logit_scale, end - begin);
        if (c->logit_soft_cap > 0)
            vector_soft_cap(logits, c->logit_soft_cap, end - begin);
    }
}

/* Whether an output wants any of a group's rows. */
static bool is_wanted(const forward *f, size_t first_row)
{
    _Static_assert(MATRIX_ROW_GROUP == 16, "half a word of a choice");
    for (size_t i = 0; i < f->n_outputs; i++)
        if (f->chosen[i] == NULL || (f->chosen[i][first_row / 32] >> first_row % 32 & 0xffff) != 0)
            return true;
    return false;
}

/* The wanted groups of a piece, as many at once as follow one another. */
void forward_multiply_output(const worker *w, size_t piece)
{
    const forward *f = w->f;
    size_t each = matrix_piece_rows(f->m->output, f->n_outputs), n_vocab = w->c->n_vocab;
    size_t begin = piece * each, end = n_vocab - begin < each ? n_vocab : begin + each;
    for (size_t next; begin < end; begin = next) {
        bool wanted = is_wanted(f, begin);
        next = begin;
        do
            next = end - next < MATRIX_ROW_GROUP ? end : next + MATRIX_ROW_GROUP;
        while (next < end && is_wanted(f, next) == wanted);
        if (wanted)
            multiply_rows(w, begin, next);
        else
            w->scratch->skipped_rows += next - begin;
    }
}

size_t forward_skipped_bytes(const forward *f)
{
    size_t rows = 0;
    for (int i = 0; i < f->n_threads; i++)
        rows += f->workers[i].skipped_rows;
    return (size_t)((double)matrix_bytes(f->m->output) * (double)rows /
                    (double)f->m->config.n_vocab);
}
