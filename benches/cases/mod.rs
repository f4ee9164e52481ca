//! The operations that are measured, one function each, shared by the criterion benches and the instruction counts.
//! Every operation checks that it did what its name says.
#![allow(dead_code, reason = "each bench uses the part it needs")]

mod media;
mod sip;

/// Something done many times.
pub(crate) struct Case {
    /// Its name in reports and in `benches/instructions.json`.
    pub(crate) name: &'static str,
    /// What one time is.
    pub(crate) what: &'static str,
    /// Everything that is needed for so many times; what comes back does it once.
    pub(crate) prepare: fn(times: u16) -> Box<dyn FnMut()>,
}

/// All of them, media first.
pub(crate) const CASES: &[Case] = &[
    Case { name: "relay_rtp", what: "an RTP packet of the latched peer is forwarded", prepare: media::rtp },
    Case { name: "relay_rtcp", what: "a receiver report is forwarded", prepare: media::rtcp },
    Case { name: "relay_stranger", what: "a stranger's packet is dropped", prepare: media::stranger },
    Case {
        name: "relay_policed",
        what: "a packet beyond the admitted rate is dropped",
        prepare: media::policed,
    },
    Case { name: "latch_first", what: "the first packet of a stream is forwarded", prepare: media::first },
    Case { name: "policer", what: "a packet is asked for and charged", prepare: media::policer },
    Case {
        name: "dispatch",
        what: "an INVITE is handed to the shard of its Call-ID",
        prepare: sip::dispatch,
    },
    Case { name: "scan_register", what: "a REGISTER is read", prepare: sip::scan_register },
    Case { name: "scan_invite", what: "an INVITE is read, and its description", prepare: sip::scan_invite },
    Case { name: "splice_register", what: "a REGISTER is read and rewritten", prepare: sip::splice_register },
    Case {
        name: "splice_invite",
        what: "an INVITE with a description is read and rewritten",
        prepare: sip::splice_invite,
    },
];
