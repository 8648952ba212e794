# Reads all .c and .h files of the rooms; prints which structs have the most fields, and which of
# their fields are written by the most files: there a change is felt far away. A struct's variable
# is taken to have the struct's name, as it has in this tree.
#
# Lines with the place of a file are findings: a struct that has more than FIELDS_MAX fields. One
# that is a table of what somebody else has fixed (options, a protocol) is not looked at.
BEGIN { FIELDS_MAX = 35 }

FNR == 1 { depth = 0; struct = "" }

{
    text = $0
    gsub(/"([^"\\]|\\.)*"/, "\"\"", text)
    sub(/\/\*.*\*\//, "", text)
    sub(/\/\*.*/, "", text)
    if (text ~ /^ \*/)
        next
}

# struct x {, at the beginning of a line
text ~ /^struct [a-z0-9_]+ \{$/ {
    split(text, words, " ")
    struct = words[2]
    where[struct] = FILENAME ":" FNR
    depth = 1
    next
}

struct != "" {
    # What stands in a nested struct is the nested struct's.
    closes = gsub(/\}/, "}", text)
    opens = gsub(/\{/, "{", text)
    if (depth == 1 && opens <= closes && text ~ /;/ && text !~ /^};/ && text !~ /^\}/)
        count(struct, text)
    if (depth == 2 && closes > opens && text ~ /\} .*;/)
        count(struct, substr(text, index(text, "}") + 1))
    depth += opens - closes
    if (depth == 0)
        struct = ""
}

function count(struct, text,    parts, n, i, name) {
    gsub(/\([^()]*\)/, "", text)
    sub(/;.*/, "", text)
    n = split(text, parts, ",")
    for (i = 1; i <= n; i++) {
        name = parts[i]
        gsub(/\[[^]]*\]/, "", name)
        if (match(name, /[a-z0-9_]+[ ]*$/)) {
            name = substr(name, RSTART, RLENGTH)
            gsub(/ /, "", name)
            fields[struct]++
            is_field[struct, name] = 1
        }
    }
}

# writes: x->field = ..., x->field++, TAKE_PTR(x->field)
{
    line = text
    while (match(line, /[a-z0-9_]+->[a-z0-9_]+( [-+|&]?= |\+\+|--|;? = )/)) {
        write = substr(line, RSTART, RLENGTH)
        line = substr(line, RSTART + RLENGTH)
        split(write, sides, "->")
        match(sides[2], /^[a-z0-9_]+/)
        name = substr(sides[2], 1, RLENGTH)
        if (!((sides[1], name, FILENAME) in written)) {
            written[sides[1], name, FILENAME] = 1
            writers[sides[1] SUBSEP name]++
        }
    }
}

function top(values, names, most,    n, i, key, best) {
    for (n = 0; n < most; n++) {
        best = ""
        for (key in values)
            if (!(key in taken) && (best == "" || values[key] > values[best]))
                best = key
        if (best == "")
            break
        taken[best] = 1
        names[n] = best
    }
    return n
}

END {
    for (struct in fields)
        if (fields[struct] > FIELDS_MAX && struct !~ /_options$/)
            printf "%s: struct %s has %d fields; %d at most\n", where[struct], struct, fields[struct], FIELDS_MAX
    text = "structs with the most fields:"
    n = top(fields, names, 8)
    for (i = 0; i < n; i++)
        text = text sprintf("%s %s %d", i ? "," : "", names[i], fields[names[i]])
    printf "  %s\n", text
    for (key in writers) {
        split(key, parts, SUBSEP)
        if ((parts[1], parts[2]) in is_field)
            known[parts[1] "." parts[2]] = writers[key]
    }
    delete taken
    text = "fields written by the most files:"
    n = top(known, names, 8)
    for (i = 0; i < n; i++)
        text = text sprintf("%s %s %d", i ? "," : "", names[i], known[names[i]])
    printf "  %s\n", text
}
