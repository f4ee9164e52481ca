# shellcheck shell=bash
# Ciphered media between real phones behind NATs of the hardest kind. Portolan has no keys: what the phones hear proves that they
# agreed on theirs through it.

# SRTP with keys in the descriptions (SDES) between two phones behind two NATs.
scenario_srtp() {
    MEDIAENC=srtp-mand duet srtp a1 b1
    check "SRTP was agreed on both sides" agreed srtp RTP/SAVP
}

# DTLS-SRTP without ICE: a phone behind NAT and one beside the softswitch call each other. Whoever calls, the one behind NAT begins.
scenario_dtls() {
    local MEDIAENC=dtls_srtp before after
    before=$(figure portolan_packets_total 'kind="dtls"')
    to_core a1 core 30
    to_core core a1 31
    after=$(figure portolan_packets_total 'kind="dtls"')
    check "handshakes passed Portolan" test "$after" -gt $((before + 7))
}

# to_core CALLER CALLEE NAME: a call between a phone behind NAT and one beside the softswitch.
to_core() {
    local name=dtls-$3
    phone_in a1 example.net
    PROXY=10.0.0.20 agent core core 10.0.0.50 "${USER_OF[core]}" example.net
    watch "$name"
    check "both phones register" both registered a1 core
    talk "$1" "$2" example.net
    unwatch "$name"
    check "they hear each other's melody" hear_each_other a1 core
    check "SRTP both ways on announced ports, unchanged; no leak" clean "$name" --media 150
    check "DTLS-SRTP was agreed on both sides" agreed "$name" UDP/TLS/RTP/SAVPF
    check "no role is left open" no_open_role "$name"
}

# ICE from phone to phone: they find no mismatch, check each other through Portolan and know no candidate but its own.
scenario_ice() {
    local before after
    before=$(generation)
    lab_config "$WORK/lab.ron" -e 's/ice: Strip/ice: Keep/'
    reload
    check "a reload lets ICE be kept" await 10 newer "$before"
    before=$(figure portolan_packets_total 'kind="stun"')
    MEDIAENC=dtls_srtp MEDIANAT=ice duet ice a1 b1
    after=$(figure portolan_packets_total 'kind="stun"')
    check "their checks passed Portolan" test "$after" -gt $((before + 7))
    check "neither phone found a mismatch" no_mismatch a1 b1
    check "every candidate is Portolan's" own_candidates ice
    lab_config "$WORK/lab.ron"
    reload
}

# tell_sdp NAME SIDE FIELD: that field of each description in the capture, a line each.
tell_sdp() {
    tshark -r "$OUT/$1-$2.pcapng" -d udp.port==5060,sip -d udp.port==6000-6063,sip -Y sdp -T fields -E occurrence=a -e "$3" 2>/dev/null |
        tr ',' '\n'
}

# agreed NAME TRANSPORT: all descriptions have it.
agreed() {
    local side
    for side in access core; do
        tell_sdp "$1" "$side" sdp.media.proto | awk -v proto="$2" '$0 != "" { seen = 1; if ($0 != proto) bad = 1 } END { exit bad || !seen }' || return 1
    done
}

# no_open_role NAME: what Portolan sent on says who begins.
no_open_role() {
    local ours
    for ours in access:198.51.100.10 core:10.0.0.10; do
        tshark -r "$OUT/$1-${ours%%:*}.pcapng" -d udp.port==5060,sip -d udp.port==6000-6063,sip -Y "sdp && ip.src == ${ours#*:}" \
            -T fields -E occurrence=a -e sdp.session_attr -e sdp.media_attr 2>/dev/null | awk '/setup:actpass/ { bad = 1 } /setup:/ { seen = 1 } END { exit bad || !seen }' || return 1
    done
}

no_mismatch() { ! grep -aqi "mismatch\|no remote candidates" "${LOG[$1]}" "${LOG[$2]}"; }

# own_candidates NAME: what Portolan sent on names no other host.
own_candidates() {
    local ours
    for ours in access:198.51.100.10 core:10.0.0.10; do
        tshark -r "$OUT/$1-${ours%%:*}.pcapng" -d udp.port==5060,sip -d udp.port==6000-6063,sip -Y "sdp && ip.src == ${ours#*:}" \
            -T fields -E occurrence=a -e sdp.media_attr 2>/dev/null | tr ',' '\n' | grep '^candidate:' |
            awk -v own="${ours#*:}" '$5 != own { bad = 1 } END { exit bad || !NR }' || return 1
    done
}
