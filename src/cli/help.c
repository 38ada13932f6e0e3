/* help.c: the commands' help, texts of src/cli/help in the program as they are. */
#include "cli/help.h"

#include <string.h>

#include "base/embed.h"

EMBED(help_bench, "src/cli/help/bench.txt");
EMBED(help_calibrate, "src/cli/help/calibrate.txt");
EMBED(help_chat, "src/cli/help/chat.txt");
EMBED(help_chat_commands, "src/cli/help/chat_commands.txt");
EMBED(help_init, "src/cli/help/init.txt");
EMBED(help_inspect, "src/cli/help/inspect.txt");
EMBED(help_label, "src/cli/help/label.txt");
EMBED(help_logits, "src/cli/help/logits.txt");
EMBED(help_models, "src/cli/help/models.txt");
EMBED(help_pull, "src/cli/help/pull.txt");
EMBED(help_quantize, "src/cli/help/quantize.txt");
EMBED(help_quantize_options, "src/cli/help/quantize_options.txt");
EMBED(help_render, "src/cli/help/render.txt");
EMBED(help_replay, "src/cli/help/replay.txt");
EMBED(help_reply_engine, "src/cli/help/reply_engine.txt");
EMBED(help_reply_length, "src/cli/help/reply_length.txt");
EMBED(help_reply_model, "src/cli/help/reply_model.txt");
EMBED(help_reply_sampling, "src/cli/help/reply_sampling.txt");
EMBED(help_report, "src/cli/help/report.txt");
EMBED(help_rm, "src/cli/help/rm.txt");
EMBED(help_route, "src/cli/help/route.txt");
EMBED(help_run, "src/cli/help/run.txt");
EMBED(help_serve, "src/cli/help/serve.txt");
EMBED(help_tokenize, "src/cli/help/tokenize.txt");
EMBED(help_tune, "src/cli/help/tune.txt");

static const struct {
    const char *name, *text;
} texts[] = {
    {"bench", help_bench_begin},
    {"calibrate", help_calibrate_begin},
    {"chat", help_chat_begin},
    {"chat_commands", help_chat_commands_begin},
    {"init", help_init_begin},
    {"inspect", help_inspect_begin},
    {"label", help_label_begin},
    {"logits", help_logits_begin},
    {"models", help_models_begin},
    {"pull", help_pull_begin},
    {"quantize", help_quantize_begin},
    {"quantize_options", help_quantize_options_begin},
    {"render", help_render_begin},
    {"replay", help_replay_begin},
    {"reply_engine", help_reply_engine_begin},
    {"reply_length", help_reply_length_begin},
    {"reply_model", help_reply_model_begin},
    {"reply_sampling", help_reply_sampling_begin},
    {"report", help_report_begin},
    {"rm", help_rm_begin},
    {"route", help_route_begin},
    {"run", help_run_begin},
    {"serve", help_serve_begin},
    {"tokenize", help_tokenize_begin},
    {"tune", help_tune_begin},
};
#define N_TEXTS (sizeof texts / sizeof texts[0])

static const char *find(const char *name, size_t length)
{
    for (size_t i = 0; i < N_TEXTS; i++)
        if (strlen(texts[i].name) == length && memcmp(texts[i].name, name, length) == 0)
            return texts[i].text;
    return "";
}

void help_print(const char *name, FILE *out)
{
    size_t length;
    for (const char *line = find(name, strlen(name)); *line != 0; line += length) {
        length = strcspn(line, "\n") + 1;
        if (line[0] == '@')
            fputs(find(line + 1, length - 2), out);
        else
            fwrite(line, 1, length, out);
    }
}
