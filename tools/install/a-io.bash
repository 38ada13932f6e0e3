# Completion for bash: commands from `a-io help`, options from `a-io COMMAND --help`, so that it never
# knows less than the program.
_a_io() {
    local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(a-io help 2>/dev/null | sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p') help" -- "$word")
    elif [ "${word#-}" != "$word" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(a-io "$command" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*')" -- "$word")
    fi
}
complete -o default -o bashdefault -F _a_io a-io
