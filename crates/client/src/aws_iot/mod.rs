//! Options for AWS IoT Core: each of its ways to let a client in, as [`ConnectOptions`].
//!
//! | way | port | what the server asks for |
//! |---|---|---|
//! | [`Endpoint::mutual_tls`] | 8883 | a client certificate |
//! | [`Endpoint::mutual_tls_on_443`] | 443 | the same, and the application protocol `x-amzn-mqtt-ca` |
//! | [`Endpoint::custom_authorizer`] | 443 | what a function of yours wants, and the application protocol `mqtt` |
//! | `Endpoint::signed_websocket` (feature `websocket`) | 443 | WebSocket, and a signature made with keys of AWS |
//! | `Endpoint::custom_authorizer_websocket` (feature `websocket`) | 443 | WebSocket, and what a function of yours wants |
//!
//! The certificates of AWS come from a CA that everybody trusts, so nothing has to be installed. AWS IoT Core has no
//! QoS 2, and a keep-alive may not be longer than 20 min. Leaves out: where certificates and keys come from; see
//! [`TlsClientOptions::identity_provider`](crate::TlsClientOptions::identity_provider) for certificates that change.
//!
//! ```
//! use gantline_client::aws_iot::Endpoint;
//! use gantline_client::{Certificates, PrivateKey, TlsIdentity};
//!
//! # fn main() -> Result<(), gantline_client::aws_iot::EndpointError> {
//! let identity = TlsIdentity::new(Certificates::file("device.pem"), PrivateKey::file("device.key"));
//! let options = Endpoint::new("abc123-ats.iot.eu-central-1.amazonaws.com")?.mutual_tls(identity);
//! # Ok(()) }
//! ```

mod authorizer;
mod encoding;
mod signature;
#[cfg(feature = "websocket")]
mod websocket;

use std::time::SystemTime;

#[cfg(feature = "websocket")]
use gantline_transport::WebSocketClientOptions;
use gantline_transport::{Address, AddressError, TlsClientOptions, TlsIdentity};
use zeroize::Zeroizing;

pub use self::authorizer::CustomAuthorizer;
pub use self::signature::AwsCredentials;
use crate::options::ConnectOptions;

/// The AWS IoT Core of an account, by its host name.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// With a port that is of no matter.
    address: Address,
    port: Option<u16>,
    region: Option<String>,
    tls: TlsClientOptions,
    #[cfg(feature = "websocket")]
    websocket_address: Address,
    #[cfg(feature = "websocket")]
    websocket: WebSocketClientOptions,
}

impl Endpoint {
    /// The endpoint with this host name: what `aws iot describe-endpoint --endpoint-type iot:Data-ATS` prints, or a
    /// domain of your own.
    ///
    /// # Errors
    ///
    /// The text is no host name. A scheme, a port and a path do not belong to it.
    pub fn new(host: impl AsRef<str>) -> Result<Self, EndpointError> {
        let host = host.as_ref();
        if host.contains(['@', '/', ':', '?', '#']) {
            // A URL may have a password, or a signature.
            let shown =
                Address::new(host).map_or_else(|error| error.text().to_owned(), |url| url.to_string());
            return Err(EndpointError::NotBare { host: shown });
        }
        let address = Address::new(format!("mqtts://{host}"))?;
        let region = region_in(address.host());
        Ok(Self {
            address,
            port: None,
            region,
            tls: TlsClientOptions::default(),
            #[cfg(feature = "websocket")]
            websocket_address: Address::new(format!("wss://{host}{PATH}"))?,
            #[cfg(feature = "websocket")]
            websocket: WebSocketClientOptions::default(),
        })
    }

    /// Another port than that of the table above, for a proxy or a test.
    #[must_use]
    pub const fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// The region, such as `eu-central-1`. Default: the one in the host name; a domain of your own has none.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// What else there is to say about TLS, such as another CA. Identity and application protocol are set by the ways
    /// to connect. Default: [`TlsClientOptions::default`].
    #[must_use]
    pub fn tls(mut self, options: TlsClientOptions) -> Self {
        self.tls = options;
        self
    }

    /// Options for TCP with a client certificate, port 8883.
    pub fn mutual_tls(&self, identity: TlsIdentity) -> ConnectOptions {
        self.options(8883, self.tls.clone().identity(identity))
    }

    /// Options for TCP with a client certificate, port 443, which more firewalls let through.
    pub fn mutual_tls_on_443(&self, identity: TlsIdentity) -> ConnectOptions {
        self.options(443, self.tls.clone().identity(identity).alpn(["x-amzn-mqtt-ca"]))
    }

    /// Options for TCP with a custom authorizer, port 443. Sets user name and password.
    pub fn custom_authorizer(&self, authorizer: &CustomAuthorizer) -> ConnectOptions {
        let options =
            self.options(443, self.tls.clone().alpn(["mqtt"])).user_name(authorizer.mqtt_user_name());
        match authorizer.secret() {
            Some(password) => options.password(password.clone()),
            None => options,
        }
    }

    /// A URL for WebSocket (`wss`), signed with keys of AWS (Signature Version 4), for a client of somebody else; ours
    /// signs by itself (`signed_websocket`). AWS accepts it for five minutes from `at`, which is now unless you know
    /// better.
    ///
    /// **The URL is a secret**: who has it can connect as you, until then.
    ///
    /// # Errors
    ///
    /// The region is not known.
    pub fn presigned_url(
        &self,
        credentials: &AwsCredentials,
        at: SystemTime,
    ) -> Result<String, EndpointError> {
        let path = self.presigned_path(credentials, at)?;
        Ok(format!("wss://{}{}", self.place(), *path))
    }

    /// What stands behind the host in a signed URL.
    fn presigned_path(
        &self,
        credentials: &AwsCredentials,
        at: SystemTime,
    ) -> Result<Zeroizing<String>, EndpointError> {
        Ok(signature::device_gateway_path(credentials, &self.place(), self.known_region()?, at))
    }

    fn known_region(&self) -> Result<&str, EndpointError> {
        let unknown = || EndpointError::RegionUnknown { host: self.address.host().to_owned() };
        self.region.as_deref().ok_or_else(unknown)
    }

    /// The URL for WebSocket with a custom authorizer, whose [headers](CustomAuthorizer::websocket_headers) go with it,
    /// for a client of somebody else.
    pub fn websocket_url(&self) -> String {
        format!("wss://{}{PATH}", self.place())
    }

    /// Host and port as in the header `Host` of HTTP, where the usual port is not said.
    fn place(&self) -> String {
        match self.port {
            None | Some(443) => self.address.host().to_owned(),
            Some(port) => format!("{}:{port}", self.address.host()),
        }
    }

    fn options(&self, usual_port: u16, tls: TlsClientOptions) -> ConnectOptions {
        ConnectOptions::to(self.address.clone().with_port(self.port.unwrap_or(usual_port))).tls(tls)
    }
}

/// The region in the host name that AWS gives, as in `abc123-ats.iot.eu-central-1.amazonaws.com`.
fn region_in(host: &str) -> Option<String> {
    let (_, rest) = host.split_once(".iot.")?;
    let (region, domain) = rest.split_once('.')?;
    domain.starts_with("amazonaws.com").then(|| region.to_owned())
}

/// An endpoint that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The text is no host name; the error names it.
    #[error(transparent)]
    Host(#[from] AddressError),
    /// The text is more than a host name.
    #[error("{host:?} is more than a host name: leave out scheme, user, port and path")]
    NotBare {
        /// The text, its password and query replaced by `***`.
        host: String,
    },
    /// A signature needs the region, and the host name does not tell it.
    #[error("the region of {host} is not known: set region")]
    RegionUnknown {
        /// The host name.
        host: String,
    },
}

/// Where AWS has its WebSocket.
const PATH: &str = "/mqtt";

#[cfg(test)]
mod tests;
