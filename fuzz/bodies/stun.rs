//! What must hold for any octets that are taken for a STUN message.

use portolan_shards::wire::stun::{self, Binding, Class, Request, Response};
use std::net::SocketAddr;

/// Reads `data`, and the answer to it.
pub(crate) fn run(data: &[u8]) {
    let binding = Binding::parse(data);
    if let Some(binding) = binding {
        assert!(stun::is_stun(data) && stun::begins(data));
        assert_eq!(binding.transaction, data[8..20]);
    }
    if let Some(response) = Response::parse(data) {
        assert!(binding.is_some_and(|binding| binding.class == Class::Success));
        assert!(stun::is_stun(data) && Request::parse(data).is_none());
        assert_eq!(response.transaction, data[8..20]);
    }
    let Some(request) = Request::parse(data) else { return };
    assert!(stun::is_stun(data) && binding.is_some_and(|binding| binding.class == Class::Request));
    for from in
        [SocketAddr::from(([192, 0, 2, 1], 5060)), SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 1))]
    {
        let answer = stun::respond(&request, from);
        assert!(stun::is_stun(&answer) && Request::parse(&answer).is_none());
        assert!(answer.len() <= data.len() + 32);
        let mapped = Response::parse(&answer).map(|response| (response.transaction, response.mapped));
        assert_eq!(mapped, request.unknown.is_empty().then_some((request.transaction, from)));
    }
}
