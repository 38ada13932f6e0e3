/*
 * orchestra.h: for each request, sense the intent, decide the plan, let the right model answer.
 *
 * Knows intents and plans; knows no socket and no tensor. An orchestra owns its backends and
 * the houses that they come from. A run is one request on its way; like everything below it, it is
 * pulled: `wake` signals, run_poll moves it on (probe → decide → submit → text) on the caller's
 * thread.
 */
#ifndef ORCHESTRA_ORCHESTRA_H
#define ORCHESTRA_ORCHESTRA_H

#include "backend/house.h"
#include "config/config.h"

/* What the probe says. */
typedef struct intent {
    bool known; /* false: no probe was needed, or it failed */
    size_t n_labels;
    const char *labels[PROBE_MAX_LABELS]; /* live as long as the run, or as its routing */
    double probabilities[PROBE_MAX_LABELS];
    size_t best;
    double entropy; /* nats */
    double margin;  /* best minus second probability */
    double outside; /* probability mass outside the labels */
    bool windowed;
    bool calibrated; /* the probabilities, and entropy and margin with them */
    bool cached;     /* an identical request was probed before: this one needed no forward pass */
    size_t probe_tokens;
    float logits[PROBE_MAX_LABELS]; /* of the label tokens, as they came */
    float log_sum_exp;              /* over the whole vocabulary */
} intent;

/* Why the decision is not what the intent alone would have given. */
typedef enum fallback {
    FALLBACK_NONE,
    FALLBACK_ENTROPY,
    FALLBACK_MARGIN,
    FALLBACK_SUCCESS,
    FALLBACK_LONG_CONTEXT,
    FALLBACK_PROBE_ERROR,
    FALLBACK_PROBE_TIMEOUT,
    FALLBACK_PINNED,
    FALLBACK_LOAD,
    N_FALLBACKS,
} fallback;

const char *fallback_name(fallback f); /* "entropy" …; NULL for none */

#define PLAN_REASON_SIZE 160
#define PLAN_NO_RULE SIZE_MAX

typedef struct plan {
    size_t level;      /* the model's number in the order of escalation, from 0 */
    const char *model; /* name; lives as long as the orchestra */
    lookup_wish lookup;
    bool client_lookup; /* the client chose its mode and length */
    const char *rule;   /* the rule's name, or what stands for one: session, long_context,
                           probe_error, probe_timeout, pinned; lives as long as the run */
    size_t number;      /* the rule in the policy's table whose plan this is, or PLAN_NO_RULE */
    bool is_kept;       /* the conversation had it before (rule session) */
    fallback fallback;
    const config_sampling *sampling; /* set where the client said nothing; or NULL */
    size_t max_tokens;               /* of the reply, whatever the client asks for; 0: no limit */
    char reason[PLAN_REASON_SIZE];   /* for a person, with the numbers */
    size_t prompt_tokens;            /* of the model that is asked; 0 when pinned: not counted */
    double success; /* probability that the small model's answer is right; NAN: not known */
} plan;

/* What the decision cost. */
typedef struct overhead {
    double template_ms; /* rendering and tokenising the request and the probe */
    double prefill_ms;  /* the probe's forward pass */
    double decide_ms;   /* entropy and rules */
    double switch_ms;   /* changing to the model that answers */
    double total_ms;    /* submit → plan as the clock saw it, waiting included, and the switch */
} overhead;

typedef struct receipt {
    overhead overhead;
    reply_stats probe; /* zero when no probe ran */
    reply_stats reply;
} receipt;

typedef struct orchestra orchestra;
typedef struct routing routing; /* what a configuration says of routing, made ready */
typedef struct run run;

/* Loads the models, checks labels and template, starts what serves them. The config must outlive
 * it. With a config of one model (config_for_model) there is no routing: every request is pinned to
 * it. */
error_code orchestra_create(orchestra **out, const config *c, house_progress progress,
                            failure *fail);
/* The same with other kinds of backends than house_kinds. */
error_code orchestra_create_of(orchestra **out, const house_kind *const *kinds, const config *c,
                               house_progress progress, failure *fail);
void orchestra_destroy(orchestra *o); /* after every run was released */

/* For threads that wait for descriptors: once they have adopted the orchestra, each has a lane,
 * from 0 to n - 1, and what the requests of its lane wait for at other servers is in its epoll,
 * with odd numbers for data. Their events go to orchestra_note, and what is to be done is done in
 * turns, one before each of its waits. A turn returns after how many milliseconds there is to be
 * another; INFINITY: only after events. Once, before there is a request; n <= HOUSE_MOST_LANES. */
error_code orchestra_adopt(orchestra *o, const int *epolls, size_t n, failure *fail);
void orchestra_note(orchestra *o, size_t lane, const struct epoll_event *event);
double orchestra_turn(orchestra *o, size_t lane);
/* Some model is at another server. */
bool orchestra_is_remote(const orchestra *o);
/* No model is in this process: a request is started, and goes on after a probe, within moments. */
bool orchestra_is_light(const orchestra *o);

size_t orchestra_model_count(const orchestra *o);
const char *orchestra_model_name(const orchestra *o, size_t index);
/* SIZE_MAX: no model has this name. */
size_t orchestra_find_model(const orchestra *o, const char *name);
/* NULL: the model is not in this process. */
const char *orchestra_model_path(const orchestra *o, size_t index);
backend *orchestra_backend(orchestra *o, size_t index);
/* NULL: the model is not in this process. */
const model *orchestra_model(const orchestra *o, size_t index);
/* The most bytes a second that this machine's memory gave when `a-io calibrate` measured it
 * (engine.machine); 0: not known. */
double orchestra_read_peak(const orchestra *o);
kv_type orchestra_kv_type(const orchestra *o, size_t index);
/* ms until a reply's first token, as it is expected now; 0: not known. */
double orchestra_delay_ms(orchestra *o, size_t index);
/* False: the model has no chat template and takes raw prompts only. */
bool orchestra_has_template(const orchestra *o, size_t index);

/* ---- what decides -----------------------------------------------------------------------------
 *
 * A routing never changes; orchestra_reload puts another one in its place. */

/* The one that decides now, until the next reload. */
const routing *orchestra_routing(const orchestra *o);
/* The same for a thread beside which reloads happen: it stays until routing_release. */
routing *orchestra_hold_routing(orchestra *o);
void routing_release(routing *g); /* NULL too */

/* Probe, labels, calibrations and policy of this configuration decide from now on; who was decided
 * before keeps what there was. What conversations were decided to, the probes that are kept, and
 * what an online limit has learned begin anew. Models, engine, server and decision log stay those
 * of orchestra_create. The config is taken over on success; on an error nothing has changed.
 * One thread at a time. */
error_code orchestra_reload(orchestra *o, config *c, failure *fail);

const config *routing_config(const routing *g);
/* What routes, with the limits that count; NULL: one model, no routing. */
struct policy;
const struct policy *routing_policy(const routing *g);
/* What the configuration's probe.calibration holds; NULL: it names none. */
typedef struct probe_record probe_record;
const probe_record *routing_calibration(const routing *g);
/* The heads that the configuration names; NULL: not that one. */
typedef struct head_record head_record;
const head_record *routing_kind_head(const routing *g);
const head_record *routing_success_head(const routing *g);
/* The entropy limit of the policies adaptive and paper: the configuration's, else the
 * calibration's, else the default. Nats. */
double routing_entropy_limit(const routing *g);
/* What moves the calibration's limit; NULL: it stays. */
typedef struct online_limit online_limit;
online_limit *routing_online_limit(const routing *g);
/* Moves the least success that is likely enough, kept as 1 - success; NULL: it stays. */
online_limit *routing_online_doubt(const routing *g);
size_t routing_label_count(const routing *g);
const char *routing_label_name(const routing *g, size_t index);
uint64_t routing_intent_count(const routing *g, size_t label); /* what the probe said so far */

/* ---- requests ------------------------------------------------------------------------------- */

/* Starts the decision log that the configuration names; without one it does nothing. Before the
 * first request. */
error_code orchestra_open_log(orchestra *o, failure *fail);

/* What was decided since orchestra_create. */
typedef struct orchestra_counts {
    uint64_t decisions[CONFIG_MAX_MODELS]; /* by model; pinned ones among them */
    uint64_t fallbacks[N_FALLBACKS];       /* those that changed the model or its lookup */
    uint64_t probes;                       /* forward passes */
    uint64_t cached_probes;                /* requests that an earlier probe answered */
    uint64_t kept;                         /* decisions that a conversation's earlier one made */
} orchestra_counts;

void orchestra_read_counts(const orchestra *o, orchestra_counts *out);

/* What would be decided of a request of which the probe said this, were it the first of its
 * conversation and alone: nothing is counted, logged or kept. `coin`: [0, 1). The plan has no
 * model's name. ERR_INTERNAL when a logit is not a number. With routing only. */
error_code orchestra_consider(const orchestra *o, const classification_result *said,
                              size_t prompt_tokens, double coin, intent *found, plan *out,
                              failure *fail);

/* `model`: "auto" or NULL routes, a name pins (ERR_NOT_FOUND lists the names). `lookup` overrides
 * the plan's when not NULL. `decide_only`: the run finishes once the plan is there, and nothing is
 * remembered of it but what the online limit may be told. The request is copied. The rest is for
 * the rules and the decision log; all of it may be left out. `header` gives the value of the
 * request's header of that name (letters of either case), or NULL; it is called within
 * orchestra_submit only. */
typedef struct run_options {
    const char *model;
    const lookup_wish *lookup;
    bool decide_only;
    unsigned sampling_given; /* config_sampling_bits that the client set itself */
    const char *id;          /* the request's, for the decision log */
    const char *session;     /* the conversation's name */
    const char *(*header)(void *context, const char *name);
    void *header_context;
    const run *like; /* has its plan already (or NULL): that one is followed, and nothing is decided
                        or counted anew; for another reply to the same request */
} run_options;

error_code orchestra_submit(orchestra *o, const request *q, const run_options *options, wakeup wake,
                            run **out, failure *fail);

typedef enum run_state {
    RUN_PROBING,  /* no plan yet */
    RUN_REPLYING, /* plan and intent are there; text comes */
    RUN_FINISHED,
    RUN_FAILED,
} run_state;

/* A request's deadline counts from orchestra_submit on, probe and waiting included; then the run
 * fails with ERR_TIMEOUT, whatever it was doing. Its priority is the reply's: a probe goes before
 * all replies.
 *
 * A rule's coin depends on the orchestra's count of requests: the n-th routed request since
 * orchestra_create (n from 0) gets the coin random_uniform(policy.seed, 0, n).
 *
 * A failed probe never fails the run: the large model answers (rule probe_error, or probe_timeout
 * when its time was up). A prompt that does not fit the small model goes to the large one whatever
 * the rules say (rule long_context), except when the small one is pinned: then, and when it fits
 * neither, ERR_CONTEXT has the numbers.
 * Faults that are known at once are returned by orchestra_submit, later ones by run_failure. */

/* Moves the run on and appends what came. Call it once after orchestra_submit (a run that only
 * decides may be over by then), and again after each wake. Text and tokens may be NULL. After
 * RUN_FINISHED or RUN_FAILED only run_* getters and run_release are of use. */
run_state run_poll(run *r, buffer *text, token_list *tokens);
/* What the last run_poll brought of scores, where the request wants them: reply_scores
 * (backend.h). Until the next one, or run_release. */
const score_list *run_scores(const run *r);
/* Sleeps until run_poll gives something new (for callers without an event loop; give `wake` no
 * call). */
void run_wait(run *r);

const intent *run_intent(const run *r);   /* from RUN_REPLYING on */
const plan *run_plan(const run *r);       /* from RUN_REPLYING on */
const receipt *run_receipt(const run *r); /* numbers so far */
bool run_follows(const run *r);           /* another run's plan: it decided nothing */
/* What the tokens so far cost by the prices of their models, the probe's among them; a run that
 * follows another pays its reply alone. NAN: no model has a price. */
double run_cost(const run *r);
reply_end run_finish_reason(const run *r);
const char *run_stop(const run *r);  /* the stop string that ended it, or NULL; until run_release */
reply_style run_style(const run *r); /* from RUN_REPLYING on, unless it only decides */
const failure *run_failure(const run *r);
void run_cancel(run *r);
void run_release(run *r); /* cancels if running; wake is not called after it returned */

#endif
