# Reads bats files; prints the commands that can't fail: `set -e` does not see a "!" before a command,
# nor what comes before "&&", unless the line is the last of its test or function.
function is_mute(line) {
    if (line ~ /\|\||(&&|\|)[ \t]*$|\\$/)
        return 0
    return line ~ /^[ \t]+! / || line ~ /^[ \t]+(\[|run |grep |test ).* && (\[|!|run |grep |test )/
}

FNR == 1 { held = "" }

# A block's end, not "fi" or "done": within these the line may be the last of nothing.
held != "" {
    if ($0 !~ /^\}/)
        print held
    held = ""
}

is_mute($0) {
    held = sprintf("%s:%d: can't fail the test: use `run !`, or a line for each", FILENAME, FNR)
}
