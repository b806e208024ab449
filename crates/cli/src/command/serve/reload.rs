//! Reloads the model, one reload at a time.

use std::io;
use std::sync::mpsc::sync_channel;
use std::thread;

/// Starts a thread that calls `reload` for each call of the returned function. Calls while a reload
/// runs are joined: one more reload follows, which reads what is there after the last of them.
///
/// A thread of its own: on one that answers requests, a reload could wait for itself.
pub(super) fn start_reloads(reload: impl Fn() + Send + 'static) -> io::Result<impl Fn()> {
    let (sender, receiver) = sync_channel::<()>(1);
    thread::Builder::new()
        .name("polyhead-reload".to_owned())
        .spawn(move || receiver.iter().for_each(|()| reload()))?;
    Ok(move || {
        // A full channel means that a reload is to begin: it does what this call wants.
        let _ = sender.try_send(());
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::time::Duration;

    use super::*;

    #[test]
    fn calls_during_a_reload_are_joined_to_one_more() {
        let (begun, begins) = channel();
        let (go_on, may_go_on) = sync_channel::<()>(0);
        let reload = start_reloads(move || {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
        });
        let reload = reload.unwrap();
        let limit = Duration::from_secs(10);
        for _ in 0..2 {
            reload();
            begins.recv_timeout(limit).unwrap();
            for _ in 0..200 {
                reload();
            }
            go_on.send(()).unwrap();
            begins.recv_timeout(limit).unwrap();
            go_on.send(()).unwrap();
            let third = begins.recv_timeout(Duration::from_millis(100));
            assert_eq!(third, Err(RecvTimeoutError::Timeout), "200 calls are one reload");
        }
    }
}
