//! Memory that requests share: for their bodies, and for answers that clients have not taken yet.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::errors::{Kind, Problem};

/// Bytes of one permit, which are counted in 32 bits.
const UNIT: usize = 1024;

/// Room for so many bytes.
pub(crate) struct Room {
    what: &'static str,
    limit: usize,
    /// What is no larger needs none.
    small: usize,
    free: Arc<Semaphore>,
}

/// A part of a [`Room`], given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Taken(OwnedSemaphorePermit);

impl Room {
    /// - `what`: stands there, for messages
    /// - `small`: what is no larger needs none
    pub(crate) fn new(what: &'static str, limit: usize, small: usize) -> Self {
        let units = limit.div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        Self { what, limit, small, free: Arc::new(Semaphore::new(units)) }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Room for `bytes`, or none now: nobody waits for it with half of his bytes in memory.
    pub(crate) fn take(&self, bytes: usize) -> Result<Taken, Problem> {
        self.take_units(self.units(bytes))
    }

    /// `taken`, made as large or as small as `bytes` are.
    pub(crate) fn fit(&self, mut taken: Taken, bytes: usize) -> Result<Taken, Problem> {
        let (has, needs) = (taken.0.num_permits(), self.units(bytes));
        match needs.checked_sub(has) {
            Some(more) => taken.0.merge(self.take_units(more)?.0),
            None => drop(taken.0.split(has - needs)),
        }
        Ok(taken)
    }

    fn units(&self, bytes: usize) -> usize {
        if bytes <= self.small { 0 } else { bytes.div_ceil(UNIT) }
    }

    fn take_units(&self, count: usize) -> Result<Taken, Problem> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
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
        let room = Room::new("answers", 10 * UNIT, 100);
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
        let all = room.take(10 * UNIT).expect("all of it");
        room.take(100).expect("none is needed");
        room.take(101).expect_err("some is needed");
        let none = room.fit(all, 100).expect("less");
        assert_eq!(room.free.available_permits(), 10);
        drop(none);
        let problem = room.take(11 * UNIT).expect_err("more than there is");
        assert_eq!(problem.kind, Kind::MemoryFull);
    }
}
