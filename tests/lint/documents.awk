# Reads the documents, named from the top; prints links to files and headings that are not there, lines
# of text that are too wide, and where README.md becomes too long for somebody new.
BEGIN {
    COLUMNS = 100
    README_LINES = 200
}

function say(text) { printf "%s:%d: %s\n", FILENAME, FNR, text }

# As those who show Markdown make them of headings.
function anchor_of(heading) {
    sub(/^#+ */, "", heading)
    heading = tolower(heading)
    gsub(/[^a-z0-9_ -]/, "", heading)
    gsub(/ /, "-", heading)
    return heading
}

function note_link(to,    path, part) {
    if (to ~ /^[a-z]+:/)
        return
    path = part = to
    sub(/#.*/, "", path)
    if (!sub(/^[^#]*#/, "", part))
        part = ""
    path = path == "" ? FILENAME : dir path
    while (sub(/[^\/]+\/\.\.\//, "", path)) {}
    n_links++
    where[n_links] = FILENAME ":" FNR
    target[n_links] = path
    heading[n_links] = part
}

FNR == 1 {
    is_code = 0
    dir = FILENAME
    if (!sub(/[^\/]*$/, "", dir))
        dir = ""
}

FILENAME == "README.md" && FNR == README_LINES + 1 { say("more than " README_LINES " lines") }

/^```/ {
    is_code = !is_code
    next
}

is_code { next }

/^#/ { anchors[FILENAME "#" anchor_of($0)] = 1 }

# Rows of tables can't be broken.
!/^\|/ && length($0) > COLUMNS { say("more than " COLUMNS " columns") }

{
    rest = $0
    while (match(rest, /\]\([^)]*\)/)) {
        note_link(substr(rest, RSTART + 2, RLENGTH - 3))
        rest = substr(rest, RSTART + RLENGTH)
    }
}

END {
    for (i = 1; i <= n_links; i++)
        if (system("test -e '" target[i] "'") != 0)
            printf "%s: a link to %s, which is not there\n", where[i], target[i]
        else if (heading[i] != "" && !((target[i] "#" heading[i]) in anchors))
            printf "%s: a link to #%s, which is no heading of %s\n", where[i], heading[i], target[i]
}
