//! The configuration as it is written: the RON schema, before anything is checked.

use serde::de::{MapAccess, Visitor};
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
    pub(super) per_shard: Option<u16>,
    pub(super) media: (u16, u16),
    pub(super) learn_net: Option<bool>,
    pub(super) keepalive: Option<RawMethod>,
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
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename = "KeepaliveMethod")]
pub(super) enum RawMethod {
    Options,
    Crlf,
    Off,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "Softswitch", deny_unknown_fields)]
pub(super) struct RawSoftswitch {
    pub(super) realm: String,
    pub(super) targets: Vec<String>,
    #[serde(default)]
    pub(super) sources: Vec<String>,
    pub(super) domain: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "Mapping", deny_unknown_fields)]
pub(super) struct RawMapping {
    pub(super) access: String,
    pub(super) softswitch: String,
    #[serde(default)]
    pub(super) domains: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "Keepalive", deny_unknown_fields, default)]
pub(super) struct RawKeepalive {
    pub(super) interval_s: u64,
    pub(super) misses: u32,
}

impl Default for RawKeepalive {
    fn default() -> Self {
        Self { interval_s: 25, misses: 3 }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "Limits", deny_unknown_fields, default)]
pub(super) struct RawLimits {
    pub(super) sessions: Option<usize>,
    pub(super) bindings: Option<usize>,
    pub(super) contacts_per_aor: Option<usize>,
    pub(super) transactions: Option<usize>,
    pub(super) media_idle_s: Option<u64>,
    pub(super) setup_s: Option<u64>,
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
