//! Who plays in a world: subscribers and their softswitch, by what they speak.

use super::endpoint::{Subscriber, Switch};
use super::gateway::{Controller, ControllerConfig, Gateway, GatewayConfig, Language};
use super::leak::Watch;
use super::plan::{Names, Phone, Plan, Speech, part};
use super::softswitch::{Challenge, Softswitch, SoftswitchConfig};
use super::spec::Answering;
use super::terminal::{Terminal, TerminalConfig};
use super::topology::{self, SOFTSWITCH, Topology};
use crate::types::Side;
use std::net::SocketAddr;
use std::time::Duration;

/// The softswitch of a plan.
pub(super) fn switch(plan: &Plan) -> Box<dyn Switch> {
    match plan.speech {
        Speech::Sip => Box::new(softswitch(plan)),
        Speech::Gateways(language) => Box::new(controller(plan, language)),
    }
}

/// The subscribers of a plan.
pub(super) fn subscribers(plan: &Plan, topology: &Topology) -> Vec<Box<dyn Subscriber>> {
    let all = plan.phones.iter().zip(&topology.phones).enumerate();
    all.map(|(index, (phone, &(_, address)))| subscriber(plan, index, phone, address)).collect()
}

/// The name of a subscriber.
pub(super) fn user(phone: usize) -> String {
    format!("u{phone}")
}

fn subscriber(plan: &Plan, index: usize, phone: &Phone, address: SocketAddr) -> Box<dyn Subscriber> {
    let proxy = if address.is_ipv6() { topology::ACCESS6 } else { topology::ACCESS };
    let proxy = SocketAddr::new(proxy, plan.speech.access_port());
    let seed = seed(plan, &format!("phone {index}"));
    let answering = Answering {
        answer_after: phone.answer_after,
        refuse: phone.busy.then_some(486),
        ..Answering::default()
    };
    match plan.speech {
        Speech::Sip => {
            let config = TerminalConfig {
                expires: phone.expires,
                answering,
                watch: secrets(Side::Core),
                ..TerminalConfig::new(user(index), address, proxy)
            };
            Box::new(Terminal::new(config, seed))
        }
        Speech::Gateways(language) => {
            let plain = GatewayConfig::new(language, index as u32, address, proxy);
            let name = match plan.sites[phone.site].names {
                Names::Addresses => plain.name.clone(),
                Names::Alike => language.name("[192.168.1.1]"),
                Names::Own => language.name(&format!("gw{index}.example.org")),
            };
            let config = GatewayConfig { name, answering, watch: secrets(Side::Core), ..plain };
            Box::new(Gateway::new(config, seed))
        }
    }
}

fn controller(plan: &Plan, language: Language) -> Controller {
    let config = ControllerConfig {
        gateways: language.shared(SocketAddr::new(topology::CORE, language.gateway_port())),
        answering: Answering { answer_after: Duration::from_millis(300), ..Answering::default() },
        watch: secrets(Side::Access),
        ..ControllerConfig::new(language, SocketAddr::new(SOFTSWITCH, language.controller_port()))
    };
    Controller::new(config, seed(plan, "softswitch"))
}

fn softswitch(plan: &Plan) -> Softswitch {
    let config = SoftswitchConfig {
        challenge: if plan.challenge { Challenge::Everything } else { Challenge::Nobody },
        watch: secrets(Side::Access),
        answering: Answering { answer_after: Duration::from_millis(300), ..Answering::default() },
        ..SoftswitchConfig::new(SocketAddr::new(SOFTSWITCH, plan.speech.core_port()))
    };
    Softswitch::new(config, seed(plan, "softswitch"))
}

/// The addresses of a side, which nobody on the other one may see.
fn secrets(side: Side) -> Watch {
    let nets: &[&str] = match side {
        Side::Access => &["192.168.0.0/16", "100.64.0.0/10", "203.0.113.0/24", "198.51.100.0/24"],
        Side::Core => &["10.0.0.0/8"],
    };
    Watch::new(nets.iter().filter_map(|net| net.parse().ok()))
}

fn seed(plan: &Plan, name: &str) -> [u8; 32] {
    let mut seed = [0; 32];
    part(plan.seed, name).fill(&mut seed);
    seed
}
