# Completion for fish: commands from `a-io help`, options from `a-io COMMAND --help`.
function __a_io_commands
    a-io help 2>/dev/null | string replace -rf '^  ([a-z]+) +(.*)' '$1\t$2'
end
function __a_io_options
    set -l words (commandline -opc)
    a-io $words[2] --help 2>/dev/null | string match -rag -- '(--[a-z][a-z-]*)'
end
complete -c a-io -n __fish_use_subcommand -f -a '(__a_io_commands)'
complete -c a-io -n 'not __fish_use_subcommand; and string match -q -- "-*" (commandline -ct)' -a '(__a_io_options)'
