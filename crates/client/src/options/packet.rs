//! From the options to the CONNECT that says them.
//!
//! Relates to: `connecting.rs`, which sends it. Leaves out: what changes from one connection to the next: credentials,
//! the client id, whether to begin anew.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use gantline_protocol::{
    ClientId, Connect, ConnectProperties, Message, ProtocolVersion, Will, WillProperties,
};

use super::{ConnectOptions, Credentials, Password};
use crate::authentication::Authentication;

impl ConnectOptions {
    /// The method that a connection with these credentials authenticates with.
    pub(crate) fn method_for(&self, credentials: &Credentials) -> Option<Authentication> {
        let method = self.authentication.as_ref()?;
        Some(Authentication::new(Arc::clone(method), credentials.clone()))
    }

    /// The packet that says all this. The user name in it is a copy, to be erased.
    pub(crate) fn connect(
        &self,
        version: ProtocolVersion,
        client_id: Option<&ClientId>,
        clean_start: bool,
        credentials: &Credentials,
    ) -> Connect {
        Connect {
            version,
            client_id: client_id.map_or_else(String::new, ToString::to_string),
            clean_start,
            keep_alive: self.keep_alive,
            will: self.will.as_ref().map(|will| self.will_packet(will)),
            user_name: credentials.name().map(str::to_owned),
            password: credentials.secret().map(Password::to_bytes),
            properties: if version.has_properties() {
                self.properties()
            } else {
                ConnectProperties::default()
            },
            bridge: false,
        }
    }

    fn properties(&self) -> ConnectProperties {
        let most = u16::try_from(self.stream_bounds.messages).unwrap_or(u16::MAX);
        let receive_maximum = self.receive_maximum.unwrap_or(DEFAULT_RECEIVE_MAXIMUM).min(most).max(1);
        ConnectProperties {
            session_expiry_interval: self.session_expiry,
            receive_maximum: NonZeroU16::new(receive_maximum),
            maximum_packet_size: NonZeroU32::new(self.maximum_packet_size),
            topic_alias_maximum: Some(self.topic_alias_maximum.unwrap_or(DEFAULT_TOPIC_ALIAS_MAXIMUM)),
            request_response_information: self.request_response_information,
            request_problem_information: self.request_problem_information,
            user_properties: self.user_properties.clone(),
            authentication_method: self.authentication.as_ref().map(|method| method.name().to_owned()),
            ..ConnectProperties::default()
        }
    }

    fn will_packet(&self, message: &Message) -> Will {
        let properties = message.properties().clone();
        Will {
            topic: message.topic().clone(),
            payload: message.payload().to_bytes(),
            qos: message.qos_level(),
            retain: message.is_retained(),
            properties: WillProperties {
                will_delay_interval: self.will_delay,
                payload_format_indicator: properties.payload_format_indicator,
                message_expiry_interval: properties.message_expiry_interval,
                content_type: properties.content_type,
                response_topic: properties.response_topic,
                correlation_data: properties.correlation_data,
                user_properties: properties.user_properties,
            },
        }
    }
}

const DEFAULT_RECEIVE_MAXIMUM: u16 = 1024;
const DEFAULT_TOPIC_ALIAS_MAXIMUM: u16 = 32;
