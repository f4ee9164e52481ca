# shellcheck shell=bash
# Portolan itself, in the room "proxy".

# portolan_up FILE: runs it and waits until it says that it is ready.
portolan_up() {
    spawn portolan proxy "$PORTOLAN" run -f "$1" --drain-seconds 2
    await 10 admin /ready && await 10 listens proxy "$PROXY" 5060
}

# admin PATH: asks its admin door.
admin() {
    ns proxy python3 -c 'import sys, urllib.request as u; print(u.urlopen("http://127.0.0.1:9060" + sys.argv[1], timeout=3).read().decode())' "$1"
}

# figure NAME [LABEL]: the sum of one metric over all shards.
figure() { admin /metrics | awk -v name="$1" -v label="${2:-}" 'index($0, name "{") == 1 && index($0, label) { sum += $NF } END { print sum + 0 }'; }

# is VALUE COMMAND...: what the command prints is the value.
is() { [ "$("${@:2}")" = "$1" ]; }

# lab_config FILE [SED...]: the shipped configuration with a keepalive faster than the lab's NATs forget, a second softswitch
# with an access realm of its own, and other edits.
lab_config() {
    local file=$1
    shift
    sed -e 's/interval_s: 25/interval_s: 4/' \
        -e '/^    realms: {/a "direct": (side: Access, address: "198.51.100.12", sip: [Udp(5060)], media: (16384, 32767)),' \
        -e '/^    softswitches: {/a "direct": (realm: "core", targets: ["10.0.0.40:5060"]),' \
        -e '/^    mappings: \[/a (access: "direct", softswitch: "direct"),' "$@" "$HERE/config/portolan.ron" >"$file"
}

# reload: what an operator does after a change of the file (the watcher of the file may be faster).
reload() { kill -HUP "${PIDS[portolan]}"; }

# quiet COMMAND...: without its output.
quiet() { "$@" >/dev/null 2>&1; }
