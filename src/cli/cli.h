/* cli.h: the commands. Each takes its own arguments (argv[0] is the command's name) and returns the
 * process's exit status. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

int command_run(int argc, char **argv);
int command_chat(int argc, char **argv);
int command_route(int argc, char **argv);
int command_inspect(int argc, char **argv);
int command_serve(int argc, char **argv);
int command_logits(int argc, char **argv);
int command_tokenize(int argc, char **argv);
int command_pull(int argc, char **argv);
int command_models(int argc, char **argv);
int command_rm(int argc, char **argv);
int command_render(int argc, char **argv);
int command_quantize(int argc, char **argv);
int command_bench(int argc, char **argv);
int command_init(int argc, char **argv);
int command_calibrate(int argc, char **argv);
int command_replay(int argc, char **argv);
int command_label(int argc, char **argv);
int command_report(int argc, char **argv);
int command_tune(int argc, char **argv);

#endif
