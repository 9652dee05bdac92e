//! Work that takes much memory for a moment runs on a thread that ends with it. An allocator keeps what
//! a thread has freed for that thread, and looks at it again only when the thread frees more: after a
//! million records 50 MB were kept by threads that slept, while the next one asked the system for its
//! own.

use std::panic::resume_unwind;
use std::thread::{Builder, scope};

/// Runs `work` on a thread of its own and waits for it; here, where no thread can be started.
pub(super) fn on_own_thread<T: Send>(name: &str, mut work: impl FnMut() -> T + Send) -> T {
    scope(|scope| {
        let started = Builder::new()
            .name(name.to_owned())
            .spawn_scoped(scope, &mut work);
        let done = started.ok().map(|thread| thread.join());
        done.map(|done| done.unwrap_or_else(|panic| resume_unwind(panic)))
    })
    .unwrap_or_else(work)
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;
    use std::thread::current;

    use super::*;

    #[test]
    fn work_is_done_elsewhere_once() {
        let mut times = 0;
        let (name, id) = on_own_thread("burst", || {
            times += 1;
            (current().name().map(str::to_owned), current().id())
        });
        assert_eq!((times, name.as_deref()), (1, Some("burst")));
        assert_ne!(id, current().id());
        assert!(catch_unwind(|| on_own_thread("burst", || panic!("as it was"))).is_err());
    }
}
