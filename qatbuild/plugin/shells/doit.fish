# Completion of doit in fish: doit tabcompletion --shell fish | source

function __doit_candidates
    set -l words (commandline -opc)
    set -l candidates ($words[1] tabcompletion --word=(commandline -ct) -- $words[2..-1] 2>/dev/null)
    if set -q candidates[1]
        printf '%s\n' $candidates
    else
        __fish_complete_path (commandline -ct)
    end
end

complete -c doit -f -a '(__doit_candidates)'
