//! Memory that requests share: for their bodies, and for answers that clients have not taken yet.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Kind, Problem};

/// Bytes of one permit, which are counted in 32 bits.
const UNIT: usize = 1024;

/// Room for so many bytes.
pub(crate) struct Room {
    what: &'static str,
    limit: usize,
    free: Arc<Semaphore>,
}

/// A part of a [`Room`], given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Taken(OwnedSemaphorePermit);

impl Room {
    /// - `what`: stands there, for messages
    pub(crate) fn new(what: &'static str, limit: usize) -> Self {
        let units = limit.div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        Self { what, limit, free: Arc::new(Semaphore::new(units)) }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Room for `bytes`, or none now: nobody waits for it with half of his bytes in memory.
    pub(crate) fn take(&self, bytes: usize) -> Result<Taken, Problem> {
        self.units(u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX))
    }

    /// `taken`, made as large or as small as `bytes` are.
    pub(crate) fn fit(&self, mut taken: Taken, bytes: usize) -> Result<Taken, Problem> {
        let (has, needs) = (taken.0.num_permits(), bytes.div_ceil(UNIT));
        match needs.checked_sub(has) {
            Some(more) => {
                let more = self.units(u32::try_from(more).unwrap_or(u32::MAX))?;
                taken.0.merge(more.0);
            }
            None => drop(taken.0.split(has - needs)),
        }
        Ok(taken)
    }

    fn units(&self, count: u32) -> Result<Taken, Problem> {
        let free = Arc::clone(&self.free);
        free.try_acquire_many_owned(count).map(Taken).map_err(|_| {
            let Self { what, limit, .. } = self;
            let message = format!("{what}: expected at most {limit} bytes, try later");
            Problem::new(Kind::MemoryFull, message).retry_after(Duration::from_secs(1))
        })
    }
}

impl Taken {
    /// `bytes`, which keep their room until the last of them has been sent.
    pub(crate) fn hold(self, mut bytes: Vec<u8>) -> Bytes {
        struct Held {
            bytes: Vec<u8>,
            _room: Taken,
        }
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }
        bytes.shrink_to_fit();
        Bytes::from_owner(Held { bytes, _room: self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_with_the_last_byte() {
        let room = Room::new("answers", 10 * UNIT);
        let taken = room.take(4 * UNIT).expect("room for four");
        assert!(room.take(7 * UNIT).is_err(), "six are left");
        let taken = room.fit(taken, 9 * UNIT).expect("nine of ten");
        assert_eq!(room.free.available_permits(), 1);
        let taken = room.fit(taken, 2 * UNIT - 1).expect("two of ten");
        assert_eq!(room.free.available_permits(), 8);
        let bytes = taken.hold(vec![7; 100]);
        let part = bytes.slice(50..);
        drop(bytes);
        assert_eq!((part.len(), room.free.available_permits()), (50, 8));
        drop(part);
        assert_eq!(room.free.available_permits(), 10);
        let problem = room.take(11 * UNIT).expect_err("more than there is");
        assert_eq!(problem.kind, Kind::MemoryFull);
    }
}
