//! From a name to servers: NAPTR, SRV, A and AAAA in the order of RFC 3263 section 4.

use super::book::{Found, Question};
use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::rdata::{NAPTR, SRV};
use hickory_resolver::proto::rr::{RData, RecordType};
use portolan_shards::types::Transport;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Asked again no sooner and no later than this, whatever the records say.
const TTL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));
/// Records of one answer that are used.
const MAX_RECORDS: usize = 16;

/// The servers of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// In the order of RFC 2782 priorities; not empty.
    pub(super) found: Vec<Found>,
    /// How long it holds.
    pub(super) ttl: Duration,
}

/// Looks a name up.
///
/// # Errors
/// Why there is no server.
pub(super) async fn find(resolver: &TokioResolver, question: &Question) -> Result<Answer, String> {
    let mut chain = Chain { resolver, question, until: None };
    let found = chain.servers().await.map_err(|error| error.to_string())?;
    if found.is_empty() {
        return Err("it has no address".to_owned());
    }
    let (least, most) = TTL;
    let ttl = chain.until.map_or(least, |until| until.saturating_duration_since(Instant::now()));
    Ok(Answer { found, ttl: ttl.clamp(least, most) })
}

/// A lookup on its way.
struct Chain<'a> {
    resolver: &'a TokioResolver,
    question: &'a Question,
    /// When the first of the records used expires.
    until: Option<Instant>,
}

/// An owner of SRV records and what they are for.
type Service = (String, Transport);

impl Chain<'_> {
    async fn servers(&mut self) -> Result<Vec<Found>, NetError> {
        let Question { host, port, .. } = self.question;
        let otherwise = self.question.transport.unwrap_or(self.question.natural());
        if let Some(port) = *port {
            return self.hosts(host, otherwise, port).await;
        }
        let mut offered = false;
        for (owner, transport) in self.services().await? {
            let found = self.service(&owner, transport).await?;
            offered |= found.is_some();
            if let Some(found) = found.filter(|found| !found.is_empty()) {
                return Ok(found);
            }
        }
        match offered {
            // SRV records there are, and they say "." (RFC 2782) or lead nowhere: then the name itself is not asked.
            true => Ok(Vec::new()),
            false => self.hosts(host, otherwise, otherwise.default_port()).await,
        }
    }

    /// Which SRV records to ask for, best first.
    async fn services(&mut self) -> Result<Vec<Service>, NetError> {
        let usual = |transport| (format!("{}.{}", prefix(transport), self.question.host), transport);
        if let Some(transport) = self.question.transport {
            return Ok(vec![usual(transport)]);
        }
        let possible = |transport: &Transport| self.question.permits(*transport);
        let all = [Transport::Udp, Transport::Tcp, Transport::Tls].into_iter().filter(possible);
        let usual: Vec<_> = all.map(usual).collect();
        let mut pointers: Vec<NAPTR> = self.ask(&self.question.host, RecordType::NAPTR, naptr).await?;
        pointers.sort_by_key(|pointer| (pointer.order, pointer.preference));
        let named = pointers.iter().filter_map(|pointer| {
            let transport = service_of(pointer).filter(|transport| self.question.permits(*transport))?;
            Some((pointer.replacement.to_ascii(), transport))
        });
        let named: Vec<_> = named.collect();
        Ok(if named.is_empty() { usual } else { named })
    }

    /// The servers that SRV records name; `None` when there are no such records.
    async fn service(&mut self, owner: &str, transport: Transport) -> Result<Option<Vec<Found>>, NetError> {
        let mut records: Vec<SRV> = self.ask(owner, RecordType::SRV, srv).await?;
        if records.is_empty() {
            return Ok(None);
        }
        records.retain(|record| !record.target.is_root());
        records.sort_by_key(|record| record.priority);
        let (mut all, mut failed) = (Vec::new(), None);
        for record in &records {
            match self.hosts(&record.target.to_ascii(), transport, record.port).await {
                Ok(found) => all.extend(weighted(found, record)),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if all.is_empty() => Err(error),
            _ => Ok(Some(all)),
        }
    }

    /// A host's addresses of the realm's family.
    async fn hosts(&mut self, host: &str, transport: Transport, port: u16) -> Result<Vec<Found>, NetError> {
        let family = if self.question.ipv6 { RecordType::AAAA } else { RecordType::A };
        let found = |ip| Found { address: SocketAddr::new(ip, port), transport, service: None };
        Ok(self.ask(host, family, address).await?.into_iter().map(found).collect())
    }

    /// The records of a name; none is no error.
    async fn ask<T>(
        &mut self,
        name: &str,
        kind: RecordType,
        read: fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, NetError> {
        let rooted = if name.ends_with('.') { name.to_owned() } else { format!("{name}.") };
        match self.resolver.lookup(rooted, kind).await {
            Ok(lookup) => {
                let until = lookup.valid_until();
                self.until = Some(self.until.map_or(until, |before| before.min(until)));
                let records = lookup.answers().iter().filter_map(|record| read(&record.data));
                Ok(records.take(MAX_RECORDS).collect())
            }
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

fn naptr(data: &RData) -> Option<NAPTR> {
    if let RData::NAPTR(pointer) = data { Some(pointer.clone()) } else { None }
}

fn srv(data: &RData) -> Option<SRV> {
    if let RData::SRV(record) = data { Some(record.clone()) } else { None }
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(ip) => Some(IpAddr::V4(ip.0)),
        RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
        _ => None,
    }
}

/// The addresses of one SRV target share its weight.
fn weighted(found: Vec<Found>, record: &SRV) -> impl Iterator<Item = Found> {
    let share = record.weight / u16::try_from(found.len().max(1)).unwrap_or(u16::MAX);
    let weight = share.max(record.weight.min(1));
    let priority = record.priority;
    found.into_iter().map(move |one| Found { service: Some((priority, weight)), ..one })
}

/// The first labels of a service's name (RFC 3263 section 4.1).
const fn prefix(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tls => "_sips._tcp",
        _ => "_sip._tcp",
    }
}

/// The transport of a NAPTR record that leads to SRV records; `None` when it leads elsewhere.
fn service_of(pointer: &NAPTR) -> Option<Transport> {
    if !pointer.flags.eq_ignore_ascii_case(b"s") || !pointer.regexp.is_empty() {
        return None;
    }
    match pointer.services.to_ascii_uppercase().as_slice() {
        b"SIP+D2U" => Some(Transport::Udp),
        b"SIP+D2T" => Some(Transport::Tcp),
        b"SIPS+D2T" => Some(Transport::Tls),
        _ => None,
    }
}
