#!/bin/bash
# protoc-c 1.4.1 (Debian 12: protobuf-c-compiler 1.4.1-1+b1, libprotobuf-c-dev 1.4.1-1+b1).
#
# Of a service it generates a function <service>__init that fills in the struct of a server, and a
# function <service>__<method> a method, with which a client calls. A method named Init is legal in
# a .proto file, and makes both have one name: protoc-c says nothing and ends with 0, and what it
# has written does not compile. Only the service part is hurt; left out of the file (by a script,
# before protoc-c reads it), the messages are fine. A method named Start is no problem.
#
# Seen, with gcc 12: "conflicting types for 'boat__init'", at two places.
. "$(dirname "$0")/lib.bash"
unpack protobuf-c-compiler=1.4.1-1+b1 libprotobuf-c-dev=1.4.1-1+b1 \
    libprotoc32 libprotobuf32 zlib1g

conflicts() { # METHOD: how often gcc sees two functions of one name
    printf '%s\n' 'syntax = "proto3";' 'message Empty {}' \
        "service Boat { rpc $1(Empty) returns (Empty); }" > boat.proto
    run "$ROOT/usr/bin/protoc-c" --c_out=. boat.proto
    { gcc -I"$ROOT/usr/include" -c boat.pb-c.c 2>&1 || true; } > errors
    grep -c "error: conflicting types for .boat__init" errors || true
}

seen=$(conflicts Start)
expect "conflicts of a method named Start" 0 "$seen"
expect "what gcc says of it" "" "$(cat errors)"
seen=$(conflicts Init)
expect "conflicts of a method named Init" 2 "$seen"
saw "protoc-c takes a method named Init and writes boat__init twice, as two different functions"
