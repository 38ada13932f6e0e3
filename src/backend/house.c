/* house.c: which kind of house takes a model, and those that are open. */
#include "backend/house.h"

#include <math.h>

const house_kind *const house_kinds[] = {&local_house, &remote_models, NULL};

static error_code find_house(backend_houses *h, const house_kind *kind,
                             const house_setting *setting, backend_house **out, failure *fail)
{
    for (size_t i = 0; i < h->n; i++) {
        *out = h->open[i];
        if (h->open[i]->kind == kind)
            return OK;
    }
    if (h->n == MAX_HOUSES)
        return failure_set(fail, ERR_INTERNAL, "more than %d kinds of backends", MAX_HOUSES);
    error_code code = kind->open(out, setting, fail);
    if (code == OK)
        h->open[h->n++] = *out;
    return code;
}

error_code backend_houses_add(backend_houses *h, const house_kind *const *kinds,
                              const house_setting *setting, const config_model *m,
                              const house_progress *progress, backend **out, failure *fail)
{
    backend_house *found = NULL;
    while (*kinds != NULL && !(*kinds)->takes(m))
        kinds++;
    if (*kinds == NULL)
        return failure_set(fail, ERR_UNSUPPORTED, "nothing here serves such a model");
    error_code code = find_house(h, *kinds, setting, &found, fail);
    return code == OK ? (*kinds)->add(found, m, progress, out, fail) : code;
}

double backend_houses_read_peak(const backend_houses *h)
{
    double most = 0;
    for (size_t i = 0; i < h->n; i++)
        most = h->open[i]->read_peak > most ? h->open[i]->read_peak : most;
    return most;
}

error_code backend_houses_start(backend_houses *h, failure *fail)
{
    error_code code = OK;
    for (size_t i = 0; code == OK && i < h->n; i++)
        code = h->open[i]->kind->start(h->open[i], fail);
    return code;
}

/* One kind of house at most. */
static backend_house *adopted(const backend_houses *h)
{
    for (size_t i = 0; i < h->n; i++)
        if (h->open[i]->kind->adopt != NULL)
            return h->open[i];
    return NULL;
}

error_code backend_houses_adopt(backend_houses *h, const int *epolls, size_t n, failure *fail)
{
    backend_house *found = adopted(h);
    return found != NULL ? found->kind->adopt(found, epolls, n, fail) : OK;
}

void backend_houses_note(backend_houses *h, size_t lane, const struct epoll_event *event)
{
    backend_house *found = adopted(h);
    if (found != NULL)
        found->kind->note(found, lane, event);
}

double backend_houses_turn(backend_houses *h, size_t lane)
{
    backend_house *found = adopted(h);
    return found != NULL ? found->kind->turn(found, lane) : INFINITY;
}

void backend_houses_close(backend_houses *h)
{
    while (h->n > 0) {
        backend_house *last = h->open[--h->n];
        last->kind->close(last);
    }
}
