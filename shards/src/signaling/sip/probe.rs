//! Asking servers whether they serve: an OPTIONS to each, now and then (RFC 3261 section 11).

use super::hop::{Ours, own_via};
use super::request::Upstream;
use super::transaction::Own;
use super::{Sip, Wake};
use crate::realm::{Server, Softswitch};
use crate::signaling::Cx;
use crate::types::Side;
use std::sync::Arc;
use std::time::Duration;

/// A server that is asked.
#[derive(Clone)]
pub(super) struct Probed {
    softswitch: Arc<Softswitch>,
    server: Server,
    interval: Duration,
}

impl Sip {
    /// Ask the servers of this generation from now on, each at another moment of its interval.
    pub(super) fn plan_probes(&mut self, cx: &mut Cx<'_>) {
        let plan = self.servers.plan(cx.mapping.softswitches.iter().flat_map(probed).collect());
        for (at, Probed { interval, .. }) in (0..).zip(self.servers.planned()) {
            let first = Duration::from_nanos(cx.rng.below((interval.as_nanos() as u64).max(1)));
            self.timers.schedule(cx.now + first, Wake::Probe { plan, at });
        }
    }

    /// Ask one server; nothing if the plan has changed since.
    pub(super) fn probe(&mut self, cx: &mut Cx<'_>, plan: u32, at: u32) {
        let Some(Probed { softswitch, server, interval }) = self.servers.due(plan, at) else { return };
        self.timers.schedule(cx.now + interval, Wake::Probe { plan, at });
        let Some(core) = cx.mapping.realm(softswitch.realm).cloned() else { return };
        let patience = softswitch.patience.min(interval);
        let upstream = Upstream { access: core.clone(), core, softswitch };
        let (flow, _) = upstream.flow_to(cx, &server);
        let (tag, host) = (cx.rng.u64(), upstream.softswitch.host());
        let write = |ours: Ours, branch: &str| {
            let via = own_via(ours.toward(&upstream.softswitch), branch);
            format!(
                "OPTIONS sip:{host} SIP/2.0\r\n{via}Max-Forwards: 70\r\nFrom: <sip:{}>;tag={tag:016x}\r\n\
                 To: <sip:{host}>\r\nCall-ID: {tag:016x}{at:04x}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
                ours.address
            )
            .into_bytes()
        };
        self.send_own(cx, flow, Side::Core, Own::Probe(server), patience, write);
    }
}

fn probed(softswitch: &Arc<Softswitch>) -> Vec<Probed> {
    let Some(interval) = softswitch.probe else { return Vec::new() };
    let one = |server: &Server| Probed { softswitch: softswitch.clone(), server: server.clone(), interval };
    softswitch.targets.iter().map(one).collect()
}
