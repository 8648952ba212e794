# Reads tasks/README.md (the rooms: | `room/` | holds | sees |), then all .c and .h files of the
# rooms; prints the includes that look up, that see a peer, or what they must not (the pure core,
# messages), and the circles of headers. (Circles of calls: tests/lint/calls.)
BEGIN {
    # Values in, values out: no socket, clock, bus, loop, file or log. evbuffer is a queue of bytes.
    n_pure = split("rpc/h2/h2_codec rpc/h2/h2_conn rpc/h2/h2_stream rpc/h2/h2_frames rpc/h2/h2_bucket " \
                   "rpc/h2/h2_events rpc/h2/h2_limits rpc/h2/h2_output rpc/h2/h2_streams " \
                   "rpc/h2/h2_stream_private rpc/grpc/grpc_wire rpc/grpc/grpc_status " \
                   "rpc/grpc/grpc_block rpc/grpc/grpc_metadata tasks/spec/packed " \
                   "tasks/spec/task_options_check tasks/nspawn/nspawn_argv", pure, " ")
    impure = "^(systemd/.*|sys/(socket|un|stat|time|timerfd|epoll|inotify|mount|wait|file|ioctl)\\.h|" \
             "netinet/.*|arpa/.*|net/.*|linux/.*|time\\.h|poll\\.h|signal\\.h|fcntl\\.h|unistd\\.h|" \
             "dirent\\.h|syslog\\.h|event2/event\\.h|reactor/(bus|clock|log)\\.h)$"
}

function room(file) { return match(file, /^.*\//) ? substr(file, 1, RLENGTH) : "" }
function say(text) { printf "%s:%d: %s\n", FILENAME, FNR, text }

# --- the table -------------------------------------------------------------------------------

FILENAME ~ /\.md$/ && /^\| `[a-z0-9_\/]+\/` \|/ {
    split($0, cells, "|")
    name = cells[2]
    gsub(/[` ]/, "", name)
    rooms[++n_rooms] = name
    rank[name] = n_rooms
    sees_text[name] = cells[4]
}
FILENAME ~ /\.md$/ { next }

FNR == 1 && !is_table_read {
    is_table_read = 1
    for (i = 1; i <= n_rooms; i++) {
        name = rooms[i]
        sees[name, name] = sees[name, "reactor/"] = 1
        if (sees_text[name] ~ /all below/)
            for (k = i + 1; k <= n_rooms; k++)
                sees[name, rooms[k]] = 1
        n = split(sees_text[name], words, "`")
        for (k = 2; k <= n; k += 2) {
            if (!(words[k] in rank) || rank[words[k]] <= i)
                printf "tasks/README.md:1: %s is to see %s, which does not stand below it\n", name, words[k]
            sees[name, words[k]] = 1
        }
    }
}

# --- the files -------------------------------------------------------------------------------

/^#[ \t]*include/ {
    match($0, /[<"][^>"]*[>"]/)
    quoted = substr($0, RSTART, 1) == "\""
    header = substr($0, RSTART + 1, RLENGTH - 2)
    n_includes[FILENAME]++
    includes[FILENAME, n_includes[FILENAME]] = header
    line[FILENAME, n_includes[FILENAME]] = FNR

    from = room(FILENAME)
    to = room(header)
    if (!(from in rank))
        say(from " is no room of tasks/README.md")
    if (header ~ /^tests\//)
        say("the plugin includes nothing of tests")
    if (quoted && (to in rank) && !((from, to) in sees))
        say(from " does not see " to " (tasks/README.md), and may not include " header)
    if (header ~ /^h2o/ && FILENAME !~ /^rpc\/h2\/(h2_codec\.c|h2o_compat\/)/)
        say("only rpc/h2/h2_codec.c includes libh2o")
    if (header ~ /pb-c\.h$/ && from != "rpc/nomad/" &&
        !(FILENAME ~ /^rpc\/grpc\/grpc_status\./ && header == "status.pb-c.h"))
        say("generated messages are seen by rpc/nomad/ only, and google.rpc.Status by rpc/grpc/grpc_status")
    if (header ~ /protobuf-c/ && from !~ /^rpc\//)
        say("only rpc/ knows protobuf")
}

# What `file` includes, and the project's headers that this includes in turn.
function walk(file, start, start_line,    i, header) {
    if ((start, file) in seen)
        return
    seen[start, file] = 1
    for (i = 1; i <= n_includes[file]; i++) {
        header = includes[file, i]
        if (header ~ impure)
            printf "%s:%d: the pure core does without %s%s\n", start, start_line ? start_line : line[file, i],
                   header, file == start ? "" : " (through " file ")"
        # It offers the closing of files to those that have some.
        if (header != "reactor/cleanup.h" && (header in n_includes))
            walk(header, start, start_line ? start_line : line[file, i])
    }
}

# Depth first; a file that is met again while it is being looked at closes a circle.
function visit(m, path,    i, next_) {
    state[m] = "open"
    for (i = 1; i <= n_includes[m]; i++) {
        next_ = includes[m, i]
        if (state[next_] == "open")
            printf "%s:%d: a circle of files: %s\n", m, line[m, i],
                   substr(path, index(path, next_)) " > " next_
        else if (state[next_] == "" && (next_ in n_includes))
            visit(next_, path " > " next_)
    }
    state[m] = "done"
}

END {
    for (p = 1; p <= n_pure; p++)
        for (c = 1; c <= 2; c++)
            walk(pure[p] (c == 1 ? ".h" : ".c"), pure[p] (c == 1 ? ".h" : ".c"), 0)
    for (m in n_includes)
        if (state[m] == "")
            visit(m, m)
}
