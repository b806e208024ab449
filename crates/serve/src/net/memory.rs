//! Memory budgets that requests share: for their bodies, and for responses that clients have not
//! yet received.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::errors::{ApiError, ApiErrorKind};

/// Bytes of one permit, because a semaphore counts permits in 32 bits.
const UNIT: usize = 1024;

/// A limit on the bytes that all requests may reserve together.
pub(crate) struct MemoryBudget {
    name: &'static str,
    pub(crate) limit: usize,
    /// Reservations up to this size are not counted.
    small: usize,
    free: Arc<Semaphore>,
}

/// A part of a [`MemoryBudget`], released on drop.
#[derive(Debug)]
pub(crate) struct ReservedMemory(OwnedSemaphorePermit);

impl MemoryBudget {
    /// - `name`: use of the memory, for messages
    /// - `small`: reservations up to this size are not counted
    pub(crate) fn new(name: &'static str, limit: usize, small: usize) -> Self {
        let units = limit.div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        Self { name, limit, small, free: Arc::new(Semaphore::new(units)) }
    }

    /// Reserves `bytes` or fails at once. A request never waits while part of its body is in
    /// memory.
    pub(crate) fn try_reserve(&self, bytes: usize) -> Result<ReservedMemory, ApiError> {
        self.try_reserve_units(self.units(bytes))
    }

    /// Resizes a reservation to `bytes`, or fails at once.
    pub(crate) fn resize(
        &self,
        mut memory: ReservedMemory,
        bytes: usize,
    ) -> Result<ReservedMemory, ApiError> {
        let (has, needs) = (memory.0.num_permits(), self.units(bytes));
        match needs.checked_sub(has) {
            Some(more) => memory.0.merge(self.try_reserve_units(more)?.0),
            None => drop(memory.0.split(has - needs)),
        }
        Ok(memory)
    }

    fn units(&self, bytes: usize) -> usize {
        if bytes <= self.small { 0 } else { bytes.div_ceil(UNIT) }
    }

    fn try_reserve_units(&self, count: usize) -> Result<ReservedMemory, ApiError> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let free = Arc::clone(&self.free);
        free.try_acquire_many_owned(count).map(ReservedMemory).map_err(|_| {
            let Self { name, limit, .. } = self;
            let message = format!("{name}: expected at most {limit} bytes, try later");
            ApiError::new(ApiErrorKind::MemoryFull, message).retry_after(Duration::from_secs(1))
        })
    }
}

impl ReservedMemory {
    /// Ties the reservation to `bytes`: it ends when the last byte has been sent.
    pub(crate) fn hold(self, mut bytes: Vec<u8>) -> Bytes {
        struct Held {
            bytes: Vec<u8>,
            _memory: ReservedMemory,
        }
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }
        bytes.shrink_to_fit();
        Bytes::from_owner(Held { bytes, _memory: self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_ends_with_the_last_byte() {
        let budget = MemoryBudget::new("answers", 10 * UNIT, 100);
        let memory = budget.try_reserve(4 * UNIT).expect("four of ten");
        assert!(budget.try_reserve(7 * UNIT).is_err(), "six are left");
        let memory = budget.resize(memory, 9 * UNIT).expect("nine of ten");
        assert_eq!(budget.free.available_permits(), 1);
        let memory = budget.resize(memory, 2 * UNIT - 1).expect("two of ten");
        assert_eq!(budget.free.available_permits(), 8);
        let bytes = memory.hold(vec![7; 100]);
        let part = bytes.slice(50..);
        drop(bytes);
        assert_eq!((part.len(), budget.free.available_permits()), (50, 8));
        drop(part);
        assert_eq!(budget.free.available_permits(), 10);
        let all = budget.try_reserve(10 * UNIT).expect("all of it");
        budget.try_reserve(100).expect("small reservations are free");
        budget.try_reserve(101).expect_err("larger ones are not");
        let none = budget.resize(all, 100).expect("less");
        assert_eq!(budget.free.available_permits(), 10);
        drop(none);
        let error = budget.try_reserve(11 * UNIT).expect_err("more than there is");
        assert_eq!(error.kind, ApiErrorKind::MemoryFull);
    }
}
