# shellcheck shell=bash
# Random loss between the terminals' NAT and Portolan, both ways, on the signaling ports.

# lose ROOM PERCENT: that NAT loses so many of a hundred signaling packets.
lose() {
    ns "$1" nft -f - <<RULES
table ip loss {
    chain lose {
        type filter hook forward priority -10
        th dport { 5060, 5061, 8080, 8443 } numgen random mod 100 < $2 counter drop
        th sport { 5060, 5061, 8080, 8443 } numgen random mod 100 < $2 counter drop
    }
}
RULES
}

# lost ROOM: how many packets it has lost; then it loses no more.
lost() {
    ns "$1" nft list table ip loss | awk '{ for (i = 1; i < NF; i++) if ($i == "packets") sum += $(i + 1) } END { print sum + 0 }'
    ns "$1" nft delete table ip loss
}

# 200 calls through a NAT that loses 5 % of the signaling packets of each direction: 200 succeed.
scenario_loss() {
    lose nata 5
    exchange_peer steady-out callee core 7000 -timeout 90s
    await 5 listens core 10.0.0.30 7000
    exchange_peer steady-out caller access 7000 "$PROXY:5060" -m 200 -r 10 -l 200 -s 97000 -key from 211 -timeout 75s
    check "200 of 200 calls, UDP to UDP" exchange_end steady-out
    check "the NAT did lose packets" positive lost nata
}
