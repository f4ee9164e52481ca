//! The configuration as it is written: the RON schema, before anything is checked.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// The main file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "Portolan", deny_unknown_fields, default)]
pub(super) struct RawFile {
    pub(super) shards: RawShards,
    pub(super) realms: Entries<RawRealm>,
    pub(super) softswitches: Entries<RawSoftswitch>,
    pub(super) mappings: Vec<RawMapping>,
    pub(super) keepalive: RawKeepalive,
    pub(super) limits: RawLimits,
    pub(super) admin: RawAdmin,
    pub(super) dns: RawDns,
    pub(super) secret: Option<String>,
}

/// A file of `conf.d`: it only adds.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "Portolan", deny_unknown_fields, default)]
pub(super) struct RawFragment {
    pub(super) realms: Entries<RawRealm>,
    pub(super) softswitches: Entries<RawSoftswitch>,
    pub(super) mappings: Vec<RawMapping>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "Shards")]
pub(super) enum RawShards {
    #[default]
    Auto,
    Count(u16),
    Cores(Vec<usize>),
}

#[derive(Debug, Deserialize)]
#[serde(rename = "Realm", deny_unknown_fields)]
pub(super) struct RawRealm {
    pub(super) side: RawSide,
    pub(super) address: String,
    pub(super) advertised: Option<String>,
    #[serde(default)]
    pub(super) sip: Vec<RawListener>,
    #[serde(default)]
    pub(super) mgcp: Vec<RawListener>,
    #[serde(default)]
    pub(super) h248: Vec<RawListener>,
    pub(super) per_shard: Option<u16>,
    pub(super) per_shard_tls: Option<u16>,
    pub(super) per_shard_mgcp: Option<u16>,
    pub(super) gateways: Option<(u16, u16)>,
    pub(super) large: Option<RawLarge>,
    pub(super) tls: Option<RawTls>,
    pub(super) media: (u16, u16),
    pub(super) learn_net: Option<bool>,
    pub(super) media_margin: Option<u8>,
    pub(super) keepalive: Option<RawMethod>,
    pub(super) mask_call_id: Option<bool>,
    pub(super) early_media: Option<RawEarlyMedia>,
    pub(super) secure_media: Option<RawSecureMedia>,
    pub(super) ice: Option<RawIce>,
    pub(super) authentication: Option<RawAuthentication>,
    #[serde(default)]
    pub(super) dscp: RawDscp,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename = "Dscp", deny_unknown_fields, default)]
pub(super) struct RawDscp {
    pub(super) media: u8,
    pub(super) signaling: u8,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename = "Side")]
pub(super) enum RawSide {
    Access,
    Core,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename = "Listener")]
pub(super) enum RawListener {
    Udp(u16),
    Tcp(u16),
    Tls(u16),
    Ws(u16),
    Wss(u16),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename = "Large")]
pub(super) enum RawLarge {
    Udp,
    Tcp,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename = "EarlyMedia")]
pub(super) enum RawEarlyMedia {
    Pass,
    Backward,
    Block,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename = "SecureMedia")]
pub(super) enum RawSecureMedia {
    Pass,
    Refuse,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename = "Ice")]
pub(super) enum RawIce {
    Strip,
    Keep,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename = "Authentication")]
pub(super) enum RawAuthentication {
    Refuse,
    Strip,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "Tls", deny_unknown_fields)]
pub(super) struct RawTls {
    pub(super) certificate: String,
    pub(super) key: String,
    #[serde(default)]
    pub(super) also: Vec<(String, String)>,
    pub(super) clients: Option<String>,
    pub(super) roots: Option<RawRoots>,
}

/// A text, or a bare word that the check looks up in the text: `ron` does not tell it.
#[derive(Debug)]
pub(super) enum RawRoots {
    File(String),
    Word,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename = "KeepaliveMethod")]
pub(super) enum RawMethod {
    Options,
    Crlf,
    Off,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename = "Protocol")]
pub(super) enum RawProtocol {
    #[default]
    Sip,
    Mgcp,
    H248,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "Softswitch", deny_unknown_fields)]
pub(super) struct RawSoftswitch {
    pub(super) realm: String,
    #[serde(default)]
    pub(super) protocol: RawProtocol,
    pub(super) targets: Vec<RawTarget>,
    #[serde(default)]
    pub(super) sources: Vec<String>,
    pub(super) domain: Option<String>,
    pub(super) probe_s: Option<u64>,
    pub(super) patience_s: Option<u64>,
    #[serde(default)]
    pub(super) overload: bool,
}

/// A target as a record; a text is a record that has only `uri`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "Target", deny_unknown_fields)]
pub(super) struct RawServer {
    pub(super) uri: String,
    pub(super) priority: Option<u16>,
    pub(super) weight: Option<u16>,
    pub(super) name: Option<String>,
}

#[derive(Debug)]
pub(super) struct RawTarget(pub(super) RawServer);

#[derive(Debug, Deserialize)]
#[serde(rename = "Mapping", deny_unknown_fields)]
pub(super) struct RawMapping {
    pub(super) access: String,
    pub(super) softswitch: String,
    #[serde(default)]
    pub(super) domains: Vec<String>,
    #[serde(default)]
    pub(super) registration: RawRegistration,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "Registration", deny_unknown_fields, default)]
pub(super) struct RawRegistration {
    pub(super) way: RawWay,
    pub(super) terminal_s: u64,
    pub(super) registrar_s: u64,
    pub(super) shortest_s: u64,
    pub(super) absorb: bool,
    pub(super) survive: bool,
    pub(super) deregister: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename = "Way")]
pub(super) enum RawWay {
    #[default]
    Contact,
    Path,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "Keepalive", deny_unknown_fields, default)]
pub(super) struct RawKeepalive {
    pub(super) interval_s: u64,
    pub(super) misses: u32,
    /// 0: nothing is learned.
    pub(super) learn_max_s: u64,
}

impl Default for RawKeepalive {
    fn default() -> Self {
        Self { interval_s: 25, misses: 3, learn_max_s: 0 }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "Limits", deny_unknown_fields, default)]
pub(super) struct RawLimits {
    pub(super) sessions: Option<usize>,
    pub(super) bindings: Option<usize>,
    pub(super) contacts_per_aor: Option<usize>,
    pub(super) transactions: Option<usize>,
    pub(super) transactions_per_source: Option<usize>,
    pub(super) streams: Option<usize>,
    pub(super) streams_per_source: Option<usize>,
    pub(super) stream_idle_s: Option<u64>,
    pub(super) media_kbit: Option<u64>,
    pub(super) batch_us: Option<u64>,
    pub(super) session_expires_s: Option<u64>,
    pub(super) media_idle_s: Option<u64>,
    pub(super) setup_s: Option<u64>,
    pub(super) one_way_s: Option<u64>,
    pub(super) port_rest_s: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "Admin", deny_unknown_fields, default)]
pub(super) struct RawAdmin {
    /// `None` is no listener at all.
    pub(super) listen: Option<String>,
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self { listen: Some("127.0.0.1:9060".to_owned()) }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "Dns", deny_unknown_fields, default)]
pub(super) struct RawDns {
    /// Empty: those of the system.
    pub(super) servers: Vec<String>,
}

impl<'de> Deserialize<'de> for RawTarget {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TargetVisitor)
    }
}

struct TargetVisitor;

impl<'de> Visitor<'de> for TargetVisitor {
    type Value = RawTarget;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a target: \"10.0.0.20:5060\" or (uri: \"...\", priority: 1)")
    }

    fn visit_str<E: Error>(self, uri: &str) -> Result<Self::Value, E> {
        Ok(RawTarget(RawServer { uri: uri.to_owned(), ..RawServer::default() }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        RawServer::deserialize(MapAccessDeserializer::new(map)).map(RawTarget)
    }
}

impl<'de> Deserialize<'de> for RawRoots {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(RootsVisitor)
    }
}

struct RootsVisitor;

impl Visitor<'_> for RootsVisitor {
    type Value = RawRoots;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a file's name or System")
    }

    fn visit_str<E: Error>(self, file: &str) -> Result<Self::Value, E> {
        Ok(RawRoots::File(file.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(RawRoots::Word)
    }
}

/// A map in the order of the text, with its duplicates: they must be found, not lost.
#[derive(Debug)]
pub(super) struct Entries<T>(pub(super) Vec<(String, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map { \"name\": (...), }")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}
