# shellcheck shell=bash
# Exchanges of messages, each a caller and a callee in tests/lab/sipp (NAME.caller.xml, NAME.callee.xml), each run in both
# directions: a terminal behind a NAT calls the trunk ("out"), the trunk calls a registered terminal ("in"). NAME.there.xml is a
# second place on the core side, THERE ports above the callee's.

EXCHANGES=(early ringback delayed on-hold withdraw prack update timer refer subscribe message info redirect fork refuse late overload)
THERE=200

# What a peer on this side must never read.
declare -A FOREIGN=([core]='192[.]168|100[.]64|203[.]0[.]113|198[.]51' [access]='[^0-9.]10[.]0[.]0[.]')
# The terminal sends a file; the trunk echoes, on a second port, too.
declare -A PORT=([core]='[media_port]' [access]='[rtpstream_audio_port]')
declare -A MOVED=([core]='[media_port+2]' [access]='[rtpstream_audio_port]')

# exchange_file NAME ROLE SIDE: a line "@part" stands for the file of that name in tests/lab/sipp/parts.
exchange_file() {
    local file=$OUT/$1.$2.$3.xml
    awk -v parts="$HERE/tests/lab/sipp/parts" -v side="$3" '
            function put(line, part) {
                gsub("@SIDE@", side, line)
                if (line !~ /^@[a-z]/) { print line; return }
                part = parts "/" substr(line, 2)
                while ((getline line < part) > 0) put(line)
                close(part)
            }
            { put($0) }' "$HERE/tests/lab/sipp/$1.$2.xml" |
        sed "s/@FOREIGN@/${FOREIGN[$3]}/; s/@PORT@/${PORT[$3]}/; s/@MOVED@/${MOVED[$3]}/" >"$file"
    echo "$file"
}

# exchange_peer NAME-DIRECTION ROLE SIDE PORT OPTIONS...: one SIPp in the background, on a port of its own. A terminal speaks
# $TRANSPORT (default udp); TLS goes through a tunnel on 127.0.0.1:5061.
exchange_peer() {
    local name=$1 role=$2 side=$3 port=$4 room=a1 address=192.168.1.10 file how=() via=UDP there=$4
    shift 4
    if [ "$side" = core ]; then
        room=core address=10.0.0.30 how=(-rtp_echo) there=$((port + THERE))
    elif [ "${TRANSPORT:-udp}" != udp ]; then
        how=(-t t1) via=${TRANSPORT^^}
    fi
    file=$(exchange_file "${name%-*}" "$role" "$side") || return 1
    VIA=$via sipp_command "$file" "$address" "${how[@]}" -p "$port" -mp $((20000 + (port - 7000) * 20)) \
        -timeout 25s -timeout_error -key there "$there" "$@" \
        -trace_err -error_file "$OUT/$name.$role.err" -trace_msg -message_file "$OUT/$name.$role.msg"
    spawn "$name-$role" "$room" "${SIPP[@]}"
}

# exchange_begin NAME-DIRECTION PORT: the callee, then (for a terminal) its registration, then the caller.
exchange_begin() {
    local name=$1 port=$2 gateway=$PROXY:5060
    [ "${TRANSPORT:-udp}" != tls ] || gateway=127.0.0.1:5061
    if [ "${name##*-}" = out ]; then
        exchange_peer "$name" callee core "$port"
        await 5 listens core 10.0.0.30 "$port"
        if [ -e "$HERE/tests/lab/sipp/${name%-*}.there.xml" ]; then
            exchange_peer "$name" there core $((port + THERE))
            await 5 listens core 10.0.0.30 $((port + THERE))
        fi
        exchange_peer "$name" caller access "$port" "$gateway" -m 1 -s "9$port" -key from 211
    else
        exchange_register "$name-reg" "$port" 60
        exchange_peer "$name" callee access "$port"
        await 5 listens a1 192.168.1.10 "$port"
        exchange_peer "$name" caller core "$port" 10.0.0.20:5060 -m 1 -s "2$port" -key from 300
    fi
}

# exchange_register NAME PORT EXPIRES
exchange_register() {
    TARGET=$PROXY:5060 sipp_run "$1" a1 192.168.1.10 register -p "$2" -s "2$2" -key expires "$3"
}

# exchange_end NAME-DIRECTION PORT: the caller's verdict; the callee's shows in it, because it answers nothing after a failed check.
exchange_end() {
    local result
    wait "${PIDS[$1-caller]}"
    result=$?
    unset "PIDS[$1-caller]"
    halt "$1-callee"
    halt "$1-there"
    [ "${1##*-}" = out ] || exchange_register "$1-off" "$2" 0
    return $result
}

repeated() { [ "$(grep -ac '^SIP/2.0 200' "$OUT/$1.caller.msg")" -gt 2 ]; }

# Every exchange of the checklist, in both directions at once.
scenario_exchanges() { exchanges udp "out in"; }

# exchanges LABEL DIRECTIONS
exchanges() {
    local name direction port=7000 names=() sealed=()
    for name in "${EXCHANGES[@]}"; do
        for direction in $2; do
            # Over a stream SIPp takes a repeated 200 for a mistake.
            [ "$name" != late ] || [ "${TRANSPORT:-udp}" = udp ] || continue
            names+=("$name-$direction")
        done
    done
    [ "${TRANSPORT:-udp}" != tls ] || sealed=(--sealed access)
    [ "$1" != by-tls ] || sealed=(--sealed core)
    watch "$1"
    for name in "${names[@]}"; do exchange_begin "$name" $((++port)); done
    port=7000
    for name in "${names[@]}"; do check "$name" exchange_end "$name" $((++port)); done
    unwatch "$1"
    for name in "${names[@]}"; do
        [ "${name%-*}" != late ] || check "$name: the 200 came more than once" repeated "$name"
    done
    check "no leak, nothing malformed, RTP both ways" clean "$1" --media 20 "${sealed[@]}"
}
