//! What texts mean, which are refused and why, and that no output shows a password or a query.

use super::{Address, AddressProblem, Scheme};

#[track_caller]
fn address(text: &str) -> Address {
    Address::new(text).unwrap()
}

#[track_caller]
fn problem(text: &str) -> AddressProblem {
    Address::new(text).unwrap_err().problem()
}

#[test]
fn the_canonical_form_says_everything() {
    for (text, canonical) in [
        ("mqtt://localhost", "mqtt://localhost:1883"),
        ("MQTT://LocalHost/", "mqtt://localhost:1883"),
        ("tcp://10.0.0.1:1884", "mqtt://10.0.0.1:1884"),
        ("mqtt://0.0.0.0:0", "mqtt://0.0.0.0:0"),
        ("mqtt://:1883", "mqtt://:1883"),
        ("mqtts://broker.example", "mqtts://broker.example:8883"),
        ("mqtt://[::1]", "mqtt://[::1]:1883"),
        ("mqtt://[0:0::0:1]:1", "mqtt://[::1]:1"),
        ("mqtt://[fe80::1%eth0]", "mqtt://[fe80::1%25eth0]:1883"),
        ("mqtt://[fe80::1%25eth0]", "mqtt://[fe80::1%25eth0]:1883"),
        ("ws://host", "ws://host:80/"),
        ("ws://host:8080/mqtt", "ws://host:8080/mqtt"),
        ("unix:///run/mqtt.sock", "unix:///run/mqtt.sock"),
        ("unix:///run/a?b", "unix:///run/a?b"),
        ("memory://Kitchen_1", "memory://Kitchen_1"),
        ("mqtt://user:secret@host", "mqtt://host:1883"),
    ] {
        assert_eq!(address(text).to_string(), canonical, "{text}");
        assert_eq!(
            address(canonical),
            address(text).without_credentials(),
            "{text} survives its own display"
        );
    }
}

#[test]
fn parts_are_there_on_their_own() {
    let tcp = address("mqtt://[::1]:99");
    assert_eq!((tcp.scheme(), tcp.host(), tcp.port(), tcp.path()), (Scheme::Mqtt, "::1", Some(99), ""));
    let web = address("ws://host:8080/mqtt?token=a@b");
    assert_eq!((web.host(), web.port(), web.path()), ("host", Some(8080), "/mqtt?token=a@b"));
    assert_eq!((address("wss://host?a").path(), address("wss://host").path()), ("/?a", "/"));
    assert_ne!(address("ws://host?a"), address("ws://host?b"));
    let unix = address("unix:///a/b");
    assert_eq!((unix.scheme(), unix.host(), unix.port(), unix.path()), (Scheme::Unix, "", None, "/a/b"));
    let memory = address("memory://name");
    assert_eq!((memory.scheme(), memory.host(), memory.port()), (Scheme::Memory, "name", None));
    assert_eq!(Address::memory("name").unwrap(), memory);
    assert_eq!(Address::from("[::1]:7".parse::<std::net::SocketAddr>().unwrap()), address("mqtt://[::1]:7"));
}

#[test]
fn both_names_of_tcp_mean_the_same() {
    assert_eq!(address("tcp://h"), address("mqtt://H:1883"));
    assert_ne!(address("tcp://h"), address("mqtt://user@h"));
}

#[test]
fn credentials_are_decoded() {
    let place = address("mqtt://u%40x:p%3A%2F%C3%A4@host:1");
    let credentials = place.credentials().unwrap();
    assert_eq!((credentials.user_name(), credentials.password()), ("u@x", Some("p:/ä")));
    assert_eq!(address("mqtt://only@host").credentials().unwrap().password(), None);
    assert_eq!(address("mqtt://u:@host").credentials().unwrap().password(), Some(""));
    assert_eq!(address("mqtt://u:a:b@c@host").credentials().unwrap().password(), Some("a:b@c"));
    assert_eq!(address("mqtt://host").credentials(), None);
}

#[test]
fn what_is_wrong_is_said_precisely() {
    for (text, expected) in [
        ("", AddressProblem::SchemeMissing),
        ("localhost:1883", AddressProblem::SchemeMissing),
        ("http://host", AddressProblem::SchemeUnknown),
        ("mqtt://", AddressProblem::HostMissing),
        ("memory://", AddressProblem::HostMissing),
        ("mqtt://a b", AddressProblem::HostInvalid),
        ("mqtt://a\n", AddressProblem::HostInvalid),
        ("mqtt://::1", AddressProblem::BracketsMissing),
        ("mqtt://[::1", AddressProblem::Ipv6Invalid),
        ("mqtt://[1.2.3.4]", AddressProblem::Ipv6Invalid),
        ("mqtt://[::1%]", AddressProblem::Ipv6Invalid),
        ("mqtt://host:", AddressProblem::PortInvalid),
        ("mqtt://host:65536", AddressProblem::PortInvalid),
        ("mqtt://host:+1", AddressProblem::PortInvalid),
        ("mqtt://[::1]1883", AddressProblem::PortInvalid),
        ("memory://name:1", AddressProblem::PortNotAllowed),
        ("mqtt://host/topic", AddressProblem::PathNotAllowed),
        ("mqtt://host?x", AddressProblem::PathNotAllowed),
        ("ws://host/#a", AddressProblem::FragmentNotAllowed),
        ("ws://host/a b", AddressProblem::PathCharacterInvalid),
        ("ws://host/a\r\nb: c", AddressProblem::PathCharacterInvalid),
        ("ws://host/ä", AddressProblem::PathCharacterInvalid),
        ("unix://run/mqtt.sock", AddressProblem::PathInvalid),
        ("unix:///", AddressProblem::PathInvalid),
        ("mqtt://u:%zz@host", AddressProblem::CredentialsInvalid),
        ("mqtt://u:%ff@host", AddressProblem::CredentialsInvalid),
        ("mqtt://u:a/b@host", AddressProblem::CredentialsInvalid),
    ] {
        assert_eq!(problem(text), expected, "{text:?}");
    }
    assert_eq!(
        Address::new("mqtt://host:x").unwrap_err().to_string(),
        "\"mqtt://host:x\" is not an address: the port is not a number from 0 to 65535"
    );
}

#[test]
fn no_output_shows_a_password() {
    let place = address("mqtt://user:secret@host");
    for shown in [format!("{place}"), format!("{place:?}"), format!("{:?}", place.credentials())] {
        assert!(!shown.contains("secret") && !shown.contains("user"), "{shown}");
    }
    for text in [
        "mqtt://user:secret@host:x",
        "user:secret@host",
        "mqtt://user:secret/@host",
        "mqtt:/user:secret@host",
        "mqtt://user:a@secret@host:x",
        "ws://user:secret/b@host",
        "http://user:secret@host",
    ] {
        let error = Address::new(text).unwrap_err();
        for shown in [format!("{error}"), format!("{error:?}"), error.text().to_owned()] {
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
}

#[test]
fn no_output_shows_a_query() {
    let signed = address("wss://host/mqtt?X-Amz-Signature=secret&X-Amz-Security-Token=secret");
    assert_eq!(signed.to_string(), "wss://host:443/mqtt?***");
    assert_eq!(format!("{signed:?}"), "Address(wss://host:443/mqtt?***)");
    assert_eq!(address("ws://host?secret").to_string(), "ws://host:80/?***");
    for text in [
        "wss://host:x/mqtt?token=secret",
        "wss://host/mqtt?token=secret@x#y",
        "wss://host/mqtt?token=secret#y",
        "https://host/mqtt?token=secret",
        "host/mqtt?token=secret",
    ] {
        let error = Address::new(text).unwrap_err();
        let shown = format!("{error} {error:?} {}", error.text());
        assert!(!shown.contains("secret") && shown.contains("?***"), "{shown}");
    }
}
