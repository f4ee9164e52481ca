//! Plain counters of one shard, summed when somebody asks.

use crate::histogram::Reception;
use crate::io::DropReason;
use crate::wire::{h248, mgcp};

/// Number of drop reasons.
pub const REASONS: usize = DropReason::ALL.len();
/// Methods that have a counter of their own; the last one stands for all others.
pub const METHODS: [&str; 15] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "REGISTER",
    "OPTIONS",
    "INFO",
    "UPDATE",
    "MESSAGE",
    "PRACK",
    "REFER",
    "SUBSCRIBE",
    "NOTIFY",
    "PUBLISH",
    "other",
];

/// What one shard has done since it started. All values only grow, but for the gauges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// Drops by reason, in the order of [`DropReason::ALL`].
    pub drops: [u64; REASONS],
    /// Requests received by method, in the order of [`METHODS`].
    pub requests: [u64; METHODS.len()],
    /// MGCP commands received by verb, in the order of [`mgcp::Verb::ALL`].
    pub mgcp_commands: [u64; mgcp::Verb::ALL.len()],
    /// H.248 commands received by verb, in the order of [`h248::Verb::ALL`].
    pub h248_commands: [u64; h248::Verb::ALL.len()],
    /// Responses received by class: 1xx to 6xx.
    pub responses: [u64; 6],
    /// Requests that we answered ourselves with an error, by class 3xx to 6xx (index 0 to 3).
    pub refused: [u64; 4],
    /// Signaling messages that crossed to another shard.
    pub crossings_signaling: u64,
    /// Other news that crossed to another shard.
    pub crossings_control: u64,
    /// Media packets that crossed to another shard. Always 0: no code path can add to it but the runtime's check.
    pub crossings_media: u64,
    /// RTP packets forwarded.
    pub rtp_packets: u64,
    /// RTP payload octets forwarded (UDP payload).
    pub rtp_octets: u64,
    /// RTCP packets forwarded.
    pub rtcp_packets: u64,
    /// RTCP octets forwarded.
    pub rtcp_octets: u64,
    /// STUN messages between two ICE agents forwarded.
    pub stun_packets: u64,
    /// Datagrams of DTLS beside RTP forwarded.
    pub dtls_packets: u64,
    /// Media addresses learned: latched by a first packet or a proof.
    pub latched: u64,
    /// Latches that moved without signaling (NAT rebinding).
    pub rebound: u64,
    /// Rivals from the latched address's own host that cannot be told from the peer (rule 13).
    pub contested: u64,
    /// Signaling messages that were repeated because no answer came.
    pub retransmissions: u64,
    /// Requests that were sent to another server because the first did not serve.
    pub failovers: u64,
    /// BYEs of our own, to the ends of calls that are over without one.
    pub byes_sent: u64,
    /// Sessions opened.
    pub sessions_opened: u64,
    /// Sessions ended by signaling.
    pub sessions_ended: u64,
    /// Sessions reaped: idle, never answered, or lost.
    pub sessions_reaped: u64,
    /// Forks of a call that took the place of an earlier one, because the call had too many.
    pub forks_displaced: u64,
    /// Sessions closed in which one side never sent media though both gates were open.
    pub sessions_one_way: u64,
    /// Sessions in which media was found to flow one way only, by the side that was silent: access, core.
    pub one_way: [u64; 2],
    /// Reception of RTP of closed sessions, from the access side and from the core side.
    pub reception: [Reception; 2],
    /// Gauge: sessions now.
    pub sessions: u64,
    /// Gauge: media ports held by sessions now.
    pub ports: u64,
    /// Gauge: media granted to running sessions, in octets of UDP payload per second each way.
    pub media_granted: u64,
    /// Gauge: registered bindings now.
    pub bindings: u64,
    /// Gauge: dialogs now.
    pub dialogs: u64,
    /// Gauge: gateways that a call agent or controller has accepted and that answer.
    pub gateways: u64,
    /// Gateways that came by another flow when the one before had become silent.
    pub gateways_moved: u64,
    /// Ended connections of which the gateway said what it had sent, and that agreed with what came.
    pub reports_agreed: u64,
    /// The same, and it did not.
    pub reports_contradicted: u64,
    /// Gauge: transactions now.
    pub transactions: u64,
    /// Keepalives sent.
    pub keepalives_sent: u64,
    /// Keepalives that were not answered in time.
    pub keepalives_missed: u64,
    /// Keepalives that were not needed, because the terminal was heard.
    pub keepalives_spared: u64,
    /// NATs behind which terminals are asked less often from then on.
    pub nats_grown: u64,
    /// NATs behind which terminals are asked more often, because one did not answer.
    pub nats_stepped_back: u64,
    /// Gauge: NATs whose interval is longer than the configured one.
    pub nats_learned: u64,
    /// Responses in which a server asked for fewer requests (RFC 7339).
    pub overload_reports: u64,
    /// Terminals and gateways that are gone: keepalives unanswered, or connection ended.
    pub bindings_lost: u64,
    /// Refreshes answered in the registrar's place.
    pub registrations_absorbed: u64,
    /// Refreshes answered because no server did.
    pub registrations_survived: u64,
    /// Registrations ended in a dead terminal's name.
    pub registrations_ended: u64,
    /// Media ports that could not be bound.
    pub port_failures: u64,
    /// XML bodies that could not be read and passed as they were.
    pub bodies_unread: u64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            drops: [0; REASONS],
            requests: [0; METHODS.len()],
            mgcp_commands: [0; mgcp::Verb::ALL.len()],
            h248_commands: [0; h248::Verb::ALL.len()],
            responses: [0; 6],
            refused: [0; 4],
            crossings_signaling: 0,
            crossings_control: 0,
            crossings_media: 0,
            rtp_packets: 0,
            rtp_octets: 0,
            rtcp_packets: 0,
            rtcp_octets: 0,
            stun_packets: 0,
            dtls_packets: 0,
            latched: 0,
            rebound: 0,
            contested: 0,
            retransmissions: 0,
            failovers: 0,
            byes_sent: 0,
            sessions_opened: 0,
            sessions_ended: 0,
            sessions_reaped: 0,
            forks_displaced: 0,
            sessions_one_way: 0,
            one_way: [0; 2],
            reception: [Reception::new(), Reception::new()],
            sessions: 0,
            ports: 0,
            media_granted: 0,
            bindings: 0,
            dialogs: 0,
            gateways: 0,
            gateways_moved: 0,
            reports_agreed: 0,
            reports_contradicted: 0,
            transactions: 0,
            keepalives_sent: 0,
            keepalives_missed: 0,
            keepalives_spared: 0,
            nats_grown: 0,
            nats_stepped_back: 0,
            nats_learned: 0,
            overload_reports: 0,
            bindings_lost: 0,
            registrations_absorbed: 0,
            registrations_survived: 0,
            registrations_ended: 0,
            port_failures: 0,
            bodies_unread: 0,
        }
    }
}

impl Stats {
    /// Count one drop.
    pub fn drop(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
    }

    /// Drops of one reason so far.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    /// Count one request of this method.
    pub fn request(&mut self, method: &[u8]) {
        let last = METHODS.len() - 1;
        let index = METHODS[..last].iter().position(|m| m.as_bytes() == method).unwrap_or(last);
        self.requests[index] += 1;
    }

    /// Count one MGCP command of this verb.
    pub fn mgcp_command(&mut self, verb: mgcp::Verb) {
        self.mgcp_commands[verb as usize] += 1;
    }

    /// Count one H.248 command of this verb.
    pub fn h248_command(&mut self, verb: h248::Verb) {
        self.h248_commands[verb as usize] += 1;
    }

    /// Count one error answer of our own.
    pub fn refuse(&mut self, status: u16) {
        if let Some(count) = self.refused.get_mut(usize::from(status / 100).wrapping_sub(3)) {
            *count += 1;
        }
    }

    /// Count one response of this status.
    pub fn response(&mut self, status: u16) {
        let class = (status / 100).clamp(1, 6) as usize;
        self.responses[class - 1] += 1;
    }
}
