/* pace.c: the three rates, learned from steps that ran, and what they predict. */
#include "engine/pace.h"

#include <math.h>

#define LEARNING_RATE 0.2
#define MOST_SURPRISE 0.25   /* of the expected time: a step is not believed to differ by more */
#define LEARN_PROMPT_ROWS 8  /* fewer say little about the cost of one */
#define ROWS_OF_A_READ 8.0   /* rows that cost as much as reading the weights: a first guess */
#define REPLIES_PART 0.1     /* of a step that prompts fill up, where budgets allow */
#define MOST_BUDGETS 4.0     /* by which prompts lengthen a step */
#define ATTENTION_WEIGHT 4.0 /* a product of attention, of floats, costs so many of integers */

/* ---- what is expected before anything was measured ------------------------------------------- */

static double row_products(const model_config *c)
{
    double heads = (double)(c->n_heads * c->head_dim), kv = (double)(c->n_kv_heads * c->head_dim);
    double ff = (double)c->n_ff + (double)c->n_experts_used * (double)c->n_expert_ff;
    double layer = (double)c->n_embd * (2 * heads + 2 * kv + 3 * ff);
    return (double)c->n_layers * layer;
}

static double pair_products(const model_config *c)
{
    return 2.0 * (double)(c->n_layers * c->n_heads * c->head_dim);
}

void pace_init(pace *p, const model *m)
{
    *p = (pace){.weight_bytes = (double)m->weight_bytes};
    p->row_positions = row_products(&m->config) / (pair_products(&m->config) * ATTENTION_WEIGHT);
}

/* ---- learning ------------------------------------------------------------------------------- */

static double limit_surprise(double ms, double expected_ms)
{
    double most = MOST_SURPRISE * expected_ms;
    return fmin(fmax(ms - expected_ms, -most), most);
}

static void learn_bytes(pace *p, const step_work *w, double ms)
{
    double bytes = p->weight_bytes + w->kv_bytes, expected = bytes * p->byte_ms;
    if (p->byte_ms == 0) {
        p->byte_ms = ms / bytes;
        return;
    }
    /* So many drafts that their rows took the time? */
    if ((double)w->rows * p->row_ms > p->weight_bytes * p->byte_ms && ms > expected)
        return;
    p->byte_ms *= 1 + LEARNING_RATE * limit_surprise(ms, expected) / expected;
}

static void learn_first_rows(pace *p, const step_work *w, double ms)
{
    double rows = (double)w->rows + w->pairs / p->row_positions;
    p->row_ms = (ms - w->kv_bytes * p->byte_ms) / rows;
    if (p->row_ms <= 0)
        p->row_ms = ms / rows;
    p->pair_ms = p->row_ms / p->row_positions;
}

/* The surprise is explained by the least relative change of both rates. */
static void learn_rows(pace *p, const step_work *w, double ms)
{
    double weights_ms = p->weight_bytes * p->byte_ms, rows_ms = (double)w->rows * p->row_ms;
    double base_ms = fmax(weights_ms, rows_ms), pairs_ms = w->pairs * p->pair_ms;
    double expected = w->kv_bytes * p->byte_ms + base_ms + pairs_ms;
    double change =
        LEARNING_RATE * limit_surprise(ms, expected) / (base_ms * base_ms + pairs_ms * pairs_ms);
    /* A step that the weights limit says of rows only that they take no longer. */
    if (rows_ms >= weights_ms || change > 0)
        p->row_ms = base_ms / (double)w->rows * (1 + change * base_ms);
    p->pair_ms *= 1 + change * pairs_ms;
}

void pace_learn(pace *p, const step_work *w, double ms)
{
    if (w->rows == 0 || !(ms > 0))
        return;
    if (w->prompt_rows == 0)
        learn_bytes(p, w, ms);
    else if (w->prompt_rows >= LEARN_PROMPT_ROWS && p->row_ms == 0)
        learn_first_rows(p, w, ms);
    else if (w->prompt_rows >= LEARN_PROMPT_ROWS)
        learn_rows(p, w, ms);
}

/* ---- predicting ----------------------------------------------------------------------------- */

double pace_predict(const pace *p, const step_work *w)
{
    double weights_ms = p->weight_bytes * p->byte_ms;
    double row_ms = p->row_ms > 0 ? p->row_ms : weights_ms / ROWS_OF_A_READ;
    double pair_ms = p->row_ms > 0 ? p->pair_ms : row_ms / p->row_positions;
    if (w->rows == 0)
        return 0;
    return w->kv_bytes * p->byte_ms + fmax(weights_ms, (double)w->rows * row_ms) +
           w->pairs * pair_ms;
}

double pace_mixed_ms(const pace *p, const step_work *replies, double budget_ms)
{
    double replies_ms = pace_predict(p, replies), more_ms = replies_ms / REPLIES_PART - replies_ms;
    return replies_ms + fmin(fmax(budget_ms, more_ms), MOST_BUDGETS * budget_ms);
}

step_work step_work_add_prompt(step_work w, size_t position, size_t n)
{
    w.rows += n;
    w.prompt_rows += n;
    w.pairs += (double)n * ((double)position + ((double)n + 1) / 2);
    return w;
}

size_t pace_fitting_rows(const pace *p, step_work w, size_t position, size_t most, double ms)
{
    size_t low = 0, high = most;
    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;
        step_work tried = step_work_add_prompt(w, position, middle);
        if (pace_predict(p, &tried) <= ms)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}
