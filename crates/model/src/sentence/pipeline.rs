//! A stream of chunks in four stages that overlap: read, prepare, compute, write.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Builder};

use crate::error::Error;

/// Texts that are tokenized together while the ones before are encoded.
pub(crate) const CHUNK_TEXTS: usize = 1024;

/// What the preparing stage receives.
enum Message<C, E> {
    Chunk(Result<C, E>),
    /// The input has ended, or its iterator has panicked.
    End(Result<(), Box<dyn Any + Send>>),
    /// A later stage has failed: no more chunks are needed.
    Stop,
}

/// [`pipelined`] for chunks of texts, whose errors count texts from the first of the stream.
///
/// - `tokenize`: gives the number of texts of a chunk, and what `compute` reads
pub(crate) fn stream_texts<C, P, R, E>(
    read: impl Iterator<Item = Result<C, E>> + Send + 'static,
    mut tokenize: impl FnMut(&C) -> Result<(usize, P), Error> + Send,
    compute: impl Fn(P) -> Result<R, Error>,
    mut write: impl FnMut(C, R) -> Result<(), E> + Send,
) -> Result<(), E>
where
    C: Send + 'static,
    P: Send,
    R: Send,
    E: From<Error> + Send + 'static,
{
    let mut texts = 0;
    pipelined(
        read,
        move |chunk| {
            let before = texts;
            let (count, prepared) = tokenize(chunk).map_err(|error| error.after_texts(before))?;
            texts += count;
            Ok((before, prepared))
        },
        |chunk, (before, prepared)| {
            Ok((chunk, compute(prepared).map_err(|error| error.after_texts(before))?))
        },
        |(chunk, results)| write(chunk, results),
    )
}

/// Runs every chunk of `read` through `prepare`, `compute` and `write`, in order.
///
/// Each stage has its own thread; `compute` runs on the calling one. Channels hold one
/// chunk, so memory is that of a few chunks. The thread of `read` is not waited for
/// when a later stage fails: it may be blocked in an input that stays silent.
///
/// # Errors
/// The first error of a stage, which ends the stream. Everything before the failed
/// chunk has been written, except after an error of `write`. Also if a thread cannot be started.
fn pipelined<C, P, R, E>(
    read: impl Iterator<Item = Result<C, E>> + Send + 'static,
    prepare: impl FnMut(&C) -> Result<P, E> + Send,
    mut compute: impl FnMut(C, P) -> Result<R, E>,
    mut write: impl FnMut(R) -> Result<(), E> + Send,
) -> Result<(), E>
where
    C: Send + 'static,
    P: Send,
    R: Send,
    E: From<Error> + Send + 'static,
{
    let (chunks, received) = sync_channel(1);
    let stop = chunks.clone();
    Builder::new()
        .spawn(move || {
            let sent = catch_unwind(AssertUnwindSafe(|| send_all(read, &chunks)));
            // Without a receiver nothing waits for the end.
            let _ = chunks.send(Message::End(sent));
        })
        .map_err(Error::no_thread)?;
    thread::scope(|scope| {
        let (prepared, to_compute) = sync_channel(1);
        Builder::new()
            .spawn_scoped(scope, move || prepare_all(&received, prepare, &prepared))
            .map_err(Error::no_thread)?;
        let (results, to_write) = sync_channel(0);
        let writer = Builder::new()
            .spawn_scoped(scope, move || to_write.into_iter().try_for_each(&mut write));
        let writer = writer.map_err(|error| {
            let _ = stop.try_send(Message::Stop);
            Error::no_thread(error)
        })?;
        let mut computed = Ok(());
        for chunk in &to_compute {
            let result: Result<R, E> = chunk.and_then(|(chunk, prepared)| compute(chunk, prepared));
            match result {
                Ok(result) => {
                    // The writer has failed if nothing receives.
                    if results.send(result).is_err() {
                        break;
                    }
                }
                Err(error) => {
                    computed = Err(error);
                    break;
                }
            }
        }
        // The preparing stage either waits for a chunk, and then there is space for this
        // message, or it finds that nothing receives what it has prepared.
        drop(to_compute);
        let _ = stop.try_send(Message::Stop);
        drop(results);
        // An error of the writer is about an earlier chunk than one of the computation.
        writer.join().unwrap_or_else(|panic| resume_unwind(panic)).and(computed)
    })
}

/// Sends chunks up to the first error, while something receives them.
fn send_all<C, E>(read: impl Iterator<Item = Result<C, E>>, chunks: &SyncSender<Message<C, E>>) {
    for chunk in read {
        let failed = chunk.is_err();
        if chunks.send(Message::Chunk(chunk)).is_err() || failed {
            break;
        }
    }
}

fn prepare_all<C, P, E>(
    received: &Receiver<Message<C, E>>,
    mut prepare: impl FnMut(&C) -> Result<P, E>,
    prepared: &SyncSender<Result<(C, P), E>>,
) {
    for message in received {
        let chunk = match message {
            Message::Chunk(chunk) => chunk,
            Message::Stop | Message::End(Ok(())) => return,
            Message::End(Err(panic)) => resume_unwind(panic),
        };
        let result = chunk.and_then(|chunk| {
            let found = prepare(&chunk)?;
            Ok((chunk, found))
        });
        let failed = result.is_err();
        if prepared.send(result).is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl From<Error> for u32 {
        fn from(error: Error) -> Self {
            panic!("{error}")
        }
    }

    /// Where each stage fails, if it does.
    #[derive(Clone, Copy, Default)]
    struct Failures {
        read: Option<u32>,
        prepare: Option<u32>,
        compute: Option<u32>,
        write: Option<u32>,
    }

    /// What is written of the numbers 0 to 9, and the error that ended the stream.
    fn stream(failures: Failures) -> (Vec<u32>, Option<u32>) {
        let fail = |at: Option<u32>, n: u32| if at == Some(n) { Err(n) } else { Ok(n) };
        let Failures { read, prepare, compute, write } = failures;
        let mut written = Vec::new();
        let result = pipelined(
            (0..10).map(move |n| if read == Some(n) { Err(n) } else { Ok(n) }),
            |n| fail(prepare, *n).map(|n| 10 * n),
            |n, prepared| fail(compute, n).map(|n| (n, prepared)),
            |(n, prepared)| {
                fail(write, n)?;
                written.push(prepared);
                Ok(())
            },
        );
        (written, result.err())
    }

    #[test]
    fn chunks_come_in_order_up_to_the_first_error() {
        let none = Failures::default();
        let tens: Vec<u32> = (0..10).map(|n| 10 * n).collect();
        assert_eq!(stream(none), (tens.clone(), None));
        for failures in [
            Failures { read: Some(4), ..none },
            Failures { prepare: Some(4), ..none },
            Failures { compute: Some(4), ..none },
            Failures { write: Some(4), ..none },
            Failures { read: Some(7), compute: Some(4), ..none },
            Failures { compute: Some(5), write: Some(4), ..none },
        ] {
            assert_eq!(stream(failures), (tens[..4].to_vec(), Some(4)));
        }
    }

    #[test]
    fn a_silent_input_does_not_delay_an_error() {
        let (sender, silent) = std::sync::mpsc::channel::<u32>();
        sender.send(0).unwrap();
        // The second chunk never comes, since `sender` stays open.
        let result = pipelined(
            std::iter::from_fn(move || silent.recv().ok().map(Ok)),
            |_| Ok(()),
            |_, ()| Err::<(), _>(7),
            |()| Ok(()),
        );
        assert_eq!(result, Err(7));
        drop(sender);
    }

    #[test]
    fn a_panic_of_the_input_is_not_its_end() {
        let read = (0..3).map(|n| if n == 2 { panic!("broken input") } else { Ok::<u32, u32>(n) });
        let result = catch_unwind(|| pipelined(read, |_| Ok(()), |_, ()| Ok(()), |()| Ok(())));
        assert!(result.is_err());
    }
}
