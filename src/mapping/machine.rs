//! What the configuration needs to know about the machine: asked once, so that validation itself is pure.

use std::ops::RangeInclusive;

/// The machine, as far as the configuration depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The processors that this process may run on, by number; never empty.
    pub cores: Vec<usize>,
    /// Ports that the kernel hands out to outgoing sockets, if known.
    pub ephemeral: Option<RangeInclusive<u16>>,
    /// Ports that are kept from `ephemeral`.
    pub reserved: Vec<RangeInclusive<u16>>,
}

impl Machine {
    /// A machine of `cores` processors of which nothing else is known.
    pub fn with_cores(cores: usize) -> Self {
        Self { cores: (0..cores.max(1)).collect(), ephemeral: None, reserved: Vec::new() }
    }

    /// The machine that this process runs on.
    pub fn probe() -> Self {
        let read = |name: &str| {
            let path = format!("/proc/sys/net/ipv4/{name}");
            std::fs::read_to_string(path).unwrap_or_default()
        };
        let cores: Vec<_> =
            core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
        let cores = if cores.is_empty() { vec![0] } else { cores };
        let machine = Self { cores, ..Self::with_cores(1) };
        machine.with_ports(&read("ip_local_port_range"), &read("ip_local_reserved_ports"))
    }

    /// The same machine with these ports lent and kept, as the kernel writes them.
    pub(crate) fn with_ports(self, range: &str, reserved: &str) -> Self {
        Self {
            ephemeral: self::range(range, char::is_whitespace),
            reserved: reserved.split(',').filter_map(|r| self::range(r, |c| c == '-')).collect(),
            ..self
        }
    }

    /// Can the kernel give a port of this range to some outgoing socket?
    pub(crate) fn may_lend(&self, ports: &RangeInclusive<u16>) -> bool {
        let Some(ephemeral) = &self.ephemeral else { return false };
        let first = *ports.start().max(ephemeral.start());
        let last = *ports.end().min(ephemeral.end());
        first <= last && (first..=last).any(|port| !self.reserved.iter().any(|r| r.contains(&port)))
    }
}

/// `first last` or a single number.
fn range(text: &str, between: impl Fn(char) -> bool) -> Option<RangeInclusive<u16>> {
    let mut numbers =
        text.trim().split(between).filter(|part| !part.is_empty()).map(|part| part.trim().parse());
    let first = numbers.next()?.ok()?;
    let last = numbers.next().unwrap_or(Ok(first)).ok()?;
    Some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine { ephemeral: Some(32_768..=60_999), ..Machine::with_cores(1) }
    }

    #[test]
    fn ports_below_the_ephemeral_range_are_not_lent() {
        assert!(!machine().may_lend(&(20_000..=32_767)));
        assert!(machine().may_lend(&(20_000..=32_768)));
        assert!(machine().may_lend(&(60_999..=65_535)));
    }

    #[test]
    fn reserved_ports_are_not_lent() {
        let machine = Machine { reserved: vec![20_000..=39_999], ..machine() };
        assert!(!machine.may_lend(&(20_000..=39_999)));
        assert!(machine.may_lend(&(20_000..=40_000)));
    }

    #[test]
    fn kernel_ranges_are_read_in_both_spellings() {
        assert_eq!(range("32768\t60999\n", char::is_whitespace), Some(32_768..=60_999));
        assert_eq!(range("8080", |c| c == '-'), Some(8080..=8080));
        assert_eq!(range("20000-39999\n", |c| c == '-'), Some(20_000..=39_999));
        assert_eq!(range("\n", |c| c == '-'), None);
    }

    #[test]
    fn the_real_machine_has_a_core() {
        assert!(!Machine::probe().cores.is_empty());
    }
}
