# Reads what a Go test program prints with -test.v, and prints it as TAP: a test or subtest a line,
# without those that only hold others. What is not a result is a comment of the log.
/^=== RUN / {
    name = $3
    if (!(name in state))
        order[++n] = name
    state[name] = "running"
    parent = name
    if (sub(/\/[^\/]*$/, "", parent))
        holds[parent]++
    next
}
match($0, /^ *--- (PASS|FAIL|SKIP): /) {
    state[$3] = substr($2, 1, 4)
    if ($2 == "FAIL:")
        failed[$3]++
    next
}
/^(PASS|FAIL)$/ { ended = 1 }
END {
    for (i = 1; i <= n; i++) {
        name = order[i]
        # A test that failed by itself, and not by one that it holds, is a case of its own.
        if (holds[name]) {
            own = failed[name]
            for (j = 1; j <= n; j++)
                if (index(order[j], name "/") == 1 && state[order[j]] != "PASS" && state[order[j]] != "SKIP")
                    own = 0
            if (!own)
                continue
        }
        sub(/^Test[^\/]*\//, "", name)
        how = state[order[i]]
        printf "%s %d %s%s\n", how == "PASS" || how == "SKIP" ? "ok" : "not ok", ++n_told, name,
            how == "SKIP" ? " # skip" : how == "running" ? " (the program ended in it)" : ""
    }
    if (!ended)
        printf "not ok %d the program ended before its end\n", ++n_told
    print "1.." n_told + 0
}
