# Completion of doit in bash: eval "$(doit tabcompletion --shell bash)"
# Written without the package bash-completion, which a container seldom has.

_doit() {
    local line=${COMP_LINE:0:COMP_POINT} current head name
    local -a words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[-1]}
    # bash replaces only what follows the last of these characters, if it counts them as breaks between words.
    head=
    [[ $current =~ ^(.*[:@=])[^:@=]*$ ]] && head=${BASH_REMATCH[1]}
    while [[ -n $head && $COMP_WORDBREAKS != *"${head: -1}"* ]]; do
        head=${head%?}
        while [[ -n $head && $head != *[:@=] ]]; do head=${head%?}; done
    done
    head=${head%@}  # Where the last break is an @, bash replaces it, too.
    COMPREPLY=()
    while IFS=$'\t' read -r name _; do
        COMPREPLY+=("${name#"$head"}")
    done < <("${words[0]}" tabcompletion --word="$current" -- "${words[@]:1:${#words[@]}-2}" 2>/dev/null)
}

complete -o bashdefault -o default -F _doit doit
