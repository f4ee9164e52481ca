# shellcheck shell=bash
# The peers: Kamailio, SIPp, baresip and the captures. Each is started by pid and stopped by pid.

declare -A PIDS=() LOG=()
PROXY=198.51.100.10

# spawn NAME ROOM COMMAND...: runs in the background, in $OUT; what it prints goes to NAME.log there.
spawn() {
    local name=$1 room=$2
    shift 2
    LOG[$name]=$OUT/$name.log
    (cd "$OUT" && exec ip netns exec "$LAB-$room" "$@" >"${LOG[$name]}" 2>&1 </dev/null) &
    PIDS[$name]=$!
}

# halt NAME [SIGNAL]: ends one peer and waits until it is gone; a peer that does not listen is killed.
halt() {
    local name=$1 pid=${PIDS[$1]:-} try
    [ -n "$pid" ] || return 0
    kill "-${2:-TERM}" "$pid"
    for try in {1..50}; do
        kill -0 "$pid" || break
        [ "$try" -lt 50 ] || kill -KILL "$pid"
        sleep 0.1
    done
    wait "$pid"
    unset "PIDS[$name]"
} 2>/dev/null

halt_all() {
    local name
    for name in "${!PIDS[@]}"; do halt "$name"; done
}

# await SECONDS COMMAND...: until the command succeeds; fails when the seconds are over.
await() {
    local left=$(($1 * 5))
    shift
    until "$@" >/dev/null 2>&1; do
        ((left-- > 0)) || return 1
        sleep 0.2
    done
}

# certificates DIRECTORY: a root, and under it a server's certificate and a client's; all for a day.
certificates() {
    local name names=DNS:example.net ip
    for ip in 198.51.100.{10..14} 10.0.0.{10,20,21,22,23,40} 192.168.1.1; do names+=,IP:$ip; done
    mkdir -p "$1" && cd "$1" || return 1
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj "/CN=lab root" -keyout ca.key -out ca.pem || return 1
    for name in server client; do
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$name.key" -out "$name.csr" &&
            openssl x509 -req -days 1 -in "$name.csr" -CA ca.pem -CAkey ca.key -out "$name.pem" \
                -extfile <(printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE' "$names") || return 1
    done
} >/dev/null 2>&1

listens() { ns "$1" ss -Hlun "sport = :$3" | grep -q "$2:$3"; }

# kamailio_at NAME ROOM ADDRESS...: the softswitch, on port 5060 (udp, tcp) and 5061 (tls) of these addresses.
kamailio_at() {
    local name=$1 room=$2 address listen=()
    shift 2
    for address in "$@"; do listen+=(-l "udp:$address:5060" -l "tcp:$address:5060" -l "tls:$address:5061"); done
    mkdir -p "$OUT/$name.run"
    spawn "$name" "$room" kamailio -DD -E -m 32 -M 8 -f "$HERE/tests/lab/kamailio.cfg" "${listen[@]}" \
        -A "CERTIFICATE=\"$WORK/tls/server.pem\"" -A "KEY=\"$WORK/tls/server.key\"" -A "ROOTS=\"$WORK/tls/ca.pem\"" \
        -Y "$OUT/$name.run" -w "$OUT/$name.run" -P "$OUT/$name.run/pid"
    await 10 listens "$room" "$1" 5060
}

# --- SIPp -----------------------------------------------------------------------------------------------------------

# sipp_command SCENARIO ADDRESS OPTIONS...: fills SIPP; the scenario is a name in tests/lab/sipp or a file. The Call-ID carries no address: proxies leave it alone.
sipp_command() {
    local scenario=$1 address=$2
    shift 2
    [ -e "$scenario" ] || scenario=$HERE/tests/lab/sipp/$scenario.xml
    SIPP=(sipp -sf "$scenario" -i "$address" -mi "$address" -p 5060
        -key domain "${DOMAIN:-example.net}" -key via "${VIA:-UDP}" -nostdin -cid_str "%u-%p-$RANDOM@lab" "$@")
}

# sipp_run NAME ROOM ADDRESS SCENARIO OPTIONS...: one client to Portolan, in the foreground; succeeds if all its calls did.
sipp_run() {
    local name=$1 room=$2 address=$3 scenario=$4
    shift 4
    sipp_command "$scenario" "$address" "${TARGET:-$PROXY:5060}" -mp 30000 -m 1 -timeout 60s -timeout_error \
        -trace_err -error_file "$OUT/$name.err" -trace_msg -message_file "$OUT/$name.msg" "$@"
    (cd "$OUT" && ns "$room" timeout 90 "${SIPP[@]}" >"$OUT/$name.log" 2>&1)
}

# sipp_serve NAME ROOM ADDRESS SCENARIO OPTIONS...: a server in the background, until halted.
sipp_serve() {
    local name=$1 room=$2 address=$3 scenario=$4
    shift 4
    sipp_command "$scenario" "$address" -mp 30000 \
        -trace_err -error_file "$OUT/$name.err" -trace_msg -message_file "$OUT/$name.msg" "$@"
    spawn "$name" "$room" "${SIPP[@]}"
    await 5 listens "$room" "$address" 5060
}

# register NAME ROOM ADDRESS USER [EXPIRES]
register() {
    sipp_run "$1" "$2" "$3" register -s "$4" -key expires "${5:-600}" -au "$4" -ap "secret-$4"
}

# --- baresip --------------------------------------------------------------------------------------------------------

# agent NAME ROOM ADDRESS USER DOMAIN: a phone that answers by itself, sings the melody of its user and records what it hears.
# It reaches its proxy by $TRANSPORT (default udp), ciphers its media by $MEDIAENC and finds its peer by $MEDIANAT (default neither).
agent() {
    local name=$1 room=$2 address=$3 user=$4 domain=$5 home=$OUT/$1 transport=${TRANSPORT:-udp} port=5060
    [ "$transport" != tls ] || port=5061
    rm -rf "$home/heard" && mkdir -p "$home/heard"
    python3 "$LIB/audio.py" sing "$user" 60 "$home/sent.wav"
    sed "s|@ADDRESS@|$address|; s|@HOME@|$home|; s|@ROOTS@|$WORK/tls/ca.pem|" "$HERE/tests/lab/baresip.config" >"$home/config"
    echo "<sip:$user@$domain;transport=$transport>;auth_user=$user;auth_pass=secret-$user;regint=600;answermode=auto;audio_codecs=pcma${MEDIAENC:+;mediaenc=$MEDIAENC}${MEDIANAT:+;medianat=$MEDIANAT};outbound=\"sip:$PROXY:$port;transport=$transport\"" \
        >"$home/accounts"
    [ -z "${MEDIAENC:-}" ] || printf 'module %s\n' srtp.so dtls_srtp.so >>"$home/config"
    [ -z "${MEDIANAT:-}" ] || printf 'module %s.so\n' "$MEDIANAT" >>"$home/config"
    : >"$home/contacts"
    spawn "$name" "$room" baresip -4 -f "$home"
    await 10 listens "$room" 127.0.0.1 5555
}

# tell ROOM COMMAND: types a command into the phone of that room.
# shellcheck disable=SC2016  # the inner shell expands it
tell() { ns "$1" bash -c 'printf "%s\n" "$1" >/dev/udp/127.0.0.1/5555' - "$2"; }

said() { grep -aq "$2" "${LOG[$1]}"; }
registered() { await "${2:-10}" said "$1" "200 OK.*binding\|registered successfully"; }
in_call() { await "${2:-15}" said "$1" "Call established"; }

# hears NAME USER: what the phone recorded is the melody of that user.
hears() {
    local recording
    recording=$(find "$OUT/$1/heard" -name '*-dec.wav' -size +20k | sort | tail -n 1)
    [ -n "$recording" ] && python3 "$LIB/audio.py" heard "$2" "$recording" >>"$OUT/audio.log"
}

# --- Captures -------------------------------------------------------------------------------------------------------

# watch NAME: captures both sides of Portolan; its own two core ends may meet on the loopback of its room.
watch() {
    local filter='udp or (tcp and not port 9060) or icmp or (icmp6 and ip6[40] == 1)'
    spawn "$1-access" proxy dumpcap -q -f "$filter" -i eth0 -w "$OUT/$1-access.pcapng"
    spawn "$1-core" proxy dumpcap -q -f "$filter" -i core -i lo -w "$OUT/$1-core.pcapng"
    await 10 test -s "$OUT/$1-access.pcapng" -a -s "$OUT/$1-core.pcapng"
    # A capture that has begun its file may still be a moment from its first packet.
    sleep 0.5
}

# unwatch NAME: ends the captures; the short wait lets dumpcap read what is still in the kernel's buffers.
unwatch() {
    sleep 1
    halt "$1-access" INT
    halt "$1-core" INT
}

# clean NAME OPTIONS...: the judge finds nothing against what the captures hold.
clean() {
    local name=$1
    shift
    python3 "$LIB/judge.py" "$@" "$OUT/$name-access.pcapng" "$OUT/$name-core.pcapng" >"$OUT/$name.verdict" 2>&1 && return
    sed 's/^/#   /' "$OUT/$name.verdict"
    return 1
}
