//! Packets as one line each, for traces that people read: what is absent or a default is left out.

use std::fmt::{Display, Write};

use gantline_protocol::{
    Ack, AckProperties, Connect, Delivery, Packet, ProtocolVersion, Publish, RetainHandling, UserProperties,
};

/// The packet in a whole frame, as one line.
pub fn frame(bytes: &[u8], version: ProtocolVersion) -> String {
    match Packet::decode(bytes, version) {
        Ok(packet) => self::packet(&packet),
        Err(violation) => format!("{bytes:02x?} ({violation})"),
    }
}

/// A packet as one line.
pub fn packet(packet: &Packet) -> String {
    let mut line = Line(packet.packet_type().to_string());
    match packet {
        Packet::Connect(packet) => connect(&mut line, packet),
        Packet::ConnAck(packet) => {
            line.flag("session_present", packet.session_present);
            line.value("reason", Some(packet.reason));
            let properties = &packet.properties;
            line.value("session_expiry", properties.session_expiry_interval);
            line.value("receive_maximum", properties.receive_maximum);
            line.value("maximum_qos", properties.maximum_qos.map(|qos| qos.value()));
            line.value("retain_available", properties.retain_available);
            line.value("maximum_packet_size", properties.maximum_packet_size);
            line.value("assigned_client_id", properties.assigned_client_identifier.as_ref());
            line.value("topic_alias_maximum", properties.topic_alias_maximum);
            line.value("server_keep_alive", properties.server_keep_alive);
            line.value("subscription_ids_available", properties.subscription_identifiers_available);
            line.value("wildcards_available", properties.wildcard_subscription_available);
            line.value("shared_available", properties.shared_subscription_available);
            line.value("method", properties.authentication_method.as_ref());
        }
        Packet::Publish(packet) => publish(&mut line, packet),
        Packet::PubAck(packet)
        | Packet::PubRec(packet)
        | Packet::PubRel(packet)
        | Packet::PubComp(packet) => {
            ack(&mut line, packet);
        }
        Packet::Subscribe(packet) => {
            line.value("id", Some(packet.packet_id.get()));
            line.value("subscription_id", packet.properties.subscription_identifier);
            for filter in &packet.filters {
                line.text(format_args!("{}:{}", filter.filter, filter.options.maximum_qos.value()));
                line.flag("no_local", filter.options.no_local);
                line.flag("retain_as_published", filter.options.retain_as_published);
                line.flag("retain_if_new", filter.options.retain_handling == RetainHandling::IfNew);
                line.flag("retain_never", filter.options.retain_handling == RetainHandling::Never);
            }
        }
        Packet::SubAck(packet) => {
            line.value("id", Some(packet.packet_id.get()));
            packet.reasons.iter().for_each(|reason| line.text(format_args!("[{reason}]")));
            ack_properties(&mut line, &packet.properties);
        }
        Packet::Unsubscribe(packet) => {
            line.value("id", Some(packet.packet_id.get()));
            packet.filters.iter().for_each(|filter| line.text(filter));
        }
        Packet::UnsubAck(packet) => {
            line.value("id", Some(packet.packet_id.get()));
            packet.reasons.iter().for_each(|reason| line.text(format_args!("[{reason}]")));
            ack_properties(&mut line, &packet.properties);
        }
        Packet::PingReq | Packet::PingResp => {}
        Packet::Disconnect(packet) => {
            line.value("reason", Some(packet.reason));
            line.value("session_expiry", packet.properties.session_expiry_interval);
            line.value("reason_string", packet.properties.reason_string.as_ref());
            line.value("server", packet.properties.server_reference.as_ref());
            user_properties(&mut line, &packet.properties.user_properties);
        }
        Packet::Auth(packet) => {
            line.value("reason", Some(packet.reason));
            line.value("method", packet.properties.authentication_method.as_ref());
        }
    }
    line.0
}

/// The properties of an acknowledgement in a line.
pub fn ack_line(properties: &AckProperties) -> String {
    let mut line = Line(String::new());
    ack_properties(&mut line, properties);
    line.0
}

struct Line(String);

impl Line {
    fn text(&mut self, text: impl Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, " {text}");
    }

    fn value(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            let value = value.to_string();
            let quote = if value.contains(' ') || value.is_empty() { "\"" } else { "" };
            self.text(format_args!("{key}={quote}{value}{quote}"));
        }
    }

    fn flag(&mut self, name: &str, set: bool) {
        if set {
            self.text(name);
        }
    }
}

fn connect(line: &mut Line, packet: &Connect) {
    line.value("version", Some(packet.version));
    line.value("client_id", Some(&packet.client_id));
    line.flag("clean_start", packet.clean_start);
    line.value("keep_alive", Some(packet.keep_alive));
    line.value("will", packet.will.as_ref().map(|will| &will.topic));
    let properties = &packet.properties;
    line.value("session_expiry", properties.session_expiry_interval);
    line.value("receive_maximum", properties.receive_maximum);
    line.value("maximum_packet_size", properties.maximum_packet_size);
    line.value("topic_alias_maximum", properties.topic_alias_maximum);
    line.value("request_problem_information", properties.request_problem_information);
    line.value("method", properties.authentication_method.as_ref());
}

fn publish(line: &mut Line, packet: &Publish) {
    match packet.delivery {
        Delivery::AtMostOnce => line.value("qos", Some(0)),
        Delivery::AtLeastOnce(id) => {
            line.value("qos", Some(1));
            line.value("id", Some(id.get()));
        }
        Delivery::ExactlyOnce(id) => {
            line.value("qos", Some(2));
            line.value("id", Some(id.get()));
        }
    }
    line.flag("dup", packet.dup);
    line.flag("retain", packet.retain);
    line.value("topic", packet.topic.as_ref());
    let properties = &packet.properties;
    line.value("alias", properties.topic_alias);
    line.value("expiry", properties.message_expiry_interval);
    properties.subscription_identifiers.iter().for_each(|id| line.value("subscription_id", Some(id)));
    line.value("response_topic", properties.response_topic.as_ref());
    line.value("content_type", properties.content_type.as_ref());
    user_properties(line, &properties.user_properties);
    let payload = String::from_utf8_lossy(&packet.payload);
    if payload.len() > 40 {
        line.text(format_args!("payload of {} bytes", payload.len()));
    } else {
        line.value("payload", Some(payload));
    }
}

fn ack(line: &mut Line, packet: &Ack) {
    line.value("id", Some(packet.packet_id.get()));
    if packet.reason.value() != 0 {
        line.value("reason", Some(packet.reason));
    }
    ack_properties(line, &packet.properties);
}

fn ack_properties(line: &mut Line, properties: &AckProperties) {
    line.value("reason_string", properties.reason_string.as_ref());
    user_properties(line, &properties.user_properties);
}

fn user_properties(line: &mut Line, properties: &UserProperties) {
    for (name, value) in properties.iter() {
        line.text(format_args!("{name}:{value}"));
    }
}
