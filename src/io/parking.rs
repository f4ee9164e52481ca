//! Where an executor sleeps when its datagram ring is quiet.
#![allow(unsafe_code)]

use super::bell::Bell;
use glommio::io::BufferedFile;
use glommio::timer::Timer;
use std::future::poll_fn;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

type Read = Pin<Box<dyn Future<Output = glommio::Result<(), ()>>>>;

/// Lets a glommio task wait for a [`Bell`]'s sleeping end, which the datagram ring signals too: the executor sleeps in
/// its own ring and still wakes for datagrams.
pub struct Parking {
    bell: Arc<Bell>,
    file: Rc<BufferedFile>,
    /// The read under way. It outlives a sleep that the timer ended: cancelling it could swallow a signal.
    read: Option<Read>,
}

impl Parking {
    /// For use on the calling thread's glommio executor only.
    ///
    /// # Errors
    /// Too many open files.
    pub fn new(bell: Arc<Bell>) -> io::Result<Self> {
        let copy = bell.sleeping().try_clone_to_owned()?.into_raw_fd();
        // SAFETY: the descriptor was just duplicated for this file, which owns it from here on.
        let file = Rc::new(unsafe { BufferedFile::from_raw_fd(copy) });
        Ok(Self { bell, file, read: None })
    }

    /// Sleeps until the bell is rung, the datagram ring raises the alarm, or `limit` has passed. It may wake for
    /// nothing.
    pub async fn sleep(&mut self, limit: Duration) {
        let mut timer = Timer::new(limit);
        poll_fn(|cx| {
            let expired = Pin::new(&mut timer).poll(cx).is_ready();
            if self.poll_signal(cx).is_ready() || expired { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Lets the executor look after its rings and run its other tasks, then goes on.
    ///
    /// `yield_task_queue_now` will not do: the executor looks after its rings only when all tasks wait, or when its
    /// preemption timer fires. And that timer cannot be short (see `runtime::PREEMPT`).
    pub async fn give_way(&mut self) {
        self.bell.rouse();
        poll_fn(|cx| self.poll_signal(cx)).await;
    }

    /// Ends the read under way and closes the file.
    pub async fn close(mut self) {
        if self.read.is_some() {
            self.give_way().await;
        }
        if let Some(file) = Rc::into_inner(self.file)
            && let Err(error) = file.close().await
        {
            tracing::warn!(%error, "cannot close an executor's event file");
        }
    }

    fn poll_signal(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let file = &self.file;
        let read = self.read.get_or_insert_with(|| Box::pin(read_signal(file.clone())));
        let Poll::Ready(result) = read.as_mut().poll(cx) else { return Poll::Pending };
        self.read = None;
        if let Err(error) = result {
            tracing::error!(%error, "an executor's event file cannot be read");
        }
        Poll::Ready(())
    }
}

async fn read_signal(file: Rc<BufferedFile>) -> glommio::Result<(), ()> {
    file.read_at(0, 8).await.map(drop)
}
