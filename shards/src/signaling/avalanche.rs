//! Restarts of gateways, and how many of them a call agent or controller is sent at a time.

use crate::realm::Softswitch;
use crate::types::Instant;
use std::sync::Arc;
use std::time::Duration;

/// Restarts that one shard sends to one call agent at once, and then in each second: after a power cut all gateways
/// restart together (RFC 3435 section 4.4.6, RFC 3525 section 9.2), and each repeats what was not sent on.
const BURST: u32 = 400;
const EACH_SECOND: u32 = 200;

/// Tokens for the restarts that are sent to each call agent.
#[derive(Default)]
pub(super) struct Avalanche {
    buckets: Vec<(Arc<str>, Bucket)>,
}

struct Bucket {
    tokens: u32,
    since: Instant,
}

impl Avalanche {
    /// May one more restart go to this call agent now?
    pub(super) fn lets_pass(&mut self, now: Instant, agent: &str) -> bool {
        let at = self.buckets.iter().position(|(name, _)| **name == *agent);
        let at = at.unwrap_or_else(|| {
            self.buckets.push((agent.into(), Bucket { tokens: BURST, since: now }));
            self.buckets.len() - 1
        });
        self.buckets[at].1.take(now)
    }

    /// Forget call agents that are no longer configured.
    pub(super) fn retain(&mut self, softswitches: &[Arc<Softswitch>]) {
        self.buckets.retain(|(name, _)| softswitches.iter().any(|s| *s.name == **name));
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let each = Duration::from_secs(1) / EACH_SECOND;
        let more = ((now - self.since).as_nanos() / each.as_nanos()).min(u128::from(BURST)) as u32;
        self.since = if more >= BURST { now } else { self.since + each * more };
        self.tokens = (self.tokens + more).min(BURST);
        let passes = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        passes
    }
}
