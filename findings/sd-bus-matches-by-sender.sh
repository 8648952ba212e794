#!/bin/bash
# sd-bus of systemd 252 (Debian 12: libsystemd-dev, libsystemd0 252.39-1~deb12u2; dbus-daemon
# 1.14.10-1~deb12u1).
#
# Two matches of one connection that differ only in the well-known name of their sender: a signal of
# one sender calls the handlers of both. The bus sends a signal once for any of the matches, with
# the unique name of its sender (":1.3"), which sd-bus does not compare with a well-known one; the
# manual names sender first among what a match compares. A handler that takes its userdata for the
# sender's is wrong. Matches of different paths are told apart, so each should have one.
#
# Seen, for one signal of org.example.Left: handlers "Left Right" were called; with a path each:
# "Left".
. "$(dirname "$0")/lib.bash"
unpack libsystemd-dev=252.39-1~deb12u2 libsystemd0=252.39-1~deb12u2 dbus-daemon=1.14.10-1~deb12u1 \
    libdbus-1-3 libapparmor1 libcap2 libcap-ng0 libexpat1 libgcrypt20 libgpg-error0

cat > matches.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>

static int must(int r)
{
    if (r < 0) {
        fprintf(stderr, "sd-bus: %s\n", strerror(-r));
        exit(9);
    }
    return r;
}

static int on_signal(sd_bus_message *message, void *data, sd_bus_error *error)
{
    int *called = data;
    *called = 1;
    return 0;
}

static sd_bus *connection(const char *name)
{
    sd_bus *bus = NULL;
    must(sd_bus_open_user(&bus));
    if (name != NULL)
        must(sd_bus_request_name(bus, name, 0));
    return bus;
}

int main(int argc, char **argv)
{
    const char *left_path = argc > 1 ? "/left" : NULL, *right_path = argc > 1 ? "/right" : NULL;
    sd_bus *left = connection("org.example.Left"), *right = connection("org.example.Right");
    sd_bus *listener = connection(NULL);
    int is_left = 0, is_right = 0, is_last = 0;
    must(sd_bus_match_signal(listener, NULL, "org.example.Left", left_path, "org.example.X", "News",
                             on_signal, &is_left));
    must(sd_bus_match_signal(listener, NULL, "org.example.Right", right_path, "org.example.X",
                             "News", on_signal, &is_right));
    must(sd_bus_match_signal(listener, NULL, "org.example.Left", "/left", "org.example.X", "Last",
                             on_signal, &is_last));
    must(sd_bus_emit_signal(left, "/left", "org.example.X", "News", ""));
    must(sd_bus_emit_signal(left, "/left", "org.example.X", "Last", ""));
    must(sd_bus_flush(left));
    while (!is_last)
        if (must(sd_bus_process(listener, NULL)) == 0 && must(sd_bus_wait(listener, 10000000)) == 0)
            return 9;
    printf("%s%s\n", is_left ? "Left" : "", is_right ? " Right" : "");
    sd_bus_unref(right);
    return 0;
}
END
gcc -Wno-unused-parameter -I"$ROOT/usr/include" matches.c -o matches "$LIBRARIES/libsystemd.so.0" \
    -Wl,--allow-shlib-undefined
cat > bus.conf <<END
<busconfig>
  <listen>unix:path=$WORK/bus</listen>
  <policy context="default">
    <allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>
END
# It prints its address when it listens, and ends by our end.
mkfifo address
run "$ROOT/usr/bin/dbus-daemon" --config-file="$WORK/bus.conf" --nofork --nopidfile \
    --print-address > address 2> bus-said &
bus=$!
trap 'kill "$bus"; rm -rf "$WORK"' EXIT
read -r DBUS_SESSION_BUS_ADDRESS < address
export DBUS_SESSION_BUS_ADDRESS

seen=$(run ./matches)
expect "handlers of matches that differ in the sender" "Left Right" "$seen"
seen=$(run ./matches with-paths)
expect "handlers of matches that differ in the path, too" "Left" "$seen"
saw "a signal of Left calls the handler of a match for the sender Right, too, unless paths differ"
