//! One stream of a session: what was offered, what was agreed, and what that means to the relay (RFC 3264).

use super::index;
use super::offer::{Role, Told, View};
use super::one_way::Seen;
use crate::media::{Description, EndPorts, Gate, StreamId};
use crate::types::Side;

pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) ports: [EndPorts; 2],
    /// Octets per second that it may carry each way.
    pub(super) granted: u64,
    /// What is agreed, of each side.
    pub(super) views: [Option<View>; 2],
    /// What a side has offered and the other has not answered. Both may at once (glare).
    pub(super) pending: [Option<View>; 2],
    /// What was agreed before an answer that is not final yet.
    pub(super) before: Option<[Option<View>; 2]>,
    /// An answer has removed it.
    pub(super) removed: bool,
    /// What was seen of it when it was last looked at.
    pub(super) seen: Seen,
    /// The description of the core side, by its version, that the terminal was shown as one that receives.
    coaxed: Option<u64>,
    /// That description was an offer: its answer must not say that the terminal sends.
    masked: bool,
}

impl Stream {
    pub(super) const fn new(id: StreamId, ports: [EndPorts; 2], pending: [Option<View>; 2]) -> Self {
        Self {
            id,
            ports,
            granted: 0,
            views: [None, None],
            pending,
            before: None,
            removed: false,
            seen: Seen::NOTHING,
            coaxed: None,
            masked: false,
        }
    }

    /// An offer arrived from `side`.
    pub(super) fn propose(&mut self, side: Side, view: View) {
        self.pending[index(side)] = Some(view);
    }

    /// An answer arrived from `side`: it and the offer of the other side take effect.
    pub(super) fn answer(&mut self, side: Side, view: View) {
        self.remember();
        self.removed = false;
        let offerer = index(side.other());
        if let Some(offer) = self.pending[offerer].take() {
            self.views[offerer] = Some(offer);
        }
        self.views[index(side)] = Some(view);
    }

    /// An answer of port 0 arrived.
    pub(super) fn remove(&mut self) {
        self.remember();
        self.removed = true;
        self.pending = [None, None];
    }

    /// What `side` has offered is not to be.
    pub(super) fn withdraw(&mut self, side: Side) {
        if self.pending[index(side)].take().is_some() {
            return;
        }
        if let Some(before) = self.before.take() {
            self.views = before;
            self.removed = false;
        }
    }

    /// Is there nothing agreed and nothing offered?
    pub(super) fn is_unused(&self) -> bool {
        self.views.iter().chain(&self.pending).all(Option::is_none)
    }

    fn remember(&mut self) {
        if self.before.is_none() {
            self.before = Some(self.views.clone());
        }
    }

    /// What the other side must be told of a description from `side`, which is not yet taken over. A terminal that may
    /// be behind NAT cannot be reached before it has sent something, so until it is latched it is never told that
    /// nobody listens; the same version of a description is always shown in the same way (RFC 3264 section 8).
    pub(super) fn told(&mut self, side: Side, role: Role, view: &View, latched: bool) -> Told {
        let offerer = index(side.other());
        let offer = self.pending[offerer].as_ref().or(self.views[offerer].as_ref());
        let mux = role == Role::Offer || offer.is_some_and(|offer| offer.mux);
        let either = if role == Role::Answer {
            offer.is_some_and(|offer| offer.either_role)
        } else {
            view.either_role
        };
        let mut told = Told { sends: view.sends, receives: view.receives, mux, terminal_leads: either };
        if side == Side::Access {
            told.sends &= role == Role::Offer || !self.masked;
            return told;
        }
        let willing = role == Role::Offer || offer.is_some_and(|offer| offer.sends);
        let deaf = view.rtp_profile && !view.receives && !view.held && willing;
        let coax = deaf && (!latched || self.coaxed == Some(view.version));
        told.receives |= coax;
        self.coaxed = coax.then_some(view.version);
        if role == Role::Offer {
            self.masked = coax;
        }
        told
    }

    /// Which way media may flow, by the direction attributes of both views. Whoever offers to change them hears at once
    /// what it offers to hear: media may overtake the answer (RFC 3264 section 8).
    pub(super) fn gate(&self, open: bool) -> Gate {
        let [Some(access), Some(core)] = &self.views else { return Gate::CLOSED };
        let open = open && !self.removed;
        let hears = |view: &View| view.receives && !view.held;
        let ready = |side: Side| self.pending[index(side)].as_ref().is_some_and(hears);
        Gate {
            a_to_b: open && (access.sends && hears(core) || ready(Side::Core)),
            b_to_a: open && (core.sends && hears(access) || ready(Side::Access)),
        }
    }

    /// Is it RTP, as agreed?
    pub(super) fn is_rtp(&self) -> bool {
        self.views.iter().flatten().all(|view| view.rtp_profile)
    }

    /// What the relay must know about the peer on `side`.
    ///
    /// A peer sends what the other one declared, and in practice also what it declared itself: both are admitted.
    pub(super) fn description(&self, side: Side) -> Option<Description> {
        let [Some(access), Some(core)] = &self.views else { return None };
        let (view, other) = if index(side) == 0 { (access, core) } else { (core, access) };
        let mux = access.mux && core.mux;
        Some(Description {
            rtp: view.rtp,
            rtcp: if mux { view.rtp } else { view.rtcp },
            mux,
            payload_types: [0, 1].map(|n| access.payload_types[n] | core.payload_types[n]),
            ptime: access.ptime.min(core.ptime),
            rate: if other.capped { other.rate } else { view.rate.larger(other.rate) },
            rtp_profile: view.rtp_profile,
            formats: access.formats.and(&core.formats),
            secure: access.secure && core.secure,
            ice: access.ice && core.ice,
            dtls: access.dtls && core.dtls,
            trusted: side == Side::Core,
            ..Description::default()
        })
    }
}
