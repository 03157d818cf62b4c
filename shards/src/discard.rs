//! The end of a connection whose other end still sends.

use std::time::Duration;

use crate::env::{Env, ReadHalf};

/// What is read and thrown away at most, and for how long.
const DISCARD_BYTES: usize = 8 << 20;
const DISCARD_LIMIT: Duration = Duration::from_secs(1);
/// What is thrown away at once.
const READ_BYTES: usize = 4 << 10;

/// Reads and drops what still comes, within a limit: a socket that closes with bytes unread resets the connection, and the
/// reset can overtake the last frame that was written, the one with the reason.
pub async fn discard<E: Env>(half: &mut impl ReadHalf) {
    let mut dropped = vec![0; READ_BYTES];
    let until_end = async {
        let mut left = DISCARD_BYTES;
        while let Ok(bytes @ 1..) = half.read(&mut dropped).await {
            left = left.saturating_sub(bytes);
            if left == 0 {
                break;
            }
            // Who sends faster than this reads would hold up the shard, and the time limit with it.
            E::yield_now().await;
        }
    };
    // Whoever still sends after this gets a reset.
    E::timeout(DISCARD_LIMIT, until_end).await;
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;
    use std::net::{Shutdown, SocketAddr};
    use std::rc::Rc;
    use std::task::{Context, Poll};

    use openraft::AsyncRuntime;

    use super::*;
    use crate::env::Socket;
    use crate::env::local::behind_ready_tasks;
    use crate::linux::{Linux, Runtime};

    /// A connection whose other end never pauses.
    struct Flood {
        bytes: usize,
    }

    impl Socket for Flood {
        fn peer_addr(&self) -> io::Result<SocketAddr> {
            Err(io::ErrorKind::NotConnected.into())
        }

        fn shutdown(&self, _: Shutdown) -> io::Result<()> {
            Ok(())
        }
    }

    impl ReadHalf for Flood {
        fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            self.bytes += buf.len();
            Poll::Ready(Ok(buf.len()))
        }
    }

    #[test]
    fn a_flood_ends_and_lets_other_tasks_run_meanwhile() {
        Runtime::new(1).block_on(async {
            let (rounds, done) = (Rc::new(Cell::new(0_u32)), Rc::new(Cell::new(false)));
            let (counted, ends) = (rounds.clone(), done.clone());
            Linux::spawn(async move {
                while !ends.get() {
                    counted.set(counted.get() + 1);
                    behind_ready_tasks().await;
                }
            });
            let mut flood = Flood { bytes: 0 };
            discard::<Linux>(&mut flood).await;
            assert!(flood.bytes <= DISCARD_BYTES, "{} bytes", flood.bytes);
            let reads = u32::try_from(flood.bytes / READ_BYTES).expect("few");
            assert!(rounds.get() + 2 >= reads, "{} rounds in {reads} reads", rounds.get());
            done.set(true);
        });
    }
}
