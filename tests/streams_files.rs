//! What happens to those who connect while the process cannot open another file: they wait.
#![allow(clippy::unwrap_used)]

mod common;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

#[test]
fn connections_wait_while_there_are_no_more_files() {
    let ip = "127.0.56.1";
    // The kernel keeps the limit that holds when accepting begins.
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(200), ..before }).unwrap();
    let runtime = common::start(ip, 1);
    let address: SocketAddr = (ip.parse::<std::net::IpAddr>().unwrap(), 5060).into();
    let sockets: Vec<_> = (0..3).map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()).collect();
    let full: Vec<File> = std::iter::repeat_with(|| File::open("/dev/null")).map_while(Result::ok).collect();
    sockets.iter().for_each(|socket| socket.connect(&address.into()).unwrap());
    let refused = || runtime.stats()[0].streams.refused;
    let seen = (0..2000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        refused() >= 2
    });
    assert!(seen, "accepting was tried again, and not as fast as it can be");
    assert!(refused() < 1000);
    drop(full);
    for socket in sockets {
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(b"who\r\n\r\n").unwrap();
        let mut answer = [0];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"0");
    }
}
