//! What stands between the octets of a connection and its messages: TLS, WebSocket, both or none.
//!
//! No layer touches a socket: octets go in, and what comes out is told apart in an [`Upward`].

mod tls;
mod ws;

use bytes::Bytes;
use rustls::{ClientConfig, ServerConfig};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
pub(super) use tls::Tls;
pub(super) use ws::Ws;

/// What octets of the network have become.
#[derive(Debug, Default)]
pub(super) struct Upward {
    /// Octets of a stream of messages.
    pub(super) stream: Vec<u8>,
    /// Whole messages.
    pub(super) messages: Vec<Bytes>,
    /// Octets to be written now: handshakes, pongs, alerts.
    pub(super) answer: Vec<u8>,
    /// The peer has said that it will send no more.
    pub(super) over: bool,
}

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its peer breaks the rules of a layer, or is not who it has to be.
    Broken,
    /// More waits for its peer than may wait.
    Full,
}

/// The layers of one connection.
#[derive(Debug, Default)]
pub(super) struct Layers {
    tls: Option<Box<Tls>>,
    ws: Option<Box<Ws>>,
}

impl Layers {
    /// Of a connection that we accept.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub(super) fn accept(tls: Option<Arc<ServerConfig>>, ws: bool) -> Result<Self, rustls::Error> {
        let tls = tls.map(Tls::accept).transpose()?.map(Box::new);
        Ok(Self { tls, ws: ws.then(Box::default) })
    }

    /// Of a TLS connection that we dial, to a peer of this name or else this address.
    ///
    /// # Errors
    /// The name is none.
    pub(super) fn dial(
        config: Arc<ClientConfig>,
        name: Option<&str>,
        address: IpAddr,
    ) -> Result<Self, rustls::Error> {
        let tls = Tls::dial(config, name, address)?;
        Ok(Self { tls: Some(Box::new(tls)), ws: None })
    }

    /// Are messages carried whole, so that no framer is needed?
    pub(super) const fn has_messages(&self) -> bool {
        self.ws.is_some()
    }

    /// Have all handshakes been done?
    pub(super) fn is_ready(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.is_ready()) && self.ws.as_ref().is_none_or(|ws| ws.is_ready())
    }

    /// The first octets of a connection that we have dialled.
    pub(super) fn begin(&mut self) -> Vec<u8> {
        let mut octets = Vec::new();
        if let Some(tls) = &mut self.tls {
            tls.drain(&mut octets);
        }
        octets
    }

    /// Takes octets from the network. What `up` holds after an error is to be used all the same: what came before it,
    /// and what the peer should be told.
    ///
    /// # Errors
    /// The connection has to be closed.
    pub(super) fn take(&mut self, octets: &[u8], up: &mut Upward) -> Result<(), Fault> {
        let Self { tls, ws } = self;
        let Some(tls) = tls else {
            return ws.as_mut().map_or(Ok(()), |ws| ws.take(octets, up));
        };
        let taken = tls.take(octets, up);
        let Some(ws) = ws else { return taken };
        let mut above = Upward { over: up.over, ..Upward::default() };
        let result = ws.take(&up.stream, &mut above);
        let told = tls.give(&above.answer, &mut up.answer);
        (up.messages, up.over) = (above.messages, above.over);
        up.stream.clear();
        taken.and(result).and(told)
    }

    /// What has to be written so that the peer gets this message.
    ///
    /// # Errors
    /// The connection has to be closed.
    pub(super) fn give(&mut self, message: &[u8]) -> Result<Vec<u8>, Fault> {
        let framed = match &mut self.ws {
            Some(ws) => ws.give(message)?,
            None => return self.encipher(message),
        };
        match &self.tls {
            Some(_) => self.encipher(&framed),
            None => Ok(framed),
        }
    }

    fn encipher(&mut self, octets: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        match &mut self.tls {
            Some(tls) => tls.give(octets, &mut out)?,
            None => out.extend_from_slice(octets),
        }
        Ok(out)
    }

    /// Our last octets.
    pub(super) fn end(&mut self) -> Vec<u8> {
        let mut out = self.ws.as_mut().map(|ws| ws.end()).unwrap_or_default();
        if let Some(tls) = &mut self.tls {
            let plain = std::mem::take(&mut out);
            // A queue that is full already has no room for a goodbye.
            if tls.give(&plain, &mut out).is_ok() {
                tls.end(&mut out);
            }
        }
        out
    }
}

/// The two ends of a layer: what came from below, and what goes down.
struct Pipe<'a> {
    octets: &'a [u8],
    out: &'a mut Vec<u8>,
}

impl io::Read for Pipe<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.octets.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.octets.read(buf) }
    }
}

impl io::Write for Pipe<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.out.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Tells a fault of a peer to whoever looks for it.
fn broken(layer: &str, error: &dyn fmt::Display) -> Fault {
    tracing::debug!(layer, %error, "a connection breaks the rules of its layer");
    Fault::Broken
}
