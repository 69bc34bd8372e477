//! What a client tells a custom authorizer, a function of the account that decides who may connect.
//!
//! Over TCP it stands in user name and password of CONNECT, over WebSocket in headers of the HTTP request. Relates to:
//! [`Endpoint::custom_authorizer`](super::Endpoint::custom_authorizer). Leaves out: how a token is made and signed.

use std::fmt;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::encoding::{PERCENT_ENCODED, push_percent_encoded};
#[cfg(feature = "websocket")]
use crate::options::ConnectOptions;
use crate::options::Password;

/// What a client tells a custom authorizer. `Debug` shows its name and nothing else; the rest is erased from memory
/// when nothing needs it any more.
#[derive(Clone, Default)]
pub struct CustomAuthorizer {
    name: Option<String>,
    user_name: Zeroizing<String>,
    password: Option<Password>,
    token: Option<(String, Zeroizing<String>)>,
    signature: Option<Zeroizing<String>>,
}

impl CustomAuthorizer {
    /// The default authorizer of the account.
    pub fn new() -> Self {
        Self::default()
    }

    /// The authorizer with this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// The user name, for the function to see. Default: empty.
    #[must_use]
    pub fn user_name(mut self, user_name: impl Into<String>) -> Self {
        self.user_name = Zeroizing::new(user_name.into());
        self
    }

    /// The password, any bytes, for the function to see. Default: none.
    #[must_use]
    pub fn password(mut self, password: impl Into<Password>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// A token under the key name that the authorizer has for it. Default: none.
    #[must_use]
    pub fn token(mut self, key_name: impl Into<String>, token: impl Into<String>) -> Self {
        self.token = Some((key_name.into(), Zeroizing::new(token.into())));
        self
    }

    /// The signature of the token in base64, which AWS checks before it calls the function, unless that is switched
    /// off. Default: none.
    #[must_use]
    pub fn token_signature(mut self, signature: impl Into<String>) -> Self {
        self.signature = Some(Zeroizing::new(signature.into()));
        self
    }

    /// The user name of CONNECT: that of the function, and the rest as the query of a URL.
    pub fn mqtt_user_name(&self) -> String {
        // Of its final size at once, so that no copy is left behind.
        let room: usize =
            self.pairs().map(|(name, value)| 2 + name.len() + PERCENT_ENCODED * value.len()).sum();
        let mut text = String::with_capacity(self.user_name.len() + room);
        text.push_str(&self.user_name);
        for (at, (name, value)) in self.pairs().enumerate() {
            text.push(if at == 0 { '?' } else { '&' });
            text.push_str(name);
            text.push('=');
            push_percent_encoded(&mut text, value);
        }
        text
    }

    /// The password of CONNECT.
    pub fn mqtt_password(&self) -> Option<Bytes> {
        self.password.as_ref().map(Password::to_bytes)
    }

    /// The headers of the HTTP request, for WebSocket. User name and password stay in CONNECT.
    pub fn websocket_headers(&self) -> Vec<(String, String)> {
        self.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    pub(super) const fn secret(&self) -> Option<&Password> {
        self.password.as_ref()
    }

    /// Says user name and password in CONNECT, and nothing else there.
    #[cfg(feature = "websocket")]
    pub(super) fn say_who(&self, mut options: ConnectOptions) -> ConnectOptions {
        if !self.user_name.is_empty() || self.password.is_some() {
            options = options.user_name(self.user_name.as_str());
        }
        match &self.password {
            Some(password) => options.password(password.clone()),
            None => options,
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let name = self.name.as_deref().map(|name| ("x-amz-customauthorizer-name", name));
        let signature = self.signature.as_ref();
        let signature = signature.map(|text| ("x-amz-customauthorizer-signature", text.as_str()));
        let token = self.token.as_ref().map(|(key_name, token)| (key_name.as_str(), token.as_str()));
        name.into_iter().chain(signature).chain(token)
    }
}

impl fmt::Debug for CustomAuthorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomAuthorizer").field("name", &self.name).finish_non_exhaustive()
    }
}
