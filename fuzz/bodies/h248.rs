//! What must hold for any octets that are taken for H.248, in text or in binary, or for TPKT.

use portolan_shards::wire::h248::{
    ChangeAddress, Command, Description, Edit, Encoding, Group, Keep, Kind, Message, Mid, Transaction,
};
use portolan_shards::wire::sdp::Sdp;
use portolan_shards::wire::{Span, tpkt};

const OURS: &[u8] = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4321 RTP/AVP 0\r\na=x:{}\r\n";

/// Reads `data` and checks what the scanners promise.
pub(crate) fn run(data: &[u8]) {
    if let Ok(Some(payload)) = tpkt::frame(data, 1000) {
        nested(Span::new(tpkt::HEADER, data.len()), payload);
        assert!(payload.len() <= 1000);
    }
    match Message::parse(data) {
        Ok(message) => check(&message),
        Err(why) => assert!(matches!(why.code(), 400 | 403 | 510)),
    }
}

/// Is this one message that can be read?
#[allow(dead_code, reason = "asked about the corpus only")]
pub(crate) fn reads(bytes: &[u8]) -> bool {
    Message::parse(bytes).is_ok()
}

fn check(message: &Message<'_>) {
    let bytes = message.bytes();
    assert_eq!(Edit::new(message).finish(), bytes, "without a change it stays as it is");
    nested(Span::new(0, bytes.len()), message.mid_span);
    message.transactions().iter().for_each(|transaction| check_transaction(bytes, transaction));
    renamed(message);
    descriptions_stay(message);
    descriptions_change(message);
    moved(message);
    shortened(message);
}

fn check_transaction(bytes: &[u8], transaction: &Transaction) {
    nested(Span::new(0, bytes.len()), transaction.whole);
    nested(transaction.whole, transaction.id_span);
    assert!(transaction.acks.iter().all(|ack| ack.first <= ack.last));
    for action in &transaction.actions {
        nested(transaction.whole, action.whole);
        action.properties.iter().for_each(|property| nested(action.whole, *property));
        let mut from = action.whole.start;
        for command in &action.commands {
            nested(action.whole, command.whole);
            assert!(command.whole.start >= from);
            from = command.whole.end;
            check_command(command);
        }
    }
}

fn check_command(command: &Command) {
    assert!(command.terminations.iter().all(|termination| !termination.name().is_empty()));
    for side in sides(command) {
        nested(command.whole, side.whole);
        let mut from = side.whole.start;
        for group in &side.groups {
            nested(side.whole, group.span);
            assert!(group.span.start >= from && !group.span.is_empty());
            from = group.span.end;
        }
    }
    let spans = command.observed.iter().map(|event| event.whole);
    let spans = spans.chain(command.statistics.iter().map(|statistic| statistic.name));
    spans.chain(command.audit.map(|audit| audit.whole)).for_each(|span| nested(command.whole, span));
}

fn sides(command: &Command) -> impl Iterator<Item = &Description> {
    command.streams.iter().flat_map(|stream| stream.local.iter().chain(&stream.remote))
}

fn commands<'m>(message: &'m Message<'_>) -> impl Iterator<Item = &'m Command> {
    message.transactions().iter().flat_map(|transaction| transaction.commands().map(|(_, command)| command))
}

fn groups<'m>(message: &'m Message<'_>) -> impl Iterator<Item = &'m Group> {
    commands(message).flat_map(sides).flat_map(|side| &side.groups)
}

/// From another it says the same.
fn renamed(message: &Message<'_>) {
    for mid in [
        Mid::of("[2001:db8::1]:30000".parse().expect("an address")),
        Mid::Domain("a-rather-long-name.example.net".into(), None),
        Mid::Device("x".into()),
        Mid::Mtp([1, 2].into()),
    ] {
        let mut edit = Edit::new(message);
        edit.mid(&mid);
        edit.drop_authentication();
        let bytes = edit.finish();
        let again = Message::parse(&bytes).expect("another name does not make it unreadable");
        assert_eq!((&again.mid, again.version), (&mid, message.version));
        assert!(again.authentication.is_none());
        let (new, old): (Vec<_>, Vec<_>) =
            (again.transactions().iter().collect(), message.transactions().iter().collect());
        assert_eq!(new.len(), old.len());
        for (new, old) in new.iter().zip(old) {
            assert_eq!(new.whole.of(&bytes), old.whole.of(message.bytes()));
        }
    }
}

/// A description that is written as it was read changes nothing.
fn descriptions_stay(message: &Message<'_>) {
    let mut edit = Edit::new(message);
    for group in groups(message) {
        edit.description(group, &message.sdp(group)).expect("it was read");
    }
    assert_eq!(edit.finish(), message.bytes());
}

/// Others can be read again, and nothing else changes.
fn descriptions_change(message: &Message<'_>) {
    let mut edit = Edit::new(message);
    let mut wanted = 0;
    for group in groups(message) {
        edit.description(group, OURS).expect("plain lines have properties");
        wanted += 1;
    }
    let bytes = edit.finish();
    let again = Message::parse(&bytes).expect("other descriptions do not make it unreadable");
    assert_eq!(commands(&again).count(), commands(message).count());
    assert_eq!(groups(&again).count(), wanted);
    for group in groups(&again) {
        let text = again.sdp(group);
        let sdp = Sdp::parse(&text).expect("ours");
        assert_eq!(sdp.media.iter().map(|media| media.port).collect::<Vec<_>>(), [4321]);
        let address = sdp.connections().next().and_then(|connection| connection.ip);
        assert_eq!(address, "192.0.2.1".parse().ok());
        assert!(again.encoding == Encoding::Ber || *text == *OURS);
    }
}

/// Where a ServiceChange leads, and whom it names.
fn moved(message: &Message<'_>) {
    let (port, mid) = (ChangeAddress::Port(7), Mid::Device("x/1".into()));
    for (address, mgc) in
        [(Keep::Drop, Keep::Drop), (Keep::As(&port), Keep::As(&mid)), (Keep::Drop, Keep::As(&mid))]
    {
        let mut edit = Edit::new(message);
        let changes = || commands(message).filter_map(|command| command.service_change.as_ref());
        changes().for_each(|change| edit.service_change(change, address, mgc));
        let bytes = edit.finish();
        let again = Message::parse(&bytes).expect("another address does not make it unreadable");
        assert_eq!(commands(&again).count(), commands(message).count());
        for change in commands(&again).filter_map(|command| command.service_change.as_ref()) {
            assert!(
                change.address.is_none() || address != Keep::Drop && change.address.as_ref() == Some(&port)
            );
            assert!(change.mgc.is_none() || mgc != Keep::Drop && change.mgc.as_ref() == Some(&mid));
        }
    }
}

/// Without its first transaction, and the others under other numbers.
fn shortened(message: &Message<'_>) {
    let [first, rest @ ..] = message.transactions() else { return };
    let mut edit = Edit::new(message);
    let lost = first.commands().flat_map(|(_, command)| sides(command)).flat_map(|side| &side.groups);
    lost.for_each(|group| edit.description(group, OURS).expect("plain lines have properties"));
    edit.drop_transaction(first);
    for transaction in rest {
        match transaction.kind {
            Kind::ResponseAck => edit.acknowledge(transaction, &[]),
            _ => edit.transaction(transaction, u32::MAX),
        }
    }
    let bytes = edit.finish();
    match Message::parse(&bytes) {
        Ok(again) => assert_eq!(again.transactions().len(), rest.len()),
        Err(_) => assert!(rest.is_empty()),
    }
}

fn nested(outer: Span, span: Span) {
    assert!(span.start <= span.end && outer.contains(span), "{span:?} is not within {outer:?}");
}
