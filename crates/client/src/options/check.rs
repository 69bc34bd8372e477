//! Whether options fit together and to the version.
//!
//! Relates to: [`OptionsError`], which says what does not. Leaves out: what only the server can tell.

use gantline_protocol::ProtocolVersion;

use crate::features::first_of;

use super::{ConnectOptions, Credentials, Identity, OptionsError};

impl ConnectOptions {
    /// Whether the options fit together and to the version. Connecting begins with it.
    ///
    /// # Errors
    ///
    /// The first option that does not, by name.
    pub fn check(&self) -> Result<(), OptionsError> {
        self.check_for(self.version)
    }

    /// As [`check`](Self::check), for the version to fall back to.
    pub(crate) fn check_for(&self, version: ProtocolVersion) -> Result<(), OptionsError> {
        #[cfg(feature = "tls")]
        if self.tls && !self.address.as_ref().is_some_and(|address| address.scheme().is_secure()) {
            return Err(OptionsError::TlsWithoutAddress);
        }
        #[cfg(feature = "websocket")]
        if self.has_websocket && !self.address.as_ref().is_some_and(|address| address.scheme().is_websocket())
        {
            return Err(OptionsError::WebSocketWithoutAddress);
        }
        if !version.has_properties()
            && let Some(option) = self.needs_properties()
            && (self.validate_features || self.authentication.is_some())
        {
            return Err(OptionsError::NotInVersion { option, version });
        }
        if self.credentials_provider.is_some() && !self.credentials.is_empty() {
            return Err(OptionsError::CredentialsTwice);
        }
        check_credentials(&self.credentials, version)?;
        self.check_store(version)?;
        match &self.identity {
            Identity::Given(id) if !id.fits(version) => Err(OptionsError::ClientIdTooLong { version }),
            Identity::Assigned if !version.has_session_present() => {
                Err(OptionsError::NotInVersion { option: "server_assigned_client_id", version })
            }
            // Such a server must refuse an empty id whose session is to be kept [MQTT-3.1.3-8].
            Identity::Assigned if !version.has_properties() && !self.clean_start => {
                Err(OptionsError::SessionWithoutClientId { version })
            }
            Identity::Given(_) | Identity::Generated | Identity::Assigned => Ok(()),
        }
    }

    /// Whether there is a session to be stored.
    fn check_store(&self, version: ProtocolVersion) -> Result<(), OptionsError> {
        if self.session_store.is_none() {
            return Ok(());
        }
        if !matches!(self.identity, Identity::Given(_)) {
            return Err(OptionsError::StoreWithoutClientId);
        }
        match version.has_properties() {
            true if self.session_expiry.unwrap_or(0) == 0 => {
                Err(OptionsError::StoreWithoutSession { option: "session_expiry" })
            }
            false if self.clean_start => {
                Err(OptionsError::StoreWithoutSession { option: "clean_start(false)" })
            }
            _ => Ok(()),
        }
    }

    /// The first option that only exists where packets have properties.
    fn needs_properties(&self) -> Option<&'static str> {
        let will_has_properties =
            self.will.as_ref().is_some_and(|will| *will.properties() != Default::default());
        first_of([
            ("authentication", self.authentication.is_some()),
            ("session_expiry", self.session_expiry.is_some()),
            ("will_delay", self.will_delay.is_some()),
            ("will (properties)", will_has_properties),
            ("receive_maximum", self.receive_maximum.is_some()),
            ("topic_alias_maximum", self.topic_alias_maximum.is_some()),
            ("request_response_information", self.request_response_information.is_some()),
            ("request_problem_information", self.request_problem_information.is_some()),
            ("user_property", !self.user_properties.is_empty()),
        ])
    }
}

/// Whether the version can say these credentials, wherever they come from.
pub(crate) fn check_credentials(
    credentials: &Credentials,
    version: ProtocolVersion,
) -> Result<(), OptionsError> {
    let alone = credentials.secret().is_some() && credentials.name().is_none();
    if alone && !version.has_properties() {
        return Err(OptionsError::PasswordWithoutUserName { version });
    }
    Ok(())
}
