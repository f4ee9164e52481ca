//! What is known of names, and the servers that targets stand for by it.

use crate::mapping::{Host, Target};
use portolan_shards::realm::{Realm, Server};
use portolan_shards::types::Transport;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// All that decides what a name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    /// In lower case.
    pub(super) host: String,
    /// Given: only addresses are asked for.
    pub(super) port: Option<u16>,
    /// Given: no NAPTR is asked for.
    pub(super) transport: Option<Transport>,
    /// Only TLS will do.
    pub(super) secure: bool,
    /// The realm can dial TLS.
    pub(super) tls: bool,
    /// The family of the realm.
    pub(super) ipv6: bool,
}

impl Question {
    /// What a target asks from a realm; `None` for an address.
    pub(super) fn of(target: &Target, realm: &Realm) -> Option<Self> {
        let Host::Name(host) = &target.host else { return None };
        Some(Self {
            host: host.clone(),
            port: target.port,
            transport: target.transport,
            secure: target.secure,
            tls: realm.per_shard_tls.is_some(),
            ipv6: realm.address.is_ipv6(),
        })
    }

    /// May the answer be a server of this transport?
    pub(super) const fn permits(&self, transport: Transport) -> bool {
        if transport.is_secure() { self.tls } else { !self.secure }
    }

    /// The transport where nothing says another.
    pub(super) const fn natural(&self) -> Transport {
        if self.secure { Transport::Tls } else { Transport::Udp }
    }
}

/// One server that a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) address: SocketAddr,
    pub(super) transport: Transport,
    /// Priority and weight, when SRV said them.
    pub(super) service: Option<(u16, u16)>,
}

/// The servers of a softswitch. The priorities of its targets come first, those that SRV says within one target second;
/// with a name among the targets, all are numbered anew from 0.
pub(super) fn servers<'f>(
    targets: &[Target],
    realm: &Realm,
    known: impl Fn(&Question) -> Option<&'f [Found]>,
) -> Vec<Server> {
    let mut ranked: Vec<((u16, usize), Server)> = Vec::new();
    for target in targets {
        match Question::of(target, realm) {
            Some(question) => {
                ranked.extend(named(target, &question.host, known(&question).unwrap_or_default()));
            }
            None => ranked.extend(target.server().map(|server| ((target.priority, 0), server))),
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    let mut seen: Vec<(SocketAddr, Transport)> = Vec::new();
    ranked.retain(|(_, server)| {
        let fresh = !seen.contains(&(server.address, server.transport));
        seen.push((server.address, server.transport));
        fresh
    });
    if targets.iter().any(Target::is_name) {
        renumber(&mut ranked);
    }
    ranked.into_iter().map(|(_, server)| server).collect()
}

fn named(target: &Target, host: &str, found: &[Found]) -> Vec<((u16, usize), Server)> {
    let priorities: BTreeSet<u16> = found.iter().filter_map(|one| Some(one.service?.0)).collect();
    // RFC 5922 section 7.3: the certificate is for the name that was asked for, not for what SRV says.
    let name: Arc<str> = target.name.clone().unwrap_or_else(|| host.into());
    let server = |one: &Found| {
        let minor = one.service.map_or(0, |(minor, _)| priorities.range(..minor).count());
        let weight = one.service.map_or(target.weight, |(_, weight)| weight);
        let name = one.transport.is_secure().then(|| name.clone());
        let Found { address, transport, .. } = *one;
        ((target.priority, minor), Server { address, transport, name, priority: target.priority, weight })
    };
    found.iter().map(server).collect()
}

/// Equal ranks get equal priorities, from 0 on without gaps.
fn renumber(ranked: &mut [((u16, usize), Server)]) {
    let (mut before, mut priority) = (None, 0);
    for (rank, server) in ranked {
        priority += u16::from(before.is_some_and(|before| before != *rank));
        before = Some(*rank);
        server.priority = priority;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Loader, Machine};

    /// The servers of these targets, when every name stands for `found`.
    fn told(targets: &str, found: &[Found]) -> Vec<String> {
        let text = format!(
            r#"(
            shards: Count(1),
            realms: {{ "core": (side: Core, address: "10.0.0.1", per_shard: 6000, media: (16384, 32767)) }},
            softswitches: {{ "sx": (realm: "core", targets: [{targets}]) }},
        )"#
        );
        let loaded = Loader::new(Machine::with_cores(1)).parse(&text, "x").unwrap_or_else(|e| panic!("{e}"));
        let all = servers(&loaded.targets[0], &loaded.mapping.realms[0], |_| Some(found));
        all.iter().map(|server| format!("{server:?}")).collect()
    }

    fn found(last: u8, service: Option<(u16, u16)>) -> Found {
        Found { address: ([10, 0, 1, last], 5060).into(), transport: Transport::Tcp, service }
    }

    #[test]
    fn addresses_keep_their_priorities() {
        let targets =
            r#"(uri: "10.0.0.2:5060", priority: 7, weight: 3), (uri: "10.0.0.3:5060", priority: 3)"#;
        assert_eq!(
            told(targets, &[]),
            ["10.0.0.3:5060 priority 3 weight 1", "10.0.0.2:5060 priority 7 weight 3"]
        );
    }

    #[test]
    fn priorities_of_targets_come_before_those_of_srv() {
        let named = [found(1, Some((20, 60))), found(2, Some((20, 40))), found(3, Some((90, 0)))];
        let targets = r#""sip:a.example", "10.0.0.2:5060""#;
        assert_eq!(
            told(targets, &named),
            [
                "10.0.1.1:5060;transport=tcp priority 0 weight 60",
                "10.0.1.2:5060;transport=tcp priority 0 weight 40",
                "10.0.1.3:5060;transport=tcp priority 1 weight 0",
                "10.0.0.2:5060 priority 2 weight 1",
            ]
        );
    }

    #[test]
    fn addresses_without_srv_have_the_weight_of_their_target() {
        let targets = r#"(uri: "sip:a.example:5060", weight: 9), "10.0.0.2:5060""#;
        let all = told(targets, &[found(1, None), found(2, None)]);
        assert_eq!(all[0], "10.0.1.1:5060;transport=tcp priority 0 weight 9");
        assert_eq!(all[2], "10.0.0.2:5060", "the same priority, weight 1");
    }

    #[test]
    fn a_server_is_listed_once() {
        assert_eq!(told(r#""sip:a.example", "sip:b.example""#, &[found(1, None)]).len(), 1);
        assert_eq!(told(r#""sip:a.example""#, &[]), [""; 0]);
    }
}
