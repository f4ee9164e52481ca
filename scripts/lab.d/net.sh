# shellcheck shell=bash
# Namespaces, wires and NATs. Everything lives in namespaces named "$LAB-*": the root namespace gets no
# interface, no address and no rule.
#
#                  a1 192.168.1.10 ─┐
#                  a2 192.168.1.11 ─┴ nata ─ 203.0.113.7 ─┐
#                  b1 192.168.1.10 ── natb ─ 203.0.113.8 ─┼─ net ─ 198.51.100.10 [proxy] 10.0.0.10 ─ core 10.0.0.20 Kamailio
#  d1 192.168.1.10 ─ natd ─ 100.64.0.2 ─ natc ─ 203.0.113.9 ─┘                                            10.0.0.30 trunk
#                         six 2001:db8:1::10 ──────────┘        2001:db8::10         fd00::10         fd00::20, fd00::30

ROOMS=(net proxy core nata natb natc natd a1 a2 b1 d1 six)

# ns ROOM COMMAND...: runs the command in a namespace of the lab; the process is the command itself, not a wrapper.
ns() { local room=$1; shift; ip netns exec "$LAB-$room" "$@"; }

# wire ROUTER ROOM ADDRESS: the room's eth0 gets the address; the router answers as the .1 of that network.
wire() {
    local router=$1 room=$2 address=$3 gateway=${3%.*}.1
    ip -n "$LAB-$router" link add "$room" type veth peer name eth0 netns "$LAB-$room"
    ip -n "$LAB-$room" address add "$address/24" dev eth0
    ip -n "$LAB-$room" link set eth0 up
    ip -n "$LAB-$room" route add default via "$gateway"
    ip -n "$LAB-$router" address add "$gateway/32" dev "$room"
    ip -n "$LAB-$router" link set "$room" up
    ip -n "$LAB-$router" route add "$address/32" dev "$room"
    # Rooms of one network find each other, as on a switch.
    ns "$router" sysctl -q -w "net.ipv4.conf.$room.proxy_arp=1" "net.ipv4.neigh.$room.proxy_delay=0"
}

# A NAT of the hardest kind: a new random port for every destination, forgotten after a few seconds. Above those of SIP:
# tshark takes a datagram for the protocol of its lower port (4754 is GRE's).
masquerade() {
    ns "$1" nft -f - <<RULES
table ip nat {
    chain out {
        type nat hook postrouting priority srcnat
        meta l4proto { tcp, udp } oifname "eth0" masquerade to :10240-65535 random,fully-random
        oifname "eth0" masquerade
    }
}
table ip firewall {
    chain in {
        type filter hook forward priority filter; policy drop
        ct state established,related accept
        iifname != "eth0" accept
    }
}
RULES
    nat_timeouts "$1" 10 15
}

# nat_timeouts ROOM UNREPLIED STREAM: how long the NAT remembers, in seconds.
nat_timeouts() {
    ns "$1" sysctl -q -w "net.netfilter.nf_conntrack_udp_timeout=$2" "net.netfilter.nf_conntrack_udp_timeout_stream=$3"
}

net_up() {
    local room
    for room in "${ROOMS[@]}"; do
        ip netns add "$LAB-$room" || return 1
        ip -n "$LAB-$room" link set lo up
    done
    for room in net nata natb natc natd; do ns "$room" sysctl -q -w net.ipv4.ip_forward=1; done
    wire net proxy 198.51.100.10
    wire net nata 203.0.113.7
    wire net natb 203.0.113.8
    wire net natc 203.0.113.9
    wire natc natd 100.64.0.2
    wire nata a1 192.168.1.10
    wire nata a2 192.168.1.11
    wire natb b1 192.168.1.10
    wire natd d1 192.168.1.10
    for room in nata natb natc natd; do masquerade "$room" || return 1; done
    core_up
    net6_up
}

# The core is one wire; Portolan is no router, so no terminal reaches it but through the proxy itself.
core_up() {
    ip -n "$LAB-proxy" link add core type veth peer name eth0 netns "$LAB-core"
    ip -n "$LAB-proxy" address add 10.0.0.10/24 dev core
    local last
    for last in 11 12 13 14; do
        ip -n "$LAB-proxy" address add "198.51.100.$last/24" dev eth0
        ip -n "$LAB-net" route add "198.51.100.$last/32" dev proxy
    done
    for last in 20 21 22 23 24 25 30 40 50; do ip -n "$LAB-core" address add "10.0.0.$last/24" dev eth0; done
    ns proxy sysctl -q -w net.ipv4.ip_local_reserved_ports=16384-49151
    ip -n "$LAB-proxy" link set core up
    ip -n "$LAB-core" link set eth0 up
}

# IPv6 needs no NAT to be worth a proxy: a terminal of its own, and the same three places in the core.
net6_up() {
    local last
    ns net sysctl -q -w net.ipv6.conf.all.forwarding=1
    wire6 proxy 2001:db8::10
    ip -n "$LAB-net" link add six type veth peer name eth0 netns "$LAB-six"
    wire6 six 2001:db8:1::10
    ip -n "$LAB-proxy" address add fd00::10/64 dev core nodad
    for last in 20 30; do ip -n "$LAB-core" address add "fd00::$last/64" dev eth0 nodad; done
}

# wire6 ROOM ADDRESS: gives the wire between "net" and the room IPv6, with the ::1 as its router.
wire6() {
    local room=$1 address=$2 gateway=${2%::*}::1
    ip -n "$LAB-$room" address add "$address/64" dev eth0 nodad
    ip -n "$LAB-net" address add "$gateway/64" dev "$room" nodad
    ip -n "$LAB-$room" link set eth0 up
    ip -n "$LAB-net" link set "$room" up
    ip -n "$LAB-$room" -6 route add default via "$gateway"
}

# What still runs in the lab's own namespaces was started by the lab.
net_down() {
    local room pid
    for room in "${ROOMS[@]}"; do
        for pid in $(ip netns pids "$LAB-$room"); do kill -KILL "$pid"; done
        ip netns delete "$LAB-$room"
    done
    return 0
} 2>/dev/null
