//! A user name and password as they stand in a URL.
//!
//! Relates to: [`Address`](crate::Address) and [`Proxy`](crate::Proxy), which have them. Leaves out: what MQTT makes of
//! them; its passwords may be any bytes.

use std::fmt;
use std::hash::{Hash, Hasher};

use zeroize::Zeroizing;

/// A user name and password from a URL. `Debug` shows neither, and both are erased from memory at the end.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user_name: Zeroizing<String>,
    password: Option<Zeroizing<String>>,
}

impl Credentials {
    /// This user name, and this password if there is one.
    pub fn new(user_name: impl Into<String>, password: Option<String>) -> Self {
        Self { user_name: Zeroizing::new(user_name.into()), password: password.map(Zeroizing::new) }
    }

    pub(super) const fn of_url(user_name: Zeroizing<String>, password: Option<Zeroizing<String>>) -> Self {
        Self { user_name, password }
    }

    /// The user name, decoded; may be empty.
    pub fn user_name(&self) -> &str {
        &self.user_name
    }

    /// The password, decoded.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref().map(String::as_str)
    }
}

impl Hash for Credentials {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.user_name(), self.password()).hash(state);
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}
