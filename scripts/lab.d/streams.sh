# shellcheck shell=bash
# SIP over TCP and TLS: terminals and softswitches of each kind with each other, certificates, lost softswitches.

# Portolan's addresses for the terminals of softswitches that are reached by TCP, and by TLS; and for terminals that
# must show a certificate.
BY_TCP=198.51.100.11 BY_TLS=198.51.100.13 MUTUAL=198.51.100.14

# streams_config FILE [SED...]: the lab's configuration with listeners for streams, and softswitches that are reached by them.
streams_config() {
    local file=$1 own="certificate: \"$WORK/tls/server.pem\", key: \"$WORK/tls/server.key\""
    shift
    lab_config "$file" \
        -e "/^        \"access\": (/,/^        ),/s|sip: \[Udp(5060)\],|sip: [Udp(5060), Tcp(5060), Tls(5061), Ws(8080), Wss(8443)], tls: ($own),|" \
        -e "/^            per_shard: 6000,/a per_shard_tls: 6100, tls: ($own, roots: \"$WORK/tls/ca.pem\")," \
        -e '/^    realms: {/a "by-tcp": (side: Access, address: "'$BY_TCP'", sip: [Udp(5060)], media: (16384, 32767)),' \
        -e '/^    realms: {/a "by-tls": (side: Access, address: "'$BY_TLS'", sip: [Udp(5060)], media: (16384, 32767)),' \
        -e '/^    realms: {/a "mutual": (side: Access, address: "'$MUTUAL'", sip: [Tls(5061)], media: (16384, 32767),' \
        -e "/^    realms: {/a tls: ($own, clients: \"$WORK/tls/ca.pem\"))," \
        -e '/^    softswitches: {/a "by-tcp": (realm: "core", targets: ["sip:10.0.0.22:5060;transport=tcp"], sources: ["10.0.0.24/29"], domain: "example.net"),' \
        -e '/^    softswitches: {/a "by-tls": (realm: "core", targets: ["sip:10.0.0.23:5061;transport=tls"], sources: ["10.0.0.24/29"], domain: "example.net"),' \
        -e '/^    mappings: \[/a (access: "by-tcp", softswitch: "by-tcp"), (access: "by-tls", softswitch: "by-tls"), (access: "mutual", softswitch: "sx"),' "$@"
}

# streams_up: Portolan with that configuration; whoever comes next restarts it with its own.
streams_up() {
    [ -z "${STREAMS:-}" ] || return 0
    halt portolan
    streams_config "$WORK/streams.ron"
    check "Portolan with TCP, TLS and WebSocket" portolan_up "$WORK/streams.ron"
    STREAMS=yes
}

streams_down() {
    halt portolan
    unset STREAMS
}

# tunnel NAME ROOM PORT TARGET [LINE...]: TLS for a program that speaks TCP only, from 127.0.0.1:PORT of that room. The
# certificate of the server is verified. Lines are added to stunnel's configuration.
tunnel() {
    local name=$1 room=$2 port=$3 target=$4
    shift 4
    printf '%s\n' "foreground = yes" "pid =" "debug = notice" "[sip]" "client = yes" "accept = 127.0.0.1:$port" "connect = $target" \
        "CAfile = $WORK/tls/ca.pem" "verifyChain = yes" "checkIP = ${target%:*}" "$@" >"$OUT/$name.conf"
    spawn "$name" "$room" stunnel "$OUT/$name.conf"
    await 5 listens_tcp "$room" "127.0.0.1:$port"
}

listens_tcp() { ns "$1" ss -Hltn | grep -qF "$2 "; }

# Every exchange with terminals on TCP; the calls of the other direction are baresip's, which can register and listen.
scenario_tcp_terminals() {
    streams_up
    TRANSPORT=tcp exchanges tcp out
}

# Every exchange with terminals on TLS.
scenario_tls_terminals() {
    streams_up
    tunnel tunnel a1 5061 "$PROXY:5061"
    TRANSPORT=tls exchanges tls out
    halt tunnel
}

# Every exchange with a softswitch on TCP, both directions.
scenario_tcp_softswitch() {
    streams_up
    PROXY=$BY_TCP exchanges by-tcp "out in"
}

# Every exchange with a softswitch on TLS, both directions.
scenario_tls_softswitch() {
    streams_up
    PROXY=$BY_TLS exchanges by-tls "out in"
}

# Phones with real audio over TCP behind NATs.
scenario_tcp_duet() {
    streams_up
    TRANSPORT=tcp duet tcp-duet a1 b1
}

# Phones with real audio over TLS behind NATs.
scenario_tls_duet() {
    streams_up
    TRANSPORT=tls duet tls-duet a1 b1 --sealed access
}

# A phone on TLS and a phone on UDP.
scenario_mixed_duet() {
    streams_up
    TRANSPORT=tls phone_in a1
    phone_in b1
    watch mixed
    check "both register" both registered a1 b1
    talk b1 a1
    unwatch mixed
    check "they hear each other's melody" hear_each_other a1 b1
    check "RTP both ways on announced ports, unchanged; no leak" clean mixed --media 150 --sealed access
}

# Mutual TLS, and a certificate that is replaced while connections are open.
scenario_certificates() {
    streams_up
    tunnel without a1 5061 "$MUTUAL:5061"
    refute "without a certificate of its own, a terminal is refused" register_by_tunnel nobody 5061
    halt without
    tunnel with a1 5062 "$MUTUAL:5061" "cert = $WORK/tls/client.pem" "key = $WORK/tls/client.key"
    check "with one, it registers" register_by_tunnel somebody 5062
    halt with
    tunnel open a1 5063 "$PROXY:5061"
    local before
    before=$(serial)
    check "a call over the old certificate begins" call_by_tunnel
    mkdir -p "$WORK/tls/before" && cp "$WORK"/tls/server.* "$WORK/tls/before/"
    cp "$WORK/tls/client.pem" "$WORK/tls/server.pem" && cp "$WORK/tls/client.key" "$WORK/tls/server.key"
    reload
    check "new connections see the new certificate" await 10 changed "$before"
    check "the call over the old one goes on to its end" over open-call
    halt open
    halt trunk
    # The softswitch still shows the first one, under the root that made it.
    cp "$WORK"/tls/before/server.* "$WORK/tls/"
    streams_down
}

register_by_tunnel() {
    VIA=TLS TARGET=127.0.0.1:$2 sipp_run "$1" a1 192.168.1.10 register -t t1 -p 5070 -s 211 -key expires 60 -timeout 5s
}

call_by_tunnel() {
    sipp_serve trunk core 10.0.0.30 answer -rtp_echo
    VIA=TLS sipp_command call 192.168.1.10 127.0.0.1:5063 -t t1 -p 5071 -s 9001 -key from 211 -mp 30000 -m 1 -d 8000 -timeout 30s -timeout_error \
        -trace_msg -message_file "$OUT/open-call.msg"
    spawn open-call a1 "${SIPP[@]}"
    await 5 grep -qs '^ACK' "$OUT/open-call.msg"
}

# serial: of the certificate that Portolan shows.
serial() {
    ns a1 timeout 5 openssl s_client -connect "$PROXY:5061" </dev/null 2>/dev/null | openssl x509 -noout -serial
}
changed() { local now; now=$(serial) && [ "$now" != "$1" ]; }

# Two softswitches; the first one is killed under load: new calls go to the second, a call in progress keeps its media.
scenario_failover() {
    streams_down
    check "a first softswitch" kamailio_at first core 10.0.0.24
    check "a second softswitch" kamailio_at second core 10.0.0.25
    lab_config "$OUT/failover.ron" -e 's|targets: \["10.0.0.20:5060"\]|targets: [(uri: "sip:10.0.0.24:5060", priority: 1), (uri: "sip:10.0.0.25:5060", priority: 2)]|'
    check "Portolan with both" portolan_up "$OUT/failover.ron"
    sipp_serve trunk core 10.0.0.30 answer -rtp_echo
    watch failover
    sipp_command call 192.168.1.11 "$PROXY:5060" -s 9001 -key from 212 -mp 30000 -m 1 -d 40000 -timeout 60s
    spawn talk a2 "${SIPP[@]}"
    sipp_run before a1 192.168.1.10 call -s 9001 -key from 211 -m 20 -r 10 -d 500
    check "calls before" test $? -eq 0
    kill_all first
    check "20 of 20 calls after" sipp_run after a1 192.168.1.10 call -s 9001 -key from 211 -m 20 -r 10 -d 500
    check "the call in progress kept its media, both ways" flows a2 3
    halt talk KILL
    unwatch failover
    check "the new calls went to the second" test "$(invites failover 10.0.0.25)" -ge 20
    check "RTP both ways on announced ports, unchanged; no leak" clean failover --media 10
    halt second
    halt trunk
    halt portolan
}

# kill_all NAME: kills a peer and the processes that it made, without a farewell.
kill_all() {
    local made
    made=$(pgrep -P "${PIDS[$1]}")
    # shellcheck disable=SC2086  # words
    kill -KILL "${PIDS[$1]}" $made
    unset "PIDS[$1]"
}

# flows ROOM SECONDS: at least 40 packets a second go out of that room, and as many come in.
flows() {
    local sent heard
    sent=$(packets "$1" tx) heard=$(packets "$1" rx)
    sleep "$2"
    [ $(($(packets "$1" tx) - sent)) -ge $((40 * $2)) ] && [ $(($(packets "$1" rx) - heard)) -ge $((40 * $2)) ]
}

packets() { ip -n "$LAB-$1" -s -j link show eth0 | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["stats64"][sys.argv[1]]["packets"])' "$2"; }

# invites NAME ADDRESS: how many calls Portolan sent to that softswitch.
invites() {
    tshark -r "$OUT/$1-core.pcapng" -Y "sip.Method == INVITE && ip.src == 10.0.0.10 && ip.dst == $2" -T fields -e sip.Call-ID 2>/dev/null | sort -u | wc -l
}

# The same losses with TLS on one side: a UDP terminal with a softswitch on TLS, a TLS terminal with one on UDP; 200 of 200 each.
scenario_loss_tls() {
    streams_up
    lose nata 5
    lose natb 5
    tunnel tunnel b1 5061 "$PROXY:5061"
    exchange_peer steady-out callee core 7000 -timeout 90s
    await 5 listens core 10.0.0.30 7000
    local file load=(-m 200 -r 10 -l 200 -s 97000 -key from 211 -rtp_echo -timeout 75s -timeout_error)
    file=$(exchange_file steady caller access)
    sipp_command "$file" 192.168.1.10 "$BY_TLS:5060" -p 7001 "${load[@]}"
    spawn by-udp a1 "${SIPP[@]}"
    VIA=TLS sipp_command "$file" 192.168.1.10 127.0.0.1:5061 -t t1 -p 7001 "${load[@]}"
    spawn by-tls b1 "${SIPP[@]}"
    check "200 of 200 calls, UDP terminal to TLS softswitch" over by-udp
    check "200 of 200 calls, TLS terminal to UDP softswitch" over by-tls
    halt steady-out-callee
    halt tunnel
    check "the NATs did lose packets" both_positive "$(lost nata)" "$(lost natb)"
}

both_positive() { [ "$1" -gt 0 ] && [ "$2" -gt 0 ]; }
