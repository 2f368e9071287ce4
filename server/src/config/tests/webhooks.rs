//! `[webhook]` and `[[org.webhook]]`.

use ::webhook::level::Level;
use ::webhook::payload::Shape;

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A configuration with one endpoint of these lines, besides `id` and `url`.
fn endpoint(lines: &str) -> Result<Config, ConfigError> {
    load(&format!(
        "[[org]]\nid = \"a\"\n[[org.webhook]]\nid = \"main\"\nurl = \"https://x.example/\"\n{lines}"
    ))
}

#[test]
fn an_endpoint_has_the_defaults_of_the_example() {
    let config = endpoint(&format!("secret = \"{SECRET}\"")).unwrap();
    let endpoint = &config.orgs[0].webhooks[0];
    assert_eq!(endpoint.secrets, [Secret::new(SECRET)]);
    assert_eq!(endpoint.shape(), Shape::Contract);
    assert_eq!(endpoint.level(), Level::Session);
    let signing = endpoint.signing();
    assert!(signing.standard.is_some());
    assert!(signing.app_key_headers.is_none() && signing.app_key_query.is_none());
}

#[test]
fn every_choice_of_an_endpoint_reaches_the_sender() {
    let lines = format!(
        "secret = [\"{SECRET}\", \"{SECRET}\"]\napp_key = \"k\"\napp_secret = \"s\"\n\
         sha1_in = \"query\"\npayload = \"extended\"\nlevel = \"user\"\ngrace_seconds = 5"
    );
    let config = endpoint(&lines).unwrap();
    let endpoint = &config.orgs[0].webhooks[0];
    assert_eq!(endpoint.secrets.len(), 2);
    assert_eq!(endpoint.shape(), Shape::Extended);
    assert_eq!(endpoint.level(), Level::User { grace_ms: 5000 });
    let signing = endpoint.signing();
    assert!(signing.standard.is_some() && signing.app_key_query.is_some());
    assert!(signing.app_key_headers.is_none());
}

#[test]
fn wrong_endpoints_are_refused_by_name() {
    let secret = format!("secret = \"{SECRET}\"\n");
    let rows: [(&str, &[&str]); 12] = [
        ("", &["`org.webhook.secret`", "\"main\"", "missing"]),
        ("secret = []", &["`org.webhook.secret`", "missing"]),
        ("secret = \"abc\"", &["`org.webhook.secret[0]`", "whsec_"]),
        ("secret = \"whsec_YQ==\"", &["secret[0]`", "24 to 64"]),
        (
            "app_key = \"k\"",
            &["`org.webhook.app_key`", "`app_secret`"],
        ),
        ("app_secret = \"s\"", &["app_secret`", "`app_key`"]),
        (
            "app_key = \"a b\"\napp_secret = \"s\"",
            &["app_key`", "printable"],
        ),
        (
            "app_key = \"a\"\napp_secret = \"\"",
            &["app_key`", "secret is empty"],
        ),
        (
            "app_key = \"a\"\napp_secret = \"s\"\ngrace_seconds = 1",
            &["grace_seconds`", "level"],
        ),
        (
            "app_key = \"a\"\napp_secret = \"s\"\nlevel = \"user\"\ngrace_seconds = 86401",
            &["86400"],
        ),
        (
            "sha1_in = \"body\"",
            &["line 6", "`org.webhook.sha1_in`", "query"],
        ),
        ("speed = 1", &["line 6", "`org.webhook.speed`"]),
    ];
    for (lines, parts) in rows {
        check_refused(endpoint(lines), parts);
    }
    check_refused(
        endpoint(&secret.replace('"', "'''").replace(SECRET, "x")),
        &["secret[0]"],
    );
    endpoint(&secret).unwrap();
}

#[test]
fn endpoint_urls_and_ids_are_checked() {
    let with = |id: &str, url: &str| {
        let one =
            format!("[[org.webhook]]\nid = \"{id}\"\nurl = \"{url}\"\nsecret = \"{SECRET}\"\n");
        load(&format!("[[org]]\nid = \"a\"\n{one}{one}").replacen(
            &one,
            "",
            usize::from(id != "2x"),
        ))
    };
    with("A-z_0", "http://127.0.0.1:1/?a=b").unwrap();
    for id in ["", "a b", "a/b", "é", &"x".repeat(65)] {
        check_refused(
            with(id, "https://x.example"),
            &["`org.webhook.id`", "\"a\""],
        );
    }
    check_refused(
        with("2x", "https://x.example"),
        &["`org.webhook.id`", "twice"],
    );
    for url in [
        "",
        "x.example",
        "ftp://x.example",
        "https://u:hush-hush@x.example",
        "http://x y",
    ] {
        let refused = with("main", url);
        check_refused(refused.clone(), &["`org.webhook.url`", "\"main\""]);
        assert!(!refused.unwrap_err().to_string().contains("hush-hush"));
    }
}

#[test]
fn two_organisations_may_use_the_same_endpoint_id() {
    let one = format!(
        "[[org.webhook]]\nid = \"main\"\nurl = \"https://x.example\"\nsecret = \"{SECRET}\"\n"
    );
    load(&format!(
        "[[org]]\nid = \"a\"\n{one}[[org]]\nid = \"b\"\n{one}"
    ))
    .unwrap();
}

#[test]
fn address_prefixes_are_read_from_the_file_and_the_environment() {
    let config = load("[webhook]\nallow_addresses = [\"127.0.0.0/8\", \"::1\"]").unwrap();
    let shown: Vec<_> = config
        .webhook
        .allow_addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(shown, ["127.0.0.0/8", "::1/128"]);
    let name = "WHOSTHERE_WEBHOOK__ALLOW_ADDRESSES";
    let set = load_with("", &[(name, "127.0.0.0/8, ::1")]).unwrap();
    assert_eq!(set.webhook, config.webhook);
    assert_eq!(load_with("", &[(name, "")]).unwrap(), Config::default());
    check_refused(
        load("[webhook]\nallow_addresses = [\"localhost\"]"),
        &["line 2", "`webhook.allow_addresses`", "127.0.0.0/8"],
    );
    check_refused(load_with("", &[(name, "10.0.0.0/33")]), &[name, "prefixes"]);
}

#[test]
fn delays_must_make_sense_together() {
    let rows = [
        ("refused_secs = []", "`webhook.refused_secs`"),
        ("refused_secs = [5]", "begin with 0"),
        ("refused_secs = [0, 5, 5]", "ascend"),
        ("refused_secs = [0, 86401]", "86400"),
        ("pause_secs_min = 61", "`webhook.pause_secs_max`"),
        ("pause_secs_min = 0", "`webhook.pause_secs_min`"),
        ("expiry_hours = 0", "`webhook.expiry_hours`"),
        ("concurrency = 0", "`webhook.concurrency`"),
    ];
    for (line, part) in rows {
        check_refused(load(&format!("[webhook]\n{line}")), &["t.toml", part]);
    }
    let name = "WHOSTHERE_WEBHOOK__REFUSED_SECS";
    check_refused(load_with("", &[(name, "0,x")]), &[name, "whole number"]);
    let config = load_with("", &[(name, "0,7")]).unwrap();
    assert_eq!(config.webhook.schedule().refused_at_ms, [0, 7000]);
}

#[test]
fn the_defaults_are_those_of_the_sender() {
    let webhook = WebhookConfig::default();
    assert_eq!(webhook.schedule(), Default::default());
    let ours = format!("{:?}", webhook.client_settings());
    let theirs = ::webhook::deliver::ClientSettings::default();
    assert_eq!(ours, format!("{theirs:?}"));
    assert!(webhook.authorities_pem().unwrap().is_empty());
}

#[test]
fn neither_messages_nor_debug_output_show_the_secrets_of_an_endpoint() {
    for lines in [
        "secret = \"hush-hush\"",
        "secret = { hush-hush = 1 }",
        "secret = [1, \"hush-hush\"]",
        "app_key = \"\"\napp_secret = \"hush-hush\"",
        "app_secret = [\"hush-hush\"]",
    ] {
        let message = endpoint(lines).unwrap_err().to_string();
        assert!(!message.contains("hush-hush"), "{message}");
    }
    let text = format!(
        "[[org]]\nid = \"a\"\n[[org.webhook]]\nid = \"main\"\nsecret = \"{SECRET}\"\n\
         url = \"https://x.example/?token=hush-hush\"\napp_key = \"k\"\napp_secret = \"hush-hush\""
    );
    let shown = format!("{:?}", load(&text).unwrap());
    assert!(
        !shown.contains("hush-hush") && !shown.contains(SECRET),
        "{shown}"
    );
}

#[test]
fn the_file_of_authorities_is_read_before_the_start() {
    let name = "WHOSTHERE_WEBHOOK__AUTHORITIES_FILE";
    check_refused(
        load_with("", &[(name, "/none/ca.pem")]),
        &[name, "`webhook.authorities_file` cannot be read"],
    );
    // Any file that is there and holds no certificate.
    check_refused(
        load_with(
            "",
            &[(name, concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))],
        ),
        &["`webhook.authorities_file` holds no certificate"],
    );
}
