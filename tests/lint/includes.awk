# Reads all .c and .h files of the rooms; prints the includes that look up, or that see what they
# must not.
BEGIN {
    split("reactor logs tasks rpc", rooms, " ")
    for (i in rooms)
        rank[rooms[i]] = i + 0

    # Values in, values out: no socket, clock, bus, loop, file or log. evbuffer is a queue of bytes.
    n_pure = split("rpc/h2_codec rpc/h2_conn rpc/h2_stream rpc/h2_frames rpc/h2_bucket rpc/grpc_wire " \
                   "rpc/grpc_status rpc/grpc_block rpc/grpc_metadata tasks/msgpack tasks/task_options_check tasks/nspawn_argv", pure, " ")
    impure = "^(systemd/.*|sys/(socket|un|stat|time|timerfd|epoll|inotify|mount|wait|file|ioctl)\\.h|" \
             "netinet/.*|arpa/.*|net/.*|linux/.*|time\\.h|poll\\.h|signal\\.h|fcntl\\.h|unistd\\.h|" \
             "dirent\\.h|syslog\\.h|event2/event\\.h|reactor/(bus|log)\\.h)$"
}

function room(file) { return substr(file, 1, index(file, "/") - 1) }
function base(file) { sub(/.*\//, "", file); sub(/\.[ch]$/, "", file); return file }
function say(text) { printf "%s:%d: %s\n", FILENAME, FNR, text }

/^#[ \t]*include/ {
    match($0, /[<"][^>"]*[>"]/)
    header = substr($0, RSTART + 1, RLENGTH - 2)
    n_includes[FILENAME]++
    includes[FILENAME, n_includes[FILENAME]] = header
    line[FILENAME, n_includes[FILENAME]] = FNR

    from = room(FILENAME)
    to = room(header)
    name = base(FILENAME)
    if (to == "tests")
        say("the plugin includes nothing of tests")
    if ((to in rank) && rank[to] > rank[from] && FILENAME != "reactor/main.c")
        say(from "/ stands below " to "/, and may not include " header)
    if (header ~ /^h2o/ && FILENAME != "rpc/h2_codec.c")
        say("only rpc/h2_codec.c includes libh2o")
    if (from == "rpc" && name !~ /^(service_|convert)/ && (to == "tasks" || to == "logs"))
        say("transport knows no task, and may not include " header)
    if (header ~ /pb-c\.h$/ && !(from == "rpc" && (name ~ /^(service_|convert)/ || (name == "grpc_status" && header == "status.pb-c.h"))))
        say("generated messages are seen by rpc/service_*, rpc/convert* and rpc/grpc_status only")
    if (header ~ /protobuf-c/ && from != "rpc")
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

END {
    for (p = 1; p <= n_pure; p++)
        for (c = 1; c <= 2; c++)
            walk(pure[p] (c == 1 ? ".h" : ".c"), pure[p] (c == 1 ? ".h" : ".c"), 0)
}
