//! What one call costs in memory: everything of Portolan's own, signaling and media.

mod support;

use portolan_shards::io::Verdict;
use portolan_shards::limits::Limits;
use portolan_shards::realm::{Mapping, PortRange};
use std::sync::Arc;
use std::time::Duration;
use support::call::{NAT_MEDIA, core_request, invite, port, request, response, sdp, sent_to, totals};
use support::{ACCESS, CORE, NAT, Sent, World, mapping, rtp};

const CALLS: u32 = 10_000;
/// Calls that are set up at one moment.
const BATCH: u32 = 500;
/// Goal for Portolan's own octets of a call: dialog, session, streams and ports, tables and timers included.
const GOAL: i64 = 8 * 1024;
const CORE_MEDIA: &str = "10.0.0.20:30000";

fn wide() -> Mapping {
    let mut mapping = mapping(1);
    for realm in &mut mapping.realms {
        Arc::make_mut(realm).media = PortRange { first: 1_024, last: 65_535 };
    }
    Mapping { limits: Limits { media_idle: Duration::from_secs(100_000), ..Limits::default() }, ..mapping }
}

/// What a phone of today says in its offer.
const PHONE: &str =
    "a=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\na=ptime:20\na=sendrecv\n";

/// One call set up and acknowledged; its INVITE as the softswitch saw it, and the ports of the access and the core side.
fn set_up(world: &mut World, n: u32) -> (Sent, [u16; 2]) {
    let unique = |text: &str| {
        text.replace("call-1", &format!("{n:08}-call-id-of-a-phone@192.168.1.10"))
            .replace("z9hG4bK", &format!("z9hG4bK{n:08}"))
            .replace("tag=a", &format!("tag=a{n:08}"))
            .replace("alice", &format!("user{n:05}"))
    };
    let offer = invite(Some(&sdp("192.168.1.10:5004", PHONE)));
    let up = sent_to(world.terminal_sends(NAT, &unique(&offer)), CORE);
    let local = up.flow.local.to_string();
    let tag = format!("b{n:08}");
    world.core_sends(&local, &response(&up, "180 Ringing", &tag, None));
    let down = world.core_sends(&local, &response(&up, "200 OK", &tag, Some(&sdp(CORE_MEDIA, ""))));
    let down = sent_to(down, ACCESS);
    let ack = request(&down, "ACK", 1, None).replace("z9hG4bK", &format!("z9hG4bK{n:08}"));
    let ack = ack.replace("Call-ID: call-1", &format!("Call-ID: {}", down.header("Call-ID")));
    let ack = ack.replace("tag=a\n", &format!("tag=a{n:08}\n"));
    assert!(!world.terminal_sends(NAT, &ack).is_empty(), "the ACK passes");
    let ports = [port(&down, 0), port(&up, 0)];
    (up, ports)
}

/// Octets of the heap that a call holds, just set up and when its transactions are over.
fn octets() -> [i64; 2] {
    let mut world = World::new(wide());
    let (first, _) = set_up(&mut world, CALLS);
    world.pass(Duration::from_secs(60));
    let mut fresh = 0;
    let info = allocation_counter::measure(|| {
        for n in 0..CALLS {
            let batch = n % BATCH == BATCH - 1;
            let last = allocation_counter::measure(|| {
                let (_, [access, core]) = set_up(&mut world, n);
                for sequence in 0..2 {
                    let from = NAT_MEDIA.replace("51000", &(1_024 + n).to_string());
                    let up = world.media(ACCESS, access, &from, &rtp(sequence, n));
                    let down = world.media(CORE, core, CORE_MEDIA, &rtp(sequence, n));
                    let both = [up, down].iter().all(|verdict| matches!(verdict, Verdict::Forward { .. }));
                    assert!(sequence == 0 || both, "call {n} has no media: {up:?} {down:?}");
                }
            });
            fresh += last.bytes_current;
            if batch {
                drop(world.pass(Duration::from_secs(60)));
            }
        }
    });
    assert_eq!(totals(&mut world), (u64::from(CALLS) + 1, 4 * (u64::from(CALLS) + 1)));
    let bye = core_request(&first, &format!("b{CALLS:08}"), "BYE", 1, None);
    let bye = bye.replace("Call-ID: call-1", &format!("Call-ID: {}", first.header("Call-ID")));
    assert!(!world.core_sends(&first.flow.local.to_string(), &bye).is_empty(), "the first call is there");
    [fresh / i64::from(CALLS), info.bytes_current / i64::from(CALLS)]
}

#[test]
fn a_call_costs_less_than_eight_kilobytes() {
    let [fresh, rest] = octets();
    println!("octets a call: {fresh} when it is set up, {rest} when its transactions are over");
    assert!(rest < GOAL, "{rest}");
}
