//! Ctrl-C: finish the step, save, say how to go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static HANDLER: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// A flag that the loops look at after each step.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// A flag raised by Ctrl-C or SIGTERM. A second signal ends the process at once.
    #[must_use]
    pub fn from_signals() -> Self {
        let flag = HANDLER.get_or_init(|| {
            let flag = Arc::new(AtomicBool::new(false));
            let raised = flag.clone();
            let handler = move || {
                if raised.swap(true, Ordering::SeqCst) {
                    std::process::exit(130);
                }
                crate::say("stopping after this step; press Ctrl-C again to stop at once");
            };
            if let Err(error) = ctrlc::set_handler(handler) {
                crate::say(&format!("no Ctrl-C handling: {error}"));
            }
            flag
        });
        Self(flag.clone())
    }

    /// A flag that only [`raise`](Self::raise) sets, for tests and embedding.
    #[must_use]
    pub fn manual() -> Self {
        Self::default()
    }

    /// Asks the loop to stop after the step it is in.
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the loop should stop.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
