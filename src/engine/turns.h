/*
 * turns.h: which engine's step is next.
 *
 * Engines that have work share time, not steps: one whose steps take 5 ms runs many of them for
 * each 100 ms step of another. Shares are in proportion to the sequences that wait for them; but no
 * engine with work waits longer than its budget, however many wait for the others, and time in
 * which an engine had no work is not owed to it. All on the conductor's thread.
 */
#ifndef ENGINE_TURNS_H
#define ENGINE_TURNS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct turn_claim {
    size_t sequences; /* that wait for the next step; 0: no work */
    double budget_ms; /* the longest that it shall wait */
    double used_ms;   /* time it had, divided by its sequences */
    double waited_ms; /* of others' steps since its last one */
} turn_claim;

/* True when a goes before b; both have work. */
bool turn_goes_before(const turn_claim *a, const turn_claim *b);
/* One had a step of so many ms; each of the others, with work or without, let it pass. */
void turn_taken(turn_claim *by, double ms);
void turn_passed(turn_claim *other, const turn_claim *by, double ms);

#endif
