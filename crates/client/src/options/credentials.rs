//! Who the client says it is: a user name and password, given or asked for at each connect.
//!
//! Both are erased from memory when nothing needs them any more, and no `Debug` output shows them. What the network
//! stack, TLS or the allocator of somebody else's buffers copied is out of reach. Relates to: `connecting.rs`, which
//! asks. Leaves out: extended authentication, which proves more than a password does.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use gantline_protocol::{ClientId, async_trait};
use gantline_transport::Address;
use zeroize::{Zeroize, Zeroizing};

use super::ConnectOptions;

/// A password: any bytes. They are erased from memory with the last copy of it, and `Debug` does not show them.
///
/// Made from text or bytes. What is lent is copied and stays the lender's to erase; what is given is taken over.
#[derive(Clone)]
pub struct Password(Bytes);

impl Password {
    /// This password.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Bytes::from_owner(Zeroizing::new(bytes.into())))
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&[u8]> for Password {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

impl<const LENGTH: usize> From<&[u8; LENGTH]> for Password {
    fn from(bytes: &[u8; LENGTH]) -> Self {
        Self::new(bytes.as_slice())
    }
}

impl From<Vec<u8>> for Password {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl From<Bytes> for Password {
    /// Erases the bytes if nobody shares them.
    fn from(bytes: Bytes) -> Self {
        let copy = Self::new(bytes.as_ref());
        if let Ok(mut own) = bytes.try_into_mut() {
            own.as_mut().zeroize();
        }
        copy
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A user name and a password, each of which may be missing. Default: neither.
///
/// ```
/// use gantline_client::Credentials;
///
/// let credentials = Credentials::default().user_name("ada").password("secret");
/// ```
#[derive(Clone, Default)]
pub struct Credentials {
    user_name: Option<Zeroizing<String>>,
    password: Option<Password>,
}

impl Credentials {
    /// With this user name.
    #[must_use]
    pub fn user_name(mut self, user_name: impl Into<String>) -> Self {
        self.user_name = Some(Zeroizing::new(user_name.into()));
        self
    }

    /// With this password. Only 5.0 allows it without a user name.
    #[must_use]
    pub fn password(mut self, password: impl Into<Password>) -> Self {
        self.password = Some(password.into());
        self
    }

    pub(super) fn of_url(url: &gantline_transport::Credentials) -> Self {
        let named = Self::default().user_name(url.user_name());
        match url.password() {
            Some(password) => named.password(password),
            None => named,
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.user_name.as_deref().map(String::as_str)
    }

    pub(super) fn secret(&self) -> Option<&Password> {
        self.password.as_ref()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.user_name.is_none() && self.password.is_none()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |set: bool| if set { "***" } else { "none" };
        f.debug_struct("Credentials")
            .field("user_name", &format_args!("{}", shown(self.user_name.is_some())))
            .field("password", &format_args!("{}", shown(self.password.is_some())))
            .finish()
    }
}

/// What is asked for credentials before each attempt to connect, for tokens that expire and secrets that are kept
/// elsewhere.
///
/// ```
/// use std::error::Error;
/// use gantline_client::{Credentials, CredentialsProvider, CredentialsRequest, async_trait};
///
/// struct TokenFile;
///
/// #[async_trait]
/// impl CredentialsProvider for TokenFile {
///     async fn credentials(
///         &self,
///         _: &CredentialsRequest<'_>,
///     ) -> Result<Credentials, Box<dyn Error + Send + Sync>> {
///         let token = std::fs::read_to_string("/run/secrets/mqtt-token")?;
///         Ok(Credentials::default().user_name("device").password(token))
///     }
/// }
/// ```
#[async_trait]
pub trait CredentialsProvider: Send + Sync {
    /// The credentials for one attempt to connect.
    ///
    /// Runs in the future that connects, within its time-out and before the network is touched, and is dropped with it.
    /// An attempt with the [fallback](ConnectOptions::fallback) version asks again.
    ///
    /// # Errors
    ///
    /// Whatever went wrong; the attempt ends with
    /// [`ConnectError::CredentialsUnavailable`](crate::ConnectError::CredentialsUnavailable), which shows it.
    async fn credentials(
        &self,
        request: &CredentialsRequest<'_>,
    ) -> Result<Credentials, Box<dyn Error + Send + Sync>>;
}

/// For what a [`CredentialsProvider`] is asked.
#[derive(Clone, Copy, Debug)]
pub struct CredentialsRequest<'a> {
    pub(super) client_id: Option<&'a ClientId>,
    pub(super) address: Option<&'a Address>,
}

impl<'a> CredentialsRequest<'a> {
    /// The client id of the attempt; `None` if the server is to assign one.
    pub const fn client_id(&self) -> Option<&'a ClientId> {
        self.client_id
    }

    /// Where to; `None` if the application gave a stream and no address.
    pub const fn address(&self) -> Option<&'a Address> {
        self.address
    }
}

/// A provider, of which nothing is shown.
#[derive(Clone)]
pub(super) struct Provider(Arc<dyn CredentialsProvider>);

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialsProvider")
    }
}

impl ConnectOptions {
    /// The user name. Erased from memory in the end, and not shown by `Debug`. Default: that of the URL, else none.
    pub fn user_name(mut self, user_name: impl Into<String>) -> Self {
        self.credentials = self.credentials.user_name(user_name);
        self
    }

    /// The password, any bytes. Only 5.0 allows it without a user name. Erased from memory in the end, and not shown by
    /// `Debug`. Default: that of the URL, else none.
    pub fn password(mut self, password: impl Into<Password>) -> Self {
        self.credentials = self.credentials.password(password);
        self
    }

    /// What is asked for user name and password at each connect. With a user name or password in the options or the
    /// URL, connecting is an error. Default: none.
    pub fn credentials_provider(mut self, provider: impl CredentialsProvider + 'static) -> Self {
        self.credentials_provider = Some(Provider(Arc::new(provider)));
        self
    }

    /// The credentials for one attempt.
    pub(crate) async fn ask_credentials(
        &self,
        client_id: Option<&ClientId>,
    ) -> Result<Credentials, Box<dyn Error + Send + Sync>> {
        match &self.credentials_provider {
            None => Ok(self.credentials.clone()),
            Some(Provider(provider)) => {
                let request = CredentialsRequest { client_id, address: self.address.as_ref() };
                provider.credentials(&request).await
            }
        }
    }
}
