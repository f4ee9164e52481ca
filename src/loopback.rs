//! The embedded loopback configuration, as `demo` and `bench` want it: on other addresses, with other transports.

use crate::mapping::{Loaded, Loader, Machine};
use crate::process::LOOPBACK;
use anyhow::{Context, anyhow};
use portolan_loadgen::tls::Tls;
use portolan_shards::sim::plan::Speech;
use portolan_shards::types::{Proto, Transport};
use std::fs;
use tempfile::TempDir;

/// A configuration, loaded, and what it needs as long as it is used.
pub(crate) struct Loopback {
    pub(crate) loaded: Loaded,
    /// Whom the terminals and the softswitch trust, and what the softswitch shows.
    pub(crate) tls: Tls,
    _certificate: Option<TempDir>,
}

/// What to change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// What everybody speaks.
    pub(crate) speech: Speech,
    /// First two octets of all addresses.
    pub(crate) network: &'a str,
    /// More than there are cores share them.
    pub(crate) shards: u16,
    /// What terminals may speak besides UDP.
    pub(crate) access: Transport,
    /// What the softswitch speaks.
    pub(crate) core: Transport,
    /// Seconds between two keepalives.
    pub(crate) keepalive: Option<u32>,
}

/// The port of the access realm that terminals reach by this transport.
pub(crate) fn access_port(speech: Speech, transport: Transport) -> u16 {
    if speech == Speech::Sip { transport.default_port() } else { speech.access_port() }
}

/// The changed configuration. TLS comes with a certificate made for the occasion.
pub(crate) fn loopback(wanted: Wanted<'_>) -> anyhow::Result<Loopback> {
    let secure = wanted.access == Transport::Tls || wanted.core == Transport::Tls;
    let made = if secure { Some(certificate(wanted.network)?) } else { None };
    let (tls, directory) = made.map_or_else(|| (Tls::default(), None), |(tls, dir)| (tls, Some(dir)));
    let machine = Machine::probe();
    let cores = machine.cores.iter().copied().cycle().take(wanted.shards.into()).collect();
    let text = text(wanted, &tls);
    let loaded = Loader::new(Machine { cores, ..machine }).parse(&text, "loopback.ron (embedded)");
    let loaded = loaded.map_err(|errors| anyhow!("bad configuration\n{errors}"))?;
    Ok(Loopback { loaded, tls, _certificate: directory })
}

fn text(wanted: Wanted<'_>, tls: &Tls) -> String {
    let mut text = LOOPBACK.replace("\"127.0.", &format!("\"{}.", wanted.network));
    match wanted.speech.proto() {
        Proto::Sip => {}
        Proto::Mgcp => text = mgcp(&text),
        Proto::H248 => return h248(&text, wanted),
    }
    let files = tls
        .certificate
        .as_ref()
        .map(|(chain, key)| format!(", tls: (certificate: {chain:?}, key: {key:?}, roots: {chain:?})"));
    let files = files.unwrap_or_default();
    let listeners = match wanted.access {
        Transport::Tls => format!("[Udp(5060), Tls(5061)]{files}"),
        Transport::Tcp => "[Udp(5060), Tcp(5060)]".into(),
        _ => "[Udp(5060)]".into(),
    };
    text = text.replacen("[Udp(5060)]", &listeners, 1);
    if wanted.core == Transport::Tls {
        text = text.replacen("per_shard: 6000", &format!("per_shard: 6000, per_shard_tls: 6100{files}"), 1);
    }
    if wanted.core != Transport::Udp {
        let (network, transport) = (wanted.network, wanted.core.param());
        let (plain, other) =
            (format!("{network}.3.1:5060"), format!("sip:{network}.3.1:5060;transport={transport}"));
        text = text.replacen(&plain, &other, 1);
    }
    let keepalive =
        wanted.keepalive.map(|seconds| format!("keepalive: (interval_s: {seconds}),\n    admin:"));
    keepalive.map_or(text.clone(), |keepalive| text.replacen("admin:", &keepalive, 1))
}

/// The same where gateways speak MGCP.
fn mgcp(text: &str) -> String {
    let softswitch = "protocol: Mgcp, realm: \"core\", targets";
    text.replace("sip: [Udp(5060)], per_shard: 6000", "mgcp: [Udp(2427)], per_shard_mgcp: 6200")
        .replace("sip: [Udp(5060)]", "mgcp: [Udp(2427)]")
        .replace("realm: \"core\", targets", softswitch)
        .replace("3.1:5060\"", "3.1:2727\"")
        .replace("example.net", "gw.example.net")
}

/// The same where gateways speak H.248.
fn h248(text: &str, wanted: Wanted<'_>) -> String {
    let softswitch = "protocol: H248, realm: \"core\", targets";
    let carried = if wanted.core == Transport::Tcp { ";transport=tcp" } else { "" };
    text.replace("sip: [Udp(5060)], per_shard: 6000", "gateways: (14000, 15999)")
        .replace("sip: [Udp(5060)]", "h248: [Udp(2944), Tcp(2944)]")
        .replace("realm: \"core\", targets", softswitch)
        .replace("3.1:5060\"", &format!("3.1:2944{carried}\""))
        .replace(", domain: \"example.net\"", "")
}

/// A certificate for the access address and the softswitch, which both sides trust because they are told to.
fn certificate(network: &str) -> anyhow::Result<(Tls, TempDir)> {
    let names = ["1.1", "2.1", "3.1"].map(|rest| format!("{network}.{rest}"));
    let made = rcgen::generate_simple_self_signed(names).context("cannot make a certificate")?;
    let directory = tempfile::tempdir().context("cannot make a directory for the certificate")?;
    let (chain, key) = (directory.path().join("chain.pem"), directory.path().join("key.pem"));
    fs::write(&chain, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;
    let tls = Tls { ca: Some(chain.clone()), certificate: Some((chain, key)), ..Tls::default() };
    Ok((tls, directory))
}
