//! What one registered terminal costs in memory.

mod support;

use portolan_shards::realm::{Keepalive, Mapping, Registration};
use std::time::Duration;
use support::registering::{Register, from, with};
use support::{Sent, World};

const TERMINALS: u32 = 10_000;
/// Terminals that register at one moment.
const BATCH: u32 = 500;
/// Portolan's own octets of a binding at most, tables and timers included. The goal is 1,024 with the allocator's.
const GOAL: i64 = 500;
/// Header lines of an answer that is to be repeated come on top, where a policy asks for that.
const ANSWER: i64 = 330;

fn register(world: &mut World, n: u32) -> Sent {
    let contact = format!(
        "<sip:user{n:05}@192.168.1.10:5060;transport=udp;ob>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-{n:012}>\""
    );
    let text = Register::new(&contact, 1).text().replace("alice", &format!("user{n:05}"));
    let text = text.replace("reg-1", &format!("{n:08}-call-id-of-a-phone@192.168.1.10"));
    let flow = from(&format!("203.0.{}.{}:40000", n / 250, n % 250));
    let up = world.deliver(0, flow, &text).remove(0);
    let lines = format!(
        "Contact: {};expires=3600\nService-Route: <sip:orig@10.0.0.21:5060;lr>\n\
         P-Associated-URI: <sip:user{n:05}@example.net>, <tel:+4930{n:07}>\n",
        up.header("Contact")
    );
    world.answers(&up, "200 OK", &lines)
}

/// Octets of the heap that a binding holds once its transaction is over.
fn octets(policy: Registration) -> i64 {
    let mapping = with(policy);
    // Nobody answers keepalives here.
    let keepalive = Keepalive { misses: 100, ..mapping.keepalive };
    let mut world = World::new(Mapping { keepalive, ..mapping });
    register(&mut world, TERMINALS);
    world.pass(Duration::from_secs(60));
    let mut world = Some(world);
    let info = allocation_counter::measure(|| {
        let Some(world) = &mut world else { return };
        for n in 0..TERMINALS {
            assert_eq!(register(world, n).status(), 200);
            // Transactions end, so that their table stays small.
            if n % BATCH == BATCH - 1 {
                drop(world.pass(Duration::from_secs(60)));
            }
        }
    });
    let bindings = world.as_mut().map_or(0, World::bindings);
    assert_eq!(bindings, u64::from(TERMINALS) + 1);
    info.bytes_current / i64::from(TERMINALS)
}

#[test]
fn a_binding_costs_less_than_a_kilobyte() {
    let plain = octets(Registration::default());
    let absorbing = octets(Registration { absorb: true, ..Registration::default() });
    println!("octets a binding: {plain}; with what an absorbed refresh repeats: {absorbing}");
    assert!(plain < GOAL && absorbing < GOAL + ANSWER, "{plain} {absorbing}");
}
