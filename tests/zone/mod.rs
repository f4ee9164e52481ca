//! A name server on loopback that says what a test tells it to say.

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::{Name, RData, Record};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The server and its records. It ends with the process.
pub(crate) struct Zone {
    pub(crate) address: SocketAddr,
    records: Arc<Mutex<Vec<Record>>>,
    mute: Arc<AtomicBool>,
}

/// A name from its text, rooted.
pub(crate) fn name(text: &str) -> Name {
    let rooted = if text.ends_with('.') { text.to_owned() } else { format!("{text}.") };
    Name::from_ascii(rooted).expect("a name")
}

impl Zone {
    /// A server without records.
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let (records, mute) = (Arc::<Mutex<Vec<Record>>>::default(), Arc::<AtomicBool>::default());
        let zone = Self { address, records: Arc::clone(&records), mute: Arc::clone(&mute) };
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let answer = answer(&buffer[..length], &records.lock().expect("no panic in here"));
                if !mute.load(Ordering::Relaxed) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        zone
    }

    /// One more record.
    pub(crate) fn add(&self, owner: &str, ttl: u32, data: RData) {
        let record = Record::from_rdata(name(owner), ttl, data);
        self.records.lock().expect("no panic in there").push(record);
    }

    /// One more IPv4 address.
    pub(crate) fn a(&self, owner: &str, address: &str, ttl: u32) {
        self.add(owner, ttl, RData::A(A(address.parse().expect("IPv4"))));
    }

    /// Forget all records.
    pub(crate) fn clear(&self) {
        self.records.lock().expect("no panic in there").clear();
    }

    /// Answer nothing any more.
    pub(crate) fn mute(&self) {
        self.mute.store(true, Ordering::Relaxed);
    }
}

fn answer(query: &[u8], records: &[Record]) -> Vec<u8> {
    let query = Message::from_vec(query).expect("a query");
    let asked = query.queries.first().expect("a question").clone();
    let mut response = Message::response(query.id, OpCode::Query);
    response.add_query(asked.clone());
    let owned: Vec<_> = records.iter().filter(|record| record.name == *asked.name()).collect();
    if owned.is_empty() {
        response.metadata.response_code = ResponseCode::NXDomain;
    }
    let fitting = owned.into_iter().filter(|record| record.record_type() == asked.query_type());
    response.add_answers(fitting.cloned());
    response.to_vec().expect("it fits")
}
