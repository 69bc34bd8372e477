//! Why a store of the application failed, whatever it stores.
//!
//! Stores are traits of the crates that use them: retained messages of a server, the outbox of a client. They fail
//! alike.

use std::error::Error;
use std::sync::Arc;

/// Why a store failed: what it was about to do, and what went wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{context}: {source}")]
pub struct StoreError {
    context: Arc<str>,
    source: Arc<dyn Error + Send + Sync>,
    permanent: bool,
}

impl StoreError {
    /// An error with its context, such as `cannot write retained/7.log`.
    pub fn new(context: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { context: context.into().into(), source: source.into().into(), permanent: false }
    }

    /// Says that some of the changes can never be kept, and that all others are kept: to bring them again does not
    /// help. An error that does not say so is taken for one that may pass.
    #[must_use]
    pub const fn permanent(mut self) -> Self {
        self.permanent = true;
        self
    }

    /// Whether to try again does not help.
    pub const fn is_permanent(&self) -> bool {
        self.permanent
    }

    /// What the store was about to do.
    pub fn context(&self) -> &str {
        &self.context
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::StoreError;

    #[test]
    fn an_error_says_what_was_tried_and_why_it_failed() {
        let error = StoreError::new("cannot write retained/7.log", io::Error::other("no space"));
        assert_eq!(error.to_string(), "cannot write retained/7.log: no space");
        assert!(!error.is_permanent() && error.permanent().is_permanent());
    }
}
