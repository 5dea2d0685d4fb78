#compdef doit
# Completion of doit in zsh: eval "$(doit tabcompletion --shell zsh)" behind compinit,
# or this text as the file _doit in a folder of $fpath.

_doit() {
    local line name
    local -a names shown
    for line in "${(@f)$("${words[1]}" tabcompletion --word="$PREFIX" -- "${(@)words[2,CURRENT-1]}" 2>/dev/null)}"; do
        name=${line%%$'\t'*}
        [[ -n $name ]] || continue
        names+=("$name")
        shown+=("${line/$'\t'/  -- }")
    done
    if (( $#names )); then
        compadd -l -d shown -a names
    else
        _files
    fi
}

if [[ ${funcstack[1]} == _doit ]]; then
    _doit "$@"
else
    compdef _doit doit
fi
