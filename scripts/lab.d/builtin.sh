# shellcheck shell=bash
# SIPp's own scenarios, as they are built in. They know nothing of proxies: they take the address that they call for the
# softswitch, name themselves by their private address, send ACK and BYE to where they sent the INVITE, and copy no route.

# Portolan's address for the terminals whose softswitch is a SIPp at 10.0.0.40, without Kamailio.
DIRECT=198.51.100.12

# own NAME ROOM ADDRESS SCENARIO OPTIONS...: SIPp with one of its own scenarios, in the background.
own() {
    local name=$1 room=$2 address=$3 scenario=$4
    shift 4
    spawn "$name" "$room" sipp -sn "$scenario" -i "$address" -p 5060 -nostdin -timeout 30s -timeout_error \
        -trace_err -error_file "$OUT/$name.err" -trace_msg -message_file "$OUT/$name.msg" "$@"
}

own_serves() { own "$@" && await 5 listens "$2" "$3" 5060; }

# over NAME: that SIPp ended, and every call of it was good.
over() {
    local result
    wait "${PIDS[$1]}"
    result=$?
    unset "PIDS[$1]"
    return $result
}

# sipp -sn uac behind a NAT calls sipp -sn uas, which is the softswitch; then the other way round.
scenario_builtin() {
    watch builtin
    own_serves uas core 10.0.0.40 uas
    own uac a1 192.168.1.10 uac -m 5 -d 300 $DIRECT:5060
    check "uac behind a NAT -> uas" over uac
    halt uas
    sipp_serve registrar core 10.0.0.40 registrar
    check "a terminal registers by digest" eval "TARGET=$DIRECT:5060 register builtin-reg b1 192.168.1.10 service"
    halt registrar
    own_serves uas b1 192.168.1.10 uas -aa
    own uac core 10.0.0.40 uac -m 5 -d 300 10.0.0.10:5060
    check "uac -> uas behind a NAT" over uac
    halt uas
    unwatch builtin
    check "nothing leaks, nothing is malformed" clean builtin --call-id
}

# sipp -sn uac behind one NAT calls sipp -sn uas behind another one; Kamailio is the softswitch of both.
scenario_builtin_kamailio() {
    check "the uas registers by digest" register bk-reg b1 192.168.1.10 150
    own_serves uas b1 192.168.1.10 uas -aa
    watch bk
    own uac a1 192.168.1.10 uac -m 5 -d 300 -s 150 "$PROXY:5060"
    check "uac -> Kamailio -> uas" over uac
    unwatch bk
    check "nothing leaks, nothing is malformed" clean bk --call-id
    halt uas
    register bk-off b1 192.168.1.10 150 0
}

# Third-party call control with SIPp's own four scenarios: the controller behind one NAT, A and B behind two others.
scenario_builtin_3pcc() {
    check "A registers" register 3pcc-reg-a a1 192.168.1.10 151
    check "B registers" register 3pcc-reg-b b1 192.168.1.10 152
    own_serves A a1 192.168.1.10 3pcc-A -aa
    own_serves B b1 192.168.1.10 3pcc-B -aa
    watch 3pcc
    own C-B d1 192.168.1.10 3pcc-C-B -p 5061 -3pcc 127.0.0.1:7070 -m 3 -s 152 "$PROXY:5060"
    await 5 twin d1
    own C-A d1 192.168.1.10 3pcc-C-A -3pcc 127.0.0.1:7070 -m 3 -s 151 "$PROXY:5060"
    check "the controller's calls with A" over C-A
    check "the controller's calls with B" over C-B
    unwatch 3pcc
    check "nothing leaks, nothing is malformed" clean 3pcc --call-id
    halt A
    halt B
    register 3pcc-off-a a1 192.168.1.10 151 0
    register 3pcc-off-b b1 192.168.1.10 152 0
}

twin() { ns "$1" ss -Hltn 'sport = :7070' | grep -q 7070; }
