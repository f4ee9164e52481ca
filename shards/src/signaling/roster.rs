//! Gateways of a shard, whatever they speak: who is known where, how it stands with each, and what becomes of a message in
//! the name of a known one that comes from elsewhere.
//!
//! Such a message is of a new gateway, of another one of the same name, or of one that its NAT has moved. Nobody takes the
//! place of a gateway that still answers. Only those are asked that a softswitch has accepted: the others might be anybody's
//! address.

use super::Cx;
use crate::random::{Keyed, Rng};
use crate::realm::{Realm, Softswitch};
use crate::table::{Key, Table};
use crate::types::{Flow, Instant};
use bytes::Bytes;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long the known gateways of a name have to answer when a message of that name comes from elsewhere.
const EXAMINATION: Duration = Duration::from_secs(2);
/// A gateway that no softswitch has accepted is forgotten after this long.
pub(super) const UNPROVEN: Duration = Duration::from_secs(60);
/// A gateway that is down, and has nothing to do, is forgotten after this long.
const GONE: Duration = Duration::from_secs(3600);
/// Gateways of one name at one place.
const MAX_NAMESAKES: usize = 64;
/// Of them, those that no softswitch has accepted yet.
const MAX_UNPROVEN: usize = 4;

/// How it stands with a gateway.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    /// The softswitch has accepted something of it.
    pub(super) proven: bool,
    /// It has answered something that went to its flow: it is there, and has not only been named.
    pub(super) reached: bool,
    /// It has answered nothing for too long, or its connection has ended.
    pub(super) down: bool,
    /// The softswitch was told that it is gone.
    pub(super) ended: bool,
    /// Its realm or its softswitch is no longer configured.
    pub(super) leaving: bool,
    /// When it was last heard by its flow.
    pub(super) heard: Instant,
    /// Questions that it has not answered since.
    misses: u32,
}

/// A gateway, as far as its roster must know it.
pub(super) trait Member {
    /// Who it is, as far as its messages tell: gateways of one place are told apart by where they send from.
    type Place: Clone + Eq + Hash;

    /// Where it belongs.
    fn place(&self) -> &Self::Place;

    /// How it is reached.
    fn flow(&self) -> &Flow;

    /// How it stands with it.
    fn standing(&self) -> &Standing;
}

/// All gateways of one place, and who came from elsewhere.
#[derive(Default)]
struct Family {
    members: SmallVec<[Key; 1]>,
    suspect: Option<Suspect>,
}

/// Somebody who came from elsewhere: a gateway that has moved, or another one of the same name.
pub(super) struct Suspect {
    pub(super) flow: Flow,
    /// The message.
    pub(super) words: Bytes,
    /// Known gateways of the name that have not answered since.
    silent: SmallVec<[Key; 1]>,
    /// Until when they may.
    until: Instant,
}

/// What to do with a message from an unknown flow.
pub(super) enum Claim {
    /// It is of this gateway, which was down.
    Moved(Key),
    /// Nobody of that name has been accepted by a softswitch.
    New,
    /// It waits; these are to be asked whether they live, and have until then.
    Examine(SmallVec<[Key; 1]>, Instant),
    /// It waits, as its sender does already.
    Waits,
    /// Another one is being examined.
    Busy,
}

/// What came of an examination.
pub(super) enum Decision {
    /// It is this gateway.
    Moved(Key),
    /// It is one more of the name.
    Another,
    /// It may not take the place of the one that is silent.
    Refused,
}

/// The gateways of a shard.
pub(super) struct Roster<G: Member> {
    table: Table<G>,
    families: HashMap<G::Place, Family, Keyed>,
}

impl Standing {
    /// Known since now.
    pub(super) fn new(now: Instant) -> Self {
        Self { heard: now, ..Self::default() }
    }

    /// It was heard by its flow.
    pub(super) const fn hear(&mut self, now: Instant) {
        (self.heard, self.misses, self.down) = (now, 0, false);
    }

    /// It has not answered a question; true when it is down since this one.
    pub(super) const fn miss(&mut self, most: u32) -> bool {
        self.misses += 1;
        let goes = self.misses >= most && !self.down;
        self.down |= goes;
        goes
    }

    /// May one that has nothing to do be forgotten?
    pub(super) fn is_gone(&self, now: Instant) -> bool {
        self.leaving || self.down && now - self.heard >= GONE
    }
}

impl<G: Member> Roster<G> {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self { table: Table::default(), families: HashMap::with_hasher(Keyed::new(rng)) }
    }

    /// Is there room for one more of this place, where there may be so many in all?
    pub(super) fn has_room(&self, place: &G::Place, most: usize) -> bool {
        self.table.len() < most && self.members(place).len() < MAX_NAMESAKES
    }

    /// Have enough of this place come whom nobody has accepted?
    pub(super) fn is_tried(&self, place: &G::Place) -> bool {
        let unproven = |key: &&Key| self.get(**key).is_some_and(|gateway| !gateway.standing().proven);
        self.members(place).iter().filter(unproven).count() >= MAX_UNPROVEN
    }

    pub(super) fn insert(&mut self, gateway: G) -> Key {
        let place = gateway.place().clone();
        let key = self.table.insert(gateway);
        self.families.entry(place).or_default().members.push(key);
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<G> {
        let gone = self.table.remove(key)?;
        if let Some(family) = self.families.get_mut(gone.place()) {
            family.members.retain(|member| *member != key);
            if family.members.is_empty() {
                self.families.remove(gone.place());
            }
        }
        Some(gone)
    }

    pub(super) fn get(&self, key: Key) -> Option<&G> {
        self.table.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut G> {
        self.table.get_mut(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &G)> {
        self.table.iter()
    }

    /// All of them, to change or remove some on the way.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.iter().map(|(key, _)| key).collect()
    }

    /// The gateway of this place that sends from there.
    pub(super) fn at(&self, place: &G::Place, flow: &Flow) -> Option<Key> {
        let sends = |key: &Key| self.get(*key).is_some_and(|gateway| gateway.flow().same_path(flow));
        self.members(place).iter().copied().find(sends)
    }

    /// Gateways that a softswitch has accepted and that are not down.
    pub(super) fn serving(&self) -> usize {
        let serves = |gateway: &G| gateway.standing().proven && !gateway.standing().down;
        self.iter().filter(|(_, gateway)| serves(gateway)).count()
    }

    /// Somebody whose flow is not known says something in the name of this place.
    pub(super) fn claim(&mut self, now: Instant, place: &G::Place, flow: Flow, words: &[u8]) -> Claim {
        let members = self.proven(place);
        if let Some(&key) = members.iter().find(|key| self.is(**key, |standing| standing.down)) {
            return Claim::Moved(key);
        }
        let Self { table, families } = self;
        let Some(family) = families.get_mut(place).filter(|_| !members.is_empty()) else { return Claim::New };
        let known = members.iter().filter_map(|key| table.get(*key));
        let near = |flow: &Flow| known.clone().any(|gateway| host(gateway.flow()) == host(flow));
        match &mut family.suspect {
            Some(suspect) if suspect.flow.same_path(&flow) => {
                suspect.words = Bytes::copy_from_slice(words);
                Claim::Waits
            }
            // One of a known host comes before a stranger, who could else be examined for ever.
            Some(suspect) if near(&suspect.flow) || !near(&flow) => Claim::Busy,
            _ => {
                let (words, until) = (Bytes::copy_from_slice(words), now + EXAMINATION);
                family.suspect = Some(Suspect { flow, words, silent: members.clone(), until });
                Claim::Examine(members, until)
            }
        }
    }

    /// A gateway has answered; true when nobody is left who might have moved.
    pub(super) fn answered(&mut self, key: Key) -> bool {
        let Self { table, families } = self;
        let family = table.get(key).and_then(|gateway| families.get_mut(gateway.place()));
        let suspect = family.and_then(|family| family.suspect.as_mut());
        suspect.is_some_and(|suspect| {
            suspect.silent.retain(|member| *member != key);
            suspect.silent.is_empty()
        })
    }

    /// Is the time over that the namesakes of this gateway had to answer?
    pub(super) fn is_over(&self, now: Instant, key: Key) -> bool {
        let family = self.get(key).and_then(|gateway| self.families.get(gateway.place()));
        family.and_then(|family| family.suspect.as_ref()).is_some_and(|suspect| suspect.until <= now)
    }

    /// The end of an examination. One that did not answer, and was at the same host, has been moved by its NAT; if all did,
    /// there is one more of the name. Whoever comes from another host waits until the silent one is down, if that ever was
    /// there: it may have been moved this moment, and has not spoken yet.
    pub(super) fn decide(&mut self, place: &G::Place) -> Option<(Suspect, Decision)> {
        let suspect = self.families.get_mut(place)?.suspect.take()?;
        let silent = suspect.silent.iter().filter_map(|&key| Some((key, self.get(key)?)));
        let near = silent.clone().find(|(_, gateway)| host(gateway.flow()) == host(&suspect.flow));
        let moved = near.or_else(|| silent.clone().find(|(_, gateway)| !gateway.standing().reached));
        let decision = match moved {
            Some((key, _)) => Decision::Moved(key),
            None if silent.count() == 0 => Decision::Another,
            None => Decision::Refused,
        };
        Some((suspect, decision))
    }

    /// Realms have other numbers since a reload: whoever is being examined came to one of them.
    pub(super) fn rehome_suspects(&mut self, cx: &Cx<'_>) {
        for suspect in self.families.values_mut().filter_map(|family| family.suspect.as_mut()) {
            let Flow { transport, local, .. } = suspect.flow;
            let access = cx.mapping.access_at(transport, local);
            suspect.flow.realm = access.map_or(suspect.flow.realm, |access| access.id);
        }
    }

    /// The gateways of this place.
    pub(super) fn members(&self, place: &G::Place) -> &[Key] {
        self.families.get(place).map(|family| &family.members[..]).unwrap_or_default()
    }

    fn proven(&self, place: &G::Place) -> SmallVec<[Key; 1]> {
        let proven = |key: &Key| self.is(*key, |standing| standing.proven);
        self.members(place).iter().copied().filter(proven).collect()
    }

    fn is(&self, key: Key, what: impl Fn(&Standing) -> bool) -> bool {
        self.get(key).is_some_and(|gateway| what(gateway.standing()))
    }
}

/// Where a flow comes from, whatever its port.
fn host(flow: &Flow) -> IpAddr {
    flow.remote.ip().to_canonical()
}

/// The access realm that listens where a gateway's messages arrive, if it is still the one of that name.
pub(super) fn access_of<'c>(cx: &'c Cx<'_>, flow: &Flow, before: &Realm) -> Option<&'c Arc<Realm>> {
    cx.mapping.access_at(flow.transport, flow.local).filter(|realm| realm.name == before.name)
}

/// Is the softswitch to be told when a gateway is gone?
pub(super) fn is_told(cx: &Cx<'_>, access: &Realm, softswitch: &Softswitch) -> bool {
    let named = |at: usize| cx.mapping.softswitches.get(at).is_some_and(|s| s.name == softswitch.name);
    let route = cx.mapping.routes.iter().find(|route| route.access == access.id && named(route.softswitch));
    route.is_some_and(|route| route.registration.deregister)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{RealmId, Transport};

    /// A gateway whose place is a number.
    struct Gateway {
        place: u8,
        flow: Flow,
        standing: Standing,
    }

    impl Member for Gateway {
        type Place = u8;

        fn place(&self) -> &u8 {
            &self.place
        }

        fn flow(&self) -> &Flow {
            &self.flow
        }

        fn standing(&self) -> &Standing {
            &self.standing
        }
    }

    const PLACE: u8 = 1;
    const NAT: &str = "203.0.113.7:40001";
    /// The same NAT, another port.
    const ELSEWHERE: &str = "203.0.113.7:40999";
    const STRANGER: &str = "192.0.2.66:2427";
    const PROVEN: Standing = Standing {
        proven: true,
        reached: true,
        down: false,
        ended: false,
        leaving: false,
        heard: Instant::ZERO,
        misses: 0,
    };

    fn from(remote: &str) -> Flow {
        let (transport, local) = (Transport::Udp, "198.51.100.10:2427".parse().unwrap());
        Flow { realm: RealmId(0), transport, local, remote: remote.parse().unwrap(), stream: None }
    }

    fn roster() -> Roster<Gateway> {
        Roster::new(&mut Rng::new([1; 32]))
    }

    /// One more gateway of the place.
    fn add(roster: &mut Roster<Gateway>, remote: &str, standing: Standing) -> Key {
        roster.insert(Gateway { place: PLACE, flow: from(remote), standing })
    }

    /// A roster with one gateway, at [`NAT`].
    fn with(standing: Standing) -> (Roster<Gateway>, Key) {
        let mut roster = roster();
        let key = add(&mut roster, NAT, standing);
        (roster, key)
    }

    fn claim(roster: &mut Roster<Gateway>, remote: &str) -> Claim {
        roster.claim(Instant::ZERO, &PLACE, from(remote), remote.as_bytes())
    }

    fn is_examined(roster: &mut Roster<Gateway>, remote: &str) -> bool {
        matches!(claim(roster, remote), Claim::Examine(..))
    }

    fn decision(roster: &mut Roster<Gateway>) -> Decision {
        roster.decide(&PLACE).expect("somebody is examined").1
    }

    #[test]
    fn who_answers_nothing_is_down_once_until_it_is_heard() {
        let mut standing = Standing::new(Instant::ZERO);
        let misses = |standing: &mut Standing| [(); 3].map(|()| standing.miss(2));
        assert_eq!((misses(&mut standing), standing.down), ([false, true, false], true));
        let now = Instant::ZERO + UNPROVEN;
        standing.hear(now);
        assert_eq!((standing.down, standing.heard), (false, now));
        assert_eq!(misses(&mut standing), [false, true, false], "its misses were forgotten");
    }

    #[test]
    fn one_that_is_down_for_long_or_leaves_is_gone() {
        let late = Instant::ZERO + GONE;
        assert!(!PROVEN.is_gone(late));
        let down = Standing { down: true, ..PROVEN };
        assert!(!down.is_gone(Instant::ZERO) && down.is_gone(late));
        assert!(Standing { leaving: true, ..PROVEN }.is_gone(Instant::ZERO));
    }

    #[test]
    fn a_gateway_is_known_by_its_place_and_flow_until_it_is_removed() {
        let (mut roster, key) = with(PROVEN);
        assert_eq!((roster.at(&PLACE, &from(NAT)), roster.serving()), (Some(key), 1));
        assert_eq!((roster.at(&PLACE, &from(ELSEWHERE)), roster.at(&2, &from(NAT))), (None, None));
        assert!(is_examined(&mut roster, STRANGER));
        assert!(roster.remove(key).is_some() && roster.members(&PLACE).is_empty());
        assert!(roster.decide(&PLACE).is_none(), "nobody is left whose place was claimed");
        assert!(roster.families.is_empty());
    }

    #[test]
    fn only_who_is_proven_and_not_down_serves() {
        for standing in [Standing { down: true, ..PROVEN }, Standing { proven: false, ..PROVEN }] {
            assert_eq!(with(standing).0.serving(), 0);
        }
    }

    #[test]
    fn a_place_has_room_for_so_many() {
        let (mut roster, _) = with(PROVEN);
        assert!(roster.has_room(&PLACE, 2) && !roster.has_room(&PLACE, 1));
        for _ in 1..MAX_NAMESAKES {
            assert!(roster.has_room(&PLACE, 1_000));
            add(&mut roster, NAT, PROVEN);
        }
        assert!(!roster.has_room(&PLACE, 1_000) && roster.has_room(&2, 1_000));
    }

    #[test]
    fn those_whom_nobody_has_accepted_are_few_and_are_not_asked() {
        let (mut roster, _) = with(Standing::default());
        for _ in 1..MAX_UNPROVEN {
            assert!(!roster.is_tried(&PLACE));
            assert!(matches!(claim(&mut roster, ELSEWHERE), Claim::New));
            add(&mut roster, ELSEWHERE, Standing::default());
        }
        assert!(roster.is_tried(&PLACE) && !roster.is_tried(&2));
    }

    #[test]
    fn whoever_comes_when_a_gateway_is_down_is_that_gateway() {
        let (mut roster, _) = with(PROVEN);
        let down = add(&mut roster, ELSEWHERE, Standing { down: true, ..PROVEN });
        assert!(matches!(claim(&mut roster, STRANGER), Claim::Moved(key) if key == down));
    }

    #[test]
    fn one_is_examined_at_a_time_and_one_of_a_known_host_comes_first() {
        let (mut roster, key) = with(PROVEN);
        let until = Instant::ZERO + EXAMINATION;
        let Claim::Examine(members, until_then) = claim(&mut roster, STRANGER) else {
            panic!("not examined")
        };
        assert_eq!((&members[..], until_then), (&[key][..], until));
        assert!(matches!(claim(&mut roster, "192.0.2.67:2427"), Claim::Busy));
        assert!(is_examined(&mut roster, ELSEWHERE));
        assert!(matches!(claim(&mut roster, "203.0.113.7:41000"), Claim::Busy));
        assert!(matches!(claim(&mut roster, STRANGER), Claim::Busy));
        assert!(matches!(roster.claim(until, &PLACE, from(ELSEWHERE), b"later"), Claim::Waits));
        let (suspect, _) = roster.decide(&PLACE).expect("somebody is examined");
        assert_eq!((suspect.flow, &suspect.words[..]), (from(ELSEWHERE), &b"later"[..]));
        assert!(roster.decide(&PLACE).is_none(), "once");
    }

    #[test]
    fn the_time_to_answer_is_over_some_time() {
        let (mut roster, key) = with(PROVEN);
        let until = Instant::ZERO + EXAMINATION;
        assert!(!roster.is_over(until, key), "nobody is examined");
        claim(&mut roster, ELSEWHERE);
        assert!(!roster.is_over(Instant::ZERO, key) && roster.is_over(until, key));
    }

    #[test]
    fn there_is_another_one_of_the_name_when_all_have_answered() {
        let (mut roster, first) = with(PROVEN);
        let second = add(&mut roster, NAT, PROVEN);
        assert!(!roster.answered(first), "nobody is examined");
        claim(&mut roster, ELSEWHERE);
        assert!(!roster.answered(first) && roster.answered(second));
        assert!(matches!(decision(&mut roster), Decision::Another));
    }

    #[test]
    fn one_that_was_removed_meanwhile_is_not_silent() {
        let (mut roster, first) = with(PROVEN);
        let second = add(&mut roster, NAT, PROVEN);
        claim(&mut roster, ELSEWHERE);
        roster.remove(second);
        assert!(!roster.answered(second));
        roster.answered(first);
        assert!(matches!(decision(&mut roster), Decision::Another));
    }

    #[test]
    fn the_silent_one_has_moved_if_this_is_its_host() {
        let (mut roster, silent) = with(PROVEN);
        let other = add(&mut roster, NAT, PROVEN);
        claim(&mut roster, ELSEWHERE);
        roster.answered(other);
        assert!(matches!(decision(&mut roster), Decision::Moved(key) if key == silent));
    }

    #[test]
    fn a_stranger_takes_only_the_place_of_one_that_never_was_there() {
        let (mut roster, _) = with(PROVEN);
        claim(&mut roster, STRANGER);
        assert!(matches!(decision(&mut roster), Decision::Refused));
        let named = add(&mut roster, "192.0.2.67:2427", Standing { reached: false, ..PROVEN });
        claim(&mut roster, STRANGER);
        assert!(matches!(decision(&mut roster), Decision::Moved(key) if key == named));
    }

    #[test]
    fn who_was_there_at_this_host_comes_before_one_that_never_was_there() {
        let (mut roster, _) = with(Standing { reached: false, ..PROVEN });
        let moved = add(&mut roster, STRANGER, PROVEN);
        claim(&mut roster, "192.0.2.66:40000");
        assert!(matches!(decision(&mut roster), Decision::Moved(key) if key == moved));
    }
}
