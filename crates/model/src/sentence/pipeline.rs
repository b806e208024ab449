//! A stream of chunks in two steps that overlap.

use std::sync::mpsc::sync_channel;

/// Texts that are tokenized together while the ones before are encoded.
pub(crate) const CHUNK_TEXTS: usize = 1024;

/// While `finish` works on a chunk on the calling thread, the next one is read
/// and prepared on another. In order; memory is that of a few chunks.
///
/// # Errors
/// The first one of `chunks`, `prepare` or `finish`, which ends it.
pub(crate) fn pipelined<C: Send, P: Send, E: Send>(
    chunks: impl Iterator<Item = Result<C, E>> + Send,
    mut prepare: impl FnMut(&C) -> Result<P, E> + Send,
    mut finish: impl FnMut(C, P) -> Result<(), E>,
) -> Result<(), E> {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        scope.spawn(move || {
            for chunk in chunks {
                let prepared = chunk.and_then(|chunk| {
                    let prepared = prepare(&chunk)?;
                    Ok((chunk, prepared))
                });
                let failed = prepared.is_err();
                // No receiver: `finish` has failed, and nobody wants more.
                if sender.send(prepared).is_err() || failed {
                    break;
                }
            }
        });
        for prepared in receiver {
            let (chunk, prepared) = prepared?;
            finish(chunk, prepared)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is finished of the numbers 0 to 9, and the error that ended it.
    fn run(
        read: Option<u32>,
        prepare: Option<u32>,
        finish: Option<u32>,
    ) -> (Vec<u32>, Option<u32>) {
        let fail = |at: Option<u32>, n: u32| if at == Some(n) { Err(n) } else { Ok(n) };
        let mut done = Vec::new();
        let result = pipelined(
            (0..10).map(|n| fail(read, n)),
            |n| fail(prepare, *n).map(|n| 10 * n),
            |n, prepared| {
                fail(finish, n)?;
                done.push(prepared);
                Ok(())
            },
        );
        (done, result.err())
    }

    #[test]
    fn chunks_come_in_order_up_to_the_first_error() {
        let tens: Vec<u32> = (0..10).map(|n| 10 * n).collect();
        assert_eq!(run(None, None, None), (tens.clone(), None));
        for (read, prepare, finish) in [
            (Some(4), None, None),
            (None, Some(4), None),
            (None, None, Some(4)),
            (Some(7), None, Some(4)),
        ] {
            assert_eq!(run(read, prepare, finish), (tens[..4].to_vec(), Some(4)));
        }
    }
}
