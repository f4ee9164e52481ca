# shellcheck shell=bash
# Gateways behind NAT and who controls them: osmo-mgw (MGCP) and a call agent of the lab.

# mgw NAME ROOM DOMAIN: an osmo-mgw that takes Portolan's address for its call agent's, and whose endpoints are at DOMAIN.
# It sends nothing by itself but what an operator orders (see restart) and, when a connection gets a remote end, an octet to
# there that opens its NAT ("rtp keep-alive once", which is its default).
mgw() {
    local name=$1 room=$2 domain=$3 address=${ADDRESS[$2]}
    sed "s|@ADDRESS@|$address|; s|@DOMAIN@|$domain|; s|@AGENT@|$PROXY|" "$HERE/tests/lab/osmo-mgw.cfg" >"$OUT/$name.cfg"
    spawn "$name" "$room" osmo-mgw -s -c "$OUT/$name.cfg"
    await 5 listens "$room" "$address" 2427
}

# restart ROOM: an operator of the osmo-mgw there tells it to reset its endpoints, which it announces by RSIP.
restart() {
    ns "$1" bash -c 'exec 3<>/dev/tcp/127.0.0.1/4243 && printf "enable\nreset-all-endpoints\nexit\n" >&3 && timeout 2 cat <&3' >>"$OUT/restart.log" 2>&1
}

# gateways_up: Portolan on the shipped configuration for gateways, with a keepalive faster than the lab's NATs forget.
gateways_up() {
    sed -e '/^    shards:/a keepalive: (interval_s: 4),' "$HERE/config/gateways.ron" >"$OUT/gateways.ron"
    spawn portolan proxy "$PORTOLAN" run -f "$OUT/gateways.ron" --drain-seconds 2
    await 10 admin /ready && await 10 listens proxy "$PROXY" 2727
}

# mgcp_call ROOM...: the gateways of these rooms restart, and an agent (in $AGENT_ROOM at $AGENT) makes a call through all of
# them. It sends its commands to $COMMANDS, if that is set.
mgcp_call() {
    local room at=${AGENT_ROOM:-core} address=${AGENT:-10.0.0.30}
    # shellcheck disable=SC2086  # none, or one
    spawn agent "$at" python3 "$LIB/mgcp_agent.py" "$address" $# 4 ${COMMANDS:-}
    await 5 listens "$at" "$address" 2727
    for room in "$@"; do restart "$room"; done
    over agent
}

# told EXPRESSION: holds for what the agent printed, `it`.
told() { tail -n 1 "${LOG[agent]}" | python3 -c 'import json, sys; it = json.loads(sys.stdin.read()); sys.exit(not eval(sys.argv[1]))' "$1"; }

# The controls: on the gateway's own network the voices are heard; with the call agent in the place of Portolan, beyond the
# NAT, it still reaches the gateway, but the voices do not.
scenario_mgcp_without() {
    local AGENT_ROOM=nata AGENT=192.168.1.1
    PROXY=$AGENT mgw mgw a1 "[192.168.1.10]"
    check "without a NAT the voices are heard" mgcp_call a1
    halt mgw
    AGENT_ROOM=proxy AGENT=$PROXY
    mgw mgw a1 "[192.168.1.10]"
    refute "through a NAT they are not" mgcp_call a1
    check "though the gateway answered all commands" told 'it["answered"] and it["voices"][0]["heard"] == it["voices"][1]["heard"] == 0'
    halt mgw
}

# A gateway behind a NAT of the hardest kind; commands go to where its restart came from.
scenario_mgcp() { mgcp_scenario mgcp a1; }

# A gateway behind two NATs in series; commands go to the port for them all.
scenario_mgcp_double() { COMMANDS=10.0.0.10:2427 mgcp_scenario mgcp_double d1; }

# Two gateways with the same private address, and so the same names, in one call with each other.
scenario_mgcp_twins() { mgcp_scenario mgcp_twins a1 b1; }

# mgcp_scenario NAME ROOM...
mgcp_scenario() {
    local name=$1 room
    shift
    check "portolan run gets ready" gateways_up
    for room in "$@"; do mgw "mgw-$room" "$room" "[192.168.1.10]"; done
    watch "$name"
    check "a call with two voices through $*" mgcp_call "$@"
    unwatch "$name"
    check "the gateways have names of their own" told 'all(name.startswith("gw-") and name.endswith(".gw.example.net") for name in it["gateways"])'
    check "nothing leaks, nothing is malformed, RTP both ways" clean "$name" --protocol mgcp --media 150
    refute "with the sides exchanged, the judge objects" blind "$name" --protocol mgcp
    check "what they report of their connections is what passed" is $((2 * $#)) figure portolan_gateway_reports_total agreed
    check "no session is left" is 0 figure portolan_sessions
    for room in "$@"; do halt "mgw-$room"; done
    halt portolan
}
