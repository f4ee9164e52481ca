//! The mesh: what crosses from one shard to another, bounded, and waking the receiver wherever it sleeps.
//!
//! One inbox per shard, into which all others put. A plain bounded queue and a [`Bell`] instead of glommio's channel
//! mesh: the bell ends a wait in the datagram ring at once, while a glommio channel is seen only when the shard
//! returns to its executor, up to 75 ms later.

use crate::io::bell::Bell;
use portolan_shards::io::Crossing;
use portolan_shards::limits::MESH_DEPTH;
use portolan_shards::types::ShardId;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use thiserror::Error;

/// The other shard's inbox is full, or that shard is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the mesh to shard {} is full", .0.0)]
pub struct MeshFull(pub ShardId);

/// One shard's end of the mesh.
#[derive(Debug)]
pub struct Mesh {
    inbox: Receiver<Crossing>,
    peers: Vec<Peer>,
}

#[derive(Clone, Debug)]
struct Peer {
    inbox: SyncSender<Crossing>,
    bell: Arc<Bell>,
}

impl Mesh {
    /// The ends of a mesh among as many shards as there are bells, in their order.
    pub fn among(bells: &[Arc<Bell>]) -> Vec<Self> {
        let (peers, inboxes): (Vec<_>, Vec<_>) = bells
            .iter()
            .map(|bell| {
                let (sender, inbox) = sync_channel(MESH_DEPTH);
                (Peer { inbox: sender, bell: bell.clone() }, inbox)
            })
            .unzip();
        inboxes.into_iter().map(|inbox| Self { inbox, peers: peers.clone() }).collect()
    }

    /// Puts a crossing into another shard's inbox and wakes it. Never blocks.
    ///
    /// # Errors
    /// [`MeshFull`]: [`MESH_DEPTH`] crossings wait there already; this one is dropped.
    pub fn send(&self, to: ShardId, crossing: Crossing) -> Result<(), MeshFull> {
        let peer = self.peers.get(usize::from(to.0)).ok_or(MeshFull(to))?;
        peer.inbox.try_send(crossing).map_err(|_| MeshFull(to))?;
        peer.bell.ring();
        Ok(())
    }

    /// The oldest crossing that waits for this shard.
    pub fn receive(&self) -> Option<Crossing> {
        self.inbox.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portolan_shards::types::{Flow, RealmId, Transport};

    fn crossing(port: u16) -> Crossing {
        let flow = Flow {
            realm: RealmId(0),
            transport: Transport::Udp,
            local: ([127, 0, 0, 1], 5060).into(),
            remote: ([127, 0, 0, 1], port).into(),
            stream: None,
        };
        Crossing::FlowMoved { old: flow, new: flow }
    }

    fn port(crossing: &Crossing) -> u16 {
        match crossing {
            Crossing::FlowMoved { old, .. } => old.remote.port(),
            other => panic!("not sent: {other:?}"),
        }
    }

    fn pair() -> (Vec<Arc<Bell>>, Mesh, Mesh) {
        let bells: Vec<_> = (0..2).map(|_| Arc::new(Bell::new().unwrap())).collect();
        let mut ends = Mesh::among(&bells);
        let second = ends.pop().unwrap();
        (bells, ends.pop().unwrap(), second)
    }

    #[test]
    fn delivers_in_order_and_rings() {
        let (bells, first, second) = pair();
        first.send(ShardId(1), crossing(1)).unwrap();
        first.send(ShardId(1), crossing(2)).unwrap();
        assert!(bells[1].answer() && !bells[0].answer());
        let ports: Vec<_> = std::iter::from_fn(|| second.receive()).map(|c| port(&c)).collect();
        assert_eq!(ports, [1, 2]);
        assert!(first.receive().is_none());
    }

    #[test]
    fn refuses_when_full_and_works_again_when_emptied() {
        let (_, first, second) = pair();
        for number in 0..MESH_DEPTH {
            first.send(ShardId(1), crossing(number as u16)).unwrap();
        }
        assert_eq!(first.send(ShardId(1), crossing(0)), Err(MeshFull(ShardId(1))));
        assert!(second.receive().is_some());
        assert_eq!(first.send(ShardId(1), crossing(0)), Ok(()));
    }

    #[test]
    fn a_shard_that_is_gone_or_never_was_refuses() {
        let (_, first, second) = pair();
        drop(second);
        assert_eq!(first.send(ShardId(1), crossing(0)), Err(MeshFull(ShardId(1))));
        assert_eq!(first.send(ShardId(9), crossing(0)), Err(MeshFull(ShardId(9))));
    }
}
