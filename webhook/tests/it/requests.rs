//! What a receiver sees of a request.

use webhook::{
    deliver::{Signing, UrlError},
    signature::{
        app_key::{AppKey, AppKeyValues},
        standard::{Secret, StandardHeaders, StandardKeys},
    },
};

use crate::{
    BODY, DELIVERED, ID, NOW_MS, client, deliver,
    receiver::{Receiver, header, ok},
    settings,
};

/// The request that a receiver at `path` gets.
async fn request(path: &str, signing: Signing) -> String {
    let receiver = Receiver::start(vec![ok()]).await;
    let url = format!("http://127.0.0.1:{}{path}", receiver.port);
    let endpoint = client(settings()).endpoint(&url, signing).unwrap();
    assert_eq!(deliver(&endpoint).await, DELIVERED);
    let host = format!("127.0.0.1:{}", receiver.port);
    let request = receiver.requests().remove(0);
    assert_eq!(header(&request, "host"), Some(host.as_str()));
    request
}

fn app() -> AppKey {
    AppKey::new("uwd1c0sxdlx2", "Y1W2MeFwwwRxa0").unwrap()
}

#[tokio::test]
async fn a_request_is_a_post_of_the_body_as_json() {
    let request = request("/a/b?c=d", Signing::default()).await;
    assert!(
        request.starts_with("POST /a/b?c=d HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.ends_with(&format!("\r\n\r\n{BODY}")), "{request}");
    assert_eq!(header(&request, "content-type"), Some("application/json"));
    let agent = concat!("whosthere/", env!("CARGO_PKG_VERSION"));
    assert_eq!(header(&request, "user-agent"), Some(agent));
    assert_eq!(
        header(&request, "webhook-id"),
        Some("550e8400-e29b-41d4-a716-446655440001")
    );
    assert_eq!(header(&request, "webhook-signature"), None);
}

#[tokio::test]
async fn a_request_carries_a_standard_signature_of_each_secret() {
    let secrets = [[1; 32], [2; 32]].map(|bytes| Secret::parse(&Secret::encode(&bytes)).unwrap());
    let keys = StandardKeys::new(secrets.to_vec()).unwrap();
    let signing = Signing {
        standard: Some(keys),
        ..Signing::default()
    };
    let request = request("/", signing).await;
    let signed = StandardHeaders {
        id: header(&request, "webhook-id").unwrap(),
        timestamp: header(&request, "webhook-timestamp").unwrap(),
        signature: header(&request, "webhook-signature").unwrap(),
    };
    assert_eq!(signed.id, ID.to_string());
    assert_eq!(signed.timestamp, "1730192400");
    for secret in secrets {
        let alone = StandardKeys::new(vec![secret]).unwrap();
        assert_eq!(
            alone.verify(&signed, BODY.as_bytes(), NOW_MS / 1_000, 0),
            Ok(())
        );
    }
}

#[tokio::test]
async fn a_request_carries_the_vendors_signature_as_headers() {
    let signing = Signing {
        app_key_headers: Some(app()),
        ..Signing::default()
    };
    let request = request("/", signing).await;
    let signed = AppKeyValues {
        app_key: header(&request, "app-key").unwrap(),
        nonce: header(&request, "nonce").unwrap(),
        timestamp: header(&request, "timestamp").unwrap(),
        signature: header(&request, "signature").unwrap(),
    };
    assert_eq!(signed.timestamp, NOW_MS.to_string());
    assert_eq!(app().verify(&signed, NOW_MS, 0), Ok(()));
}

#[tokio::test]
async fn a_request_carries_the_vendors_signature_as_parameters_behind_the_urls_own() {
    let signing = Signing {
        app_key_query: Some(app()),
        ..Signing::default()
    };
    let request = request("/hook?a=b%20c", signing).await;
    let path = request.split(' ').nth(1).unwrap();
    let ours = path.strip_prefix("/hook?a=b%20c&").unwrap();
    let values: Vec<&str> = ours
        .split('&')
        .map(|pair| pair.split_once('=').unwrap().1)
        .collect();
    let signed = AppKeyValues {
        app_key: values[0],
        nonce: values[1],
        timestamp: values[2],
        signature: values[3],
    };
    assert_eq!(app().verify(&signed, NOW_MS, 0), Ok(()));
}

#[test]
fn an_endpoint_with_a_bad_url_is_not_made() {
    let error = |url: &str| client(settings()).endpoint(url, Signing::default()).err();
    assert_eq!(
        error("http://user:word@example.com/"),
        Some(UrlError::UserInfo)
    );
    assert_eq!(error("ftp://example.com/"), Some(UrlError::Scheme));
    assert_eq!(error("https://example.com/"), None);
}
