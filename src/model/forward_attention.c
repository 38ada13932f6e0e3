/* forward_attention.c: from the rows of q, k and v to what each row has gathered from its history:
 * bias, norm and RoPE, storing keys and values, and attention itself. */
#include "model/forward_internal.h"

static void finish_head(const worker *w, size_t row, float *head, const float *norm)
{
    const model_config *c = w->c;
    size_t pairs = c->rope_dims / 2;
    if (norm != NULL)
        vector_rms_norm(head, head, norm, c->head_dim, c->rms_epsilon);
    vector_rotate(head, w->f->cosines + row * pairs, w->f->sines + row * pairs, pairs, c->rope);
}

static char *kv_position(const model_config *c, const kv_view *kv, char *base, size_t layer,
                         size_t head, size_t position)
{
    size_t index = (layer * c->n_kv_heads + head) * kv->capacity + position;
    return base + index * kv_value_bytes(kv->type, c->head_dim);
}

void forward_finish_head(const worker *w, size_t layer, size_t row, size_t head)
{
    forward *f = w->f;
    const model_config *c = w->c;
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
        finish_head(w, row, qkv + q_at + g * d, l->q_norm);
    finish_head(w, row, qkv + k_at, l->k_norm);
    kv_store(r->kv->type, kv_position(c, r->kv, r->kv->keys, layer, head, r->position), qkv + k_at,
             d);
    kv_store(r->kv->type, kv_position(c, r->kv, r->kv->values, layer, head, r->position),
             qkv + v_at, d);
}

void forward_attend(const worker *w, size_t layer, const segment *s, size_t head)
{
    forward *f = w->f;
    const model_config *c = w->c;
    attention_shape shape = f->shape;
    shape.type = s->kv->type;
    size_t at = head * shape.group * c->head_dim;
    size_t width = forward_qkv_rows(c), out_width = c->n_heads * c->head_dim;
    attention_head(&shape, f->qkv + s->first_row * width + at, width,
                   kv_position(c, s->kv, s->kv->keys, layer, head, 0),
                   kv_position(c, s->kv, s->kv->values, layer, head, 0), s->first_position,
                   s->n_rows, w->scratch->attention, f->mixed + s->first_row * out_width + at,
                   out_width);
}
