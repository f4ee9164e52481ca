# shellcheck shell=bash
# Portolan's counters against the wire.

# Two phones with RTP and RTCP behind two NATs, and strangers who spray their ports: Portolan's counters are what tshark counts.
scenario_exact() {
    phone_in a1 && phone_in b1
    check "both phones register" both registered a1 b1
    watch exact
    dial a1 b1
    check "a1 calls b1" in_call a1
    sleep 3
    spray access d1 192.168.1.10 198.51.100.10
    spray core core 10.0.0.24 10.0.0.10
    sleep 5
    tell a1 /hangup
    await 5 said b1 terminated
    halt a1
    halt b1
    check "the call's sessions have ended" await 10 is 0 figure portolan_sessions
    unwatch exact
    admin "/sessions?limit=100" >"$OUT/exact.json"
    ASKED=$(date +%s.%N)
    check "counters are what tshark counts, to the packet and octet" exact access core
    refute "with the sides exchanged, the judge objects" exact core access
}

# spray SIDE ROOM SOURCE ADDRESS: strangers' RTP, RTCP and nonsense to all media ports of that side that sessions hold.
# shellcheck disable=SC2046  # words
spray() {
    local ports
    ports=$(admin "/sessions?limit=100" | python3 -c "import json, sys
print(*[port for s in json.load(sys.stdin)['running'] for stream in s['streams'] for port in stream['$1']['ports']])")
    check "strangers spray the ports of the $1 side" test -n "$ports"
    # shellcheck disable=SC2086  # words
    ns "$2" python3 "$LIB/exact.py" spray "$3" "$4" $ports
}

# exact ACCESS CORE: the sessions' figures against the captures of these sides.
exact() {
    python3 "$LIB/exact.py" "$ASKED" "$OUT/exact.json" "$OUT/exact-$1.pcapng" "$OUT/exact-$2.pcapng" >"$OUT/exact.verdict" 2>&1
    local result=$?
    sed 's/^/#   /' "$OUT/exact.verdict"
    return $result
}
