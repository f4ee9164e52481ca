//! TLS between octets and octets (RFC 8446, RFC 5246).

use super::{Fault, Upward, broken};
use crate::io::streams::MAX_QUEUED;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use std::fmt;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::sync::Arc;

/// One TLS connection.
pub(in crate::runtime) struct Tls(Connection);

impl Tls {
    pub(super) fn accept(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self::new(ServerConnection::new(config)?.into()))
    }

    pub(super) fn dial(
        config: Arc<ClientConfig>,
        name: Option<&str>,
        address: IpAddr,
    ) -> Result<Self, rustls::Error> {
        let invalid = |error: InvalidDnsNameError| rustls::Error::General(error.to_string());
        let name = match name {
            Some(name) => ServerName::try_from(name.to_owned()).map_err(invalid)?,
            None => ServerName::IpAddress(address.into()),
        };
        Ok(Self::new(ClientConnection::new(config, name)?.into()))
    }

    fn new(mut connection: Connection) -> Self {
        connection.set_buffer_limit(Some(MAX_QUEUED));
        Self(connection)
    }

    pub(super) fn is_ready(&self) -> bool {
        !self.0.is_handshaking()
    }

    /// Takes octets from the network; enciphered answers and clear octets go to `up`.
    pub(super) fn take(&mut self, mut octets: &[u8], up: &mut Upward) -> Result<(), Fault> {
        while !octets.is_empty() {
            match self.0.read_tls(&mut octets) {
                // After its goodbye nothing that the peer sends counts.
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return Err(broken("tls", &error)),
            }
            let state = self.0.process_new_packets();
            self.drain(&mut up.answer);
            let state = state.map_err(|error| broken("tls", &error))?;
            let (start, more) = (up.stream.len(), state.plaintext_bytes_to_read());
            up.stream.resize(start + more, 0);
            self.0.reader().read_exact(&mut up.stream[start..]).map_err(|error| broken("tls", &error))?;
            up.over |= state.peer_has_closed();
        }
        Ok(())
    }

    /// Enciphers octets behind what is in `out`. Before the handshake has been done they wait.
    pub(super) fn give(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        // With a limit, a write takes as much as there is room for.
        self.0.writer().write_all(octets).map_err(|_| Fault::Full)?;
        self.drain(out);
        Ok(())
    }

    /// Moves what is to be written to `out`.
    pub(super) fn drain(&mut self, out: &mut Vec<u8>) {
        while self.0.wants_write() {
            if let Err(error) = self.0.write_tls(out) {
                tracing::error!(%error, "a buffer in memory cannot be written");
                return;
            }
        }
    }

    /// Says goodbye.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        self.0.send_close_notify();
        self.drain(out);
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}
