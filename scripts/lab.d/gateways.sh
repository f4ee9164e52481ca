# shellcheck shell=bash
# Gateways behind NAT and who controls them: osmo-mgw (MGCP) and a call agent of the lab; Erlang's megaco application (H.248) on
# both ends.

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

# told NAME EXPRESSION: holds for `it`, the last line that this peer printed.
told() { tail -n 1 "${LOG[$1]}" | python3 -c 'import json, sys; it = json.loads(sys.stdin.read()); sys.exit(not eval(sys.argv[1]))' "$2" 2>/dev/null; }

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
    check "though the gateway answered all commands" told agent 'it["answered"] and it["voices"][0]["heard"] == it["voices"][1]["heard"] == 0'
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
    check "the gateways have names of their own" told agent 'all(name.startswith("gw-") and name.endswith(".gw.example.net") for name in it["gateways"])'
    check "nothing leaks, nothing is malformed, RTP both ways" clean "$name" --protocol mgcp --media 150
    refute "with the sides exchanged, the judge objects" blind "$name" --protocol mgcp
    check "what they report of their connections is what passed" is $((2 * $#)) figure portolan_gateway_reports_total agreed
    check "no session is left" is 0 figure portolan_sessions
    for room in "$@"; do halt "mgw-$room"; done
    halt portolan
}

# --- H.248 -----------------------------------------------------------------------------------------------------------

# Erlang's megaco application on both ends, in each encoding over each transport. Each of these links has a controller of its own
# at 10.0.0.20, and an address of Portolan's that leads to it (tests/lab/h248.ron).
LINKS=("udp text 198.51.100.10" "tcp compact 198.51.100.11" "udp binary 198.51.100.12" "tcp binary 198.51.100.13")

# erlang NAME ROOM ARGUMENTS...: a peer on Erlang's megaco application, with its examples and the lab's own module.
erlang() {
    local name=$1 room=$2
    shift 2
    MEGACO=${MEGACO:-$(erl -noshell -eval 'io:format("~s", [code:lib_dir(megaco)]), halt().')}
    [ -e "$WORK/h248.beam" ] || erlc -o "$WORK" "$LIB/h248.erl" || return 1
    spawn "$name" "$room" env ERL_CRASH_DUMP=/dev/null erl +S 1:1 -noshell -pa "$WORK" -pa "$MEGACO/examples/simple" "$@"
}

# controls ROOM TRANSPORT ENCODING: something listens where the controller of that link does.
controls() {
    local port=2944
    [ "$3" != binary ] || port=2945
    ns "$1" ss -Hln "--$2" "sport = :$port" | grep -q "$port"
}

h248_up() {
    spawn portolan proxy "$PORTOLAN" run -f "$HERE/tests/lab/h248.ron" --drain-seconds 2
    await 10 admin /ready && await 10 listens proxy "$PROXY" 2944
}

# h248_begin ROOM...: a call on each link at once, of a gateway in the room with a voice beside the controller, or of the gateways
# in two rooms with each other. Controllers are in $CONTROLLERS at $CONTROLLER, and gateways send to $GATEWAYS_TO.
h248_begin() {
    local link transport encoding portolan room pair=(right left) at=${CONTROLLERS:-core}
    for link in "${LINKS[@]}"; do
        read -r transport encoding _ <<<"$link"
        erlang "controller-$transport-$encoding" "$at" -run h248 main controller "${CONTROLLER:-10.0.0.20}" "$transport" "$encoding" $# "$LIB/rtp.py" 5.0
    done
    for link in "${LINKS[@]}"; do
        read -r transport encoding portolan <<<"$link"
        await 30 controls "$at" "$transport" "$encoding"
        for room in "$@"; do
            erlang "gateway-$transport-$encoding-$room" "$room" -run h248 main gateway "${GATEWAYS_TO:-$portolan}" "$transport" "$encoding" \
                "${ADDRESS[$room]}" "$LIB/rtp.py" "${pair[@]}" 5.0
            [ $# = 1 ] || pair=("${pair[1]}" "${pair[0]}")
        done
    done
}

# h248_calls ROOM...: what became of these calls.
h248_calls() {
    local link transport encoding room
    h248_begin "$@"
    for link in "${LINKS[@]}"; do
        read -r transport encoding _ <<<"$link"
        check "$transport, $encoding: a call through $*" over "controller-$transport-$encoding"
        check "$transport, $encoding: both voices are heard" voices "$transport-$encoding"
        check "$transport, $encoding: the controller sees Portolan, and each gateway at an address of its own" told "controller-$transport-$encoding" \
            'all(name.startswith("10.0.0.10:") for name in it["gateways"] + it["announced"]) and len(set(it["gateways"])) == len(it["gateways"])'
        check "$transport, $encoding: statistics arrive" told "controller-$transport-$encoding" 'all("rtp/ps=250 " in one for one in it["statistics"])'
        for room in "$@"; do halt "gateway-$transport-$encoding-$room" KILL; done
    done
}

# voices LINK: two have sung there, and heard each other, without a break since both were there.
voices() {
    grep -h '"voice"' "$OUT"/{controller,gateway}-"$1"*.log | tee -a "$OUT/voices.log" |
        python3 -c 'import json, sys
voices = [json.loads(line) for line in sys.stdin]
sys.exit(len(voices) != 2 or any(one["heard"] < 150 or one["missed"] > 2 for one in voices))'
}

# The control: the controllers in the place of Portolan. They reach gateways behind a NAT, the voices beside them do not.
scenario_h248_without() {
    local link transport encoding
    CONTROLLERS=proxy CONTROLLER=$PROXY GATEWAYS_TO=$PROXY h248_begin a1
    for link in "${LINKS[@]}"; do
        read -r transport encoding _ <<<"$link"
        check "$transport, $encoding: the gateway does what it is told" over "controller-$transport-$encoding"
        check "$transport, $encoding: no packet of the other voice reaches it" told "controller-$transport-$encoding" 'it["statistics"] == ["rtp/ps=250 rtp/pr=0"]'
        halt "gateway-$transport-$encoding-a1" KILL
    done
}

# Gateways behind a NAT of the hardest kind.
scenario_h248() { h248_scenario h248 a1; }

# Gateways behind two NATs in series.
scenario_h248_double() { h248_scenario h248_double d1; }

# On each link two gateways with the same private address, in one call with each other.
scenario_h248_twins() { h248_scenario h248_twins a1 b1; }

# h248_scenario NAME ROOM...
h248_scenario() {
    local name=$1
    shift
    check "portolan run gets ready" h248_up
    watch "$name"
    h248_calls "$@"
    unwatch "$name"
    check "nothing leaks, nothing is malformed, RTP both ways" clean "$name" --protocol h248 --reader "$PYCRATE" --media 150
    refute "with the sides exchanged, the judge objects" blind "$name" --protocol h248 --reader "$PYCRATE"
    check "what they report of their streams is what passed" is $((${#LINKS[@]} * $#)) figure portolan_gateway_reports_total agreed
    check "no session is left" is 0 figure portolan_sessions
    halt portolan
}

# The examples of Erlang's megaco application as they are: gateways that register on each link, and their controller.
scenario_h248_examples() {
    local starts='start_udp_text("198.51.100.10", []), megaco_simple_mg:start_tcp_text("198.51.100.11", []), megaco_simple_mg:start_udp_binary("198.51.100.12", []), megaco_simple_mg:start_tcp_binary("198.51.100.13", [])'
    check "portolan run gets ready" h248_up
    watch examples
    erlang mgc core -s megaco -s megaco_simple_mgc start_batch
    await 30 controls core tcp binary
    erlang mg a1 -s megaco -eval "[io:format(\"~p~n~n\", [Started]) || Started <- [megaco_simple_mg:$starts]], receive after infinity -> ok end."
    check "all four gateways are registered" await 60 registered_links 4
    check "Portolan counts them" await 5 is 4 figure portolan_gateways
    unwatch examples
    check "nothing leaks, nothing is malformed" clean examples --protocol h248 --reader "$PYCRATE"
    halt mg KILL
    halt mgc KILL
    halt portolan
}

registered_links() { [ "$(grep -c serviceChangeResParms "${LOG[mg]}")" = "$1" ]; }
