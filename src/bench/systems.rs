//! Full systems under test: signaling and relay together.

use super::place::Site;
use super::process::{Peer, program};
use super::relays::rtpengine;
use anyhow::Context;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Processes that serve calls, and where callers send.
pub(super) struct System {
    peers: Vec<Peer>,
    pub(super) proxy: SocketAddr,
}

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Portolan,
    KamailioRtpengine,
}

impl Kind {
    pub(super) fn start(self, site: &Site, home: &Path) -> anyhow::Result<System> {
        match self {
            Self::Portolan => portolan(site, home).map(|(peer, proxy)| System { peers: vec![peer], proxy }),
            Self::KamailioRtpengine => kamailio(site, home),
        }
    }
}

impl System {
    /// Processor time of all its processes so far.
    pub(super) fn cpu(&self) -> Duration {
        self.peers.iter().map(Peer::cpu).sum()
    }

    pub(super) fn must_live(&mut self) -> anyhow::Result<()> {
        self.peers.iter_mut().try_for_each(Peer::must_live)
    }
}

/// This very program, from the shipped loopback configuration with its own addresses and more ports.
pub(super) fn portolan(site: &Site, home: &Path) -> anyhow::Result<(Peer, SocketAddr)> {
    let (access, core, softswitch) = (site.ip(1), site.ip(2), site.at(3, 5060));
    let text = format!(
        "(\n    shards: Count({}),\n    realms: {{\n        \"access\": (side: Access, address: \"{access}\", \
         sip: [Udp(5060)], media: (32768, 65535)),\n        \"core\": (side: Core, address: \"{core}\", \
         sip: [Udp(5060)], per_shard: 6000, media: (32768, 65535)),\n    }},\n    softswitches: {{\"softswitch\": \
         (realm: \"core\", targets: [\"{softswitch}\"], domain: \"example.net\")}},\n    mappings: [(access: \
         \"access\", softswitch: \"softswitch\")],\n    limits: ({}),\n    admin: (listen: None),\n)\n",
        site.shards,
        site.batch_us.map(|us| format!("batch_us: {us}")).unwrap_or_default()
    );
    let file = home.join("portolan.ron");
    std::fs::write(&file, text).context("cannot write a configuration")?;
    let program = std::env::current_exe().context("where is this program?")?;
    let arguments = ["run", "-f", &file.display().to_string(), "--drain-seconds", "0"].map(Into::into);
    let listening = site.at(1, 5060);
    let peer = site.beside(|| Peer::start(&program, &arguments, home, listening))?;
    Ok((peer, listening))
}

/// Kamailio with one worker in front of rtpengine: the same tasks as Portolan's, as its own examples do them.
const KAMAILIO: &str = r#"#!KAMAILIO
debug=-1
log_stderror=yes
fork=yes
children=1
auto_aliases=no
disable_tcp=yes
dns=no
rev_dns=no
listen=udp:@PROXY@
mpath="@MODULES@"
loadmodule "pv.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "nathelper.so"
loadmodule "rtpengine.so"
modparam("rtpengine", "rtpengine_sock", "udp:@NG@")
modparam("tm", "failure_reply_mode", 3)

request_route {
    if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
    force_rport();
    if (has_totag()) {
        if (!loose_route()) { exit; }
        if (is_method("BYE")) { rtpengine_delete(); }
        t_relay();
        exit;
    }
    if (!is_method("INVITE")) { sl_send_reply("405", "Method Not Allowed"); exit; }
    fix_nated_contact();
    record_route();
    rtpengine_offer("replace-origin replace-session-connection ICE=remove");
    $du = "sip:@CALLEE@";
    t_on_reply("ANSWER");
    t_relay();
}

onreply_route[ANSWER] {
    fix_nated_contact();
    if (has_body("application/sdp")) {
        rtpengine_answer("replace-origin replace-session-connection ICE=remove");
    }
}
"#;

fn kamailio(site: &Site, home: &Path) -> anyhow::Result<System> {
    let (relay, control) = rtpengine(site, home, 5)?;
    let proxy = site.at(6, 5060);
    let text = KAMAILIO
        .replace("@PROXY@", &proxy.to_string())
        .replace("@NG@", &control.to_string())
        .replace("@CALLEE@", &site.at(3, 5060).to_string())
        .replace("@MODULES@", &modules()?);
    let file = home.join("kamailio.cfg");
    std::fs::write(&file, text).context("cannot write a configuration")?;
    let arguments = ["-DD", "-E", "-Y", ".", "-f", &file.display().to_string()].map(Into::into);
    let peer = site.beside(|| Peer::start(&program("kamailio")?, &arguments, home, proxy))?;
    Ok(System { peers: vec![relay, peer], proxy })
}

/// Where Debian puts Kamailio's modules: a directory named for the machine.
fn modules() -> anyhow::Result<String> {
    let machines =
        std::fs::read_dir("/usr/lib")?.flatten().map(|entry| entry.path().join("kamailio/modules"));
    let found = machines.into_iter().find(|path| path.join("rtpengine.so").is_file());
    Ok(found.context("Kamailio's rtpengine module is not installed")?.display().to_string())
}
