// SPDX-License-Identifier: GPL-2.0-only
//! One thread that stops engines which have run for long.
//!
//! A stop by the watchdog is never a verdict: the run is then repeated with its blocks counted, and the
//! count decides.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use unicorn_engine::hook::sys;

/// An engine's handle, for stopping it from another thread.
struct Handle(*mut sys::uc_engine);

// SAFETY: the handle is only passed to `uc_emu_stop`, which sets flags that the engine polls and is what
// the engine's own time-out thread calls; the guard takes it back before the engine is closed.
unsafe impl Send for Handle {}

struct Watched {
    handle: Handle,
    deadline: Instant,
    fired: Arc<AtomicBool>,
}

#[derive(Default)]
struct Shared {
    engines: Mutex<(u64, BTreeMap<u64, Watched>)>,
    changed: Condvar,
}

/// Watches one engine until it is dropped.
pub struct Guard {
    id: u64,
    fired: Arc<AtomicBool>,
}

impl Guard {
    /// Stops `engine` once `limit` has passed. The guard must be dropped before the engine is closed.
    pub fn new(engine: *mut sys::uc_engine, limit: Duration) -> Guard {
        let shared = shared();
        let fired = Arc::new(AtomicBool::new(false));
        let mut engines = shared.engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines.0 += 1;
        let id = engines.0;
        let deadline = Instant::now() + limit;
        engines.1.insert(id, Watched { handle: Handle(engine), deadline, fired: fired.clone() });
        shared.changed.notify_one();
        Guard { id, fired }
    }

    /// Whether the engine was told to stop.
    pub fn has_fired(&self) -> bool {
        self.fired.load(Ordering::SeqCst)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        shared().engines.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&self.id);
    }
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<&'static Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let shared: &'static Shared = Box::leak(Box::default());
        std::thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || watch(shared))
            .expect("the host can start a thread");
        shared
    })
}

fn watch(shared: &'static Shared) {
    /// A stop that comes between two pieces of a run is forgotten by the engine: say it again.
    const REPEAT: Duration = Duration::from_millis(100);

    let mut engines = shared.engines.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        for watched in engines.1.values_mut() {
            if watched.deadline <= now {
                watched.fired.store(true, Ordering::SeqCst);
                // SAFETY: the engine is open: its guard is still registered, and we hold the lock.
                unsafe { sys::uc_emu_stop(watched.handle.0) };
                watched.deadline = now + REPEAT;
            }
            next = Some(next.map_or(watched.deadline, |n| n.min(watched.deadline)));
        }
        engines = match next {
            Some(at) => {
                let wait = at.saturating_duration_since(Instant::now());
                shared.changed.wait_timeout(engines, wait).unwrap_or_else(PoisonError::into_inner).0
            }
            None => shared.changed.wait(engines).unwrap_or_else(PoisonError::into_inner),
        };
    }
}
