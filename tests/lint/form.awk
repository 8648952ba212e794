# Reads C files; prints what is too long, and what is not written here.
BEGIN {
    FILE_LINES_MAX = 500
    FUNCTION_LINES_MAX = 70
    COLUMNS_MAX = 100
}

function say(line, text) { printf "%s:%d: %s\n", FILENAME, line, text }

FNR == 1 {
    is_header = FILENAME ~ /\.h$/
    in_comment = opened = once = 0
    if (is_header && $0 !~ /^\/\*/)
        say(1, "a header opens with its purpose, owner and lifetime")
}

# A program of tests is a list; it is read one test at a time.
FNR == FILE_LINES_MAX + 1 && FILENAME !~ /^tests\// {
    say(FNR, "more than " FILE_LINES_MAX " lines; look for the second noun in it")
}

# Bytes and expected texts of a test are easier to read whole.
length($0) > COLUMNS_MAX && FILENAME !~ /^tests\/unit\// {
    say(FNR, length($0) " columns; " COLUMNS_MAX " at most")
}

/[ \t]$/ { say(FNR, "white space at the end of the line") }

/^\{$/ { opened = FNR }
/^\}/ && opened {
    if (FNR - opened - 1 > FUNCTION_LINES_MAX)
        say(opened, "a function of " FNR - opened - 1 " lines; " FUNCTION_LINES_MAX " at most")
    opened = 0
}

/\t/ { say(FNR, "a tab") }
/^#pragma once$/ { once = 1 }
is_header && /^#include|^(struct|enum|int|void|static|typedef|#define)/ && !once {
    say(FNR, "#pragma once comes first")
    once = 1
}

{
    code = $0
    if (in_comment) {
        if (!sub(/^.*\*\//, "", code))
            next
        in_comment = 0
    }
    gsub(/"([^"\\]|\\.)*"/, "\"\"", code)
    gsub(/\/\*([^*]|\*[^\/])*\*\//, "", code)
    if (sub(/\/\*.*$/, "", code))
        in_comment = 1
    if (code ~ /(^|[^A-Za-z0-9_])goto[ \t]/)
        say(FNR, "goto; ownership leaves in one place without it")
    if (code ~ /\/\//)
        say(FNR, "comments are /* */")
    if (code ~ /^[ \t]*typedef (struct|enum|union)/ && code !~ /\(\*/)
        say(FNR, "no typedef for what has a tag")
}
