/* forward_attention.c: from the rows of q, k and v to what each row has gathered from its history:
 * bias, norm and RoPE, storing keys and values, and attention itself. */
#include "model/forward_internal.h"

void forward_normalise_qk(const worker *w, const layer_weights *l, size_t row)
{
    const model_config *c = w->c;
    float *q = w->f->qkv + row * forward_qkv_rows(c), *k = q + c->n_heads * c->head_dim;
    forward_normalise(w, q, q, l->q_norm, c->n_heads * c->head_dim);
    forward_normalise(w, k, k, l->k_norm, c->n_kv_heads * c->head_dim);
}

static void finish_head(const worker *w, const layer_plan *plan, size_t row, float *head,
                        const float *norm)
{
    if (plan->qk_norm == QK_NORM_HEAD)
        forward_normalise(w, head, head, norm, w->c->head_dim);
    if (plan->rope == LAYER_NO_ROPE)
        return;
    const rope_scratch *r = &w->f->ropes[plan->rope];
    vector_rotate(head, r->cosines + row * r->pairs, r->sines + row * r->pairs, r->pairs,
                  w->c->ropes[plan->rope].layout);
}

static void finish_query(const worker *w, const layer_plan *plan, size_t row, float *head,
                         const float *norm)
{
    finish_head(w, plan, row, head, norm);
    if (w->c->temperature_length > 0)
        vector_scale(head, w->f->temperatures[row], w->c->head_dim);
}

/* In one of a view's three parts, whose values are of the type. */
static char *position_in(const model_config *c, const kv_view *kv, char *part, kv_type type,
                         size_t layer, size_t head, size_t position)
{
    size_t index = (layer * c->n_kv_heads + head) * kv->capacity + position;
    return part + index * kv_value_bytes(type, c->head_dim);
}

static char *key_at(const model_config *c, const kv_view *kv, size_t layer, size_t head,
                    size_t position)
{
    return position_in(c, kv, kv->keys, kv->type, layer, head, position);
}

static char *value_at(const model_config *c, const kv_view *kv, size_t layer, size_t head,
                      size_t position)
{
    return position_in(c, kv, kv->values, kv->type, layer, head, position);
}

static char *open_key_at(const model_config *c, const kv_view *kv, size_t layer, size_t head,
                         size_t position)
{
    return position_in(c, kv, kv->open_keys, KV_OPEN_TYPE, layer, head, position);
}

static void store_key(const model_config *c, const forward_row *r, size_t layer, size_t head,
                      const float *key)
{
    if (kv_groups_keys(r->kv->type))
        kv_store(KV_OPEN_TYPE, open_key_at(c, r->kv, layer, head, r->position), key, c->head_dim);
    else
        kv_store(r->kv->type, key_at(c, r->kv, layer, head, r->position), key, c->head_dim);
}

void forward_finish_head(const worker *w, size_t layer, size_t row, size_t head)
{
    forward *f = w->f;
    const model_config *c = w->c;
    const layer_plan *plan = config_layer(c, layer);
    const layer_weights *l = &f->m->layers[layer];
    const forward_row *r = &f->rows[row];
    size_t d = c->head_dim, group = c->n_heads / c->n_kv_heads;
    size_t q_at = head * group * d, k_at = (c->n_heads + head) * d;
    size_t v_at = (c->n_heads + c->n_kv_heads + head) * d;
    float *qkv = f->qkv + row * forward_qkv_rows(c);
    if (l->qkv_bias != NULL) {
        vector_add(qkv + q_at, l->qkv_bias + q_at, group * d);
        vector_add(qkv + k_at, l->qkv_bias + k_at, d);
        vector_add(qkv + v_at, l->qkv_bias + v_at, d);
    }
    for (size_t g = 0; g < group; g++)
        finish_query(w, plan, row, qkv + q_at + g * d, l->q_norm);
    finish_head(w, plan, row, qkv + k_at, l->k_norm);
    store_key(c, r, layer, head, qkv + k_at);
    kv_store(r->kv->type, value_at(c, r->kv, layer, head, r->position), qkv + v_at, d);
}

void forward_close_group(const worker *w, size_t layer, size_t row, size_t head)
{
    const model_config *c = w->c;
    const kv_view *kv = w->f->rows[row].kv;
    size_t first = w->f->rows[row].position / KV_GROUP * KV_GROUP;
    kv_close_group(kv->type, key_at(c, kv, layer, head, first),
                   open_key_at(c, kv, layer, head, first), c->head_dim);
}

/* A long history takes arithmetic where what follows it takes memory: so of a single row the
 * weights that are read next are asked for meanwhile, a part by each head; of long prefetches no
 * more than is hidden behind a position. */
static void ask_for_weights(const worker *w, size_t layer, const segment *s, size_t head,
                            attention_kv *kv)
{
    enum { LEAST_POSITIONS = 512, POSITION_BYTES = 256, CACHE_LINE = 64 };
    const matrix *next = w->f->m->layers[layer].gate_up;
    size_t window = config_layer(w->c, layer)->window;
    size_t seen = window > 0 && window < s->first_position ? window : s->first_position;
    if (w->f->n_rows > 1 || next == NULL || seen < LEAST_POSITIONS)
        return;
    size_t part = matrix_bytes(next) / w->c->n_kv_heads / CACHE_LINE * CACHE_LINE;
    kv->later = (const char *)matrix_memory(next) + head * part;
    kv->later_bytes = part < seen * POSITION_BYTES ? part : seen * POSITION_BYTES;
}

void forward_attend(const worker *w, size_t layer, const segment *s, size_t head)
{
    forward *f = w->f;
    const model_config *c = w->c;
    const layer_plan *plan = config_layer(c, layer);
    const float *sinks = f->m->layers[layer].sinks;
    attention_shape shape = f->shape;
    shape.type = s->kv->type;
    shape.scale = plan->attention_scale;
    shape.window = plan->window;
    shape.soft_cap = plan->attention_soft_cap;
    shape.sinks = sinks == NULL ? NULL : sinks + head * shape.group;
    size_t at = head * shape.group * c->head_dim;
    size_t width = forward_qkv_rows(c), out_width = c->n_heads * c->head_dim;
    attention_kv kv = {
        .keys = key_at(c, s->kv, layer, head, 0),
        .values = value_at(c, s->kv, layer, head, 0),
        .open_keys = kv_groups_keys(s->kv->type) ? open_key_at(c, s->kv, layer, head, 0) : NULL};
    ask_for_weights(w, layer, s, head, &kv);
    attention_head(&shape, f->qkv + s->first_row * width + at, width, &kv, s->first_position,
                   s->n_rows, w->scratch->attention, f->mixed + s->first_row * out_width + at,
                   out_width);
}
