//! Datagrams that the kernel did not send, by what an operator can do about it.

macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident => $label:literal,)+) => {
        /// Why the kernel refused a datagram (`portolan_send_failures_total{class}`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum SendFailure { $($(#[$doc])* $name,)+ }

        impl SendFailure {
            /// All of them, in counter order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
            /// The metric label.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)+ }
            }
        }
    };
}

classes! {
    /// No route, no neighbour, no such address, or a network that is down.
    Unreachable => "unreachable",
    /// A firewall rule of this machine, or an address that may not be sent to.
    Forbidden => "forbidden",
    /// The queue of the socket or of the network device is full, or there is no memory.
    Full => "full",
    /// Larger than the path takes in one piece.
    Size => "size",
    /// An ICMP message said that nobody listens there.
    Refused => "refused",
    /// The socket was closed before.
    Closed => "closed",
    /// Anything else.
    Other => "other",
}

impl SendFailure {
    /// The class of an errno.
    pub const fn of(errno: i32) -> Self {
        match errno {
            libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
            | libc::EHOSTDOWN
            | libc::EADDRNOTAVAIL
            | libc::EAFNOSUPPORT => Self::Unreachable,
            libc::EPERM | libc::EACCES => Self::Forbidden,
            libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM | libc::EBUSY => Self::Full,
            libc::EMSGSIZE => Self::Size,
            libc::ECONNREFUSED => Self::Refused,
            libc::EBADF => Self::Closed,
            _ => Self::Other,
        }
    }
}

/// Sends that the kernel refused, in the order of [`SendFailure::ALL`].
pub type SendFailures = [u64; SendFailure::ALL.len()];
