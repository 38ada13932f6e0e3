/* orchestra_known.c: what there is to know of an orchestra, for who serves it. */
#include <string.h>

#include "base/clock.h"
#include "orchestra/internal.h"

const routing *orchestra_routing(const orchestra *o)
{
    return o->routing;
}

double orchestra_read_peak(const orchestra *o)
{
    return backend_houses_read_peak(&o->houses);
}

size_t orchestra_model_count(const orchestra *o)
{
    return o->n_players;
}

const char *orchestra_model_name(const orchestra *o, size_t index)
{
    return o->players[index].name;
}

size_t orchestra_find_model(const orchestra *o, const char *name)
{
    for (size_t i = 0; i < o->n_players; i++)
        if (strcmp(orchestra_model_name(o, i), name) == 0)
            return i;
    return SIZE_MAX;
}

const char *orchestra_model_path(const orchestra *o, size_t index)
{
    return o->config->models[index].path;
}

backend *orchestra_backend(orchestra *o, size_t index)
{
    return o->players[index].backend;
}

const model *orchestra_model(const orchestra *o, size_t index)
{
    return backend_local_model(o->players[index].backend);
}

bool orchestra_is_light(const orchestra *o)
{
    for (size_t i = 0; i < o->n_players; i++)
        if (orchestra_model(o, i) != NULL)
            return false;
    return true;
}

bool orchestra_is_remote(const orchestra *o)
{
    for (size_t i = 0; i < o->n_players; i++)
        if (orchestra_model(o, i) == NULL)
            return true;
    return false;
}

kv_type orchestra_kv_type(const orchestra *o, size_t index)
{
    return house_kv_type(&o->config->models[index]);
}

double orchestra_delay_ms(orchestra *o, size_t index)
{
    backend_load load;
    backend_read_load(o->players[index].backend, &load);
    return delay_expected(&o->players[index].delay, &load, clock_ms());
}

bool orchestra_has_template(const orchestra *o, size_t index)
{
    return backend_has_template(o->players[index].backend);
}

void orchestra_read_counts(const orchestra *o, orchestra_counts *out)
{
    *out = (orchestra_counts){.probes = atomic_load(&o->counts.probes),
                              .cached_probes = atomic_load(&o->counts.cached_probes),
                              .kept = atomic_load(&o->counts.kept)};
    for (size_t i = 0; i < o->n_players; i++)
        out->decisions[i] = atomic_load(&o->counts.decisions[i]);
    for (size_t i = 0; i < N_FALLBACKS; i++)
        out->fallbacks[i] = atomic_load(&o->counts.fallbacks[i]);
}
