/*
 * server_block.h: some tasks through an OpenAI-compatible server, as load: block.h's counterpart
 * for engines that are elsewhere. Replies are streamed, so that times between tokens are real;
 * where the server is an A-IO, its decisions and counters are taken from the reply. The caller's
 * thread drives all.
 */
#ifndef EVIDENCE_SERVER_BLOCK_H
#define EVIDENCE_SERVER_BLOCK_H

#include "evidence/block.h"

/* *out: the address below which /chat/completions is, to be freed: a bare http://host:port gets
 * /v1. ERR_INVALID: no such address. */
error_code server_address(const char *text, char **out, failure *fail);

/* Is a server there, and does it speak so? ERR_IO, ERR_NOT_FOUND, ERR_INVALID (it refuses). */
error_code server_check(const char *address, failure *fail);

/* As block_run; `name` is the model that each request asks for. Whatever goes wrong with a request
 * is its item's error. */
error_code server_block_run(const char *address, const char *name, const task *tasks,
                            size_t n_tasks, const block_options *options, checker *judge,
                            json_t **items, double *seconds, failure *fail);

#endif
