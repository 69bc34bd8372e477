//! What endpoints and authorizers come to. What goes over the wire is tested in `gantline/tests/aws_iot.rs`.

use std::time::{Duration, UNIX_EPOCH};

use super::*;

const HOST: &str = "abc123-ats.iot.eu-central-1.amazonaws.com";

#[test]
fn an_endpoint_is_a_host_name_and_nothing_else() {
    for wrong in ["mqtts://a", "a:8883", "user@a", "a/mqtt", "a#b", "", "a b", "ä ö"] {
        let error = Endpoint::new(wrong).unwrap_err();
        assert!(error.to_string().contains(wrong), "{error}");
    }
    for secret in ["wss://a:geheim@b/mqtt", "a:geheim@b", "wss://a/mqtt?X-Amz-Signature=geheim", "a?geheim"] {
        let error = Endpoint::new(secret).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("geheim"), "{error}");
    }
    assert_eq!(Endpoint::new("IoT.Example").unwrap().place(), "iot.example");
}

#[test]
fn the_region_is_in_the_host_name_or_has_to_be_told() {
    let credentials = AwsCredentials::new("id", "secret");
    for (host, expected) in [
        (HOST, Some("eu-central-1")),
        ("abc123.ats.iot.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
        ("iot.example", None),
        ("a.iot.b.example", None),
    ] {
        let endpoint = Endpoint::new(host).unwrap();
        assert_eq!(endpoint.region.as_deref(), expected, "{host}");
        let url = endpoint.presigned_url(&credentials, UNIX_EPOCH);
        assert_eq!(url.is_ok(), expected.is_some(), "{host}");
    }
    let error = Endpoint::new("iot.example").unwrap().presigned_url(&credentials, UNIX_EPOCH).unwrap_err();
    assert_eq!(error.to_string(), "the region of iot.example is not known: set region");
}

#[test]
fn the_session_token_is_appended_and_not_signed() {
    let at = UNIX_EPOCH + Duration::from_secs(1_440_938_160);
    let endpoint = Endpoint::new(HOST).unwrap();
    let lasting = AwsCredentials::new("AKIDEXAMPLE", "secret");
    let plain = endpoint.presigned_url(&lasting, at).unwrap();
    let expected = format!(
        "wss://{HOST}/mqtt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
         &X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Feu-central-1%2Fiotdevicegateway%2Faws4_request\
         &X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Signature="
    );
    let signature = plain.strip_prefix(&expected).unwrap();
    assert_eq!(signature.len(), 64);
    let temporary = lasting.session_token("a/b+c==");
    let url = endpoint.presigned_url(&temporary, at).unwrap();
    assert_eq!(url, format!("{plain}&X-Amz-Security-Token=a%2Fb%2Bc%3D%3D"));
    assert!(Address::new(&url).unwrap().path().ends_with("a%2Fb%2Bc%3D%3D"));

    let other = endpoint.clone().port(8443).presigned_url(&temporary, at).unwrap();
    assert!(other.starts_with(&format!("wss://{HOST}:8443/mqtt?")) && !other.contains(signature), "{other}");
    assert_eq!(endpoint.port(443).presigned_url(&temporary, at).unwrap(), url);
}

#[test]
fn an_authorizer_is_told_by_user_name_or_by_headers() {
    let authorizer = CustomAuthorizer::named("Gate Keeper")
        .user_name("ada")
        .password("secret")
        .token("ticket", "a b")
        .token_signature("x+y/z==");
    assert_eq!(
        authorizer.mqtt_user_name(),
        "ada?x-amz-customauthorizer-name=Gate%20Keeper&x-amz-customauthorizer-signature=x%2By%2Fz%3D%3D&ticket=a%20b"
    );
    let headers = authorizer.websocket_headers();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        headers,
        [
            ("x-amz-customauthorizer-name", "Gate Keeper"),
            ("x-amz-customauthorizer-signature", "x+y/z=="),
            ("ticket", "a b")
        ]
    );
    assert_eq!(CustomAuthorizer::new().user_name("ada").mqtt_user_name(), "ada");
}

#[test]
fn secrets_are_shown_to_nobody() {
    let authorizer =
        CustomAuthorizer::named("gate").password("geheim").token("k", "geheim").token_signature("geheim");
    let credentials = AwsCredentials::new("id", "geheim").session_token("geheim");
    for shown in [format!("{authorizer:?}"), format!("{credentials:?}")] {
        assert!(!shown.contains("geheim"), "{shown}");
    }
}
