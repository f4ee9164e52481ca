# shellcheck shell=bash
# What the lab shows, one function a scenario. The line above each says what is proved.

# The scenarios of each of the labs that run at once, in their order.
# shellcheck disable=SC2034  # the entry script reads it
LABS=(
    "flat without shipped register refresh outgoing incoming bare_from duet neighbours double twins counters"
    "leave hold cancel busy builtin builtin_kamailio builtin_3pcc exact loss exchanges counters"
    "keepalive forgotten reload srtp dtls ice counters six"
    "tcp_terminals tls_terminals tcp_duet tls_duet mixed_duet certificates loss_tls"
    "tcp_softswitch tls_softswitch failover"
    "mgcp_without mgcp mgcp_double mgcp_twins h248_without h248_examples h248 h248_double h248_twins"
)

declare -A ADDRESS=([a1]=192.168.1.10 [a2]=192.168.1.11 [b1]=192.168.1.10 [d1]=192.168.1.10)
declare -A USER_OF=([a1]=101 [a2]=102 [b1]=103 [d1]=104 [core]=105)
declare -A DOMAIN_OF=([a1]=198.51.100.10 [a2]=example.net [b1]=example.net [d1]=198.51.100.10)

# phone_in ROOM [DOMAIN]: a baresip with the user of that room.
phone_in() { agent "$1" "$1" "${ADDRESS[$1]}" "${USER_OF[$1]}" "${2:-${DOMAIN_OF[$1]}}"; }

# dial ROOM ROOM [DOMAIN]
dial() { tell "$1" "/dial sip:${USER_OF[$2]}@${3:-${DOMAIN_OF[$1]}}"; }

# hear_each_other ROOM ROOM: both recordings carry the other one's melody.
hear_each_other() { hears "$1" "${USER_OF[$2]}" && hears "$2" "${USER_OF[$1]}"; }

# The peers and the audio judge themselves: two phones and the softswitch on one network, no NAT, no Portolan.
scenario_flat() {
    local PROXY=192.168.1.1
    check "a softswitch on the terminals' own network" kamailio_at flat nata "$PROXY"
    phone_in a1 "$PROXY" && phone_in a2 "$PROXY"
    check "both phones register" both registered a1 a2
    talk a1 a2 "$PROXY"
    check "they hear each other's melody" hear_each_other a1 a2
    check "neither hears its own" neither_hears_itself a1 a2
    local TRANSPORT=tcp
    phone_in a1 "$PROXY" && phone_in a2 "$PROXY"
    check "tcp: both phones register" both registered a1 a2
    talk a1 a2 "$PROXY"
    check "tcp: they hear each other's melody" hear_each_other a1 a2
    # No call: this softswitch would dial the phone, which has no certificate to answer with.
    TRANSPORT=tls
    phone_in a1 "$PROXY"
    check "tls: a phone registers" registered a1
    halt a1
    halt flat
}

neither_hears_itself() { ! hears "$1" "${USER_OF[$1]}" && ! hears "$2" "${USER_OF[$2]}"; }
both() { "$1" "$2" && "$1" "$3"; }

# talk CALLER CALLEE [DOMAIN]: a call of six seconds; then both phones are ended.
talk() {
    dial "$1" "$2" "${3:-}"
    check "$1 calls $2" in_call "$1"
    sleep 6
    tell "$1" /hangup
    await 5 said "$2" "terminated"
    halt "$1"
    halt "$2"
}

# R15, the control: the same softswitch at Portolan's own address, the same phones behind NATs, but no Portolan.
scenario_without() {
    check "a softswitch in the place of Portolan" kamailio_at bare proxy "$PROXY"
    phone_in a1 && phone_in b1
    check "phones behind NATs register" both registered a1 b1
    dial a1 b1
    refute "no call to the NATed phone comes about" in_call a1 10
    halt a1
    halt b1
    refute "no audio arrives" hears b1 "${USER_OF[a1]}"
    halt bare
}

# Portolan runs on the shipped configuration as it is, serves, and ends on TERM.
scenario_shipped() {
    check "portolan check accepts config/portolan.ron" quiet "$PORTOLAN" check -f "$HERE/config/portolan.ron"
    check "portolan run gets ready" portolan_up "$HERE/config/portolan.ron"
    check "a terminal registers by digest" register shipped a1 192.168.1.10 111
    check "Portolan counts the binding" is 1 figure portolan_bindings
    check "it unregisters" register shipped-off a1 192.168.1.10 111 0
    local pid=${PIDS[portolan]}
    halt portolan
    refute "it ends on TERM" kill -0 "$pid"
}

# A terminal behind one NAT registers with digest, and gets its own Contact back.
scenario_register() {
    watch register
    check "digest registration through one NAT" register reg a1 192.168.1.10 111
    check "the terminal gets its own Contact back" answered_contact reg 'sip:111@192.168.1.10:5060;ob'
    unwatch register
    check "nothing leaks, nothing is malformed" clean register
    register reg-off a1 192.168.1.10 111 0
}

answered_contact() { awk '/^SIP\/2.0 200/ { ok = 1 } ok && /^Contact:/' "$OUT/$1.msg" | grep -qF "<$2>"; }

# A terminal registers again and again (a new Call-ID each time, as after a reboot): the softswitch knows it once.
scenario_refresh() {
    watch refresh
    local n
    for n in 1 2 3; do check "registration $n" register "refresh-$n" a1 192.168.1.10 111; done
    unwatch refresh
    check "the softswitch answers with one contact, always" contacts_told refresh 1
    check "nothing leaks, nothing is malformed" clean refresh
    register refresh-off a1 192.168.1.10 111 0
}

# contacts_told NAME COUNT: each 200 of the softswitch to a REGISTER lists so many contacts.
contacts_told() {
    tshark -r "$OUT/$1-core.pcapng" -d udp.port==5060,sip -d udp.port==6000-6063,sip -T fields -e sip.contact.uri \
        -Y 'sip.Status-Code == 200 && sip.CSeq.method == "REGISTER"' 2>/dev/null |
        awk -F, -v count="$2" 'NF != count { bad = 1 } END { exit bad || !NR }'
}

# SIPp behind a NAT calls the trunk, which echoes its RTP.
scenario_outgoing() {
    sipp_serve trunk core 10.0.0.30 answer -rtp_echo
    watch outgoing
    check "terminal -> trunk" sipp_run out a1 192.168.1.10 call -s 9001 -key from 211 -d 4000
    unwatch outgoing
    check "RTP both ways on announced ports, unchanged; no leak" clean outgoing --media 150
    halt trunk
}

# The trunk calls a registered terminal behind a NAT.
scenario_incoming() {
    register in-reg a1 192.168.1.10 211
    sipp_serve terminal a1 192.168.1.10 speak
    watch incoming
    check "trunk -> terminal" trunk_calls in call -s 211 -d 4000
    unwatch incoming
    check "RTP both ways on announced ports, unchanged; no leak" clean incoming --media 150
    halt terminal
    register in-off a1 192.168.1.10 211 0
}

# The trunk names itself by its bare core address in From and dials the softswitch's: neither may reach the terminal.
scenario_bare_from() {
    local DOMAIN=10.0.0.20
    DOMAIN=example.net register bare-reg a1 192.168.1.10 211
    sipp_serve terminal a1 192.168.1.10 speak
    watch bare
    check "trunk -> terminal" trunk_calls bare call -s 211 -d 1000
    unwatch bare
    check "no core address in From, To or anywhere else" clean bare
    halt terminal
    DOMAIN=example.net register bare-off a1 192.168.1.10 211 0
}

# trunk_calls NAME SCENARIO OPTIONS...
trunk_calls() {
    local name=$1 scenario=$2
    shift 2
    TARGET=10.0.0.20:5060 sipp_run "$name" core 10.0.0.30 "$scenario" -key from 300 "$@"
}

# Two phones with real audio behind two different NATs, with the same private address.
scenario_duet() { duet duet a1 b1; }

# Two phones behind the same NAT.
scenario_neighbours() { duet neighbours a1 a2; }

# A phone behind two NATs in series calls one behind another NAT.
scenario_double() { duet double d1 b1; }

# The judge has eyes: with the two captures exchanged, it objects.
blind() { python3 "$LIB/judge.py" "${@:2}" "$OUT/$1-core.pcapng" "$OUT/$1-access.pcapng"; }

# duet NAME CALLER CALLEE [OPTIONS OF THE JUDGE...]
duet() {
    local name=$1 a=$2 b=$3
    shift 3
    phone_in "$a" && phone_in "$b"
    watch "$name"
    check "$a and $b register" both registered "$a" "$b"
    talk "$a" "$b"
    unwatch "$name"
    check "they hear each other's melody" hear_each_other "$a" "$b"
    check "RTP both ways on announced ports, unchanged; no leak" clean "$name" --media 150 "$@"
    refute "with the sides exchanged, the judge objects" blind "$name"
}

# Three networks with the same private addresses talk at once, in two calls; each phone hears its own partner only.
scenario_twins() {
    local room
    for room in a1 a2 b1 d1; do phone_in "$room"; done
    watch twins
    for room in a1 a2 b1 d1; do check "$room registers" registered "$room"; done
    dial a1 b1
    check "a1 calls b1" in_call a1
    talk d1 a2
    tell a1 /hangup
    await 5 said b1 terminated
    halt a1
    halt b1
    unwatch twins
    check "a1 and b1 hear each other's melody" hear_each_other a1 b1
    check "d1 and a2 hear each other's melody" hear_each_other d1 a2
    check "RTP both ways on announced ports, unchanged; no leak" clean twins --media 150
}

# A silent terminal stays reachable for much longer than its NAT remembers it.
scenario_keepalive() {
    register keep-reg a1 192.168.1.10 211
    sipp_serve terminal a1 192.168.1.10 speak
    sleep 25
    check "trunk -> terminal after its NAT would have forgotten it" trunk_calls keep call -s 211 -d 1000
    check "Portolan sent keepalives" positive figure portolan_keepalives_total sent
    halt terminal
    register keep-off a1 192.168.1.10 211 0
}

positive() { [ "$("$@")" -gt 0 ]; }

# The control of the keepalive: without it, the NAT does forget.
scenario_forgotten() {
    halt portolan
    lab_config "$OUT/silent.ron" -e 's/keepalive: Options/keepalive: Off/'
    check "Portolan with keepalive: Off" portolan_up "$OUT/silent.ron"
    register forgot-reg a1 192.168.1.10 211
    sipp_serve terminal a1 192.168.1.10 speak
    sleep 25
    refute "the trunk no longer reaches the terminal" trunk_calls forgot call -s 211 -d 1000 -timeout 8s
    halt terminal
    check "the terminal can still unregister" register forgot-off a1 192.168.1.10 211 0
    halt portolan
    check "Portolan with keepalive again" portolan_up "$WORK/lab.ron"
}

# A terminal that unregistered is gone for the softswitch, too.
scenario_leave() {
    register leave-reg a1 192.168.1.10 111
    check "a terminal takes its registration back" register leave-off a1 192.168.1.10 111 0
    check "the trunk is refused" trunk_calls leave refused -s 111
    check "with 404" grep -q "^SIP/2.0 404" "$OUT/leave.msg"
    check "Portolan holds no binding" is 0 figure portolan_bindings
}

# Hold and resume by re-INVITE.
scenario_hold() {
    sipp_serve trunk core 10.0.0.30 answer -rtp_echo
    watch hold
    check "hold is answered recvonly, resume sendrecv" sipp_run hold a1 192.168.1.10 hold -s 9001 -key from 211 -d 2000
    unwatch hold
    check "RTP both ways on announced ports, unchanged; no leak" clean hold --media 100
    halt trunk
}

# A caller gives up while it rings.
scenario_cancel() {
    sipp_serve trunk core 10.0.0.30 ring
    watch cancel
    check "CANCEL: 200, 487, ACK" sipp_run cancel a1 192.168.1.10 cancel -s 9001 -key from 211
    unwatch cancel
    check "nothing leaks, nothing is malformed" clean cancel
    halt trunk
}

# A busy terminal: 486 and its ACK.
scenario_busy() {
    register busy-reg a1 192.168.1.10 211
    sipp_serve terminal a1 192.168.1.10 busy
    watch busy
    check "the trunk is refused" trunk_calls busy refused -s 211
    check "with 486" grep -q "^SIP/2.0 486" "$OUT/busy.msg"
    unwatch busy
    check "nothing leaks, nothing is malformed" clean busy
    halt terminal
    register busy-off a1 192.168.1.10 211 0
}

# Under load, reloads add a realm, remove it and change the softswitch, and a bad file is refused; no call fails.
scenario_reload() {
    sipp_serve trunk core 10.0.0.30 answer -rtp_echo
    sipp_command call 192.168.1.10 "$PROXY:5060" -s 9001 -key from 211 -mp 30000 -r 20 -m 500 -l 200 -d 1000 -timeout 90s -timeout_error \
        -trace_err -error_file "$OUT/load.err"
    spawn load a1 "${SIPP[@]}"
    sleep 3
    reload_with "a realm more" -e '/^    realms: {/a "second": (side: Access, address: "198.51.100.11", sip: [Udp(5060)], media: (32768, 49151)),'
    check "the new realm listens" await 10 listens proxy 198.51.100.11 5060
    reload_with "the realm removed again"
    check "the old realm no longer listens" await 10 deaf proxy 198.51.100.11 5060
    reload_with "another softswitch address" -e 's/10\.0\.0\.20:5060/10.0.0.21:5060/'
    check "new calls go to the other softswitch" await 10 softswitch_sees 10.0.0.21
    bad_file
    wait "${PIDS[load]}"
    check "no call failed in all that" test $? -eq 0
    halt load
    halt trunk
    reload_with "as it was"
}

deaf() { ! listens "$@"; }

# reload_with WHAT SED...: changes the running file and sends HUP; the generation counts up.
reload_with() {
    local what=$1 before
    shift
    before=$(generation)
    lab_config "$WORK/lab.ron" "$@"
    reload
    check "reload under load: $what" await 10 newer "$before"
    sleep 3
}

generation() { admin /metrics | awk '/^portolan_config_generation/ { print $NF }'; }
newer() { [ "$(generation)" -gt "$1" ]; }

# softswitch_sees ADDRESS: a fresh packet of Portolan to that address.
softswitch_sees() { ns core timeout 5 dumpcap -q -i eth0 -f "udp and src host 10.0.0.10 and dst host $1" -c 1 -w /dev/null; }

# bad_file: a file with a mistake is refused with its place, and the generation stays.
bad_file() {
    local before
    before=$(generation)
    lab_config "$WORK/lab.ron" -e 's/media: (16384, 32767)/media: (16385, 32767)/'
    reload
    check "a bad file is refused with file:line:column" await 10 said portolan 'lab\.ron:[0-9]*:[0-9]*'
    check "the generation stays" is "$before" generation
    refute "portolan check refuses it, too" "$PORTOLAN" check -f "$WORK/lab.ron"
}

# After all those calls nothing is left behind.
scenario_counters() {
    check "no session is left" await 40 is 0 figure portolan_sessions
    check "no media port is held" await 10 is 0 figure portolan_ports_used
    check "no media packet crossed shards" is 0 figure portolan_crossings_total media
    check "sessions were opened" positive figure portolan_sessions_opened_total
}

# A terminal on IPv6 speaks with an IPv4 core and with an IPv6 core, on the shipped config/ipv6.ron.
scenario_six() {
    local PROXY='[2001:db8::10]'
    spawn portolan proxy "$PORTOLAN" run -f "$HERE/config/ipv6.ron"
    check "portolan run gets ready" await 10 listens proxy "$PROXY" 5060
    six_call four 10.0.0.30 example.net
    six_call six '[fd00::30]' six.example
    halt portolan
}

# six_call NAME TRUNK DOMAIN: registers, calls the trunk and leaves.
six_call() {
    local DOMAIN=$3 trunk=$2 name=six-$1
    sipp_serve trunk core "$trunk" answer -rtp_echo
    watch "$name"
    check "$3: registration over IPv6" register "$name-reg" six '[2001:db8:1::10]' 111
    check "$3: call to $trunk" sipp_run "$name" six '[2001:db8:1::10]' call -s 9001 -key from 211 -d 3000
    check "$3: it unregisters" register "$name-off" six '[2001:db8:1::10]' 111 0
    unwatch "$name"
    check "$3: RTP both ways on announced ports, unchanged; no leak" clean "$name" --media 100
    halt trunk
}
