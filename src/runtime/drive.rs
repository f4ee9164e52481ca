//! The loop of one shard.
//!
//! While there is work the task waits in the datagram ring and lets the executor look after itself now and then. After a
//! silence it arms the ring's alarm and sleeps in the executor.

use super::brain::Brain;
use super::control::{Command, Post, ShardSessions, ShardSnapshot, Watch};
use super::station::Station;
use crate::dispatch::Mesh;
use crate::io::clock::{Clock, thread_cpu_time};
use crate::io::datagrams::Datagrams;
use crate::io::parking::Parking;
use crate::io::ring::{Ring, Sizes};
use crate::io::streams::Streams;
use crate::tls::Contexts;
use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use portolan_shards::realm::Mapping;
use portolan_shards::types::Instant;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// The longest wait in the datagram ring. Arrivals, the bell and deadlines end it at once, and the executor has no other
/// task; so it is long enough to outlast the 20 ms between two packets of a lonely call: a wait that ends for nothing, and
/// a sleep in the executor all the more, costs more than a packet.
const PATIENCE: Duration = Duration::from_millis(25);
/// How often the executor gets its turn while there is work; a turn costs some 15 us.
const TURN: Duration = Duration::from_millis(50);
/// Rounds without any event before the shard sleeps in the executor.
const IDLE_ROUNDS: u32 = 2;
/// A shard that nobody wakes and that has nothing to do looks up this often, in case a wake-up was lost all the same.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);
/// How often a busy shard shows a snapshot.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// All that a shard needs to start.
pub(super) struct Seat {
    pub(super) post: Arc<Post>,
    pub(super) commands: Receiver<Command>,
    pub(super) mesh: Mesh,
    pub(super) mapping: Arc<Mapping>,
    pub(super) seed: [u8; 32],
    pub(super) sizes: Sizes,
    pub(super) clock: Clock,
    pub(super) tls: Arc<ArcSwap<Contexts>>,
}

/// One running shard. Fields are dropped in order: the sockets go before the watch speaks.
pub(super) struct Drive<B> {
    ring: Ring,
    station: Station<B>,
    parking: Parking,
    commands: Receiver<Command>,
    report: Report,
    post: Arc<Post>,
    /// Crossings may be left in the mesh.
    more: bool,
    _watch: Watch,
}

impl<B: Brain> Drive<B> {
    /// Opens everything that the brain wants from the start.
    pub(super) fn open(seat: Seat) -> anyhow::Result<Self> {
        let Seat { post, commands, mesh, mapping, seed, sizes, clock, tls } = seat;
        let parking = Parking::new(post.bell.clone()).context("cannot copy an event file")?;
        let mut ring =
            Ring::new(sizes, post.bell.clone()).context("cannot create a datagram ring (io_uring)")?;
        ring.wait_for_company(mapping.limits.batch);
        let mut station = Station::new(post.shard, mapping, seed, clock, mesh, tls);
        station.drain_outputs(&mut ring);
        if let Some((listener, error)) = station.take_failures().into_iter().next() {
            bail!("cannot listen on {} {}: {error}", listener.transport.param(), listener.address);
        }
        let report = Report::new(station.tick());
        let watch = Watch(post.clone());
        Ok(Self { ring, station, parking, commands, report, post, more: false, _watch: watch })
    }

    /// Runs until the shard is asked to stop.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        while !self.post.is_stopping() {
            self.work().await?;
            self.sleep().await;
        }
        self.finish().await
    }

    /// Rounds until nothing happens any more.
    async fn work(&mut self) -> anyhow::Result<()> {
        let mut idle = 0;
        let mut gave_way = self.station.tick();
        while idle < IDLE_ROUNDS && !self.post.is_stopping() {
            idle = if self.round()? { 0 } else { idle + 1 };
            if self.station.now().since(gave_way) >= TURN {
                gave_way = self.station.now();
                self.parking.give_way().await;
            }
        }
        Ok(())
    }

    /// Waits a little and does what there is to do; false when there was nothing.
    fn round(&mut self) -> anyhow::Result<bool> {
        let patience = self.patience();
        self.ring.wait(patience).context("the datagram ring has failed")?;
        let now = self.station.tick();
        let events = self.ring.deliver(&mut self.station);
        let events = events + self.ring.deliver_streams(&mut self.station);
        let mail = self.read_mail();
        self.station.expire(&mut self.ring);
        if self.report.is_due(now) {
            self.publish();
        }
        Ok(events > 0 || mail)
    }

    /// How long a round may wait for datagrams.
    fn patience(&mut self) -> Duration {
        if self.more || self.post.bell.is_rung() {
            return Duration::ZERO;
        }
        self.until_deadline().map_or(PATIENCE, |left| left.min(PATIENCE))
    }

    /// Takes commands and crossings, if there are any.
    fn read_mail(&mut self) -> bool {
        if !self.post.bell.answer() && !self.more {
            return false;
        }
        while let Ok(command) = self.commands.try_recv() {
            self.obey(command);
        }
        self.more = !self.station.receive_crossings(&mut self.ring);
        true
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Reload(mapping) => {
                self.ring.wait_for_company(mapping.limits.batch);
                self.station.reload(&mut self.ring, mapping);
                self.report.listen_failures += self.station.take_failures().len() as u64;
            }
            Command::Drain => self.station.drain(&mut self.ring),
            // Whoever asked may have given up.
            Command::Report(answer) => drop(answer.try_send(self.snapshot())),
            Command::Sessions(most, answer) => drop(answer.try_send(self.sessions(most))),
        }
    }

    /// Sleeps in the executor until something arrives or is due.
    async fn sleep(&mut self) {
        self.publish();
        self.ring.alert(true);
        if self.post.bell.fall_asleep() && self.ring.is_quiet() {
            let limit = self.until_deadline().map_or(LONGEST_SLEEP, |left| left.min(LONGEST_SLEEP));
            self.parking.sleep(limit).await;
        }
        self.post.bell.wake_up();
        self.ring.alert(false);
    }

    /// Time until the brain has something to do by itself.
    fn until_deadline(&mut self) -> Option<Duration> {
        let due = self.station.next_deadline()?;
        Some(due.since(self.station.tick()))
    }

    fn snapshot(&mut self) -> ShardSnapshot {
        let now = self.station.tick();
        let streams = self.station.stream_figures();
        let (shard, stats) = (self.post.shard, self.station.brain().stats());
        let (ring, send_failures) = (self.ring.figures(), self.station.send_failures());
        ShardSnapshot { shard, stats, streams, ring, send_failures, ..self.report.snapshot(now) }
    }

    fn sessions(&mut self, most: usize) -> ShardSessions {
        let (running, ended) = self.station.brain().summaries(most);
        ShardSessions { shard: self.post.shard, now: self.station.now(), running, ended }
    }

    fn publish(&mut self) {
        let snapshot = self.snapshot();
        self.post.snapshot.store(Arc::new(snapshot));
    }

    /// Sends what is queued and closes everything.
    async fn finish(mut self) -> anyhow::Result<()> {
        self.publish();
        let last_words = self.ring.wait(Duration::ZERO).context("the datagram ring has failed");
        self.parking.close().await;
        last_words
    }
}

/// What a shard knows about its own work.
struct Report {
    start: Instant,
    /// When `busy` was last worked out, and the CPU time then.
    mark: (Instant, Duration),
    busy: f64,
    listen_failures: u64,
}

impl Report {
    fn new(now: Instant) -> Self {
        Self { start: now, mark: (now, thread_cpu_time()), busy: 0.0, listen_failures: 0 }
    }

    fn is_due(&self, now: Instant) -> bool {
        now.since(self.mark.0) >= REPORT_INTERVAL
    }

    fn snapshot(&mut self, now: Instant) -> ShardSnapshot {
        let cpu = thread_cpu_time();
        if self.is_due(now) {
            let (wall, used) = (now.since(self.mark.0), cpu.saturating_sub(self.mark.1));
            self.busy = used.as_secs_f64() / wall.as_secs_f64();
            self.mark = (now, cpu);
        }
        let (uptime, busy, listen_failures) = (now.since(self.start), self.busy, self.listen_failures);
        ShardSnapshot { cpu, uptime, busy, listen_failures, ..ShardSnapshot::default() }
    }
}
