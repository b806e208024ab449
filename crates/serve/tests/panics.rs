//! A test program of its own, because a panic hook belongs to the whole process.

use std::io::Write;
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("the log").write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_is_logged_without_the_text_that_it_quotes() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().json().with_writer(move || writer.clone()).init();
    polyhead_serve::log_panics();
    let text = "a secret tëxt".to_owned();
    // In the middle of a character.
    assert!(catch_unwind(|| text[..11].len()).is_err());
    let log = String::from_utf8(log.0.lock().expect("the log").clone()).expect("UTF-8");
    assert!(log.contains("panics.rs") && log.contains("\"level\":\"ERROR\""), "{log}");
    assert!(!log.contains("secret"), "{log}");
}
